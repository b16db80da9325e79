//! A run that nobody asks anything of.

use crate::world::{Place, Up, fake, of_process, services};

/// How long it is watched. Milliseconds of its own clock; longer than the control loop may be silent.
const SPAN_MS: u64 = 17_000;

pub fn a_hundred_services_at_zero_are_cheap_and_well() {
    let all: Vec<String> = (0..100).map(|nth| fake(&format!("s{nth:02}"), "1s", "")).collect();
    let place = Place::new(&services(&all));
    let up = Up::start(&place);
    up.until_ready("s00", 0);
    let begun = up.status()["at"].as_u64().expect("a moment");
    let ticks = cpu_ticks(up.pid());
    let status = up.until("the status goes on", || {
        let status = up.status();
        (status["at"].as_u64() >= Some(begun + SPAN_MS)).then_some(status)
    });
    assert_eq!(up.get("/healthz").status, 200);
    assert_eq!(up.get("/readyz").status, 200);
    // Its own time includes that of the questions above, fifty a second.
    let used = cpu_ticks(up.pid()).zip(ticks).map(|(now, then)| now - then);
    let memory = of_process(up.pid(), "status");
    let memory =
        memory.as_deref().and_then(|text| text.lines().find(|line| line.starts_with("VmRSS")));
    eprintln!(
        "100 idle services: {used:?} ticks of 10 ms in 17 s, {memory:?}, {} steps, journal {}",
        status["totals"]["steps"], status["journal"]["bytes"]
    );
    let log = up.end_well();
    assert!(!log.contains("failed"), "{log}");
}

/// Processor time that a process has used, in ticks of the system.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let text = of_process(pid, "stat")?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}
