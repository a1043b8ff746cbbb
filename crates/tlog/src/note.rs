//! Signed notes: a text and the signatures under it (C2SP `signed-note`).
//!
//! ```text
//! the text, which ends in a newline
//!
//! — key.example/name base64(key id, 4 bytes; signature)
//! ```
//!
//! Reading a note verifies nothing: a signature counts only once a [`VerifierKey`] has said so.
//!
//! [`VerifierKey`]: crate::key::VerifierKey

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::limits;

/// The em dash and the space that begin a signature line.
const MARK: &str = "\u{2014} ";

/// Bytes of a key id.
const KEY_ID_BYTES: usize = 4;

/// A text and the signatures under it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// What is signed, with its last newline. It may hold empty lines.
    pub text: String,
    /// In the order in which they stand; 1 to [`limits::NOTE_SIGNATURES`].
    pub signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NoteSignature {
    /// The name of the key: not empty, without spaces and plus signs.
    pub name: String,
    /// With the name it tells which key signed, and with which algorithm.
    pub key_id: [u8; KEY_ID_BYTES],
    /// The signature itself, one byte or more; what they mean is the key's business.
    pub bytes: Vec<u8>,
}

/// Why bytes are not a signed note.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidNote {
    /// Nobody signs so much.
    #[error("a note has at most {limit} bytes, this one {bytes}")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("a note is UTF-8, and byte {at} is not")]
    NotUtf8 {
        /// The first byte that does not belong, from 0.
        at: usize,
    },
    /// A control character other than the newline.
    #[error("a note holds no control character but the newline, and byte {at} is one")]
    Control {
        /// Where, from 0.
        at: usize,
    },
    /// No empty line followed by signatures.
    #[error("a note ends in an empty line and its signatures, and here are none")]
    Unsigned,
    /// More signatures than anybody needs.
    #[error("a note has at most {limit} signatures")]
    TooManySignatures {
        /// Signatures allowed.
        limit: usize,
    },
    /// A line below the empty line that is no signature.
    #[error("line {line} below the text is no signature: {why}")]
    Signature {
        /// Which signature line, from 1.
        line: usize,
        /// What is wrong with it.
        why: InvalidSignatureLine,
    },
}

/// Why a line is not a signature line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSignatureLine {
    /// It does not begin with a dash, a space, a name and a space.
    #[error("it is not `\u{2014} NAME BASE64`")]
    Form,
    /// The name is empty, or holds a space or a plus sign.
    #[error("the name of the key is empty or holds a space or a plus sign")]
    Name,
    /// The rest is not base64 in its one canonical form.
    #[error("the signature is not standard base64 in its canonical form")]
    Base64,
    /// There is no byte behind the key id.
    #[error("the signature has no byte behind its key id")]
    Short,
}

impl Note {
    /// Reads a note strictly; what is read is written back byte for byte.
    ///
    /// # Errors
    ///
    /// See [`InvalidNote`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidNote> {
        if bytes.len() > limits::NOTE_BYTES {
            return Err(InvalidNote::TooLong {
                bytes: bytes.len(),
                limit: limits::NOTE_BYTES,
            });
        }
        let all = std::str::from_utf8(bytes).map_err(|error| InvalidNote::NotUtf8 {
            at: error.valid_up_to(),
        })?;
        if let Some(at) = control(all) {
            return Err(InvalidNote::Control { at });
        }
        // The text may hold empty lines: the last one ends it.
        let end = all.rfind("\n\n").ok_or(InvalidNote::Unsigned)? + 1;
        let (text, below) = (&all[..end], &all[end + 1..]);
        Ok(Self {
            text: text.into(),
            signatures: signature_lines(below)?,
        })
    }
}

impl FromStr for Note {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<Self, InvalidNote> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

impl FromStr for NoteSignature {
    type Err = InvalidSignatureLine;

