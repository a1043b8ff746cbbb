//! The part of CBOR that entries use, in its one deterministic encoding.
//!
//! Unsigned integers, byte and text strings, arrays and maps of definite length, nothing else.
//! Lengths and integers take the fewest bytes, map keys are sorted by their encoded bytes and
//! distinct (RFC 8949 §4.2.1). The reader refuses everything else, so that what it accepts is what
//! the writer writes. It borrows from its input and allocates nothing.

use std::fmt::Write as _;

/// The input is not deterministic CBOR of the kinds that entries use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidCbor {
    /// It ends early.
    #[error("the entry ends in the middle of a value")]
    Truncated,
    /// Bytes follow the value.
    #[error("{bytes} bytes follow the entry")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// An integer or a length takes more bytes than it needs.
    #[error("an integer or length is longer than it need be")]
    NotShortest,
    /// A value of a kind that entries do not use: a tag, a float, an indefinite length.
    #[error("the initial byte {initial:#04x} is of no kind that entries use")]
    Kind {
        /// The initial byte.
        initial: u8,
    },
    /// Another kind of value than belongs here.
    #[error("a value should be {expected}")]
    Unexpected {
        /// What belongs here.
        expected: &'static str,
    },
    /// The keys of a map are not in ascending order of their bytes, or one stands twice.
    #[error("the keys of a map are not sorted, or one stands twice")]
    Unsorted,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// Arrays and maps inside one another, deeper than entries go.
    #[error("values are nested too deep")]
    TooDeep,
}

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Levels that [`diagnostic`] follows. Entries have four.
const DEPTH: usize = 8;

/// Reads values off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What is not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading: nothing may be left.
    pub(crate) const fn finish(self) -> Result<(), InvalidCbor> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(InvalidCbor::Trailing { bytes }),
        }
    }

    /// The major type and the argument of the next head.
    #[inline]
    fn head(&mut self) -> Result<(u8, u64), InvalidCbor> {
        let (&initial, rest) = self.rest.split_first().ok_or(InvalidCbor::Truncated)?;
        let (major, short) = (initial >> 5, initial & 0x1f);
        if !matches!(major, UNSIGNED | BYTES | TEXT | ARRAY | MAP) {
            return Err(InvalidCbor::Kind { initial });
        }
        if short < 24 {
            self.rest = rest;
            return Ok((major, u64::from(short)));
        }
        let (argument, rest, least) = match short {
            24 => {
                let (bytes, rest) = take::<1>(rest)?;
                (u64::from(bytes[0]), rest, 24)
            }
            25 => {
                let (bytes, rest) = take::<2>(rest)?;
                (u64::from(u16::from_be_bytes(bytes)), rest, 1 << 8)
            }
            26 => {
                let (bytes, rest) = take::<4>(rest)?;
                (u64::from(u32::from_be_bytes(bytes)), rest, 1 << 16)
            }
            27 => {
                let (bytes, rest) = take::<8>(rest)?;
                (u64::from_be_bytes(bytes), rest, 1 << 32)
            }
            _ => return Err(InvalidCbor::Kind { initial }),
        };
        if argument < least {
            return Err(InvalidCbor::NotShortest);
        }
        self.rest = rest;
        Ok((major, argument))
    }

    #[inline]
    fn of(&mut self, major: u8, expected: &'static str) -> Result<u64, InvalidCbor> {
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            _ => Err(InvalidCbor::Unexpected { expected }),
        }
    }

    #[inline]
    fn string(&mut self, length: u64) -> Result<&'a [u8], InvalidCbor> {
        let length = usize::try_from(length).map_err(|_| InvalidCbor::Truncated)?;
        let (string, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(InvalidCbor::Truncated)?;
        self.rest = rest;
        Ok(string)
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, InvalidCbor> {
        self.of(UNSIGNED, "an unsigned integer")
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, InvalidCbor> {
        let length = self.of(TEXT, "a text")?;
        let text = self.string(length)?;
        std::str::from_utf8(text).map_err(|_| InvalidCbor::NotUtf8)
    }

    /// A byte string of exactly 32 bytes.
    pub(crate) fn digest(&mut self) -> Result<[u8; 32], InvalidCbor> {
        const EXPECTED: &str = "a digest of 32 bytes";
        let length = self.of(BYTES, EXPECTED)?;
        let digest = self.string(length)?.try_into();
        digest.map_err(|_| InvalidCbor::Unexpected { expected: EXPECTED })
    }

    /// Whether a byte string comes next.
    pub(crate) fn is_bytes(&self) -> bool {
        self.rest
            .first()
            .is_some_and(|initial| initial >> 5 == BYTES)
    }

    /// The count of the values that follow. A claim: nothing may be allocated for it.
    pub(crate) fn array(&mut self) -> Result<u64, InvalidCbor> {
        self.of(ARRAY, "an array")
    }

    /// The pairs that follow.
    pub(crate) fn map(&mut self) -> Result<Keys<'a>, InvalidCbor> {
        Ok(Keys {
            left: self.of(MAP, "a map")?,
            last: &[],
        })
    }
}

