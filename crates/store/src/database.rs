//! One SQLite file: opened and migrated once, written by one connection, read by a few.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Why the data folder was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in the folder: stop it, or name another folder.
    #[error("{} is in use by another process", folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// A newer binary wrote it: run that one.
    #[error(
        "{} was written by a newer version (format {found}, this binary knows {known})",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// The version of its layout.
        found: i64,
        /// The newest layout this binary knows.
        known: i64,
    },
    /// Not one of our files, or broken: restore a backup.
    #[error("{} is damaged: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The operating system refused: no space, no permission.
    #[error("cannot open {}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
}

/// Why a job could not be carried out by the store, as opposed to refused by a rule.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store takes no writes now; see [`crate::Unavailable`].
    #[error(transparent)]
    Unavailable(#[from] crate::Unavailable),
    /// SQLite refused a statement.
    #[error("the database refused: {0}")]
    Database(#[from] rusqlite::Error),
    /// The ledger's files are not as they were written.
    #[error(transparent)]
    Ledger(Box<crate::LedgerError>),
    /// A job changed what must stand in the ledger, and did not record it: a mistake of ours.
    #[error("a change was not recorded in the ledger, so it was undone")]
    Unrecorded,
    /// A row does not read back as what was written: the file was edited, or is damaged.
    #[error("a stored {what} is unreadable")]
    Unreadable {
        /// What the row holds.
        what: &'static str,
    },
    /// The clock went back further than the ledger can pass over.
    #[error("the clock is {} ms behind the last entry of the ledger", back.as_millis())]
    LedgerClock {
        /// How far it is behind the time of the last entry.
        back: Duration,
    },
    /// As many entries wait for the ledger's files as may.
    #[error(
        "{waiting} entries wait for the ledger's files{}",
        reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default()
    )]
    LedgerBehind {
        /// How many wait.
        waiting: u64,
        /// Why the files cannot be written, where that is known.
        reason: Option<String>,
    },
    /// A value of an entry is above its bound, which whoever made the entry should have seen to.
    #[error(transparent)]
    LedgerEntry(#[from] ledger::EntryTooLarge),
}

impl From<crate::LedgerError> for Failure {
    fn from(error: crate::LedgerError) -> Self {
        Self::Ledger(Box::new(error))
    }
}

impl From<Failure> for model::Refusal {
    /// The cause is logged here, because the refusal may not tell it to outsiders.
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Unavailable(_) => Self::new(
                model::RefusalKind::Unavailable,
                "store.unavailable",
                "the hub cannot store this now; try again",
            ),
            Failure::Ledger(_) => {
                tracing::error!(error = %failure, "the ledger cannot be read");
                Self::internal("the ledger cannot be read; the operator's log says why")
            }
            Failure::LedgerClock { back } => {
                tracing::error!(error = %failure, "the ledger refuses changes");
                Self::new(
                    model::RefusalKind::Unavailable,
                    "ledger.clock",
                    format!(
                        "the hub's clock is {} s behind its ledger; set the clock right, or wait",
                        back.as_secs()
                    ),
                )
            }
            Failure::LedgerBehind { .. } => {
                tracing::error!(error = %failure, "the ledger refuses changes");
                Self::new(
                    model::RefusalKind::Unavailable,
                    "ledger.behind",
                    "the hub cannot record this now; try again",
                )
            }
            Failure::Database(_)
            | Failure::Unrecorded
            | Failure::Unreadable { .. }
            | Failure::LedgerEntry(_) => {
                tracing::error!(error = %failure, "the store failed");
                Self::internal("the hub's store failed; the operator's log says why")
            }
        }
    }
}

/// How hard a file tries to survive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Durability {
    /// fsync at every commit.
    Disk,
    /// No fsync: survives `kill -9`, not a power cut. For tests.
    Process,
}

impl Durability {
    const fn pragma(self) -> &'static str {
        match self {
            Self::Disk => "FULL",
            Self::Process => "OFF",
        }
    }
}

/// The layout of a file: its statements, one entry per version, and its application id.
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) application_id: i32,
    pub(crate) migrations: &'static [&'static str],
    pub(crate) readers: usize,
    /// Pages of the write-ahead log above which the writer moves it into the file.
    pub(crate) log_pages: u32,
}

