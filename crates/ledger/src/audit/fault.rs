//! What can be wrong with a log, and where.

use std::fmt;

use model::Timestamp;
use tlog::{Hash, TileId, bundle::InvalidBundle, checkpoint::InvalidCheckpoint, note::InvalidNote};

use crate::InvalidEntry;

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The file it is in, by its path.
    pub file: String,
    /// The entry it is in, by its index in the log, when one can be told.
    pub entry: Option<u64>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// A file of the log is not there.
    #[error("the file is missing")]
    Missing,
    /// A file is there, and cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// A file that a log of this size does not have.
    #[error("the file does not belong to the log")]
    Foreign,
    /// The checkpoint is no signed note.
    #[error("it is not a signed note: {0}")]
    Note(#[from] InvalidNote),
    /// The note is no checkpoint.
    #[error("it is not a checkpoint: {0}")]
    Checkpoint(#[from] InvalidCheckpoint),
    /// None of the policy's logs signed the checkpoint. Nothing else was looked at.
    #[error(
        "none of the policy's logs signed it as {origin:?}; nothing else was looked at, because \
         only a signed checkpoint says what there is"
    )]
    NotFromLog {
        /// The log it says it is of.
        origin: String,
    },
    /// A signature in the name of a key of the policy that this key did not make.
    #[error("the signature of {name} does not fit what is signed")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// A signature of a key that the policy does not know, as a changed name or key id is.
    #[error("the signature of {name} (key {key_id}) is of no key in the policy")]
    UnknownSignature {
        /// The key's name.
        name: String,
        /// The key's id, hexadecimal.
        key_id: String,
    },
    /// Those who must have witnessed the checkpoint have not.
    #[error("the witnesses that the policy's quorum asks for have not cosigned it")]
    NoQuorum,
    /// Its root is not the one of the files.
    #[error("its root is {signed}, and the tree of {size} entries has {found}")]
    Root {
        /// Entries.
        size: u64,
        /// In the checkpoint.
        signed: Hash,
        /// Of the files.
        found: Hash,
    },
    /// The log is no continuation of what it was.
    #[error("the log had {size} entries and the root {root} then, and is no continuation of that")]
    NotSince {
        /// Entries then.
        size: u64,
        /// The root then.
        root: Hash,
    },
    /// The checkpoint from before is of another log.
    #[error("it is a checkpoint of another log, {origin:?}")]
    OtherLog {
        /// That log.
        origin: String,
    },
    /// The length of a tile is not the one its name says.
    #[error("it has {bytes} bytes instead of {expected}")]
    Length {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes of a tile of that width.
        expected: usize,
    },
    /// A bundle ends inside an entry.
    #[error(transparent)]
    Bundle(#[from] InvalidBundle),
    /// A bundle holds more or fewer entries than its name says.
    #[error("it holds {entries} entries instead of {expected}")]
    Entries {
        /// Entries of the file.
        entries: usize,
        /// Entries of a bundle of that width.
        expected: usize,
    },
    /// An entry is not the one whose hash the tree holds.
    #[error("the entry is not the one that was logged: {tile} holds another hash")]
    Altered {
        /// The tile with its hash.
        tile: TileId,
    },
    /// A tile holds a hash that its entry or the tile below does not have, though these lead to the
    /// signed root.
    #[error("hash {at} of the tile is not the one of {below}")]
    Hash {
        /// Which of its hashes, from 0.
        at: u64,
        /// The bundle or tile that it is of.
        below: TileId,
    },
    /// A tile's hashes do not give the hash that the tile above holds.
    #[error("the tile's hashes do not give hash {at} of {above}")]
    Parent {
        /// The tile above.
        above: TileId,
        /// Which of its hashes, from 0.
        at: u64,
    },
    /// The bytes are no entry.
    #[error("the entry cannot be read: {0}")]
    Entry(#[from] InvalidEntry),
    /// The entry is older than the one before it.
    #[error("the entry is of {} ms, and the one before it of {} ms", at.millis(), before.millis())]
    Backwards {
        /// Its time.
        at: Timestamp,
        /// The time of the entry before it.
        before: Timestamp,
    },
    /// The entry does not name its actor's entry before it.
    #[error(
        "the entry says that its actor's entry before it is {}, and it is {}",
        Index(*says),
        Index(*is)
    )]
    Previous {
        /// In the entry.
        says: Option<u64>,
        /// In the log.
        is: Option<u64>,
    },
}

/// An index that may be missing.
struct Index(Option<u64>);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(index) => index.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl Fault {
    pub(super) fn of_file(file: impl Into<String>, trouble: Trouble) -> Self {
        Self {
            file: file.into(),
            entry: None,
            trouble,
        }
    }

    pub(super) fn of_entry(file: TileId, entry: u64, trouble: Trouble) -> Self {
        Self {
            file: file.path(),
            entry: Some(entry),
            trouble,
        }
    }
}

impl fmt::Display for Fault {
    /// `FILE: what is wrong` or `FILE, entry N: what is wrong`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(entry) = self.entry {
            write!(f, ", entry {entry}")?;
        }
        write!(f, ": {}", self.trouble)
    }
}
