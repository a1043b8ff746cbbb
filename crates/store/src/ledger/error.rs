//! Why the ledger's files were not read or written.

use std::path::{Path, PathBuf};

use crate::Failure;

/// Why the ledger did not start, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The operating system refused: make room, or give permission.
    #[error("cannot {verb} {}: {reason}", path.display())]
    Io {
        /// What was tried: read, write, sync.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// A file is missing or does not hold what was written, and cannot be made again from the
    /// others: restore it from a backup or a mirror. Nothing is signed until then.
    #[error("{} is damaged: {what}; restore it from a backup or a mirror", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// How that was seen.
        what: String,
    },
    /// The files know of more entries than the registry: an older `registry.db` was put back
    /// beside them. Restore both from one backup.
    #[error(
        "{} proves {found} entries, but the registry knows only {recorded}: it was put back to an \
         older state; restore registry.db and the ledger folder from one backup", file.display()
    )]
    RolledBack {
        /// The file that proves it.
        file: PathBuf,
        /// Entries that the file proves, at least.
        found: u64,
        /// Entries that the registry knows.
        recorded: u64,
    },
    /// The folder holds the ledger of another origin.
    #[error("the ledger is that of {stored:?}, not of {given:?}; an origin never changes")]
    Origin {
        /// The origin in the stored checkpoint.
        stored: String,
        /// The origin it was started with.
        given: String,
    },
    /// It was started before.
    #[error("the ledger is already started")]
    Started,
    /// No checkpoint can be signed: there is no key.
    #[error("the ledger has no key to sign with")]
    NoSigner,
    /// A thread ended that should not have: restart the hub.
    #[error("the thread that brings the ledger's files to disk has ended")]
    FilerEnded,
    /// The checkpoint to be cosigned is not one of this ledger's.
    #[error("the checkpoint of {size} entries is not of this ledger")]
    ForeignCheckpoint {
        /// Its size.
        size: u64,
    },
    /// What was asked for is not in a tree of this size.
    #[error("a tree of {size} entries does not have it")]
    NotInTree {
        /// The size.
        size: u64,
    },
    /// The registry cannot be read.
    #[error(transparent)]
    Store(#[from] Failure),
}

impl LedgerError {
    pub(crate) fn io(verb: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io {
            verb,
            path: path.into(),
            reason: error.to_string(),
        }
    }

    pub(crate) fn damaged(file: PathBuf, what: impl Into<String>) -> Self {
        Self::Damaged {
            file,
            what: what.into(),
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<LedgerError> for model::Refusal {
    /// The cause is logged here, because the refusal may not tell it to outsiders.
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(failure) => failure.into(),
            LedgerError::NotInTree { size } => Self::not_found(
                "ledger.not-found",
                format!("the ledger has no such entry or proof in a tree of {size} entries"),
            ),
            LedgerError::Io { .. }
            | LedgerError::Damaged { .. }
            | LedgerError::RolledBack { .. }
            | LedgerError::Origin { .. }
            | LedgerError::Started
            | LedgerError::NoSigner
            | LedgerError::FilerEnded
            | LedgerError::ForeignCheckpoint { .. } => {
                tracing::error!(%error, "the ledger cannot answer");
                Self::internal("the hub's ledger failed; the operator's log says why")
            }
        }
    }
}
