//! Writing DER (X.690) and object identifiers of the certificates we make.

use model::Timestamp;
use time::{OffsetDateTime, macros::format_description};

pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The contents of object identifiers.
pub(crate) mod oid {
    /// 2.5.4, to which the arc of a name's attribute is appended.
    pub(crate) const ATTRIBUTE: &[u8] = &[0x55, 0x04];
    /// 2.5.29.14
    pub(crate) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
    /// 2.5.29.15
    pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    /// 2.5.29.17
    pub(crate) const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    /// 2.5.29.19
    pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    /// 2.5.29.35
    pub(crate) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
    /// 2.5.29.37
    pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
    /// 1.3.6.1.5.5.7.3.1
    pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    /// 1.3.6.1.5.5.7.3.2
    pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
    /// 1.2.840.10045.4.3.2
    pub(crate) const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
}

/// Tag, length, contents.
pub(crate) fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let mut out = vec![tag];
    if contents.len() < 0x80 {
        out.push(length[length.len() - 1]);
    } else {
        let zeros = length.iter().take_while(|byte| **byte == 0).count();
        let digits = &length[zeros..];
        out.push(0x80 | u8::try_from(digits.len()).expect("a usize has at most 8 bytes"));
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(contents);
    out
}

/// `tag` around several encoded values.
pub(crate) fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(tag, &parts.concat())
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    constructed(SEQUENCE, parts)
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    constructed(SET, parts)
}

pub(crate) fn object_identifier(contents: &[u8]) -> Vec<u8> {
    value(OBJECT_IDENTIFIER, contents)
}

pub(crate) fn octet_string(contents: &[u8]) -> Vec<u8> {
    value(OCTET_STRING, contents)
}

pub(crate) fn boolean_true() -> Vec<u8> {
    value(BOOLEAN, &[0xff])
}

/// A positive INTEGER from big-endian bytes.
pub(crate) fn positive_integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut digits = bytes[zeros..].to_vec();
    if digits.first().is_none_or(|first| *first >= 0x80) {
        digits.insert(0, 0);
    }
    value(INTEGER, &digits)
}

/// A BIT STRING whose last byte has `unused` bits that do not count.
pub(crate) fn bit_string(unused: u8, bytes: &[u8]) -> Vec<u8> {
    constructed(BIT_STRING, &[&[unused], bytes])
}

/// A DirectoryString: UTF8String (RFC 5280 §4.1.2.4).
pub(crate) fn utf8_string(text: &str) -> Vec<u8> {
    value(UTF8_STRING, text.as_bytes())
}

/// A PrintableString, as `C`, `serialNumber` and `dnQualifier` require.
pub(crate) fn printable_string(text: &str) -> Vec<u8> {
    value(PRINTABLE_STRING, text.as_bytes())
}

/// A Time: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). Times beyond
/// 9999 are written as its last second, "no well-defined expiration date".
pub(crate) fn time(at: Timestamp) -> Vec<u8> {
    let last = time::macros::datetime!(9999-12-31 23:59:59 UTC);
    let at = i64::try_from(at.seconds())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or(last, |at| at.min(last));
    let (tag, text) = if at.year() < 2050 {
        let short = format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
        (UTC_TIME, at.format(short))
    } else {
        let long = format_description!("[year][month][day][hour][minute][second]Z");
        (GENERALIZED_TIME, at.format(long))
    };
    value(tag, text.expect("every component is present").as_bytes())
}

/// Splits the first value off: its tag, its contents, and what follows.
pub(crate) fn split(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let digits = rest.get(..usize::from(first & 0x7f))?;
        if digits.len() > 3 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, &rest[digits.len()..])
    };
    Some((tag, rest.get(..length)?, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_from_2050_are_written_in_full() {
        let at = |seconds| time(Timestamp::from_seconds(seconds));
        assert_eq!(at(0), b"\x17\x0d700101000000Z");
        assert_eq!(at(2_524_607_999), b"\x17\x0d491231235959Z");
        assert_eq!(at(2_524_608_000), b"\x18\x0f20500101000000Z");
        assert_eq!(at(u64::MAX), b"\x18\x0f99991231235959Z");
    }

    #[test]
    fn a_large_leading_byte_does_not_make_an_integer_negative() {
        assert_eq!(positive_integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(positive_integer(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(positive_integer(&[]), [2, 1, 0]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let contents = vec![7; 300];
        let written = value(OCTET_STRING, &contents);
        assert_eq!(
            split(&written),
            Some((OCTET_STRING, &contents[..], &[][..]))
        );
        assert_eq!(split(&written[..299]), None);
    }
}
