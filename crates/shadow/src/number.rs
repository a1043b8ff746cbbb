//! Whether two JSON numbers are the same number.
//!
//! Numbers are kept as their writer spelled them, so `20` and `20.0` are different text. A device
//! that reports `20.0` for a desired `20` has done what it was asked, hence the comparison by
//! value. It is exact: nothing passes through floating point.

/// Whether two JSON number texts name one value.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a == b
        || match (Decimal::read(a), Decimal::read(b)) {
            (Some(a), Some(b)) => a == b,
            (Some(_) | None, Some(_) | None) => false,
        }
}

/// `digits` × 10^`exponent`, without zeros at either end of `digits`; zero has no digits.
#[derive(Eq, PartialEq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None` when the exponent is beyond what this can hold.
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let trimmed = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len() - trimmed.len()).ok()?;
        let digits = trimmed.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits,
                exponent: 0,
            });
        }
        let exponent = exponent
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(dropped)?;
        Some(Self {
            negative,
            digits,
            exponent,
        })
    }
}

#[test]
fn numbers_are_compared_by_value_and_exactly() {
    for (a, b, expected) in [
        ("20", "20.0", true),
        ("1e2", "100", true),
        ("1E+2", "100.00", true),
        ("0.10", "1e-1", true),
        ("-0", "0", true),
        ("0e5", "0.0", true),
        ("1", "-1", false),
        ("9007199254740993", "9007199254740992", false),
        ("0.1", "0.10000000000000000001", false),
        ("1e99999999999999999999", "1e99999999999999999999", true),
        ("1e99999999999999999999", "1e99999999999999999998", false),
    ] {
        assert_eq!(same(a, b), expected, "{a} and {b}");
    }
}
