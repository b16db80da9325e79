//! What vLLM calls its figures, so that whatever reads a vLLM server's metrics reads this one's.

use std::fmt::Write as _;

use super::batching::Levels;

/// vLLM's buckets for the time to the first token. Seconds.
const BUCKETS_S: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) prompt_tokens: u64,
    pub(super) generation_tokens: u64,
    pub(super) finished: u64,
    /// Given up by whoever asked.
    pub(super) aborted: u64,
    first_token: [u64; BUCKETS_S.len()],
    first_tokens: u64,
    first_token_sum_us: u64,
}

impl Counts {
    /// A first token came so long after its request.
    pub(super) fn first_token_us(&mut self, us: u64) {
        let seconds = us as f64 / 1e6;
        if let Some(bucket) = BUCKETS_S.iter().position(|bucket| seconds <= *bucket) {
            self.first_token[bucket] += 1;
        }
        self.first_tokens += 1;
        self.first_token_sum_us += us;
    }
}

/// The page that Prometheus reads. `model` goes into a label.
pub(super) fn render(model: &str, levels: Levels, counts: &Counts) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut page = String::with_capacity(4_096);
    let mut one = |name: &str, kind: &str, help: &str, value: String| {
        let _ = writeln!(page, "# HELP vllm:{name} {help} Fake.\n# TYPE vllm:{name} {kind}");
        let _ = writeln!(page, "vllm:{name}{{model_name=\"{model}\"}} {value}");
    };
    let count = |count: u64| count.to_string();
    one("num_requests_running", "gauge", "Requests that run.", levels.running.to_string());
    one("num_requests_waiting", "gauge", "Requests that wait inside.", levels.waiting.to_string());
    one("kv_cache_usage_perc", "gauge", "Used part of the cache; 1 is all.", {
        levels.cache_use.to_string()
    });
    one("prompt_tokens_total", "counter", "Prompt tokens read.", count(counts.prompt_tokens));
    one("generation_tokens_total", "counter", "Tokens written.", count(counts.generation_tokens));
    let name = "vllm:request_success_total";
    let _ = writeln!(page, "# HELP {name} Requests that ended. Fake.\n# TYPE {name} counter");
    for (reason, count) in [("length", counts.finished), ("abort", counts.aborted)] {
        let _ =
            writeln!(page, "{name}{{model_name=\"{model}\",finished_reason=\"{reason}\"}} {count}");
    }
    let name = "vllm:time_to_first_token_seconds";
    let _ = writeln!(page, "# HELP {name} Time to the first token. Fake.\n# TYPE {name} histogram");
    let mut below = 0;
    for (bucket, count) in BUCKETS_S.iter().zip(counts.first_token) {
        below += count;
        let _ = writeln!(page, "{name}_bucket{{model_name=\"{model}\",le=\"{bucket:?}\"}} {below}");
    }
    let all = counts.first_tokens;
    let _ = writeln!(page, "{name}_bucket{{model_name=\"{model}\",le=\"+Inf\"}} {all}");
    let sum_s = counts.first_token_sum_us as f64 / 1e6;
    let _ = writeln!(page, "{name}_sum{{model_name=\"{model}\"}} {sum_s}");
    let _ = writeln!(page, "{name}_count{{model_name=\"{model}\"}} {all}");
    page
}
