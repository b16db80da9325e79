//! Which settings a policy takes, learnt from what it says of settings that it does not take. The contract has no other word for it,
//! and none is needed: whoever refuses an unknown key says which are known, and whoever refuses a value says what was expected. The
//! SDKs' words are understood here; of a policy that words its faults otherwise nothing is learnt.

use serde::Serialize;
use serde_json::{Value, json};

use super::wire::Fault;
use super::{BindError, Package, PlacementPolicy as _, ScalingPolicy as _};

/// A key that no policy has.
const STRANGER: &str = "tidegate-asks-which-keys-there-are";
/// Keys within keys are looked for this deep.
const DEPTH: usize = 4;
/// Keys that are looked at. A policy is asked once for each.
const MOST: usize = 256;

/// A key of a policy's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Keys joined with dots, from the policy's own settings on.
    pub path: String,
    /// What its value is to be, where the policy says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// The keys of a component's settings: of its scaling policy, or else of its placement policy; `None` as for [`learn`].
pub fn of(package: &Package) -> Option<Vec<Key>> {
    let faults = |bound: Result<(), BindError>| match bound {
        Err(BindError::Faults(faults)) => faults,
        Ok(()) | Err(BindError::Call(_)) => Vec::new(),
    };
    let document = |settings: &Value| json!({ "settings": settings }).to_string();
    if let Some(mut policy) = package.scaling() {
        return learn(|own| faults(policy.bind(&document(own)).map(drop)));
    }
    let mut policy = package.placement()?;
    learn(|own| faults(policy.bind(&document(own)).map(drop)))
}

/// The keys of a policy's settings; `None` where it refuses no key, or does not say which there are. `faults_in` are the faults of
/// the policy's own settings, with paths that begin with `settings`.
pub fn learn(mut faults_in: impl FnMut(&Value) -> Vec<Fault>) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    let is_known = below(&mut Vec::new(), &mut faults_in, &mut keys);
    is_known.then_some(keys)
}

/// Adds the keys of the object at `path`, and says whether it has any that are known.
fn below(
    path: &mut Vec<String>,
    faults_in: &mut dyn FnMut(&Value) -> Vec<Fault>,
    keys: &mut Vec<Key>,
) -> bool {
    let faults = faults_in(&with(path, json!({ STRANGER: null })));
    let here = dotted(path);
    let there = format!("{here}.{STRANGER}");
    let Some(names) =
        faults.iter().filter(|fault| fault.path == there).find_map(|fault| known(&fault.message))
    else {
        return false;
    };
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    for name in names {
        if keys.len() == MOST {
            break;
        }
        path.push(name);
        let is_object = path.len() < DEPTH && below(path, faults_in, keys);
        if !is_object {
            let here = dotted(path);
            let faults = faults_in(&with(path, json!({ STRANGER: null })));
            let mut said = faults.iter().filter(|fault| fault.path == here);
            let expected = said.find_map(|fault| expected(&fault.message));
            keys.push(Key { path: path.join("."), expected });
        }
        path.pop();
    }
    true
}

/// Settings with nothing in them but `value` at `path`.
fn with(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |inner, key| json!({ key: inner }))
}

fn dotted(path: &[String]) -> String {
    path.iter().fold("settings".to_owned(), |joined, key| format!("{joined}.{key}"))
}

/// Which keys a policy says that it knows, in a fault about one that it does not know; `None` for other faults.
///
/// ```
/// # use tidegate::policy::keys::known;
/// assert_eq!(known("unknown field `a`, expected one of `b`, `c`"), Some(vec!["b", "c"]));
/// assert_eq!(known("unknown field `a`, there are no fields"), Some(vec![]));
/// assert_eq!(known("missing field `b`"), None);
/// ```
pub fn known(message: &str) -> Option<Vec<&str>> {
    // serde's words, and those of the SDKs for C and JavaScript.
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (_, rest) = rest.split_once("`, ")?;
        return Some(rest.split('`').skip(1).step_by(2).collect());
    }
    let names = message.strip_prefix("unknown key, expected ")?;
    Some(names.split([',', ' ']).filter(|name| !matches!(*name, "" | "or" | "and")).collect())
}

/// What a fault about a value says was expected, in the words of who writes settings.
fn expected(message: &str) -> Option<String> {
    let (_, expected) = message.rsplit_once("expected ")?;
    Some(match expected {
        "f64" | "f32" => "a number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => {
            "a whole number, which may be negative".to_owned()
        }
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" => "text".to_owned(),
        other => other.replace('`', ""),
    })
}

/// Takes the value at `path` out of a policy's own settings; whether it was there. Paths begin with `settings`.
pub fn remove(settings: &mut Value, path: &str) -> bool {
    let mut keys: Vec<&str> = path.split('.').collect();
    let (Some(last), Some(&"settings")) = (keys.pop(), keys.first()) else { return false };
    let mut at = settings;
    for key in &keys[1..] {
        let next = match at {
            Value::Object(entries) => entries.get_mut(*key),
            Value::Array(items) => {
                key.parse().ok().and_then(|position: usize| items.get_mut(position))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    at.as_object_mut().is_some_and(|entries| entries.remove(last).is_some())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tidegate_policy::Document;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its shape is looked at")]
    struct Settings {
        at_least: u32,
        share: Option<f64>,
        hours: Vec<Hours>,
        quiet: Hours,
        mode: Mode,
        names: std::collections::BTreeMap<String, u32>,
        is_on: bool,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    struct Hours {
        from: u32,
        days: Vec<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow,
    }

    fn faults<S: serde::de::DeserializeOwned>(settings: &Value) -> Vec<Fault> {
        let read = Document::<S>::read(&json!({ "settings": settings }).to_string());
        let faults = read.err().map(tidegate_policy::Faults::into_vec).unwrap_or_default();
        faults.into_iter().map(|fault| Fault { path: fault.path, message: fault.message }).collect()
    }

    #[test]
    fn keys_are_learnt_from_what_is_refused() {
        let keys = learn(faults::<Settings>).expect("it refuses unknown keys");
        let told: Vec<String> = keys
            .iter()
            .map(|key| format!("{}: {}", key.path, key.expected.as_deref().unwrap_or("-")))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        atLeast: a whole number
        share: a number
        hours: a list
        quiet.from: a whole number
        quiet.days: a list
        mode: fast or slow
        names: -
        isOn: true or false
        ");
    }

    #[test]
    fn of_a_policy_that_refuses_no_key_none_is_known() {
        assert_eq!(learn(faults::<Value>), None);
        assert_eq!(learn(|_| Vec::new()), None);
        // Whatever it says, asking ends.
        let endless = |settings: &Value| {
            let mut path = "settings".to_owned();
            let mut at = settings;
            while let Some((key, inner)) = at.as_object().and_then(|entries| entries.iter().next())
            {
                path = format!("{path}.{key}");
                at = inner;
            }
            vec![Fault { path, message: "unknown key, expected a, b, c, d, e, f".to_owned() }]
        };
        assert_eq!(learn(endless).map(|keys| keys.len()), Some(MOST));
    }

    #[test]
    fn what_is_removed_is_found_by_its_path() {
        let mut settings = json!({"a": {"b": [{"c": 1, "d": 2}]}});
        assert!(remove(&mut settings, "settings.a.b.0.c"));
        assert!(!remove(&mut settings, "settings.a.b.0.c"));
        assert!(!remove(&mut settings, "profile.a") && !remove(&mut settings, "settings"));
        assert_eq!(settings, json!({"a": {"b": [{"d": 2}]}}));
    }
}
