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
    assert_snapshot!(told(&[fixture("combined.log")], &options), @"");
}

#[test]
fn a_log_without_durations_gets_tokens_and_moments_within_its_seconds() {
    assert_snapshot!(told(&[fixture("common.log")], &Options::default()), @"");
    let options = Options { to: Some(To::Rates), ..Options::default() };
    assert_snapshot!(told(&[fixture("common.log")], &options), @"");
}

#[test]
fn a_log_in_json_is_read_by_the_map_of_its_fields() {
    let fields = ["end=ts", "duration=took_ms:ms", "service=req.model"];
    let tokens = ["prompt=usage.prompt_tokens", "output=usage.completion_tokens"];
    assert_snapshot!(told(&[fixture("calls.jsonl")], &mapped(&[&fields[..], &tokens].concat())), @"");
    assert_snapshot!(told(&[fixture("calls.jsonl")], &mapped(&fields)), @"");
}

#[test]
fn samples_of_prometheus_become_a_table() {
    let of = |metric| Options { metric, ..Options::default() };
    assert_snapshot!(told(&[fixture("prometheus-rates.json")], &of(Metric::Rate)), @"");
    assert_snapshot!(told(&[fixture("prometheus-rates.json")], &of(Metric::Concurrency)), @"");
    assert_snapshot!(told(&[fixture("prometheus-counter.json")], &of(Metric::Counter)), @"");
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
    assert_snapshot!(told, @"");
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
        (access(600, "") + &access(0, ""), &usual),
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
    assert_snapshot!(told, @"");
    assert_snapshot!("prometeus".parse::<Format>().unwrap_err(), @"");
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
            let line = |second: &u32| format!("{{\"timestamp\":{second}000,\"input_length\":1,\"output_length\":1}}\n");
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
