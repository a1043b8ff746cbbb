//! Keeps everything: the only crate that names a database.
//!
//! A data folder holds two SQLite files. `registry.db` has what operators manage (devices,
//! certificates, policies, groups, tags, shadows, timeline), `queues.db` what the broker must not
//! lose (sessions, subscriptions, queued and retained messages). Each is written by one thread that
//! commits everything waiting in one transaction; see [`Commit`]. Reads are synchronous and take
//! microseconds. Beside them, `ledger/` has the files of the [`Ledger`], which tells of every change
//! of the registry.
//!
//! Rules live in `registry`, `shadow` and `policy`; here are only verbs that keep and find.

mod attachments;
mod backup;
mod ca_certificates;
mod certificates;
mod check;
mod commit;
mod database;
mod devices;
mod groups;
mod ledger;
mod ownership_tokens;
mod policies;
mod provisioning_attempts;
mod queues;
mod registry_file;
mod rows;
mod settings;
mod shadows;
mod tags;
mod templates;
mod timeline;
mod types;

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

pub use backup::backup;
pub use certificates::{CertificatePlace, Order};
pub use check::check;
pub use commit::{Commit, Together, Unavailable};
pub use database::{Failure, OpenError};
pub use devices::{AttributeFilter, DeviceFilter};
pub use groups::GroupFilter;
pub use ledger::{Comparison, Ledger, LedgerError, PersonKind, Query, Recorded, SignedCheckpoint};
pub use ownership_tokens::OwnershipToken;
pub use provisioning_attempts::KeptAttempt;
pub use queues::{
    Backlog, Enqueue, Expired, Loaded, Message, QueueOp, Queued, QueuedMessage, Queues,
    RetainedMessage, SessionKey, SessionRecord, StoredWill, SubscriptionRecord,
};
pub use registry_file::{ReadTxn, WriteTxn};
pub use shadows::KeptShadow;
pub use timeline::{FailedConnection, TimelineEntry};

use commit::Inbox;
use database::{Durability, Readers};
use ledger::{Capture, Gate, Recorder};

/// The data folder, opened. Cheap to share behind an `Arc`; dropping it writes what waits.
#[derive(Debug)]
pub struct Store {
    queues: Queues,
    registry: Arc<Inbox<registry_file::Job>>,
    registry_readers: Arc<Readers>,
    ledger: Ledger,
    writers: Vec<JoinHandle<()>>,
    folder: PathBuf,
    /// Held until the writers have ended.
    _lock: File,
    _temporary: Option<tempfile::TempDir>,
}

impl Store {
    /// Opens the data folder `folder`, creating it and its files where they are missing.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what the operator can do.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Durability::Disk, Recording::On, None)
    }

    /// As [`Self::open`], but changes need no entry in the ledger. For benchmarks that tell what
    /// the ledger costs; no hub runs on it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what the operator can do.
    pub fn open_without_ledger(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Durability::Disk, Recording::Off, None)
    }

    /// A store for tests: real files in a temporary folder, removed when dropped, without fsync.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`] when there is no room for temporary files.
    pub fn open_temporary() -> Result<Self, OpenError> {
        let folder = tempfile::Builder::new()
            .prefix("sekisho-")
            .tempdir()
            .map_err(|error| OpenError::Io {
                path: PathBuf::from("the temporary folder"),
                reason: error.to_string(),
            })?;
        let path = folder.path().to_path_buf();
        Self::open_with(&path, Durability::Process, Recording::On, Some(folder))
    }

    fn open_with(
        folder: &Path,
        durability: Durability,
        recording: Recording,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<Self, OpenError> {
        let io = |path: &Path, error: &std::io::Error| OpenError::Io {
            path: path.into(),
            reason: error.to_string(),
        };
        fs::create_dir_all(folder).map_err(|error| io(folder, &error))?;
        let lock_path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| io(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    folder: folder.into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(&lock_path, &error)),
        }
        let (registry_writer, registry_readers) =
            database::open(folder, &registry_file::LAYOUT, durability)?;
        let (queue_writer, queue_readers) = database::open(folder, &queues::LAYOUT, durability)?;
        let capture = match recording {
            Recording::On => Capture::install(&registry_writer)
                .map_err(|error| database::blame(&folder.join("registry.db"), &error))?,
            Recording::Off => Capture::default(),
        };
        let gate = Arc::new(Gate::default());
        let recorder = Recorder::load(&registry_writer, Arc::clone(&gate))
            .map_err(|error| database::blame(&folder.join("registry.db"), &error))?;
        let registry = Arc::new(Inbox::new());
        let registry_readers = Arc::new(registry_readers);
        let ledger = Ledger::new(
            folder,
            durability,
            gate,
            Arc::clone(&registry_readers),
            Arc::clone(&registry),
        );
        let queues = Queues::new(queue_readers)?;
        let writers = vec![
            spawn("registry writer", folder, {
                let inbox = Arc::clone(&registry);
                move || registry_file::write(&inbox, registry_writer, &capture, recorder)
            })?,
            spawn("queue writer", folder, {
                let inbox = queues.inbox();
                move || queues::write(&inbox, queue_writer)
            })?,
        ];
        Ok(Self {
            queues,
            registry,
            registry_readers,
            ledger,
            writers,
            folder: folder.into(),
            _lock: lock,
            _temporary: temporary,
        })
    }

    /// Sessions, their queues, and retained messages.
    #[must_use]
    pub const fn queues(&self) -> &Queues {
        &self.queues
    }

    /// The ledger's files, and what they prove.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Transactions committed since the start, both files together: writes per transaction tell
    /// how well commits are shared.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.registry.transactions() + self.queues.inbox().transactions()
    }

    /// Whether a write failed, so that the hub must be restarted.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.registry.has_failed() || self.queues.has_failed()
    }
}

/// Whether what is changed must be recorded in the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Recording {
    On,
    Off,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.ledger.stop();
        self.registry.close();
        self.queues.inbox().close();
        for writer in self.writers.drain(..) {
            if writer.join().is_err() {
                tracing::error!("a writer of the store panicked");
            }
        }
    }
}

fn spawn(
    name: &str,
    folder: &Path,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(|error| OpenError::Io {
            path: folder.into(),
            reason: error.to_string(),
        })
}
