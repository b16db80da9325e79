//! Over real sockets, with a client that writes its requests by hand.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::*;

struct Running {
    port: u16,
    stop: oneshot::Sender<()>,
    told: mpsc::Receiver<Told>,
    ended: tokio::task::JoinHandle<Ended>,
}

/// Quick, so that tests are.
fn quick() -> Settings {
    Settings {
        load_time: Duration::ZERO,
        prefill_tokens_per_s: 1e6,
        decode_tokens_per_s: 5_000.0,
        per_sequence_us: 1.0,
        ..Settings::default()
    }
}

async fn start(settings: Settings) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let port = listener.local_addr().expect("it is bound").port();
    let ((stop, stopped), (to_test, told)) = (oneshot::channel(), mpsc::channel(8));
    let stop_future = async move {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(serve(settings, listener, stop_future, move |what| {
        to_test.try_send(what).expect("a test has room for what it is told");
    }));
    Running { port, stop, told, ended }
}

async fn ready(settings: Settings) -> Running {
    let mut running = start(settings).await;
    assert_eq!(running.told.recv().await, Some(Told::Ready));
    running
}

impl Running {
    /// Sends a request on a connection of its own and reads until the server closes.
    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = self.send(method, path, body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("answers are text")
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        stream
    }

    async fn stop(self) -> Ended {
        let _ = self.stop.send(());
        self.ended.await.expect("it does not panic")
    }
}

fn body(answer: &str) -> serde_json::Value {
    let body = answer.split_once("\r\n\r\n").expect("an answer has a head").1;
    serde_json::from_str(body).expect("the body is JSON")
}

#[tokio::test]
async fn it_answers_whole_and_says_that_it_is_fake() {
    let model = ready(quick()).await;
    let ask = r#"{"model": "any", "prompt": "one two three", "max_tokens": 5}"#;
    let answer = model.ask("POST", "/v1/completions", ask).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ntidegate-fake-model: true\r\n"), "{answer}");
    let completion = body(&answer);
    assert_eq!(completion["model"], "fake-model");
    assert_eq!(completion["system_fingerprint"], "fake");
    assert_eq!(
        completion["usage"],
        serde_json::json!({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8})
    );
    let text = completion["choices"][0]["text"].as_str().expect("a text");
    assert_eq!(text.split(' ').count(), 5);
    assert_eq!(
        body(&model.ask("POST", "/v1/completions", ask).await)["choices"],
        completion["choices"]
    );

    let ask = r#"{"messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 3}"#;
    let chat = body(&model.ask("POST", "/v1/chat/completions", ask).await);
    assert_eq!(chat["object"], "chat.completion");
    assert_eq!(chat["choices"][0]["message"]["role"], "assistant");
    let models = body(&model.ask("GET", "/v1/models", "").await);
    assert_eq!(models["data"][0]["id"], "fake-model");
    for (method, path, ask, status) in [
        ("GET", "/v1/completions", "", "405"),
        ("GET", "/nothing", "", "404"),
        ("POST", "/v1/completions", "no json", "400"),
        ("POST", "/v1/completions", "{}", "400"),
    ] {
        let answer = model.ask(method, path, ask).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
    }
    assert_eq!(model.stop().await, Ended::Stopped);
}

#[tokio::test]
async fn a_stream_has_a_chunk_for_each_token_and_its_usage_at_the_end() {
    let model = ready(quick()).await;
    let ask = r#"{"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 100,
        "stream": true, "stream_options": {"include_usage": true}}"#;
    let answer = model.ask("POST", "/v1/chat/completions", ask).await;
    assert!(answer.contains("\r\ncontent-type: text/event-stream\r\n"), "{answer}");
    let events: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let (done, chunks) = events.split_last().expect("there are events");
    assert_eq!(*done, "[DONE]");
    let chunks: Vec<serde_json::Value> =
        chunks.iter().map(|chunk| serde_json::from_str(chunk).expect("JSON")).collect();
    assert_eq!(chunks.len(), 101);
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        serde_json::json!({"role": "assistant", "content": "[fake]"})
    );
    assert_eq!(chunks[98]["choices"][0]["finish_reason"], serde_json::Value::Null);
    assert_eq!(chunks[99]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[100]["choices"], serde_json::json!([]));
    assert_eq!(chunks[100]["usage"]["completion_tokens"], 100);
    let streamed: String = chunks[..100]
        .iter()
        .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().expect("a text"))
        .collect();
    let ask = r#"{"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 100}"#;
    let whole = body(&model.ask("POST", "/v1/chat/completions", ask).await);
    assert_eq!(whole["choices"][0]["message"]["content"], streamed);
}

