//! What the SDK makes of scaling calls in which several targets are at fault, and of states that another layout left.

use tidegate_policy::native;
use tidegate_policy::scaling::{Batch, Births, Inheritance, States};
use tidegate_policy::{Causes, Decision, Document, Faults, Notes, Scaling, Seen, Wants};

/// Counts its decisions, from the number that its settings name.
struct Counter;

tidegate_policy::export_scaling!(Counter);

impl Scaling for Counter {
    type Settings = u32;
    type Params = u32;
    type State = (u32, bool);
    const STATE_SCHEMA: &'static str = "counter/2";

    fn bind(document: Document<u32>, want: &mut Wants) -> Result<u32, Faults> {
        want.causes(Causes::TICK);
        Ok(document.settings)
    }
    fn init(from: &u32, _: u64, ready: Option<f64>) -> (u32, bool) {
        (*from, ready.is_some())
    }
    fn decide(_: &u32, state: &mut (u32, bool), _: &Seen<'_>, _: &mut Notes<'_>) -> Decision {
        state.0 += 1;
        Decision::replicas(state.0)
    }
    /// The first layout was one byte, the count, from 0.
    fn migrate(
        schema: &str,
        old: &[u8],
        from: &u32,
        _: u64,
        ready: Option<f64>,
    ) -> Result<(u32, bool), String> {
        match (schema, old) {
            ("counter/1", [count]) => Ok((from + u32::from(*count), ready.is_some())),
            ("counter/1", _) => Err(format!("{} bytes are no count", old.len())),
            _ => Err(format!("layout {schema} is not known")),
        }
    }
}

/// Four targets, every other one with other settings.
fn born() -> Births {
    let params = |from: u32| {
        native::bind::<Counter>(&format!(r#"{{"settings": {from}}}"#)).expect("it binds").params
    };
    Births {
        at_ms: 1,
        params: vec![params(10), params(20)],
        params_of: vec![0, 1, 0, 1],
        ready: vec![f64::NAN, 1.0, 1.0, 1.0],
    }
}

fn batch(states: States) -> Batch {
    let Births { at_ms, params, params_of, .. } = born();
    Batch {
        at_ms,
        causes_of: vec![Causes::TICK; 4],
        params,
        params_of,
        groups: vec![0, 1, 2, 3],
        states,
        inputs: Vec::new(),
        words: Vec::new(),
    }
}

#[test]
fn everybody_whose_params_or_state_does_not_decode_is_named_at_once() {
    type Spoil = fn(&mut Batch);
    let cases: [(Spoil, &[u32], &str); 5] = [
        (|seen| seen.params[1].push(0), &[1, 3], "params 1 do not decode"),
        (|seen| seen.params_of[2] = 9, &[2], "params 9 of 2 asked for"),
        // Each state has two bytes; 2 is no truth value.
        (
            |seen| [1, 5, 7].into_iter().for_each(|at| seen.states.bytes[at] = 2),
            &[0, 2, 3],
            "state",
        ),
        (
            |seen| {
                seen.params[1].clear();
                seen.states.bytes[5] = 2;
            },
            &[1, 2, 3],
            "params 1 do not decode",
        ),
        (|seen| seen.states.ends[3] = 99, &[3], "state is bytes 6 to 99 of 8"),
    ];
    for (spoil, culprits, message) in cases {
        let mut seen = batch(native::init::<Counter>(&born()).expect("they are born"));
        assert!(native::decide::<Counter>(&seen).is_ok());
        spoil(&mut seen);
        let failure = native::decide::<Counter>(&seen).expect_err(message);
        assert_eq!(failure.culprits, culprits);
        assert!(failure.message.starts_with(message), "{}", failure.message);
        assert_eq!(native::explain::<Counter>(&seen).expect_err(message), failure);
    }
    let mut born = born();
    born.params[0].clear();
    assert_eq!(native::init::<Counter>(&born).expect_err("no params").culprits, [0, 2]);
}

#[test]
fn states_of_another_layout_are_taken_over_with_what_a_birth_gets() {
    let from = |schema: &str, bytes: &[u8], ends: &[u32]| Inheritance {
        born: born(),
        schema: schema.into(),
        old: States { bytes: bytes.to_vec(), ends: ends.to_vec() },
    };
    let migrated = native::migrate::<Counter>(&from("counter/1", &[1, 2, 3, 4], &[1, 2, 3, 4]));
    assert_eq!(migrated.expect("they are counts").bytes, [11, 0, 22, 1, 13, 1, 24, 1]);

    let own = native::init::<Counter>(&born()).expect("they are born");
    let same = native::migrate::<Counter>(&from("counter/2", &own.bytes, &own.ends));
    assert_eq!(same, Ok(own));

    let failure = native::migrate::<Counter>(&from("counter/1", &[1, 2, 3, 4], &[0, 1, 3, 4]))
        .expect_err("two are no counts");
    assert_eq!(failure.culprits, [0, 2]);
    assert_eq!(failure.message, "0 bytes are no count (1 more is at fault)");
    let failure = native::migrate::<Counter>(&from("other/1", &[], &[0; 4])).expect_err("unknown");
    assert_eq!(failure.culprits, [0, 1, 2, 3]);
}