    /// Reads one line, without its newline.
    fn from_str(line: &str) -> Result<Self, InvalidSignatureLine> {
        let rest = line.strip_prefix(MARK).ok_or(InvalidSignatureLine::Form)?;
        let (name, encoded) = rest.rsplit_once(' ').ok_or(InvalidSignatureLine::Form)?;
        if !is_key_name(name) {
            return Err(InvalidSignatureLine::Name);
        }
        // The engine refuses missing padding and stray bits behind the last byte.
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| InvalidSignatureLine::Base64)?;
        let (key_id, bytes) = bytes
            .split_first_chunk::<KEY_ID_BYTES>()
            .filter(|(_, bytes)| !bytes.is_empty())
            .ok_or(InvalidSignatureLine::Short)?;
        Ok(Self {
            name: name.into(),
            key_id: *key_id,
            bytes: bytes.into(),
        })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id[..], &self.bytes].concat();
        write!(f, "{MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// Reads the signature lines that a witness or a mirror answers with: one or more, each with its
/// newline (C2SP `tlog-witness`, `add-checkpoint`).
///
/// # Errors
///
/// As [`Note::parse`].
pub fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, InvalidNote> {
    if lines.len() > limits::NOTE_BYTES {
        return Err(InvalidNote::TooLong {
            bytes: lines.len(),
            limit: limits::NOTE_BYTES,
        });
    }
    if let Some(at) = control(lines) {
        return Err(InvalidNote::Control { at });
    }
    signature_lines(lines)
}

fn signature_lines(lines: &str) -> Result<Vec<NoteSignature>, InvalidNote> {
    let lines = lines.strip_suffix('\n').ok_or(InvalidNote::Unsigned)?;
    let mut signatures = Vec::new();
    for (index, line) in lines.split('\n').enumerate() {
        if index == limits::NOTE_SIGNATURES {
            return Err(InvalidNote::TooManySignatures {
                limit: limits::NOTE_SIGNATURES,
            });
        }
        signatures.push(line.parse().map_err(|why| InvalidNote::Signature {
            line: index + 1,
            why,
        })?);
    }
    Ok(signatures)
}

/// Whether a key may be named so: not empty, no spaces, no plus sign.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// Where the first control character other than the newline stands.
pub(crate) fn control(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte < 0x20 && byte != b'\n')
}

/// For the fuzzer: what is read is written back byte for byte.
///
/// # Errors
///
/// What differed.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    match Note::parse(bytes) {
        Ok(note) if note.to_string().as_bytes() == bytes => Ok(()),
        Ok(note) => Err(format!("written back differently: {note}")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The example of C2SP signed-note.
    const QUASIMODO: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n\
        ed è subito sera.\n\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5\
        ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

    #[test]
    fn the_text_ends_at_the_last_empty_line() {
        let note: Note = QUASIMODO.parse().unwrap();
        assert!(note.text.ends_with("sole:\n\ned è subito sera.\n"));
        assert_eq!(note.signatures.len(), 1);
        assert_eq!(note.signatures[0].name, "quasimodo.example/salvatore");
        assert_eq!(note.signatures[0].key_id, [0x36, 0x7b, 0xa0, 0x4b]);
        assert_eq!(note.signatures[0].bytes.len(), 64);
        assert_eq!(note.to_string(), QUASIMODO);
    }

    #[test]
    fn what_is_not_quite_a_note_is_refused() {
        let short = InvalidNote::Signature {
            line: 1,
            why: InvalidSignatureLine::Short,
        };
        let of = |why| InvalidNote::Signature { line: 1, why };
        for (bytes, expected) in [
            (&b""[..], InvalidNote::Unsigned),
            (b"text\n", InvalidNote::Unsigned),
            (b"text\n\n", InvalidNote::Unsigned),
            ("text\n\n— a AAAAAAA=".as_bytes(), InvalidNote::Unsigned),
            (b"te\xffxt\n\n", InvalidNote::NotUtf8 { at: 2 }),
            (b"te\txt\n\n", InvalidNote::Control { at: 2 }),
            (b"te\rxt\n\n", InvalidNote::Control { at: 2 }),
            ("text\n\n— a AAAAAA==\n".as_bytes(), short),
            (b"text\n\n- a AAAAAAA=\n", of(InvalidSignatureLine::Form)),
            (
                "text\n\n—a AAAAAAA=\n".as_bytes(),
                of(InvalidSignatureLine::Form),
            ),
            (
                "text\n\n— AAAAAAA=\n".as_bytes(),
                of(InvalidSignatureLine::Form),
            ),
            (
                "text\n\n—  AAAAAAA=\n".as_bytes(),
                of(InvalidSignatureLine::Name),
            ),
            (
                "text\n\n— a b AAAAAAA=\n".as_bytes(),
                of(InvalidSignatureLine::Name),
            ),
            (
                "text\n\n— a\u{a0}b AAAAAAA=\n".as_bytes(),
                of(InvalidSignatureLine::Name),
            ),
            (
                "text\n\n— a+b AAAAAAA=\n".as_bytes(),
                of(InvalidSignatureLine::Name),
            ),
            (
                "text\n\n— a AAAAAAA\n".as_bytes(),
                of(InvalidSignatureLine::Base64),
            ),
            (
                "text\n\n— a AAAAAAB=\n".as_bytes(),
                of(InvalidSignatureLine::Base64),
            ),
            (
                "text\n\n— a AAAAAA-=\n".as_bytes(),
                of(InvalidSignatureLine::Base64),
            ),
        ] {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(Note::parse(bytes), Err(expected), "{shown:?}");
        }
        assert!(Note::parse("text\n\n— a AAAAAAA=\n".as_bytes()).is_ok());
    }

    #[test]
    fn a_note_has_a_bounded_number_of_signatures_and_bytes() {
        let line = "— a AAAAAAA=\n";
        let most = format!("text\n\n{}", line.repeat(limits::NOTE_SIGNATURES));
        assert_eq!(most.parse::<Note>().unwrap().signatures.len(), 64);
        let more = format!("{most}{line}");
        let refused = InvalidNote::TooManySignatures { limit: 64 };
        assert_eq!(more.parse::<Note>(), Err(refused));
        let long = "x".repeat(limits::NOTE_BYTES);
        assert!(matches!(
            format!("{long}\n\n{line}").parse::<Note>(),
            Err(InvalidNote::TooLong { .. })
        ));
    }

    #[test]
    fn an_answer_of_signature_lines_is_read_like_a_note() {
        let lines = "— a AAAAAAA=\n— b AAAAAAA=\n";
        assert_eq!(parse_signatures(lines).unwrap().len(), 2);
        for wrong in [
            "",
            "\n",
            "— a AAAAAAA=",
            "\n— a AAAAAAA=\n",
            "x\n\n— a AAAAAAA=\n",
        ] {
            assert!(parse_signatures(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_as_something_else(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            exercise(&bytes).unwrap();
        }

        #[test]
        fn one_changed_byte_is_refused_or_changes_the_note(at in 0..QUASIMODO.len(), to: u8) {
            let mut bytes = QUASIMODO.as_bytes().to_vec();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            exercise(&bytes).unwrap();
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert_ne!(note, QUASIMODO.parse::<Note>().unwrap());
            }
        }
    }
}
