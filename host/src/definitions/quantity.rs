//! Kubernetes' quantities: `4`, `500m`, `16Gi`, `1.5e3`.

/// An amount, exact: `digits` times a power of ten times a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    digits: u128,
    ten: i32,
    two: u32,
}

/// Reads a quantity as Kubernetes' API does. Negative ones are refused: there is no such CPU or memory.
pub(super) fn parse_quantity(text: &str) -> Option<Quantity> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok().filter(|d| *d < 1 << 96)?;
    let (ten, two) = match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse::<i8>().ok()?.into(), 0),
    };
    let fraction = i32::try_from(fraction.len()).ok()?;
    Some(Quantity { digits, ten: ten - fraction, two })
}

impl Quantity {
    /// Whole units, rounded up. `None`: more than fit into 64 bits.
    pub(super) fn units(self) -> Option<u64> {
        self.scaled(0)
    }

    /// Thousandths, rounded up. `None`: more than fit into 64 bits.
    pub(super) fn milli(self) -> Option<u64> {
        self.scaled(3)
    }

    fn scaled(self, by: i32) -> Option<u64> {
        let ten = self.ten + by;
        if self.digits == 0 {
            return Some(0);
        }
        let value = self.digits.checked_mul(1u128.checked_shl(self.two)?)?;
        let power = 10u128.checked_pow(ten.unsigned_abs());
        let value = match (ten >= 0, power) {
            (true, power) => value.checked_mul(power?)?,
            (false, Some(power)) => value.div_ceil(power),
            // Smaller than anything that counts, and yet not nothing.
            (false, None) => 1,
        };
        u64::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_kubernetes_reads_them() {
        for (text, units, milli) in [
            ("4", 4, 4_000),
            ("500m", 1, 500),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("2.", 2, 2_000),
            ("16Gi", 17_179_869_184, 17_179_869_184_000),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
            ("1.5e3", 1_500, 1_500_000),
            ("1E3", 1_000, 1_000_000),
            ("12e-1", 2, 1_200),
            ("128974848", 128_974_848, 128_974_848_000),
            ("1E", 1_000_000_000_000_000_000, u64::MAX),
            ("100n", 1, 1),
            ("0", 0, 0),
            ("0e99", 0, 0),
            ("1e-99", 1, 1),
        ] {
            let quantity = parse_quantity(text).unwrap_or_else(|| panic!("{text} is a quantity"));
            assert_eq!(quantity.units(), Some(units), "{text}");
            assert_eq!(quantity.milli().unwrap_or(u64::MAX), milli, "{text}");
        }
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        for text in
            ["", ".", "Gi", "-1", "1 Gi", "1gi", "1K", "1.2.3", "1e", "1e1.5", "0x10", "4 ", "1Gib"]
        {
            assert_eq!(parse_quantity(text), None, "{text}");
        }
        assert_eq!(parse_quantity("1e40").and_then(Quantity::units), None);
        assert_eq!(parse_quantity("999Ei").and_then(Quantity::units), None);
    }
}
