//! The sandbox against the same policies linked natively, and how machine code comes about.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use tidegate::policy::native::{NativePlacement, NativeScaling};
use tidegate::policy::wire::{
    Batch, Births, Candidates, Causes, Nodes, PlacementInput, Replicas, Request, States, Subject,
    TaintEffect,
};
use tidegate::policy::{
    Answer, Limits, LoadError, Package, PlacementPolicy as _, Sandbox, ScalingPolicy, builtin,
    digest_of,
};

/// One target of a random batch.
#[derive(Clone, Debug)]
struct Row {
    params: prop::sample::Index,
    causes: u8,
    inputs: Vec<f64>,
}

/// What windows and facts give: finite numbers and "no data". Two things are left out, for natively they are the processor's
/// choice, and in the sandbox always the same: the sign of a NaN, which infinities would make, and which of two zeros
/// `f64::max` gives if one of them is negative.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0..1e4,
        4 => (0_u32..40).prop_map(f64::from),
        2 => Just(f64::NAN),
        1 => -1e15..1e15,
        1 => prop::sample::select(vec![0.0, 1e-300, 4_294_967_295.0, 1e18]),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (any::<prop::sample::Index>(), 1_u8..32, prop::collection::vec(number(), 24));
    let row = row.prop_map(|(params, causes, inputs)| Row { params, causes, inputs });
    prop::collection::vec(row, 1..40)
}

/// Settings documents as services have them.
fn documents() -> [String; 3] {
    let document = |profile, annotations, concurrency: u32| {
        let profile: serde_json::Value = profile;
        let annotations: serde_json::Value = annotations;
        let service =
            serde_json::json!({"annotations": annotations, "containerConcurrency": concurrency});
        serde_json::json!({"settings": {}, "profile": profile, "service": service}).to_string()
    };
    use serde_json::json;
    [
        document(json!({}), json!({}), 0),
        document(
            json!({"stable-window": "120s", "scale-down-delay": "45s"}),
            json!({"autoscaling.knative.dev/activation-scale": "3"}),
            4,
        ),
        document(
            json!({"target-burst-capacity": "-1", "max-scale-down-rate": "1.5"}),
            json!({"autoscaling.knative.dev/metric": "rps", "autoscaling.knative.dev/target": "0.7"}),
            0,
        ),
    ]
}

fn package(name: &str) -> Package {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
    sandbox.load_trusted(builtin::builtin(name).expect("it is built in")).expect("it loads")
}

/// Both give the same programs, states, decisions and explanations, bit for bit, over several decisions.
fn check(native: &mut dyn ScalingPolicy, sandboxed: &mut dyn ScalingPolicy, steps: &[Vec<Row>]) {
    let mut programs = Vec::new();
    for document in documents() {
        let program = native.bind(&document).expect("it binds");
        assert_eq!(sandboxed.bind(&document).expect("it binds"), program);
        programs.push(program);
    }
    let params: Vec<Vec<u8>> = programs.iter().map(|program| program.params.clone()).collect();
    for rows in steps {
        let n = rows.len();
        let params_of: Vec<u32> =
            rows.iter().map(|row| row.params.index(params.len()) as u32).collect();
        let ready: Vec<f64> = rows.iter().map(|row| row.inputs[23]).collect();
        let mut at_ms = 1_704_067_200_000;
        let born = Births { at_ms, params: params.clone(), params_of: params_of.clone(), ready };
        let mut states = native.init(&born).expect("they are born");
        assert_eq!(sandboxed.init(&born).expect("they are born"), states);
        let columns = programs.iter().map(|program| program.inputs.len()).max().unwrap_or(0);
        let outputs = programs.iter().map(|program| program.outputs.len()).max().unwrap_or(0);
        // The rows' inputs in turn, so that later decisions build on the states of earlier ones.
        for turn in 0..4 {
            at_ms += 2_000 + 7_000 * turn as u64;
            let input = |column: usize, row: &Row| row.inputs[(column + turn * 5) % 24];
            let batch = Batch {
                at_ms,
                causes_of: rows.iter().map(|row| causes(row.causes)).collect(),
                params: params.clone(),
                params_of: params_of.clone(),
                groups: (0..n as u32).collect(),
                states: States { bytes: states.bytes.clone(), ends: states.ends.clone() },
                inputs: (0..columns)
                    .flat_map(|column| rows.iter().map(move |row| input(column, row)))
                    .collect(),
                words: Vec::new(),
            };
            let (ours, theirs) =
                (native.decide(&batch, outputs), sandboxed.decide(&batch, outputs));
            assert_eq!(bits(&ours), bits(&theirs));
            assert_eq!(
                format!("{:?}", native.explain(&batch)),
                format!("{:?}", sandboxed.explain(&batch))
            );
            states = ours.decisions.states;
        }
    }
}