#[tokio::test]
async fn while_it_loads_it_is_not_well_and_takes_nothing() {
    let model = start(Settings { hang: Some(Hang::Load), ..quick() }).await;
    for (method, path) in [("GET", "/health"), ("GET", "/v1/models"), ("POST", "/v1/completions")] {
        let answer = model.ask(method, path, "{}").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
    }
    assert_eq!(model.stop().await, Ended::Stopped);
    let model = ready(quick()).await;
    assert!(model.ask("GET", "/health", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn told_to_stop_it_answers_what_it_has() {
    let mut model = ready(Settings { decode_tokens_per_s: 200.0, ..quick() }).await;
    let ask = r#"{"prompt": "hello", "max_tokens": 60, "stream": true}"#;
    let mut stream = model.send("POST", "/v1/completions", ask).await;
    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer).await.expect("the answer has begun");
    let _ = model.stop.send(());
    assert_eq!(model.told.recv().await, Some(Told::Stopping { running: 1 }));
    stream.read_to_end(&mut answer).await.expect("it goes on");
    let answer = String::from_utf8(answer).expect("answers are text");
    assert_eq!(answer.matches("\"text\"").count(), 60);
    assert!(answer.contains("data: [DONE]"));
    assert_eq!(model.ended.await.expect("it does not panic"), Ended::Stopped);
    assert!(TcpStream::connect(("127.0.0.1", model.port)).await.is_err(), "it still listens");
}

#[tokio::test]
async fn requests_beyond_its_concurrency_wait_inside_and_metrics_tell() {
    let model = ready(Settings { max_concurrency: 2, decode_tokens_per_s: 1.0, ..quick() }).await;
    let ask = r#"{"prompt": "one two", "max_tokens": 10000}"#;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(model.send("POST", "/v1/completions", ask).await);
    }
    let shows = async |lines: [&str; 2]| {
        loop {
            let page = model.ask("GET", "/metrics", "").await;
            if lines.iter().all(|line| page.contains(line)) {
                break page;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waiting = "vllm:num_requests_waiting{model_name=\"fake-model\"} 3\n";
    let running = "vllm:num_requests_running{model_name=\"fake-model\"} 2\n";
    let page = within(shows([waiting, running])).await;
    assert!(page.contains("vllm:kv_cache_usage_perc{model_name=\"fake-model\"} 0"), "{page}");
    assert!(page.contains(
        "vllm:time_to_first_token_seconds_bucket{model_name=\"fake-model\",le=\"+Inf\"}"
    ));
    // Who goes away leaves room to who waits; an iteration takes a second here.
    drop(clients);
    let idle = "vllm:num_requests_running{model_name=\"fake-model\"} 0\n";
    let nobody = "vllm:num_requests_waiting{model_name=\"fake-model\"} 0\n";
    let page = within(shows([idle, nobody])).await;
    assert!(page.contains("finished_reason=\"abort\"} 5\n"), "{page}");
}

#[tokio::test]
async fn it_fails_as_it_was_told_to() {
    let failing = start(Settings { fails_to_load: true, ..quick() }).await;
    assert_eq!(failing.ended.await.expect("it does not panic"), Ended::FailedToLoad);

    let crashing = ready(Settings { crash_after: Some(CrashAfter::Requests(1)), ..quick() }).await;
    let ask = r#"{"prompt": "hello"}"#;
    assert!(crashing.ask("POST", "/v1/completions", ask).await.starts_with("HTTP/1.1 200 "));
    let unanswered = crashing.send("POST", "/v1/completions", ask).await;
    assert_eq!(crashing.ended.await.expect("it does not panic"), Ended::Crashed);
    drop(unanswered);

    let at_once = CrashAfter::Time(Duration::ZERO);
    let crashing = start(Settings { crash_after: Some(at_once), ..quick() }).await;
    assert_eq!(crashing.ended.await.expect("it does not panic"), Ended::Crashed);

    let erring = ready(Settings { error_rate: 0.5, ..quick() }).await;
    let mut errors = 0;
    for _ in 0..40 {
        let answer = erring.ask("POST", "/v1/completions", ask).await;
        errors += usize::from(answer.starts_with("HTTP/1.1 500 "));
    }
    assert!((5..=35).contains(&errors), "{errors} of 40");
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it comes within a minute")
}
