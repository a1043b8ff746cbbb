//! The little of CBOR (RFC 8949) that devices use to be provisioned: maps of texts to texts,
//! numbers and maps, as JSON has them.

use serde_json::{Map, Number, Value};

/// Levels of maps that are read. A request has two.
const DEPTH: usize = 4;

const UNSIGNED: u8 = 0;
const TEXT: u8 = 3;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// The bytes are not CBOR of a kind that is read here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("at byte {at}: expected {expected}")]
pub struct InvalidCbor {
    /// Where.
    pub at: usize,
    /// What should be there.
    pub expected: &'static str,
}

/// Reads one value, and nothing behind it.
///
/// # Errors
///
/// [`InvalidCbor`] with the place.
pub fn read(bytes: &[u8]) -> Result<Value, InvalidCbor> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    if reader.at == bytes.len() {
        Ok(value)
    } else {
        Err(reader.expected("nothing more"))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    const fn expected(&self, expected: &'static str) -> InvalidCbor {
        InvalidCbor {
            at: self.at,
            expected,
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], InvalidCbor> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| Some((end, self.bytes.get(self.at..end)?))) {
            Some((end, taken)) => {
                self.at = end;
                Ok(taken)
            }
            None => Err(self.expected("more bytes")),
        }
    }

    /// The major type, the additional information and the argument.
    fn head(&mut self) -> Result<(u8, u8, u64), InvalidCbor> {
        let first = self.take(1)?[0];
        let (major, information) = (first >> 5, first & 0x1f);
        let argument = match information {
            0..=23 => u64::from(information),
            24..=27 => {
                let count = 1 << (information - 24);
                let digits = self.take(count)?;
                digits
                    .iter()
                    .fold(0, |number, digit| number << 8 | u64::from(*digit))
            }
            INDEFINITE => 0,
            _ => return Err(self.expected("a length")),
        };
        Ok((major, information, argument))
    }

    fn value(&mut self, depth: usize) -> Result<Value, InvalidCbor> {
        let (major, information, argument) = self.head()?;
        match (major, information) {
            (MAP, _) if depth >= DEPTH => Err(self.expected("fewer levels of maps")),
            (MAP, INDEFINITE) => self.map(None, depth),
            (MAP, _) => self.map(Some(argument), depth),
            (TEXT, information) if information != INDEFINITE => {
                self.text(argument).map(Value::String)
            }
            (UNSIGNED, information) if information != INDEFINITE => {
                Ok(Value::Number(Number::from(argument)))
            }
            (SIMPLE, 20) => Ok(Value::Bool(false)),
            (SIMPLE, 21) => Ok(Value::Bool(true)),
            (SIMPLE, 22) => Ok(Value::Null),
            _ => Err(self.expected("a map, a text, a number, a boolean or null")),
        }
    }

    fn text(&mut self, bytes: u64) -> Result<String, InvalidCbor> {
        let count = usize::try_from(bytes).map_err(|_| self.expected("more bytes"))?;
        let bytes = self.take(count)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.expected("UTF-8"))
    }

    /// `entries` is only believed as far as there are bytes.
    fn map(&mut self, entries: Option<u64>, depth: usize) -> Result<Value, InvalidCbor> {
        let mut map = Map::new();
        let mut read = 0;
        loop {
            match entries {
                Some(entries) if read == entries => break,
                None if self.bytes.get(self.at) == Some(&BREAK) => {
                    self.at += 1;
                    break;
                }
                Some(_) | None => {}
            }
            let (major, information, argument) = self.head()?;
            if major != TEXT || information == INDEFINITE {
                return Err(self.expected("a text as key"));
            }
            let key = self.text(argument)?;
            let value = self.value(depth + 1)?;
            if map.insert(key, value).is_some() {
                return Err(self.expected("a key that is not there yet"));
            }
            read += 1;
        }
        Ok(Value::Object(map))
    }
}

/// Writes a value that [`read`] reads; anything else becomes null.
#[must_use]
pub fn write(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, value);
    bytes
}

fn put_head(bytes: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let digits = argument.to_be_bytes();
    let (information, from) = match argument {
        0..=23 => {
            bytes.push(major | digits[7]);
            return;
        }
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    bytes.push(major | information);
    bytes.extend_from_slice(&digits[from..]);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_head(bytes, TEXT, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => put_text(bytes, text),
        Value::Object(members) => {
            put_head(bytes, MAP, members.len() as u64);
            for (name, value) in members {
                put_text(bytes, name);
                put(bytes, value);
            }
        }
        Value::Number(number) => match number.as_u64() {
            Some(number) => put_head(bytes, UNSIGNED, number),
            None => put_head(bytes, SIMPLE, 22),
        },
        Value::Bool(false) => put_head(bytes, SIMPLE, 20),
        Value::Bool(true) => put_head(bytes, SIMPLE, 21),
        Value::Null | Value::Array(_) => put_head(bytes, SIMPLE, 22),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for value in [
            json!({}),
            json!({"a": "b", "n": 400, "deep": {"x": {"y": "é"}}, "t": true, "z": null}),
            json!({"long": "x".repeat(70_000)}),
        ] {
            assert_eq!(read(&write(&value)), Ok(value));
        }
        // RFC 8949 appendix A
        assert_eq!(
            write(&json!({"a": "A", "b": "B"})),
            [0xa2, 0x61, 0x61, 0x61, 0x41, 0x61, 0x62, 0x61, 0x42]
        );
        assert_eq!(read(&[0xbf, 0x61, 0x61, 0x01, 0xff]), Ok(json!({"a": 1})));
    }

    #[test]
    fn what_is_not_read_here_is_refused_with_its_place() {
        for (bytes, at) in [
            (&b""[..], 0),
            (&[0x80], 1),
            (&[0x62, 0x61], 1),
            (&[0x7b, 255, 255, 255, 255, 255, 255, 255, 255], 9),
            (&[0xbb, 255, 255, 255, 255, 255, 255, 255, 255], 9),
            (&[0xa1, 0x01, 0x01], 2),
            (&[0xa0, 0x00], 1),
            (&[0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x01], 7),
            (&[0x61, 0xff], 2),
            (&[0xbf], 1),
        ] {
            let refused = read(bytes).unwrap_err();
            assert_eq!(refused.at, at, "{bytes:02x?}: {refused}");
        }
        let deep = [0xa1, 0x61, 0x61].repeat(5);
        assert!(read(&deep).is_err());
    }
}