fn causes(bits: u8) -> Causes {
    let all = [Causes::CREATED, Causes::TICK, Causes::POKE, Causes::CHANGE, Causes::TIMER];
    let is_set = |(at, _): &(usize, Causes)| bits & (1 << at) != 0;
    let set = all.into_iter().enumerate().filter(is_set);
    set.fold(Causes::empty(), |causes, (_, cause)| causes | cause)
}

/// An answer without its fuel, with numbers as bits, since NaN does not equal itself.
fn bits(answer: &Answer) -> String {
    let outputs: Vec<u64> = answer.decisions.outputs.iter().map(|value| value.to_bits()).collect();
    let decisions = &answer.decisions;
    format!(
        "{:?} {:?} {:?} {outputs:?} {:?} {:?}",
        decisions.wanted, decisions.apply, decisions.next_at_ms, decisions.states, answer.failed
    )
}

/// A node of a random fleet: its label and its taint are among four, and its facts are numbers.
#[derive(Clone, Debug)]
struct Machine {
    label: u32,
    taint: Option<(u32, u8)>,
    facts: Vec<f64>,
}

fn machine() -> impl Strategy<Value = Machine> {
    let small = || prop_oneof![4 => (0_u32..9).prop_map(f64::from), 1 => number()];
    (0_u32..4, prop::option::of((0_u32..4, 0_u8..3)), prop::collection::vec(small(), 16))
        .prop_map(|(label, taint, facts)| Machine { label, taint, facts })
}

/// A fleet, the replicas to place with four facts each, and the candidates that may leave.
fn request(
    machines: &[Machine],
    replicas: &[Vec<f64>],
    params: &[Vec<u8>],
    inputs: &[PlacementInput],
) -> Request {
    let count = |subject| inputs.iter().filter(|input| input.subject == subject).count();
    let (n, m) = (machines.len(), replicas.len());
    let words = ["h100", "a40", "spot", "gpu", "class"].map(str::to_owned).to_vec();
    let class = 4;
    let mut taints = (Vec::new(), Vec::new(), Vec::new());
    let mut taint_ends = Vec::new();
    for machine in machines {
        if let Some((value, effect)) = machine.taint {
            taints.0.push(class);
            taints.1.push(value);
            taints.2.push(match effect {
                0 => TaintEffect::NoSchedule,
                1 => TaintEffect::PreferNoSchedule,
                _ => TaintEffect::NoExecute,
            });
        }
        taint_ends.push(taints.0.len() as u32);
    }
    let column = |of: usize, rows: &[&[f64]]| -> Vec<f64> {
        (0..of).flat_map(|at| rows.iter().map(move |row| row[at % row.len()])).collect()
    };
    let node_rows: Vec<&[f64]> = machines.iter().map(|machine| machine.facts.as_slice()).collect();
    let replica_rows: Vec<&[f64]> = replicas.iter().map(Vec::as_slice).collect();
    Request {
        at_ms: 1,
        nodes: Nodes {
            names: (0..n as u32).map(|at| at % 5).collect(),
            label_keys: vec![class; n],
            label_values: machines.iter().map(|machine| machine.label).collect(),
            label_ends: (1..=n as u32).collect(),
            taint_keys: taints.0,
            taint_values: taints.1,
            taint_effects: taints.2,
            taint_ends,
            facts: column(count(Subject::Node), &node_rows),
        },
        replicas: Replicas {
            params: params.to_vec(),
            params_of: (0..m).map(|at| (at % params.len()) as u32).collect(),
            facts: column(count(Subject::Replica), &replica_rows),
            pairs: (0..count(Subject::Pair) * m * n).map(|at| (at % 2) as f64).collect(),
        },
        words,
    }
}

