//! Checkpoints: what a log says of itself at one size (C2SP `tlog-checkpoint`).

use std::{fmt, str::FromStr};

use model::limits;

use crate::{Hash, InvalidHash, note};

/// The text of a checkpoint's note.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Which log: 1 to [`limits::KEY_NAME_BYTES`] bytes on one line.
    pub origin: String,
    /// Entries in the tree, at most [`limits::LOG_ENTRIES`].
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
    /// Further lines, none of them empty. Nobody audits what they say.
    pub extensions: Vec<String>,
}

/// Why a text is not a checkpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// Fewer than three lines, or the last one without its newline.
    #[error("a checkpoint is an origin, a size and a root, each on a line of its own")]
    Lines,
    /// A control character.
    #[error("a checkpoint holds no control character but the newline, and byte {at} is one")]
    Control {
        /// Where, from 0.
        at: usize,
    },
    /// No origin, or one that is too long.
    #[error("an origin has 1 to {} bytes", limits::KEY_NAME_BYTES)]
    Origin,
    /// Not a plain decimal number.
    #[error(
        "the size is not a decimal number without leading zeroes of at most {}",
        limits::LOG_ENTRIES
    )]
    Size,
    /// Not a hash.
    #[error("the root is no hash: {0}")]
    Root(#[from] InvalidHash),
    /// An empty line, or more than there should ever be.
    #[error(
        "extension lines are not empty and at most {}",
        limits::CHECKPOINT_EXTENSIONS
    )]
    Extensions,
}

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    /// Reads a note's text strictly; what is read is written back byte for byte.
    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        if let Some(at) = note::control(text) {
            return Err(InvalidCheckpoint::Control { at });
        }
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(InvalidCheckpoint::Lines)?
            .split('\n');
        let mut next = || lines.next().ok_or(InvalidCheckpoint::Lines);
        let (origin, size, root) = (next()?, next()?, next()?);
        if origin.is_empty() || origin.len() > limits::KEY_NAME_BYTES {
            return Err(InvalidCheckpoint::Origin);
        }
        let size = decimal(size).ok_or(InvalidCheckpoint::Size)?;
        let root = root.parse()?;
        let mut extensions = Vec::new();
        for line in lines {
            if line.is_empty() || extensions.len() == limits::CHECKPOINT_EXTENSIONS {
                return Err(InvalidCheckpoint::Extensions);
            }
            extensions.push(line.to_owned());
        }
        Ok(Self {
            origin: origin.into(),
            size,
            root,
            extensions,
        })
    }
}

impl fmt::Display for Checkpoint {
    /// Writes the note's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        for line in &self.extensions {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// Reads a tree's size or an index: ASCII digits, no leading zeroes, at most
/// [`limits::LOG_ENTRIES`].
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse()
        .ok()
        .filter(|size| *size <= limits::LOG_ENTRIES)
}

/// For the fuzzer: what is read is written back byte for byte.
///
/// # Errors
///
/// What differed.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    match text.parse::<Checkpoint>() {
        Ok(checkpoint) if checkpoint.to_string() == text => Ok(()),
        Ok(checkpoint) => Err(format!("written back differently: {checkpoint}")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let text = format!("example.com/behind-the-sofa\n20852163\n{ROOT}\n");
        let checkpoint: Checkpoint = text.parse().unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.root.to_string(), ROOT);
        assert_eq!(checkpoint.to_string(), text);
        let extended = format!("{text}one\ntwo\n");
        let checkpoint: Checkpoint = extended.parse().unwrap();
        assert_eq!(checkpoint.extensions, ["one", "two"]);
        assert_eq!(checkpoint.to_string(), extended);
    }

    #[test]
    fn what_is_not_quite_a_checkpoint_is_refused() {
        for (text, expected) in [
            (String::new(), InvalidCheckpoint::Lines),
            (format!("a\n1\n{ROOT}"), InvalidCheckpoint::Lines),
            ("a\n1\n".into(), InvalidCheckpoint::Lines),
            (format!("\n1\n{ROOT}\n"), InvalidCheckpoint::Origin),
            (
                format!("{}\n1\n{ROOT}\n", "a".repeat(256)),
                InvalidCheckpoint::Origin,
            ),
            (format!("a\n\n{ROOT}\n"), InvalidCheckpoint::Size),
            (format!("a\n01\n{ROOT}\n"), InvalidCheckpoint::Size),
            (format!("a\n+1\n{ROOT}\n"), InvalidCheckpoint::Size),
            (format!("a\n-1\n{ROOT}\n"), InvalidCheckpoint::Size),
            (format!("a\n1 \n{ROOT}\n"), InvalidCheckpoint::Size),
            (
                format!("a\n4611686018427387905\n{ROOT}\n"),
                InvalidCheckpoint::Size,
            ),
            (
                format!("a\n1\n{ROOT} \n"),
                InvalidCheckpoint::Root(InvalidHash),
            ),
            (format!("a\n1\n{ROOT}\n\n"), InvalidCheckpoint::Extensions),
            (
                format!("a\n1\n{ROOT}\n{}", "x\n".repeat(17)),
                InvalidCheckpoint::Extensions,
            ),
            (
                format!("a\t\n1\n{ROOT}\n"),
                InvalidCheckpoint::Control { at: 1 },
            ),
        ] {
            assert_eq!(text.parse::<Checkpoint>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn an_empty_tree_has_the_size_zero() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("00"), None);
        assert_eq!(decimal(""), None);
        assert_eq!(decimal("4611686018427387904"), Some(limits::LOG_ENTRIES));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(size in 0..=limits::LOG_ENTRIES, root: [u8; 32], extensions in proptest::collection::vec("[ -~]{1,20}", 0..4)) {
            let checkpoint = Checkpoint { origin: "a".into(), size, root: Hash(root), extensions };
            prop_assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
        }
    }
}
