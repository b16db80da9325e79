use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use insta::assert_snapshot;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn seed() -> Seed {
    Seed::new("tide")
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/traces").join(name)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder to write traces in, which goes with the test.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A message without the folder's name.
    fn message(&self, error: &TraceError) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }

    /// One line an item: seconds, service, what it asks for; an error ends it.
    fn items(&self, name: &str, content: &str) -> String {
        match Trace::open(&self.write(name, content.as_bytes()), &seed()) {
            Ok(trace) => listed(trace.services(), trace.items()),
            Err(error) => self.message(&error),
        }
    }
}

fn listed(services: &[String], items: impl Iterator<Item = Result<Item, TraceError>>) -> String {
    let lines = items.map(|item| {
        let item = item.unwrap();
        let service = &services[item.service() as usize];
        let asks = match item {
            Item::Arrival { work: Work::Tokens { prompt, output }, .. } => {
                format!("{prompt} in, {output} out")
            }
            Item::Arrival { work: Work::Duration(us), .. } => fields::in_seconds(us),
            Item::Offered { concurrency, .. } => format!("{concurrency} in flight"),
        };
        format!("{:>9} {service} {asks}\n", fields::in_seconds(item.at_us()))
    });
    lines.collect()
}

#[test]
fn a_file_that_names_no_service_is_one_called_like_the_file() {
    assert_snapshot!(
        Files::new().items("chat.csv.gz", "t_s,prompt_tokens,output_tokens\n0.000,178,8\n0.9061,258,0\n"),
        @r"
             0 s chat 178 in, 8 out
        0.9061 s chat 258 in, 0 out
        "
    );
}

#[test]
fn model_app_and_function_name_services_and_client_does_not() {
    let files = Files::new();
    assert_snapshot!(
        files.items("a.csv", "t_s,client,model,prompt_tokens,output_tokens\n1,7,m-2,1,2\n1,8,m-1,3,4\n2.5,7,m-2,5,6\n"),
        @r"
          1 s m-2 1 in, 2 out
          1 s m-1 3 in, 4 out
        2.5 s m-2 5 in, 6 out
        "
    );
    assert_snapshot!(
        files.items("b.csv", "t_s,function,duration_s\n0.001,fn000,0.078\n0.004,fn001,57.154\n"),
        @r"
        0.001 s fn000 0.078 s
        0.004 s fn001 57.154 s
        "
    );
    assert_snapshot!(
        files.items("c.csv", "client,t_s,duration_s\n1,0,1\n2,0,2\n"),
        @r"
        0 s c 1 s
        0 s c 2 s
        "
    );
}

#[test]
fn line_ends_of_windows_marks_of_spreadsheets_empty_lines_and_spaces_do_no_harm() {
    let plain = "t_s,model,duration_s\n1,a,2\n3,b,4\n";
    let odd = "\u{feff}t_s , model,duration_s\r\n\r\n 1,a , 2\r\n3,b,4";
    let files = Files::new();
    assert_eq!(files.items("x.csv", odd), files.items("x.csv", plain));
}

#[test]
fn minutes_that_a_concurrency_table_leaves_out_are_0() {
    assert_snapshot!(
        Files::new().items("c.csv", "minute,app,concurrency\n0,b,1\n0,a,2\n1,a,2\n1,b,1.5\n4,b,3\n5,b,3\n5,a,0\n"),
        @r"
          0 s a 2 in flight
          0 s b 1 in flight
         60 s b 1.5 in flight
        120 s a 0 in flight
        120 s b 0 in flight
        240 s b 3 in flight
        360 s b 0 in flight
        "
    );
}