/// Settings documents with the constraints that pods have.
fn pods() -> [String; 3] {
    use serde_json::json;
    let document = |pod| json!({"settings": {}, "service": {"pod": pod}}).to_string();
    let classes = json!({"matchExpressions": [{"key": "class", "operator": "In", "values": ["h100", "a40"]}]});
    [
        document(json!({})),
        document(json!({
            "nodeSelector": {"class": "h100"},
            "tolerations": [{"key": "class", "operator": "Exists"}],
        })),
        document(json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [classes]},
        }}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn knative_decides_the_same_natively_and_in_the_sandbox(steps in prop::collection::vec(rows(), 1..4)) {
        let mut native = NativeScaling::<tidegate_knative::Knative>::new("knative");
        static PACKAGE: OnceLock<Package> = OnceLock::new();
        let package = PACKAGE.get_or_init(|| package("knative"));
        check(&mut native, &mut package.scaling().expect("it scales"), &steps);
    }

    #[test]
    fn scale_to_zero_decides_the_same_natively_and_in_the_sandbox(steps in prop::collection::vec(rows(), 1..4)) {
        let mut native = NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero");
        static PACKAGE: OnceLock<Package> = OnceLock::new();
        let package = PACKAGE.get_or_init(|| package("scale-to-zero"));
        check(&mut native, &mut package.scaling().expect("it scales"), &steps);
    }

    #[test]
    fn affinity_places_the_same_natively_and_in_the_sandbox(
        machines in prop::collection::vec(machine(), 0..30),
        replicas in prop::collection::vec(prop::collection::vec(number(), 6), 1..8),
        choices in prop::collection::vec((0_u32..3, prop::collection::vec(number(), 8)), 0..20),
    ) {
        static PACKAGE: OnceLock<Package> = OnceLock::new();
        let mut sandboxed =
            PACKAGE.get_or_init(|| package("affinity")).placement().expect("it places");
        let mut native = NativePlacement::<tidegate_affinity::Affinity>::new("affinity");
        let inputs = native.inputs().expect("it says");
        assert_eq!(sandboxed.inputs().expect("it says"), inputs);
        let mut params = Vec::new();
        for pod in pods() {
            let program = native.bind(&pod).expect("it binds");
            assert_eq!(sandboxed.bind(&pod).expect("it binds"), program);
            params.push(program.params);
        }
        let asked = request(&machines, &replicas, &params, &inputs);
        assert_eq!(native.place(&asked), sandboxed.place(&asked));
        assert_eq!(format!("{:?}", native.explain(&asked)), format!("{:?}", sandboxed.explain(&asked)));
        let of_candidates = inputs.iter().filter(|input| input.subject == Subject::Candidate).count();
        let any = |at: usize, of: usize| at as u32 % of.max(1) as u32;
        let candidates = Candidates {
            at_ms: 1,
            words: asked.words.clone(),
            nodes: asked.nodes.clone(),
            params_of: (0..choices.len()).map(|at| any(at, params.len())).collect(),
            params,
            node_of: (0..choices.len())
                .map(|at| if at < machines.len() { any(at, machines.len()) } else { u32::MAX })
                .collect(),
            choices: choices.iter().map(|(choice, _)| *choice).collect(),
            leaving: vec![1, 2, 0],
            facts: (0..of_candidates)
                .flat_map(|column| choices.iter().map(move |(_, row)| row[column % 8]))
                .collect(),
        };
        assert_eq!(native.rank(&candidates), sandboxed.rank(&candidates));
        assert!(native.rank(&candidates).is_ok());
        assert_eq!(
            format!("{:?}", native.explain_rank(&candidates)),
            format!("{:?}", sandboxed.explain_rank(&candidates))
        );
    }
}

#[test]
fn every_built_in_policy_loads_and_is_named_by_its_digest() {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox").in_process();
    for name in builtin::names() {
        let component = builtin::builtin(name).expect("it is built in");
        let package = sandbox.load(component).expect("it loads");
        assert_eq!(package.digest(), digest_of(component), "{name}");
        assert!(package.digest().starts_with("sha256:"));
        assert_eq!(package.scaling().is_some(), name != "affinity", "{name}");
        assert_eq!(package.placement().is_some(), name == "affinity", "{name}");
    }
    assert!(builtin::builtin("keda").is_none());
}

