//! What is remembered of a log, in one file under a seal.
//!
//! ```text
//! sekisho-log-state 1 SHA-256 of everything below, in hex
//! latest BYTES
//! the signed checkpoint that was accepted last
//! mirrored BYTES
//! the signed checkpoint whose entries a mirror holds
//! ```
//!
//! The seal finds what a disk or a careless hand has changed. It is no signature: whoever may write
//! the file may also read the key beside it.

use std::{fs, io, path::Path};

use aws_lc_rs::digest::{SHA256, digest};
use tlog::Note;

use crate::durable;

/// What the file begins with.
const OPENING: &str = "sekisho-log-state 1 ";

/// What is remembered of one log. Nothing of a log that was never heard of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    /// The checkpoint that was accepted last.
    pub(crate) latest: Option<Note>,
    /// The checkpoint whose entries a mirror holds.
    pub(crate) mirrored: Option<Note>,
}

/// Why a sealed file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is missing")]
    Missing,
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("{0}")]
    Damaged(&'static str),
}

impl State {
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut body = String::new();
        for (name, note) in [("latest", &self.latest), ("mirrored", &self.mirrored)] {
            let text = note.as_ref().map(Note::to_string).unwrap_or_default();
            body.push_str(&format!("{name} {}\n{text}", text.len()));
        }
        write_sealed(path, &body)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Unreadable> {
        let body = read_sealed(path)?;
        let (latest, rest) = section(&body, "latest ")?;
        let (mirrored, rest) = section(rest, "mirrored ")?;
        if rest.is_empty() {
            Ok(Self { latest, mirrored })
        } else {
            Err(Unreadable::Damaged("there is more below its end"))
        }
    }
}

/// Reads a section off the front: the note, if there is one, and what is below.
fn section<'a>(text: &'a str, name: &str) -> Result<(Option<Note>, &'a str), Unreadable> {
    let damaged = || Unreadable::Damaged("a section is not where it should be");
    let rest = text.strip_prefix(name).ok_or_else(damaged)?;
    let (bytes, rest) = rest.split_once('\n').ok_or_else(damaged)?;
    let bytes = bytes.parse().map_err(|_| damaged())?;
    let (note, rest) = rest.split_at_checked(bytes).ok_or_else(damaged)?;
    if note.is_empty() {
        return Ok((None, rest));
    }
    let note = note
        .parse()
        .map_err(|_| Unreadable::Damaged("it holds no signed checkpoint"))?;
    Ok((Some(note), rest))
}

/// Writes a text under its seal, on disk when this returns.
pub(crate) fn write_sealed(path: &Path, body: &str) -> io::Result<()> {
    let text = format!("{OPENING}{}\n{body}", seal(body));
    durable::write(path, text.as_bytes())
}

/// Reads a text whose seal is unbroken.
pub(crate) fn read_sealed(path: &Path) -> Result<String, Unreadable> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unreadable::Missing),
        Err(error) => return Err(Unreadable::Io(error)),
    };
    let text = String::from_utf8(bytes).map_err(|_| Unreadable::Damaged("it is not UTF-8"))?;
    let (first, body) = text.split_once('\n').unwrap_or((&text, ""));
    let told = first
        .strip_prefix(OPENING)
        .ok_or(Unreadable::Damaged("it does not begin as it should"))?;
    if told == seal(body) {
        Ok(body.to_owned())
    } else {
        Err(Unreadable::Damaged("its seal does not fit what it says"))
    }
}

fn seal(body: &str) -> String {
    hex::encode(digest(&SHA256, body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> Note {
        format!("{text}\n\n\u{2014} a AAAAAAA=\n").parse().unwrap()
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(matches!(State::read(&path), Err(Unreadable::Missing)));
        for state in [
            State::default(),
            State {
                latest: Some(note("one")),
                mirrored: None,
            },
            State {
                latest: Some(note("two")),
                mirrored: Some(note("one")),
            },
        ] {
            state.write(&path).unwrap();
            assert_eq!(State::read(&path).unwrap(), state);
        }
    }

    #[test]
    fn any_flipped_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = State {
            latest: Some(note("one")),
            mirrored: Some(note("two")),
        };
        state.write(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                fs::write(&path, &bad).unwrap();
                assert!(State::read(&path).is_err(), "byte {at}, bit {bit}");
            }
        }
        for end in 0..good.len() {
            fs::write(&path, &good[..end]).unwrap();
            assert!(State::read(&path).is_err(), "cut at {end}");
        }
    }
}
