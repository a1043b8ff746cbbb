//! Packets as text. Hexadecimal digits are bytes, `'text'` its UTF-8, `"text"` the same after its
//! two-byte length, `{…}` its contents after their length as a variable byte integer, and `*` the
//! length of everything that follows.

#![allow(dead_code, reason = "each test program uses a part of what they share")]

/// The bytes that `text` stands for.
#[track_caller]
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut rest = text.trim();
    let bytes = until(&mut rest, None);
    assert!(rest.is_empty(), "unbalanced: {text}");
    bytes
}

fn until(rest: &mut &str, end: Option<char>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        *rest = rest.trim_start();
        let Some(next) = rest.chars().next() else {
            assert_eq!(end, None, "unclosed");
            return bytes;
        };
        if Some(next) == end {
            *rest = &rest[1..];
            return bytes;
        }
        match next {
            '\'' | '"' => {
                let (text, after) = rest[1..].split_once(next).expect("a closing quote");
                if next == '"' {
                    bytes.extend(
                        u16::try_from(text.len())
                            .expect("a short text")
                            .to_be_bytes(),
                    );
                }
                bytes.extend(text.as_bytes());
                *rest = after;
            }
            '{' => {
                *rest = &rest[1..];
                let inner = until(rest, Some('}'));
                prefix(&mut bytes, &inner);
            }
            '*' => {
                *rest = &rest[1..];
                let inner = until(rest, end);
                prefix(&mut bytes, &inner);
                return bytes;
            }
            _ => {
                let digits = rest.get(..2).expect("two hexadecimal digits");
                bytes.push(u8::from_str_radix(digits, 16).expect(digits));
                *rest = &rest[2..];
            }
        }
    }
}

fn prefix(bytes: &mut Vec<u8>, inner: &[u8]) {
    let mut length = inner.len();
    while length >= 0x80 {
        bytes.push((length % 0x80) as u8 | 0x80);
        length /= 0x80;
    }
    bytes.push(length as u8);
    bytes.extend(inner);
}

/// Bytes as text, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}