/// A component with every mention of the contract's version replaced by one of the same length.
fn built_against(version: &str) -> Vec<u8> {
    let mut component = builtin::builtin("knative").expect("it is built in").to_vec();
    let (from, to) = (b"@0.1.0", version.as_bytes());
    let found: Vec<usize> = component
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == from).then_some(at))
        .collect();
    assert!(!found.is_empty());
    found.into_iter().for_each(|at| component[at..at + to.len()].copy_from_slice(to));
    component
}

#[test]
fn a_component_built_against_another_patch_of_the_contract_runs_and_another_minor_does_not() {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox").in_process();
    let mut policy =
        sandbox.load(&built_against("@0.1.7")).expect("it loads").scaling().expect("it scales");
    policy.bind(&documents()[0]).expect("it binds");
    assert_eq!(policy.state_schema(), Ok("knative/1".to_owned()));
    let refused = sandbox.load(&built_against("@0.2.0"));
    assert!(matches!(refused, Err(LoadError::OtherVersion { .. })));
}

fn compiler() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tidegate"))
}

#[test]
fn a_child_compiles_what_is_not_trusted() {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox").with_compiler(&compiler());
    let component = builtin::builtin("knative").expect("it is built in");
    let mut policy = sandbox.load(component).expect("it loads").scaling().expect("it scales");
    policy.bind(&documents()[0]).expect("it binds");
}

#[test]
fn a_child_that_takes_too_much_is_ended_and_the_limit_is_named() {
    let component = builtin::builtin("knative").expect("it is built in");
    let limits = Limits { compile_memory_bytes: 40 << 20, ..Limits::default() };
    let sandbox = Sandbox::new(limits).expect("a sandbox").with_compiler(&compiler());
    let error = sandbox.load(component).err().expect("it does not fit");
    assert!(matches!(error, LoadError::CompileLimit { .. }), "{error}");
    assert!(error.to_string().ends_with("more than 40 MiB of memory"), "{error}");
}

#[test]
fn what_is_not_trusted_is_not_compiled_where_nobody_said_what_compiles_it() {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
    let component = builtin::builtin("knative").expect("it is built in");
    assert!(matches!(sandbox.load(component), Err(LoadError::NoCompiler)));
    assert!(sandbox.load_trusted(component).is_ok());
}

#[test]
fn a_compiler_that_is_not_there_is_an_error() {
    let sandbox = Sandbox::new(Limits::default())
        .expect("a sandbox")
        .with_compiler(Path::new("/nonexistent/tidegate"));
    let component = builtin::builtin("knative").expect("it is built in");
    assert!(matches!(sandbox.load(component), Err(LoadError::Compiler { .. })));
}

/// The one file in a folder.
fn kept(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn machine_code_is_kept_and_a_damaged_file_is_compiled_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("deep/down");
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox").with_cache(&folder);
    let component = builtin::builtin("knative").expect("it is built in");
    sandbox.load_trusted(component).expect("it loads");
    let file = kept(&folder);
    let written = std::fs::metadata(&file).and_then(|its| its.modified()).expect("a time");

    sandbox.load_trusted(component).expect("it loads");
    let read = std::fs::metadata(&file).and_then(|its| its.modified()).expect("a time");
    assert_eq!(read, written, "the file was used, not written again");

    let good = std::fs::read(&file).expect("it is readable");
    for at in [0, 31, 32, good.len() / 2, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).expect("it is writable");
        sandbox.load_trusted(component).expect("it loads");
        assert!(std::fs::read(kept(&folder)).expect("it is readable") == good, "byte {at}");
    }
    std::fs::write(&file, &good[..20]).expect("it is writable");
    sandbox.load_trusted(component).expect("it loads");
}

#[test]
fn a_folder_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).expect("it is ours");
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox").with_cache(folder.path());
    sandbox.load_trusted(builtin::builtin("knative").expect("it is built in")).expect("it loads");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder is there").count(), 0);
}