/// Opens `folder/layout.name`, creating or migrating it, and its readers.
pub(crate) fn open(
    folder: &Path,
    layout: &Layout,
    durability: Durability,
) -> Result<(Connection, Readers), OpenError> {
    let file = folder.join(layout.name);
    let blame = |error: rusqlite::Error| blame(&file, &error);
    let mut writer = Connection::open(&file).map_err(blame)?;
    prepare(&mut writer, &file, layout, durability)?;
    let readers = (0..layout.readers)
        .map(|_| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let reader = Connection::open_with_flags(&file, flags)?;
            reader.busy_timeout(Duration::from_secs(5))?;
            reader.set_prepared_statement_cache_capacity(128);
            Ok(Mutex::new(reader))
        })
        .collect::<Result<_, _>>()
        .map_err(blame)?;
    Ok((
        writer,
        Readers {
            connections: readers,
            next: AtomicUsize::new(0),
        },
    ))
}

/// A connection beside the writer that moves the write-ahead log into the file. The file is open.
pub(crate) fn another(
    folder: &Path,
    layout: &Layout,
    durability: Durability,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(folder.join(layout.name), flags)?;
    file.pragma_update(None, "synchronous", durability.pragma())?;
    file.busy_timeout(Duration::from_secs(5))?;
    Ok(file)
}

fn prepare(
    writer: &mut Connection,
    file: &Path,
    layout: &Layout,
    durability: Durability,
) -> Result<(), OpenError> {
    let known = i64::try_from(layout.migrations.len()).unwrap_or(i64::MAX);
    let version: i64 = writer
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| blame(file, &error))?;
    let application: i32 = writer
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| blame(file, &error))?;
    let tables: i64 = writer
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| blame(file, &error))?;
    let fresh = version == 0 && application == 0 && tables == 0;
    if !fresh && application != layout.application_id {
        return Err(OpenError::Damaged {
            file: file.into(),
            reason: "it is another program's database".into(),
        });
    }
    if version > known {
        return Err(OpenError::Newer {
            file: file.into(),
            found: version,
            known,
        });
    }
    let migrate = |writer: &mut Connection| -> rusqlite::Result<()> {
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", durability.pragma())?;
        writer.pragma_update(None, "wal_autocheckpoint", layout.log_pages)?;
        writer.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        writer.pragma_update(None, "cache_size", -4_000)?;
        writer.pragma_update(None, "foreign_keys", "ON")?;
        writer.busy_timeout(Duration::from_secs(5))?;
        writer.set_prepared_statement_cache_capacity(256);
        let done = usize::try_from(version).unwrap_or(0);
        for (at, statements) in layout.migrations.iter().enumerate().skip(done) {
            let step = writer.transaction()?;
            step.execute_batch(statements)?;
            step.pragma_update(None, "application_id", layout.application_id)?;
            step.pragma_update(
                None,
                "user_version",
                i64::try_from(at + 1).unwrap_or(i64::MAX),
            )?;
            step.commit()?;
        }
        Ok(())
    };
    migrate(writer).map_err(|error| blame(file, &error))
}

pub(crate) fn blame(file: &Path, error: &rusqlite::Error) -> OpenError {
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse {
            folder: file.parent().unwrap_or(file).into(),
        },
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure,
        ) => OpenError::Io {
            path: file.into(),
            reason,
        },
        Some(_) | None => OpenError::Damaged {
            file: file.into(),
            reason,
        },
    }
}

/// The connections that read a file, beside the writer.
#[derive(Debug)]
pub(crate) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    /// Runs `work` on a snapshot of the last commit. Blocks for microseconds; `work` must too.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let reader = self.free();
        // One read transaction, so that all statements see the same commit.
        let snapshot = reader.unchecked_transaction()?;
        let answer = work(&snapshot);
        snapshot.finish()?;
        answer
    }

    fn free(&self) -> MutexGuard<'_, Connection> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.connections.len();
        for offset in 0..count {
            if let Ok(reader) = self.connections[(start + offset) % count].try_lock() {
                return reader;
            }
        }
        self.connections[start % count]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
