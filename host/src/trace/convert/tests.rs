use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::trace::{Trace, TraceError};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/logs").join(name)
}

fn mapped(fields: &[&str]) -> Options {
    let mut options = Options::default();
    fields.iter().for_each(|field| options.fields.set(field).unwrap());
    options
}

/// What is written of a text, and what is said of it; the file is called `log`.
fn converted(text: &str, options: &Options) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, text).unwrap();
    told(&[path], options).replace(&format!("{}/", folder.path().display()), "")
}

fn told(paths: &[PathBuf], options: &Options) -> String {
    let mut written = Vec::new();
    let folder = format!("{}/", fixture("").display());
    let told = match convert(paths, options, &mut written, &mut |_| {}) {
        Ok(report) => report.render(),
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("error: {error}{}\n", source.unwrap_or_default())
        }
    };
    format!("{}\n{told}", String::from_utf8(written).unwrap())
        .replace(&folder.replace("//", "/"), "")
}

#[test]
fn a_log_of_nginx_becomes_requests_that_arrive_when_they_arrived() {
    let mut options = mapped(&["service=path.3"]);
    options.wanted = vec![("path".to_owned(), "/v1/models/".to_owned())];
    options.spreads = false;
    assert_snapshot!(told(&[fixture("combined.log")], &options), @r"
    t_s,model,duration_s
    0.16,llama,0.84
    1.5,mistral,2.5
    1.75,llama,29.25
    4.99,llama,0.01

    read      combined.log as access-log
    lines     6
    wrote     4 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       1 left out: not of the format, first combined.log:4
    note      1 left out: not what --where asks for, first combined.log:2
    ");
}

#[test]
fn a_log_without_durations_gets_tokens_and_moments_within_its_seconds() {
    assert_snapshot!(told(&[fixture("common.log")], &Options::default()), @r"
    t_s,model,prompt_tokens,output_tokens
    1.266184,common,1111,121
    1.761307,common,1113,84
    60.164547,common,1085,169

    read      common.log as access-log
    lines     3
    wrote     3 rows, 1 service
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    note      3 do not say what they ask for: drawn, first common.log:1
    note      3 have whole seconds: spread within their second, first common.log:1
    ");
    let options = Options { to: Some(To::Rates), ..Options::default() };
    assert_snapshot!(told(&[fixture("common.log")], &options), @r"
    t_s,common_rps
    0,0.033333333
    60,0.016666667

    read      common.log as access-log
    lines     3
    wrote     2 rows, 1 service
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    note      3 have whole seconds: spread within their second, first common.log:1
    ");
}

#[test]
fn a_log_in_json_is_read_by_the_map_of_its_fields() {
    let fields = ["end=ts", "duration=took_ms:ms", "service=req.model"];
    let tokens = ["prompt=usage.prompt_tokens", "output=usage.completion_tokens"];
    assert_snapshot!(told(&[fixture("calls.jsonl")], &mapped(&[&fields[..], &tokens].concat())), @r"
    t_s,model,prompt_tokens,output_tokens
    0.5,mistral,80,0
    1,llama,120,40
    4.9,llama,9,1

    read      calls.jsonl as jsonl
    lines     5
    wrote     3 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       1 left out: a time that is none, first calls.jsonl:4
    odd       1 left out: no tokens of the request, first calls.jsonl:3
    odd       1 without tokens of the answer: 0 taken, first calls.jsonl:2
    ");
    assert_snapshot!(told(&[fixture("calls.jsonl")], &mapped(&fields)), @r"
    t_s,model,duration_s
    0.5,mistral,2.5
    1,llama,1.5
    3.9,llama,0.1
    4.9,llama,0.1

    read      calls.jsonl as jsonl
    lines     5
    wrote     4 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       1 left out: a time that is none, first calls.jsonl:4
    ");
}

#[test]
fn samples_of_prometheus_become_a_table() {
    let of = |metric| Options { metric, ..Options::default() };
    assert_snapshot!(told(&[fixture("prometheus-rates.json")], &of(Metric::Rate)), @r"
    t_s,chat_rps,embed_rps
    0,1.5,10
    60,3,0
    120,0.25,12
    180,0.5,12

    read      prometheus-rates.json as prometheus
    samples   10 in 3 series, one every 60 s
    wrote     4 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       2 samples are NaN or infinite: taken as missing
    odd       2 times a series pauses: nothing is taken to arrive there
    ");
    assert_snapshot!(told(&[fixture("prometheus-rates.json")], &of(Metric::Concurrency)), @r"
    minute,model,concurrency
    0,chat,1.5
    0,embed,10
    1,chat,3
    2,chat,0.25
    2,embed,12
    3,chat,0.5
    3,embed,12

    read      prometheus-rates.json as prometheus
    samples   10 in 3 series, one every 60 s
    wrote     7 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       2 samples are NaN or infinite: taken as missing
    odd       2 times a series pauses: nothing is taken to arrive there
    ");
    assert_snapshot!(told(&[fixture("prometheus-counter.json")], &of(Metric::Counter)), @r"
    t_s,chat_rps
    0,2
    30,1
    60,1
    90,1

    read      prometheus-counter.json as prometheus
    samples   4 in 1 series, one every 30 s
    wrote     4 rows, 1 service
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       1 times a series pauses: nothing is taken to arrive there
    odd       1 times a counter went back: taken for restarts from 0
    ");
}

#[test]
fn public_traces_are_known_by_their_content() {
    let mut told = String::new();
    for text in [
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,230,1317,API log\n",
        "{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500, \"hash_ids\": [0, 1]}\n{\"timestamp\": 3027, \"input_length\": 7, \"output_length\": 0, \"hash_ids\": []}\n",
        "app,func,end_timestamp,duration\na1,f1,100.5,0.078\na1,f2,110.25,57.154\n",
        "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,0,60,0\no,a,g,queue,30,0,0\no,b,h,timer,0,0,6\n",
        "{\"level\":\"info\",\"ts\":1714986001.75,\"logger\":\"http.log.access\",\"msg\":\"handled request\",\"request\":{\"host\":\"llama.example.org\",\"uri\":\"/\"},\"duration\":0.5,\"status\":200}\n",
        "{\"StartUTC\":\"2024-05-06T09:00:01.25Z\",\"Duration\":500000000,\"ServiceName\":\"llama@docker\",\"DownstreamStatus\":200}\n",
        "{\"start_time\":\"2024-05-06T09:00:01.250Z\",\"duration\":18,\"authority\":\"llama:8000\",\"response_code\":200}\n",
        "model,t_s,prompt_tokens,output_tokens\nb,2,3,4\na,1,1,2\n",
    ] {
        told.push_str(&converted(text, &Options { spreads: false, ..Options::default() }));
        told.push('\n');
    }
    assert_snapshot!(told, @r"
    t_s,model,prompt_tokens,output_tokens
    46.68059,log,374,44
    50.995169,log,396,109

    read      log as azure-llm
    lines     2
    wrote     2 rows, 1 service
    starts    2023-11-16T18:15:00Z; replay it with --start 2023-11-16T18:15:00Z

    t_s,model,prompt_tokens,output_tokens
    0.00993,log,2162,5

    read      log as azure-llm
    lines     1
    wrote     1 row, 1 service
    starts    2024-05-10T00:00:00Z; replay it with --start 2024-05-10T00:00:00Z

    t_s,model,prompt_tokens,output_tokens
    5,ChatGPT,472,18
    45,GPT-4,1087,230

    read      log as burstgpt
    lines     2
    wrote     2 rows, 2 services

    t_s,model,prompt_tokens,output_tokens
    0,log,6758,500
    3.027,log,7,0

    read      log as mooncake
    lines     2
    wrote     2 rows, 1 service

    t_s,model,duration_s
    53.096,f2,57.154
    100.422,f1,0.078

    read      log as azure-functions-2021
    lines     2
    wrote     2 rows, 2 services

    t_s,a_rps,b_rps
    0,0.5,0
    60,1,0
    120,0,0.1

    read      log as azure-functions-2019
    lines     3
    wrote     3 rows, 2 services

    t_s,model,duration_s
    1.25,llama.example.org,0.5

    read      log as caddy
    lines     1
    wrote     1 row, 1 service
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z

    t_s,model,duration_s
    1.25,llama@docker,0.5

    read      log as traefik
    lines     1
    wrote     1 row, 1 service
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z

    t_s,model,duration_s
    1.25,llama:8000,0.018

    read      log as envoy
    lines     1
    wrote     1 row, 1 service
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z

    t_s,model,prompt_tokens,output_tokens
    1,a,1,2
    2,b,3,4

    read      log as tidegate
    lines     2
    wrote     2 rows, 2 services
    ");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let strict = Options { is_strict: true, ..Options::default() };
    let usual = Options::default();
    let from = |format| Options { from: Some(format), ..Options::default() };
    let rates = Options { to: Some(To::Requests), ..Options::default() };
    let access = |second: u32, rest: &str| {
        format!(
            "h - - [06/May/2024:09:{:02}:{:02} +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"{rest}\n",
            second / 60,
            second % 60
        )
    };
    let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let mut told = String::new();
    for (text, options) in [
        (String::new(), &usual),
        ("what is this\n".to_owned(), &usual),
        ("{\"a\":1,\"b\":2}\n".to_owned(), &usual),
        ("a,b\n1,2\n".to_owned(), &mapped(&["time=c"])),
        ("when,b\n1,2\n".to_owned(), &Options { from: Some(Format::Csv), ..mapped(&["time=wen"]) }),
        (azure.to_owned(), &usual),
        (format!("{azure}yesterday,1,2\n"), &usual),
        (format!("{azure}2023-11-16 18:15:46,1,2\n2023-11-16 18:15:47,1\n"), &strict),
        (format!("{azure}2023-11-16 18:15:46,1,2\n2023-11-16 18:15:47,-1,7\n"), &strict),
        (access(600, "") + &access(0, "") + &access(1_200, "") + &access(30, ""), &usual),
        (access(0, " 0.5") + &access(1, ""), &usual),
        (access(0, "") + &access(1, " 0.5"), &usual),
        ("{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"parse error\",\"data\":{}}".to_owned(), &from(Format::Prometheus)),
        ("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}".to_owned(), &usual),
        ("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}".to_owned(), &usual),
        ("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"a\":\"b\"},\"values\":[[1,\"1\"]]},{\"metric\":{},\"values\":[]}]}}".to_owned(), &usual),
        ("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\"".to_owned(), &usual),
        (fs::read_to_string(fixture("prometheus-rates.json")).unwrap(), &rates),
        (fs::read_to_string(fixture("prometheus-rates.json")).unwrap(), &strict),
        ("t_s,a_rps\n0,1\n1,2\n".to_owned(), &usual),
    ] {
        let said = converted(&text, options);
        told.push_str(said.lines().find(|line| line.starts_with("error")).unwrap_or(&said));
        told.push('\n');
    }
    assert_snapshot!(told, @r"
    error: log: expected a log, found nothing
    error: log:1: expected a line of a known format, found `what is this`; --from names the format, and --field what its fields mean
    error: log: which field is the time? --field time=NAME says so; found `a`, `b`
    error: log:1: expected a line of a known format, found `a,b`; --from names the format, and --field what its fields mean
    error: log:1: has no column `wen`; did you mean `when`?
    error: nothing is left to write: no request, or no sample
    error: log:2: expected a time as 2024-05-10T00:00:00Z, 10/May/2024:00:00:00 +0000 or 1715299200.5, found `yesterday`
    error: log:3: expected as many fields as the first line has, found `2023-11-16 18:15:47,1`
    error: log:3: expected a whole number of tokens, 0 to 4294967295, found `-1`
    error: log:4: arrived 1170 s before a request further up; expected no more than the window of 5m that lines are sorted in
    t_s,model,duration_s
    59.766184,log,0.5

    read      log as access-log
    lines     2
    wrote     1 row, 1 service
    starts    2024-05-06T08:59:00Z; replay it with --start 2024-05-06T08:59:00Z
    odd       1 left out: no duration, first log:2
    note      2 have whole seconds: spread within their second, first log:1

    error: log:2: some requests have a duration, and some have not; expected the same of all
    error: log: expected an answer with data, found the error: parse error
    error: log: expected the matrix that /api/v1/query_range answers with, found resultType `vector`
    error: nothing is left to write: no request, or no sample
    error: log: a series has no label `service`; --service-label names another, or --service the only service; found `a`
    error: log: expected the answer of a range query: EOF while parsing an object at line 1 column 49
    error: prometheus has no requests, only rates; a replay draws requests from them, so convert --to rates
    error: 2 samples are NaN or infinite, and 0 negative or absurdly high
    error: log: is a table already; expected requests, with prompt_tokens and output_tokens, or duration_s
    ");
    assert_snapshot!("prometeus".parse::<Format>().unwrap_err(), @"there is no format `prometeus`; did you mean prometheus?");
}

#[test]
fn several_files_are_one_load_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["1.log", "2.log"].map(|name| folder.path().join(name));
    let line = |second: u32| {
        format!(
            "h - - [06/May/2024:09:00:{second:02} +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" 0.0\n"
        )
    };
    fs::write(&one, line(1) + &line(5)).unwrap();
    fs::write(&other, line(3) + &line(9)).unwrap();
    let options = Options { service: Some("web".to_owned()), spreads: false, ..Options::default() };
    let written = |paths: &[PathBuf]| {
        let mut written = Vec::new();
        convert(paths, &options, &mut written, &mut |_| {}).unwrap();
        String::from_utf8(written).unwrap()
    };
    let both = written(&[one.clone(), other.clone()]);
    assert_eq!(both, "t_s,model,duration_s\n1,web,0\n3,web,0\n5,web,0\n9,web,0\n");
    assert_eq!(written(&[other, one]), both);
}

/// Writes bytes down, and reads them as a trace.
fn read(written: &[u8]) -> Result<usize, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    fs::write(&path, written).unwrap();
    let trace = Trace::open(&path, &Seed::new("tide"))?;
    trace.items().try_fold(0, |count, item| item.map(|_| count + 1))
}

#[test]
fn what_is_written_is_a_trace() {
    for (name, metric, rows) in [
        ("common.log", Metric::Rate, Some(3)),
        ("prometheus-rates.json", Metric::Rate, None),
        ("prometheus-rates.json", Metric::Concurrency, None),
        ("prometheus-counter.json", Metric::Counter, None),
    ] {
        let mut written = Vec::new();
        let options = Options { metric, ..Options::default() };
        convert(&[fixture(name)], &options, &mut written, &mut |_| {}).unwrap();
        let items = read(&written).unwrap();
        assert!(items > 0 && rows.is_none_or(|rows| rows == items), "{name}: {items}");
    }
}

proptest! {
    #[test]
    fn no_line_is_too_much_and_what_comes_of_it_is_a_trace(
        lines in prop::collection::vec("[ -~]{0,60}", 1..20), pick in 0usize..4,
    ) {
        let start = [
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n",
            "{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500}\n",
            "h - - [06/May/2024:09:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
            "app,func,end_timestamp,duration\na1,f1,100.5,0.078\n",
        ][pick];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, format!("{start}{}\n", lines.join("\n"))).unwrap();
        let mut written = Vec::new();
        if convert(&[path], &Options::default(), &mut written, &mut |_| {}).is_ok() {
            prop_assert!(read(&written).is_ok(), "{}", String::from_utf8_lossy(&written));
        }
    }

    #[test]
    fn requests_that_are_shuffled_within_the_window_are_the_same_trace(
        mut seconds in prop::collection::vec(0u32..200, 2..40), turn in 0usize..40,
    ) {
        let text = |seconds: &[u32]| {
            let line = |second: &u32| format!("{{\"timestamp\":{},\"input_length\":1,\"output_length\":1}}\n", second * 1_000);
            seconds.iter().map(line).collect::<String>()
        };
        let options = Options { service: Some("a".to_owned()), ..Options::default() };
        let rows = |text: &str| converted(text, &options).split("\n\n").next().unwrap().to_owned();
        let turned = turn % seconds.len();
        seconds.rotate_left(turned);
        let shuffled = rows(&text(&seconds));
        seconds.sort_unstable();
        prop_assert_eq!(shuffled, rows(&text(&seconds)));
    }
}
