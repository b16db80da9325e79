//! Every recording of what Knative's own code decided, case by case, each a test by name; scenarios twice, with the policies linked
//! natively and with the sandboxed components that ship. `fixtures/kpa-golden/README.md` says what the files mean.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Failed, Trial};
use tidegate::parity::{self, Held, HeldChain, Kind, Recording};
use tidegate::policy::{Limits, Sandbox};

static NATIVE: LazyLock<HeldChain> = LazyLock::new(HeldChain::native);
static SANDBOXED: LazyLock<HeldChain> = LazyLock::new(|| {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
    HeldChain::sandboxed(&sandbox).expect("the built-in components load")
});

/// What the folder holds: a file that got lost must not go unnoticed.
const CASES: [(Kind, usize); 6] = [
    (Kind::Open, 85),
    (Kind::Closed, 72),
    (Kind::EndToEnd, 50),
    (Kind::Settings, 541),
    (Kind::RequestStats, 40),
    (Kind::SampleSizes, 92),
];

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/kpa-golden");
    let recordings = parity::read(&[folder], |_| {}).unwrap_or_else(|faults| {
        panic!("the recordings are not in order: {}", faults.first().expect("there is one"))
    });
    let cases: Vec<(String, Arc<Recording>)> = recordings
        .into_iter()
        .flat_map(Recording::split)
        .map(|(name, recording)| (name, Arc::new(recording)))
        .collect();
    let mut trials = vec![Trial::test("every_recording_is_there", {
        let kinds: Vec<Kind> = cases.iter().map(|(_, recording)| recording.kind()).collect();
        move || every_recording_is_there(&kinds)
    })];
    let of_settings: Vec<Arc<Recording>> = cases
        .iter()
        .filter(|(_, recording)| recording.kind() == Kind::Settings)
        .map(|(_, recording)| Arc::clone(recording))
        .collect();
    // Their names are numbers, which nobody asks for one by one; all that differ are told.
    trials.push(Trial::test(format!("settings::{}_cases", of_settings.len()), move || {
        let held = of_settings.iter().map(|case| case.hold(&NATIVE).map_err(Failed::from));
        let held: Vec<Held> = held.collect::<Result<_, _>>()?;
        told(held.iter().filter_map(difference).collect())
    }));
    for (name, recording) in cases {
        let kind = recording.kind();
        let chains: &[(&str, &'static LazyLock<HeldChain>)] = match kind {
            Kind::Open | Kind::Closed | Kind::EndToEnd => {
                &[("native", &NATIVE), ("sandboxed", &SANDBOXED)]
            }
            Kind::Settings => &[],
            Kind::RequestStats | Kind::SampleSizes => &[("", &NATIVE)],
        };
        for (flavour, chain) in chains {
            let recording = Arc::clone(&recording);
            let name = format!("{}::{}", kind.word(), name.replace([' ', ','], "-"));
            let name = if flavour.is_empty() { name } else { format!("{name}::{flavour}") };
            let chain: &'static LazyLock<HeldChain> = chain;
            trials.push(Trial::test(name, move || {
                told(difference(&recording.hold(chain)?).into_iter().collect())
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn every_recording_is_there(kinds: &[Kind]) -> Result<(), Failed> {
    let count = |kind: Kind| kinds.iter().filter(|one| **one == kind).count();
    let found = CASES.map(|(kind, _)| (kind, count(kind)));
    if found == CASES { Ok(()) } else { Err(format!("{found:?}, expected {CASES:?}").into()) }
}

fn told(differences: Vec<String>) -> Result<(), Failed> {
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

/// The first row that differs, with both sides' numbers.
fn difference(held: &Held) -> Option<String> {
    let first = held.first.as_ref()?;
    let fields = first
        .fields
        .iter()
        .map(|one| format!("{} is {}, Knative {}", one.field, one.ours, one.theirs));
    let fields: Vec<String> = fields.collect();
    let (rows, differing) = (held.rows, held.differing);
    Some(format!(
        "{}:{}: {}: {} ({differing} of {rows} rows differ)",
        first.file,
        first.line,
        first.at,
        fields.join("; ")
    ))
}
