//! Reads a pod's constraints as they stand in its manifest, and finds every fault in them. What is refused is what Kubernetes'
//! own validation refuses (`pkg/apis/core/validation/validation.go`), and in addition bounds of `Gt` and `Lt` that are no
//! integers, with which a term would silently match nothing.

use serde_json::{Map, Value};
use tidegate_policy::Faults;

use crate::constraints::{Constraints, Effect, Term, Test, Toleration};

const TERMS: &str = "nodeSelectorTerms";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The constraints of `pod`, which stands at `path` in its document.
pub(crate) fn read(
    pod: &Value,
    path: &str,
    warnings: &mut Faults,
) -> Result<Constraints<String>, Faults> {
    let mut reader = Reader { faults: Faults::default(), warnings };
    let constraints = reader.pod(At { path: path.into(), value: pod });
    let Reader { faults, .. } = reader;
    faults.or(constraints)
}

/// A value and where it stands.
struct At<'v> {
    path: String,
    value: &'v Value,
}

struct Reader<'w> {
    faults: Faults,
    warnings: &'w mut Faults,
}

impl Reader<'_> {
    fn pod(&mut self, at: At<'_>) -> Constraints<String> {
        let mut read = Constraints::default();
        if at.value.is_null() {
            return read;
        }
        let Some(pod) = self.object(&at, &["nodeSelector", "affinity", "tolerations"]) else {
            return read;
        };
        if let Some(at) = at.key(pod, "nodeSelector")
            && let Some(labels) = self.map(&at)
        {
            for (key, value) in labels {
                let value = At { path: join(&at.path, key), value };
                read.selector.extend(self.text(&value).map(|value| (key.clone(), value)));
            }
        }
        if let Some(at) = at.key(pod, "affinity") {
            self.affinity(&at, &mut read);
        }
        if let Some(at) = at.key(pod, "tolerations") {
            read.tolerations = self.each(&at, Reader::toleration);
        }
        read
    }

    fn affinity(&mut self, at: &At<'_>, read: &mut Constraints<String>) {
        let known = ["nodeAffinity", "podAffinity", "podAntiAffinity"];
        let Some(affinity) = self.object(at, &known) else { return };
        for name in ["podAffinity", "podAntiAffinity"] {
            if let Some(at) = at.key(affinity, name) {
                self.warnings.push(at.path, "has no effect: replicas are placed by nodes alone");
            }
        }
        let Some(at) = at.key(affinity, "nodeAffinity") else { return };
        let Some(affinity) = self.object(&at, &[REQUIRED, PREFERRED]) else { return };
        if let Some(at) = at.key(affinity, REQUIRED)
            && let Some(required) = self.object(&at, &[TERMS])
        {
            match at.key(required, TERMS) {
                Some(at) => {
                    if at.value.as_array().is_some_and(Vec::is_empty) {
                        self.fault::<()>(&at, "at least one term");
                    }
                    read.required = Some(self.each(&at, Reader::term));
                }
                None => self.missing(&at, TERMS, "a list of terms"),
            }
        }
        if let Some(at) = at.key(affinity, PREFERRED) {
            read.preferred = self.each(&at, Reader::preferred);
        }
    }

    fn preferred(&mut self, at: &At<'_>) -> Option<(u32, Term<String>)> {
        let entry = self.object(at, &["weight", "preference"])?;
        let weight = match at.key(entry, "weight") {
            Some(at) => match at.value.as_u64() {
                Some(weight @ 1..=100) => Some(weight as u32),
                _ => self.fault(&at, "a whole number from 1 to 100"),
            },
            None => self.missing(at, "weight", "a whole number from 1 to 100"),
        };
        let term = match at.key(entry, "preference") {
            Some(at) => self.term(&at),
            None => self.missing(at, "preference", "a term"),
        };
        Some((weight?, term?))
    }

    fn term(&mut self, at: &At<'_>) -> Option<Term<String>> {
        let term = self.object(at, &["matchExpressions", "matchFields"])?;
        let labels = at
            .key(term, "matchExpressions")
            .map_or_else(Vec::new, |at| self.each(&at, Reader::expression));
        let names =
            at.key(term, "matchFields").map_or_else(Vec::new, |at| self.each(&at, Reader::field));
        Some(Term { labels, names })
    }

    fn expression(&mut self, at: &At<'_>) -> Option<(String, Test<String>)> {
        let expression = self.object(at, &["key", "operator", "values"])?;
        let key = match at.key(expression, "key") {
            Some(at) => self.text(&at).filter(|key| !key.is_empty()).or_else(|| {
                if at.value == "" { self.fault(&at, "the key of a label") } else { None }
            }),
            None => self.missing(at, "key", "the key of a label"),
        };
        let allowed = "In, NotIn, Exists, DoesNotExist, Gt or Lt";
        let operator = self.operator(at, expression, allowed);
        let values = self.values(at, expression);
        let test = match operator.as_deref()? {
            "In" => Test::In(self.some(at, "In", values?)?),
            "NotIn" => Test::NotIn(self.some(at, "NotIn", values?)?),
            operator @ ("Exists" | "DoesNotExist") => {
                if !values?.is_empty() {
                    let values =
                        At { path: join(&at.path, "values"), value: &expression["values"] };
                    return self.fault(&values, &format!("none with operator {operator}"));
                }
                if operator == "Exists" { Test::Exists } else { Test::DoesNotExist }
            }
            "Gt" => Test::Gt(self.bound(at, "Gt", &values?)?),
            "Lt" => Test::Lt(self.bound(at, "Lt", &values?)?),
            _ => {
                let operator =
                    At { path: join(&at.path, "operator"), value: &expression["operator"] };
                return self.fault(&operator, allowed);
            }
        };
        Some((key?, test))
    }

    fn field(&mut self, at: &At<'_>) -> Option<Test<String>> {
        let field = self.object(at, &["key", "operator", "values"])?;
        match at.key(field, "key") {
            Some(at) if at.value != "metadata.name" => {
                self.fault::<()>(&at, "metadata.name");
            }
            Some(_) => {}
            None => self.missing(at, "key", "metadata.name"),
        }
        let operator = self.operator(at, field, "In or NotIn");
        let values = self.values(at, field)?;
        let operator = operator?;
        if values.len() != 1 {
            let path = join(&at.path, "values");
            let count = values.len();
            self.faults.push(path, format!("found {count} values, expected the name of one node"));
            return None;
        }
        match operator.as_str() {
            "In" => Some(Test::In(values)),
            "NotIn" => Some(Test::NotIn(values)),
            _ => {
                let operator = At { path: join(&at.path, "operator"), value: &field["operator"] };
                self.fault(&operator, "In or NotIn")
            }
        }
    }

    fn toleration(&mut self, at: &At<'_>) -> Option<Toleration<String>> {
        let known = ["key", "operator", "value", "effect", "tolerationSeconds"];
        let entry = self.object(at, &known)?;
        let text = |reader: &mut Self, name| match at.key(entry, name) {
            Some(at) => reader.text(&at).map(|text| (at, text)),
            None => None,
        };
        let key = text(self, "key").map(|(_, key)| key).filter(|key| !key.is_empty());
        let value = text(self, "value").filter(|(_, value)| !value.is_empty());
        let is_any = match text(self, "operator") {
            None => Some(false),
            Some((at, operator)) => match operator.as_str() {
                "" | "Equal" => Some(false),
                "Exists" => Some(true),
                _ => self.fault(&at, "Exists or Equal"),
            },
        };
        let effect = match text(self, "effect") {
            None => Some(None),
            Some((at, effect)) => match effect.as_str() {
                "" => Some(None),
                "NoSchedule" => Some(Some(Effect::NoSchedule)),
                "PreferNoSchedule" => Some(Some(Effect::PreferNoSchedule)),
                "NoExecute" => Some(Some(Effect::NoExecute)),
                _ => self.fault(&at, "NoSchedule, PreferNoSchedule or NoExecute"),
            },
        };
        // For how long a replica stays when the taint appears: it may come, which is all that is asked here.
        if let Some(at) = at.key(entry, "tolerationSeconds") {
            if !at.value.is_i64() {
                self.fault::<()>(&at, "a whole number of seconds");
            } else if effect.is_some_and(|effect| effect != Some(Effect::NoExecute)) {
                self.fault::<()>(&at, "none, unless effect is NoExecute");
            }
        }
        let (is_any, effect) = (is_any?, effect?);
        if key.is_none() && !is_any {
            let operator = entry.get("operator").unwrap_or(&Value::Null);
            let operator = At { path: join(&at.path, "operator"), value: operator };
            return self.fault(&operator, "Exists where there is no key");
        }
        match value {
            Some((at, _)) if is_any => self.fault(&at, "none with operator Exists"),
            value => {
                let value = value.map_or_else(String::new, |(_, value)| value);
                Some(Toleration { key, value: (!is_any).then_some(value), effect })
            }
        }
    }

    /// The operator, which there must be.
    fn operator(&mut self, at: &At<'_>, of: &Map<String, Value>, allowed: &str) -> Option<String> {
        match at.key(of, "operator") {
            Some(at) => self.text(&at),
            None => self.missing(at, "operator", allowed),
        }
    }

    /// The values: none where they are left out.
    fn values(&mut self, at: &At<'_>, of: &Map<String, Value>) -> Option<Vec<String>> {
        let Some(at) = at.key(of, "values") else { return Some(Vec::new()) };
        let count = at.value.as_array().map(Vec::len);
        let values = self.each(&at, |reader, at| reader.text(at));
        (count == Some(values.len())).then_some(values)
    }

    fn some(&mut self, at: &At<'_>, operator: &str, values: Vec<String>) -> Option<Vec<String>> {
        if values.is_empty() {
            let message =
                format!("found none, expected at least one value with operator {operator}");
            self.faults.push(join(&at.path, "values"), message);
            return None;
        }
        Some(values)
    }

    /// The one integer that `Gt` and `Lt` compare with.
    fn bound(&mut self, at: &At<'_>, operator: &str, values: &[String]) -> Option<i64> {
        let found = match values {
            [value] => match value.parse() {
                Ok(bound) => return Some(bound),
                Err(_) => format!("{value:?}"),
            },
            values => format!("{} values", values.len()),
        };
        let message =
            format!("found {found}, expected exactly one integer with operator {operator}");
        self.faults.push(join(&at.path, "values"), message);
        None
    }

    /// An object, with a warning for each key that is not among `known`.
    fn object<'v>(&mut self, at: &At<'v>, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let object = self.map(at)?;
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let message = format!("has no effect, known are {}", listed(known));
            self.warnings.push(join(&at.path, key), message);
        }
        Some(object)
    }

    fn map<'v>(&mut self, at: &At<'v>) -> Option<&'v Map<String, Value>> {
        match at.value {
            Value::Object(object) => Some(object),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => self.fault(at, "keys with values"),
        }
    }

    /// What `read` makes of each entry of a list, as far as it is in order.
    fn each<T>(&mut self, at: &At<'_>, read: impl Fn(&mut Self, &At<'_>) -> Option<T>) -> Vec<T> {
        let Some(entries) = at.value.as_array() else {
            self.fault::<()>(at, "a list");
            return Vec::new();
        };
        let mut all = Vec::with_capacity(entries.len());
        for (position, value) in entries.iter().enumerate() {
            all.extend(read(self, &At { path: format!("{}.{position}", at.path), value }));
        }
        all
    }

    fn text(&mut self, at: &At<'_>) -> Option<String> {
        match at.value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => {
                self.fault(at, &format!("text, as \"{}\"", at.value))
            }
            Value::Null | Value::Array(_) | Value::Object(_) => self.fault(at, "text"),
        }
    }

    fn fault<T>(&mut self, at: &At<'_>, expected: &str) -> Option<T> {
        self.faults.push(at.path.clone(), format!("found {}, expected {expected}", told(at.value)));
        None
    }

    fn missing<T: Default>(&mut self, at: &At<'_>, key: &str, expected: &str) -> T {
        self.faults.push(join(&at.path, key), format!("missing, expected {expected}"));
        T::default()
    }
}

impl<'v> At<'v> {
    /// The value of a key. Null is as good as absent, as in Kubernetes.
    fn key(&self, object: &'v Map<String, Value>, key: &str) -> Option<At<'v>> {
        let value = object.get(key).filter(|value| !value.is_null())?;
        Some(At { path: join(&self.path, key), value })
    }
}

fn join(path: &str, key: &str) -> String {
    format!("{path}.{key}")
}

/// A value for people: what is small as it is, the rest by what it is.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Array(entries) if entries.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "keys with values".into(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).into(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}