#[inline]
fn take<const N: usize>(input: &[u8]) -> Result<([u8; N], &[u8]), InvalidCbor> {
    let (bytes, rest) = input.split_first_chunk().ok_or(InvalidCbor::Truncated)?;
    Ok((*bytes, rest))
}

/// The keys of a map, in their order.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    left: u64,
    /// The encoded key before this one; every key is greater than nothing.
    last: &'a [u8],
}

impl<'a> Keys<'a> {
    /// The next key, or `None` after the last. The caller reads its value before it asks again.
    #[inline]
    pub(crate) fn next(&mut self, reader: &mut Reader<'a>) -> Result<Option<&'a str>, InvalidCbor> {
        if self.left == 0 {
            return Ok(None);
        }
        let before = reader.rest;
        let key = reader.text()?;
        let encoded = &before[..before.len() - reader.rest.len()];
        if encoded <= self.last {
            return Err(InvalidCbor::Unsorted);
        }
        self.last = encoded;
        self.left -= 1;
        Ok(Some(key))
    }
}

/// Writes values one after the other. The caller writes the keys of a map in their order: shorter
/// first, equally long ones by their bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        match argument {
            0..24 => self.0.push(major | bytes[7]),
            24..0x100 => self.0.extend([major | 24, bytes[7]]),
            0x100..0x1_0000 => {
                self.0.push(major | 25);
                self.0.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..0x1_0000_0000 => {
                self.0.push(major | 26);
                self.0.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend_from_slice(&bytes);
            }
        }
    }

    fn length(&mut self, major: u8, length: usize) {
        self.head(major, u64::try_from(length).unwrap_or(u64::MAX));
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.length(TEXT, text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(BYTES, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn array(&mut self, values: usize) {
        self.length(ARRAY, values);
    }

    pub(crate) fn map(&mut self, pairs: usize) {
        self.length(MAP, pairs);
    }
}

/// The value in diagnostic notation (RFC 8949 §8), indented, for people.
///
/// # Errors
///
/// [`InvalidCbor`] when it is not deterministic CBOR of the kinds that entries use, which an entry
/// of a newer version may be.
pub fn diagnostic(input: &[u8]) -> Result<String, InvalidCbor> {
    let mut reader = Reader::new(input);
    let mut out = String::new();
    value(&mut reader, 0, &mut out)?;
    reader.finish()?;
    Ok(out)
}

fn value(reader: &mut Reader<'_>, depth: usize, out: &mut String) -> Result<(), InvalidCbor> {
    if depth > DEPTH {
        return Err(InvalidCbor::TooDeep);
    }
    let mut ahead = *reader;
    let (major, argument) = ahead.head()?;
    match major {
        UNSIGNED => {
            reader.unsigned()?;
            out.push_str(&argument.to_string());
        }
        BYTES => {
            out.push_str("h'");
            for byte in ahead.string(argument)? {
                let _infallible = write!(out, "{byte:02x}");
            }
            out.push('\'');
            *reader = ahead;
        }
        TEXT => quoted(reader.text()?, out),
        ARRAY => {
            let values = reader.array()?;
            out.push('[');
            for at in 0..values {
                separator(at == 0, depth + 1, out);
                value(reader, depth + 1, out)?;
            }
            closing(values == 0, depth, out);
            out.push(']');
        }
        _ => {
            let mut keys = reader.map()?;
            let mut empty = true;
            out.push('{');
            while let Some(key) = keys.next(reader)? {
                separator(empty, depth + 1, out);
                empty = false;
                quoted(key, out);
                out.push_str(": ");
                value(reader, depth + 1, out)?;
            }
            closing(empty, depth, out);
            out.push('}');
        }
    }
    Ok(())
}

fn separator(first: bool, depth: usize, out: &mut String) {
    if !first {
        out.push(',');
    }
    line(depth, out);
}

fn closing(empty: bool, depth: usize, out: &mut String) {
    if !empty {
        line(depth, out);
    }
}

fn line(depth: usize, out: &mut String) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// A text as JSON writes it; control characters never reach a terminal.
fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            _ if character.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_form_of_an_integer_is_read() {
        for (input, expected) in [
            (&[0x17][..], Ok(23)),
            (&[0x18, 0x18], Ok(24)),
            (&[0x18, 0x17], Err(InvalidCbor::NotShortest)),
            (&[0x19, 0x00, 0xff], Err(InvalidCbor::NotShortest)),
            (&[0x19, 0x01, 0x00], Ok(256)),
            (&[0x1a, 0, 0, 0xff, 0xff], Err(InvalidCbor::NotShortest)),
            (&[0x1a, 0, 1, 0, 0], Ok(65_536)),
            (
                &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
                Err(InvalidCbor::NotShortest),
            ),
            (&[0x1b, 0, 0, 0, 1, 0, 0, 0, 0], Ok(1 << 32)),
            (&[0x1c], Err(InvalidCbor::Kind { initial: 0x1c })),
            (&[0x1f], Err(InvalidCbor::Kind { initial: 0x1f })),
            (&[0x19, 0x01], Err(InvalidCbor::Truncated)),
            (&[], Err(InvalidCbor::Truncated)),
        ] {
            assert_eq!(Reader::new(input).unsigned(), expected, "{input:02x?}");
            if let Ok(value) = expected {
                let mut writer = Writer::default();
                writer.unsigned(value);
                assert_eq!(writer.0, input);
            }
        }
    }

    #[test]
    fn kinds_that_entries_do_not_use_are_refused() {
        for initial in [0x20, 0x5f, 0x7f, 0x9f, 0xbf, 0xc0, 0xf4, 0xf6, 0xf9, 0xff] {
            let found = diagnostic(&[initial, 0x00, 0x00]);
            assert_eq!(found, Err(InvalidCbor::Kind { initial }));
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_and_nothing_is_allocated_for_it() {
        for major in [BYTES, TEXT, ARRAY, MAP] {
            let input = [
                major << 5 | 27,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
            ];
            assert_eq!(diagnostic(&input), Err(InvalidCbor::Truncated));
        }
    }

    #[test]
    fn keys_stand_in_the_order_of_their_encoding_and_once() {
        for (input, expected) in [
            (&b"\xa2\x61b\x00\x62aa\x00"[..], None),
            (b"\xa2\x62aa\x00\x61b\x00", Some(InvalidCbor::Unsorted)),
            (b"\xa2\x61b\x00\x61a\x00", Some(InvalidCbor::Unsorted)),
            (b"\xa2\x61a\x00\x61a\x00", Some(InvalidCbor::Unsorted)),
        ] {
            assert_eq!(diagnostic(input).err(), expected, "{input:02x?}");
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        let deep = [0x81; 5000];
        assert_eq!(diagnostic(&deep), Err(InvalidCbor::TooDeep));
    }
}
