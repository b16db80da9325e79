//! API keys, in the form that OpenAI's clients send: `Authorization: Bearer KEY`.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Keys that open the gateway. Only their digests are kept.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// These keys. Without any, everybody is let in.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Keys {
        Keys(keys.into_iter().map(|key| Sha256::digest(key).into()).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request shows one of the keys. Digests are compared, all of them and in constant time, so that the time taken tells
    /// nothing of a key, nor of its length.
    pub fn let_in(&self, headers: &HeaderMap) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut shown = headers.get_all(AUTHORIZATION).into_iter();
        let (Some(only), None) = (shown.next(), shown.next()) else { return false };
        let Some(shown) = bearer(only.as_bytes()) else { return false };
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let found = self.0.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&shown));
        found.into()
    }
}

/// The token of a bearer authorization. The scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn exactly_the_keys_open() {
        let keys = Keys::new(["sk-one", "sk-two"]);
        let cases: [(&[&str], bool); 10] = [
            (&["Bearer sk-one"], true),
            (&["bearer  sk-two "], true),
            (&["BEARER sk-two"], true),
            (&["Bearer sk-on"], false),
            (&["Bearer sk-one1"], false),
            (&["Bearer "], false),
            (&["Bearer"], false),
            (&["Basic sk-one"], false),
            (&["Bearer sk-one", "Bearer sk-two"], false),
            (&[], false),
        ];
        for (shown, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in shown {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(keys.let_in(&headers), expected, "{shown:?}");
            assert!(Keys::default().let_in(&headers), "without keys, everybody is let in");
        }
        assert!(!format!("{keys:?}").contains("sk-"), "keys are not told");
    }
}