#[test]
fn gzip_is_known_by_its_bytes_and_not_by_its_name() {
    let text = b"t_s,prompt_tokens,output_tokens\n0.5,10,20\n";
    let files = Files::new();
    let two = [gzip(&text[..40]), gzip(&text[40..])].concat();
    let contents = [&text[..], &gzip(text), &two];
    let [plain, zipped, members] = contents.map(|content| {
        let trace = Trace::open(&files.write("x.csv.gz", content), &seed()).unwrap();
        listed(trace.services(), trace.items())
    });
    assert_eq!(plain, "    0.5 s x 10 in, 20 out\n");
    assert_eq!(zipped, plain);
    assert_eq!(members, plain);
}

#[test]
fn bad_input_is_told_with_file_line_and_column_and_what_was_expected() {
    let tokens = |rows: &str| format!("t_s,prompt_tokens,output_tokens\n{rows}").into_bytes();
    let named = |rows: &str| format!("t_s,model,duration_s\n{rows}").into_bytes();
    let minutes = |rows: &str| format!("minute,app,concurrency\n{rows}").into_bytes();
    let rates = |rows: &str| format!("t_s,m_large_rps,m_mid_rps\n{rows}").into_bytes();
    let whole = gzip(&tokens(&"1.5,20,30\n".repeat(20_000)));
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0xff);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("empty-gzip", gzip(b"")),
        ("blank", b"\n\n".to_vec()),
        ("header-only", tokens("")),
        ("header-only-named", named("\n")),
        ("no-time", b"app,invocations_per_day\napp000,142915\n".to_vec()),
        ("no-time-popularity", b"rank,invocations_per_day\n1,127471685\n".to_vec()),
        ("no-minute", b"app,concurrency\na,1\n".to_vec()),
        ("no-concurrency", b"minute,app\n1,a\n".to_vec()),
        ("no-output", b"t_s,prompt_tokens\n1,2\n".to_vec()),
        ("no-prompt", b"t_s,output_tokens\n1,2\n".to_vec()),
        ("no-work", b"t_s,model,images\n1,a,2\n".to_vec()),
        ("no-header", b"0.000,178,8\n0.906,258,40\n".to_vec()),
        ("semicolons", b"t_s;prompt_tokens;output_tokens\n0;178;8\n".to_vec()),
        ("tokens-and-duration", b"t_s,prompt_tokens,output_tokens,duration_s\n".to_vec()),
        ("tokens-and-rates", b"t_s,prompt_tokens,output_tokens,a_rps\n".to_vec()),
        ("two-names", b"t_s,app,model,duration_s\n".to_vec()),
        ("column-twice", b"t_s,duration_s,duration_s\n".to_vec()),
        ("service-twice", b"t_s,m_a_rps,m-a_rps\n".to_vec()),
        ("text", tokens("0.5,10,20\n0.6,ten,20\n")),
        ("negative-time", tokens("-0.5,10,20\n")),
        ("negative-tokens", tokens("0.5,10,-20\n")),
        ("nan", tokens("NaN,10,20\n")),
        ("infinite", tokens("inf,10,20\n")),
        ("exponent", tokens("1e3,10,20\n")),
        ("empty-field", tokens("0.5,,20\n")),
        ("fraction-of-a-token", tokens("0.5,10.5,20\n")),
        ("quotes", tokens("0.5,\"10\",20\n")),
        ("many-tokens", tokens("0.5,4294967296,20\n")),
        ("more-than-a-century", tokens("3155760001,10,20\n")),
        ("long-field", tokens(&format!("0.5,{},20\n", "x".repeat(1000)))),
        ("out-of-order", tokens("1.35,10,20\n1.2,10,20\n")),
        ("too-few-fields", tokens("0.5,10,20\n\n0.6,10\n")),
        ("too-many-fields", tokens("0.5,10,20,30\n")),
        ("nameless", named("0.5,,1\n")),
        ("name-not-utf8", [named("0.5,"), b"\xff\xfe,1\n".to_vec()].concat()),
        ("duration-nan", named("0.5,a,nan\n")),
        ("minute-with-decimals", minutes("1.5,a,1\n")),
        ("minute-out-of-order", minutes("2,a,1\n1,a,1\n")),
        ("minute-twice", minutes("1,a,1\n1,b,1\n1,a,1\n")),
        ("concurrency-nan", minutes("1,a,NaN\n")),
        ("concurrency-negative", minutes("1,a,-1\n")),
        ("concurrency-infinite", minutes("1,a,1e999\n")),
        ("one-rate", rates("0,1,2\n")),
        ("rate-nan", rates("0,1,2\n600,nan,2\n")),
        ("rate-negative", rates("0,1,2\n600,1,-2\n")),
        ("rate-absurd", rates("0,1,2\n600,1,1e7\n")),
        ("rates-out-of-order", rates("600,1,2\n0,1,2\n")),
        ("rates-twice", rates("0,1,2\n0,1,2\n")),
        ("rates-too-few-fields", rates("0,1,2\n600,1\n")),
        ("rates-too-many-fields", rates("0,1,2\n600,1,2,3\n")),
        ("binary", b"PK\x03\x04\x00\x00\n\x00\x01\x02".to_vec()),
        ("not-utf8", b"t_s,prompt_tok\xe9ns\n".to_vec()),
        ("binary-row", [tokens("0.5,10,20\n"), b"\x00\xff\x13\n".to_vec()].concat()),
        ("endless-line", vec![b'x'; 3 << 20]),
        ("gzip-of-binary", gzip(&[0, 1, 2, 3])),
        ("gzip-truncated", whole[..whole.len() - 100].to_vec()),
        ("gzip-without-its-end", whole[..whole.len() - 4].to_vec()),
        ("gzip-of-two-bytes", whole[..2].to_vec()),
        ("gzip-damaged", damaged),
        ("gzip-with-a-tail", [whole.clone(), b"a tail that is no gzip".to_vec()].concat()),
    ];
    let files = Files::new();
    let mut messages = String::new();
    for (name, content) in cases {
        let error = Trace::open(&files.write(name, &content), &seed()).expect_err(name);
        messages.push_str(&files.message(&error));
        messages.push('\n');
    }
    assert_snapshot!(messages, @r#"
    empty: expected a line of column names, found an empty file
    empty-gzip: expected a line of column names, found an empty file
    blank: expected a line of column names, found an empty file
    header-only: expected rows after the line of column names, found none
    header-only-named: expected rows after the line of column names, found none
    no-time: has no column `t_s`, the time of each row; found `app`, `invocations_per_day`
    no-time-popularity: has no column `t_s`, the time of each row; found `rank`, `invocations_per_day`
    no-minute: has no column `minute`, the time of each row; found `app`, `concurrency`
    no-concurrency: has no column `concurrency`, the requests in flight in each `minute`; found `minute`, `app`
    no-output: has no column `output_tokens`, which goes with `prompt_tokens`; found `t_s`, `prompt_tokens`
    no-prompt: has no column `prompt_tokens`, which goes with `output_tokens`; found `t_s`, `output_tokens`
    no-work: has no column for what arrives: `prompt_tokens` and `output_tokens`, or `duration_s`, or one that ends in `_rps`; found `t_s`, `model`, `images`
    no-header: has no column `t_s`, the time of each row; found `0.000`, `178`, `8`
    semicolons: has no column `t_s`, the time of each row; found `t_s;prompt_tokens;output_tokens`
    tokens-and-duration: has both `prompt_tokens` and `duration_s`; expected one of them, as each would say what a row asks for
    tokens-and-rates: has both `prompt_tokens` and `a_rps`; expected one of them, as each would say what a row asks for
    two-names: has both `model` and `app`; expected one of them, as each would name a row's service
    column-twice: has two columns for `duration_s`
    service-twice: has two columns for `m-a`
    text:3: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found `ten`
    negative-time:2: column `t_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `-0.5`
    negative-tokens:2: column `output_tokens`: expected a whole number of tokens, 0 to 4294967295, found `-20`
    nan:2: column `t_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `NaN`
    infinite:2: column `t_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `inf`
    exponent:2: column `t_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `1e3`
    empty-field:2: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found nothing
    fraction-of-a-token:2: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found `10.5`
    quotes:2: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found `"10"`
    many-tokens:2: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found `4294967296`
    more-than-a-century:2: column `t_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `3155760001`
    long-field:2: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`
    out-of-order:3: column `t_s`: 1.2 s comes before the row above, at 1.35 s; expected rows sorted by time
    too-few-fields:4: expected 3 fields, as in the first line, found 2
    too-many-fields:2: expected 3 fields, as in the first line, found 4
    nameless:2: column `model`: expected a name, found nothing
    name-not-utf8:2: column `model`: expected a name, found `��`
    duration-nan:2: column `duration_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `nan`
    minute-with-decimals:2: column `minute`: expected a whole minute, 0 to 52596000 (100 years), found `1.5`
    minute-out-of-order:3: column `minute`: minute 1 comes before the row above, at minute 2; expected rows sorted by time
    minute-twice:4: minute 1 of `a` has a row already; expected one
    concurrency-nan:2: column `concurrency`: expected requests in flight such as 2.5, 0 to 1000000000, found `NaN`
    concurrency-negative:2: column `concurrency`: expected requests in flight such as 2.5, 0 to 1000000000, found `-1`
    concurrency-infinite:2: column `concurrency`: expected requests in flight such as 2.5, 0 to 1000000000, found `1e999`
    one-rate: expected at least two rows of rates, since a row lasts until the next one, found one
    rate-nan:3: column `m_large_rps`: expected requests per second such as 212.78, 0 to 1000000, found `nan`
    rate-negative:3: column `m_mid_rps`: expected requests per second such as 212.78, 0 to 1000000, found `-2`
    rate-absurd:3: column `m_mid_rps`: expected requests per second such as 212.78, 0 to 1000000, found `1e7`
    rates-out-of-order:3: column `t_s`: 0 s comes before the row above, at 600 s; expected rows sorted by time
    rates-twice:3: 0 s has a row already; expected one
    rates-too-few-fields:3: expected 3 fields, as in the first line, found 2
    rates-too-many-fields:3: expected 3 fields, as in the first line, found 4
    binary:1: expected CSV, plain or gzip, found bytes that are not text
    not-utf8:1: expected CSV, plain or gzip, found bytes that are not text
    binary-row:3: expected CSV, plain or gzip, found bytes that are not text
    endless-line:1: expected lines of text, found one of more than 1048576 bytes
    gzip-of-binary:1: expected CSV, plain or gzip, found bytes that are not text
    gzip-truncated: its gzip data ends too early, after line 15352
    gzip-without-its-end: its gzip data ends too early, after line 20001
    gzip-of-two-bytes: its gzip data ends too early, after line 0
    gzip-damaged:8697: expected 3 fields, as in the first line, found 4
    gzip-with-a-tail: its gzip data is damaged, after line 20001
    "#);
}

#[test]
fn what_is_not_a_file_is_refused() {
    let files = Files::new();
    let refused = ["absent.csv", ""].map(|name| {
        let error = Trace::open(&files.0.path().join(name), &seed()).unwrap_err();
        files.message(&error)
    });
    let stdin = Trace::open(Path::new("-"), &seed()).unwrap_err().to_string();
    assert_snapshot!([&refused[0], &stdin].map(String::as_str).join("\n"), @r"
    cannot read absent.csv
    standard input is not a regular file; a trace is read twice, first to check it whole, so write what comes from a pipe to a file
    ");
    assert!(refused[1].contains("is not a regular file"), "{}", refused[1]);
}

#[test]
fn a_file_that_changes_after_it_was_checked_ends_with_an_error() {
    let files = Files::new();
    let path = files.write("x.csv", b"t_s,model,duration_s\n1,a,1\n");
    let trace = Trace::open(&path, &seed()).unwrap();
    files.write("x.csv", b"t_s,model,duration_s\n1,b,1\n2,a,1\n");
    let mut items = trace.items();
    let error = items.next().unwrap().unwrap_err();
    assert_eq!(files.message(&error), "x.csv:2: the file changed while it was read");
    assert!(items.next().is_none(), "an error is the last that is heard");
    fs::remove_file(&path).unwrap();
    assert!(matches!(trace.items().next(), Some(Err(TraceError::Read { .. }))));
}

#[test]
fn a_trace_can_be_read_again() {
    for name in ["azure-llm-2023-code.csv.gz", "azure-functions-2019-concurrency.csv.gz"] {
        let trace = Trace::open(&fixture(name), &seed()).unwrap();
        let [first, second] = [(); 2].map(|()| trace.items().map(Result::unwrap));
        assert!(first.eq(second));
    }
}

fn first_of_rates(trace: &Trace, until_us: u64) -> Vec<Item> {
    trace.items().map(Result::unwrap).take_while(|item| item.at_us() < until_us).collect()
}

#[test]
fn rates_become_arrivals_in_order_as_many_as_they_say() {
    let trace = Trace::open(&fixture("servegen-rates-7d.csv.gz"), &seed()).unwrap();
    assert_eq!(trace.services(), ["m-large", "m-mid", "m-small"]);
    assert_eq!(trace.end_us(), 7 * 24 * 3600 * 1_000_000);
    let items = first_of_rates(&trace, 1_200_000_000);
    assert!(items.is_sorted_by_key(Item::at_us));
    // The table's first two rows, 600 s each; four deviations of a Poisson count on either side.
    for (service, rates) in
        [(0, [212.780, 179.698]), (1, [986.565, 1044.087]), (2, [809.762, 789.867])]
    {
        for (row, rate) in rates.into_iter().enumerate() {
            let expected = 600.0 * rate;
            let count = (items.iter())
                .filter(|item| {
                    item.service() == service && item.at_us() / 600_000_000 == row as u64
                })
                .count() as f64;
            assert!((count - expected).abs() < 4.0 * expected.sqrt(), "{count} for {expected}");
        }
    }
    // Variance over mean of counts a second: 1 for a Poisson process.
    let mut counts = vec![0.0; 600];
    for item in items.iter().filter(|item| item.service() == 0 && item.at_us() < 600_000_000) {
        counts[(item.at_us() / 1_000_000) as usize] += 1.0;
    }
    let mean = counts.iter().sum::<f64>() / 600.0;
    let variance = counts.iter().map(|count| (count - mean) * (count - mean)).sum::<f64>() / 600.0;
    assert!((0.77..1.23).contains(&(variance / mean)), "{}", variance / mean);
}

#[test]
fn drawn_lengths_follow_the_quantiles_that_were_given() {
    let lengths = [(541.0, 2971.0), (68.0, 1360.0)];
    let [prompt, output] = lengths.map(|(p50, p99)| Lengths::through(p50, p99).unwrap());
    let trace = Trace::open(&fixture("servegen-rates-7d.csv.gz"), &seed()).unwrap();
    let trace = trace.with_tokens("m-large", TokenDistribution { prompt, output });
    let (mut prompts, mut outputs) = (Vec::new(), Vec::new());
    for item in first_of_rates(&trace, 600_000_000) {
        if let Item::Arrival { service: 0, work: Work::Tokens { prompt, output }, .. } = item {
            prompts.push(prompt);
            outputs.push(output);
        }
    }
    for (mut drawn, (p50, p99)) in [prompts, outputs].into_iter().zip(lengths) {
        drawn.sort_unstable();
        for (share, expected) in [(0.5, p50), (0.99, p99)] {
            let quantile = f64::from(drawn[(share * drawn.len() as f64) as usize]);
            assert!((quantile / expected - 1.0).abs() < 0.05, "{quantile} for {expected}");
        }
    }
}

#[test]
fn lengths_are_quantiles_in_order() {
    let read = serde_json::from_str::<TokenDistribution>;
    let written = r#"{"prompt":{"p50":541.0,"p99":2971.0},"output":{"p50":68.0,"p99":68.0}}"#;
    assert_eq!(serde_json::to_string(&read(written).unwrap()).unwrap(), written);
    for (p50, p99) in
        [(0.0, 5.0), (5.0, 4.0), (1.0, 131_073.0), (f64::NAN, 4.0), (4.0, f64::INFINITY)]
    {
        assert!(Lengths::through(p50, p99).is_err(), "{p50} and {p99}");
    }
    let error = read(r#"{"prompt":{"p50":5,"p99":4},"output":{"p50":1,"p99":2}}"#).unwrap_err();
    assert_snapshot!(error, @"a median of 5 and a 99 % quantile of 4 tokens; expected 1 to 131072, the median no more than the quantile at line 1 column 27");
}

#[test]
fn a_table_may_have_thousands_of_columns() {
    let names: Vec<String> = (0..5_000).map(|column| format!("service_{column:05}_rps")).collect();
    let mut rows = format!("t_s,{}\n", names.join(","));
    for at_s in [0, 1] {
        rows.push_str(&format!("{at_s}{}\n", ",10.000000000".repeat(5_000)));
    }
    let files = Files::new();
    let trace = Trace::open(&files.write("x.csv", rows.as_bytes()), &seed()).unwrap();
    assert_eq!(trace.services().len(), 5_000);
    assert!((99_000..101_000).contains(&trace.items().count()));
}

#[test]
fn what_one_service_draws_depends_on_no_other_and_on_no_other_row() {
    let files = Files::new();
    let of_a = |content: &str| {
        let trace = Trace::open(&files.write("x.csv", content.as_bytes()), &seed()).unwrap();
        let a = trace.services().iter().position(|name| name == "a").unwrap() as u32;
        let items = trace.items().map(Result::unwrap).filter(|item| item.service() == a);
        items
            .map(|item| match item {
                Item::Arrival { at_us, work, .. } => (at_us, work),
                Item::Offered { .. } => panic!("rates arrive"),
            })
            .collect::<Vec<_>>()
    };
    let alone = of_a("t_s,a_rps\n0,2\n60,3\n120,2\n");
    assert!(alone.len() > 300);
    assert_eq!(of_a("t_s,z_rps,a_rps,A_rps\n0,9,2,1\n60,0,3,0\n120,1,2,1\n"), alone);
    let other_start = of_a("t_s,a_rps\n0,7\n60,3\n120,2\n");
    let later = |items: &[(u64, Work)]| {
        items.iter().copied().filter(|(at_us, _)| *at_us >= 60_000_000).collect::<Vec<_>>()
    };
    assert_eq!(later(&other_start), later(&alone));
}

#[test]
fn several_files_are_one_load() {
    let files = Files::new();
    let one = files.write("one.csv", b"t_s,model,duration_s\n0,b,1\n0,a,2\n5,b,3\n");
    let two = files.write("two.csv", b"t_s,model,duration_s\n0,b,4\n0,c,5\n6,a,6\n");
    let listed = |paths: &[&PathBuf]| {
        let merged = Merged::open(paths, &seed()).unwrap();
        assert_eq!(merged.services(), ["a", "b", "c"]);
        assert_eq!(merged.end_us(), 6_000_000);
        super::tests::listed(merged.services(), merged.items())
    };
    assert_snapshot!(listed(&[&one, &two]), @r"
    0 s b 1 s
    0 s a 2 s
    0 s b 4 s
    0 s c 5 s
    5 s b 3 s
    6 s a 6 s
    ");
    assert_eq!(listed(&[&two, &one]), listed(&[&one, &two]));
}

#[test]
fn two_tables_with_rates_of_one_service_are_refused() {
    let files = Files::new();
    let paths = ["one.csv", "two.csv"].map(|name| files.write(name, b"t_s,a_rps\n0,1\n1,1\n"));
    let error = Merged::open(&paths, &seed()).unwrap_err();
    assert_snapshot!(files.message(&error), @"one.csv and two.csv both hold rates of `a`; rename the column in one of them");
}

proptest! {
    #[test]
    fn any_rows_come_back_as_they_were_written(
        rows in prop::collection::vec((0u64..2_000_000, any::<u32>(), any::<u32>()), 1..200),
        zipped: bool,
    ) {
        let mut text = String::from("t_s,prompt_tokens,output_tokens\n");
        let mut written = Vec::new();
        let mut at_us = 0;
        for (gap_us, prompt, output) in rows {
            at_us += gap_us;
            text.push_str(&format!("{}.{:06},{prompt},{output}\n", at_us / 1_000_000, at_us % 1_000_000));
            written.push(Item::Arrival { at_us, service: 0, work: Work::Tokens { prompt, output } });
        }
        let files = Files::new();
        let content = if zipped { gzip(text.as_bytes()) } else { text.into_bytes() };
        let trace = Trace::open(&files.write("x.csv", &content), &seed()).unwrap();
        prop_assert_eq!(trace.end_us(), at_us);
        prop_assert_eq!(trace.items().collect::<Result<Vec<_>, _>>().unwrap(), written);
    }

    #[test]
    fn files_of_different_services_may_be_given_in_any_order(
        a in prop::collection::vec((0u64..3, 0usize..3, 0u64..2), 1..30),
        b in prop::collection::vec((0u64..3, 0usize..3, 0u64..2), 1..30),
    ) {
        let files = Files::new();
        let write = |name: &str, services: [&str; 3], rows: &[(u64, usize, u64)]| {
            let mut text = String::from("t_s,model,duration_s\n");
            let mut at_s = 0;
            for (gap_s, service, duration_s) in rows {
                at_s += gap_s;
                text.push_str(&format!("{at_s},{},{duration_s}\n", services[*service]));
            }
            files.write(name, text.as_bytes())
        };
        let [a_path, b_path] =
            [write("a.csv", ["a", "c", "e"], &a), write("b.csv", ["b", "d", "f"], &b)];
        let merged = Merged::open(&[&a_path, &b_path], &seed()).unwrap();
        let items: Vec<Item> = merged.items().map(Result::unwrap).collect();
        prop_assert_eq!(items.len(), a.len() + b.len());
        prop_assert!(items.is_sorted_by_key(Item::at_us));
        let swapped = Merged::open(&[&b_path, &a_path], &seed()).unwrap();
        prop_assert_eq!(swapped.services(), merged.services());
        prop_assert_eq!(swapped.items().map(Result::unwrap).collect::<Vec<_>>(), items);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        header in prop::sample::select(vec![
            "", "t_s,prompt_tokens,output_tokens\n", "minute,app,concurrency\n", "t_s,a_rps,b_rps\n", "t_s,model,duration_s\n",
        ]),
        rows in "([0-9.,a\n-]|nan|\u{e9}){0,60}",
        cut in 0usize..100,
    ) {
        let files = Files::new();
        let text = format!("{header}{rows}");
        let zipped = gzip(text.as_bytes());
        for content in [text.as_bytes(), &zipped[..zipped.len().saturating_sub(cut)]] {
            if let Ok(trace) = Trace::open(&files.write("x", content), &seed()) {
                // A rate may be a million a second, for a century.
                let items: Result<Vec<_>, _> = trace.items().take(1000).collect();
                prop_assert!(items.unwrap().is_sorted_by_key(Item::at_us));
            }
        }
    }
}
