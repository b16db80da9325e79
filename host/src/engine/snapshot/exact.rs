//! Numbers and bytes as a snapshot keeps them: exact to the last bit, in any format that serde writes.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, to the last bit. JSON has none for NaN, which is `null`, nor for the infinite, which are their bits as a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact(pub(super) f64);

impl PartialEq for Exact {
    fn eq(&self, other: &Exact) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bits = self.0.to_bits();
        if self.0.is_finite() {
            to.serialize_f64(self.0)
        } else if bits == f64::NAN.to_bits() {
            to.serialize_none()
        } else {
            to.serialize_str(&format!("{bits:016x}"))
        }
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Exact, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Bits(String),
        }
        Ok(Exact(match Option::<Written>::deserialize(from)? {
            None => f64::NAN,
            Some(Written::Number(value)) => value,
            Some(Written::Bits(text)) => {
                f64::from_bits(u64::from_str_radix(&text, 16).map_err(D::Error::custom)?)
            }
        }))
    }
}

/// Bytes that are a policy's own, as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
        let text: String =
            self.0.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect();
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let half = |digit: u8| char::from(digit).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            &[high, low] => Some((half(high)? << 4 | half(low)?) as u8),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Bytes).ok_or_else(|| D::Error::custom("bytes are not hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back_as_they_were(bits: u64, bytes: Vec<u8>) {
            let written = (Exact(f64::from_bits(bits)), Bytes(bytes));
            let text = serde_json::to_string(&written).expect("it is written to memory");
            prop_assert_eq!(serde_json::from_str::<(Exact, Bytes)>(&text).expect("it is read"), written);
        }
    }

    #[test]
    fn what_is_no_number_comes_back_too() {
        for value in [f64::NAN, -f64::NAN, f64::INFINITY, -0.0, f64::MIN_POSITIVE / 3.0] {
            let text = serde_json::to_string(&Exact(value)).expect("it is written to memory");
            assert_eq!(serde_json::from_str::<Exact>(&text).expect(&text), Exact(value));
        }
        for wrong in ["\"0\"", "\"zz\"", "\"+1\""] {
            assert!(serde_json::from_str::<Bytes>(wrong).is_err(), "{wrong}");
        }
    }
}
