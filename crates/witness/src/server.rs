//! `sekisho witness` and `sekisho mirror`: the folder, and what is answered over HTTP.
//!
//! ```text
//! DIR/logs/known                        the origins there is a state for, under a seal
//! DIR/logs/SHA-256 OF ORIGIN/state      what was accepted, under a seal
//! DIR/logs/SHA-256 OF ORIGIN/tile/…     a mirror's copy, at its C2SP paths
//! DIR/alarms/NAME.json                  both signed checkpoints, and where they part
//! ```
//!
//! A state that is missing or damaged ends the start: to begin anew in silence would let a log show
//! another history to a witness that has forgotten the first.

mod answer;
mod connection;
mod upload;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use aws_lc_rs::digest::{SHA256, digest};
use listen::Tasks;
use model::{Timestamp, limits};
use reqwest::Client;
use tlog::{SignerKey, VerifierKey, witness::Accepted};
use tokio::sync::Semaphore;
use tracing::{error, info};

use crate::{
    alarms::{Alarm, Alarms, Finding, Kind},
    fetch::{self, FetchError},
    kept::{Kept, Role},
    split::{self, History},
    state::{State, Unreadable, read_sealed, write_sealed},
};

/// A log whose checkpoints are taken.
#[derive(Clone, Debug)]
pub struct KnownLog {
    /// Its key; the key's name is the log's origin. Two keys of one name are two keys of one log.
    pub key: VerifierKey,
    /// Where it serves its tiles, when that is known: asked when two histories are to be told
    /// apart.
    pub url: Option<String>,
}

/// Why a witness or a mirror does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Give the log's key.
    #[error("there is no log to serve; name its key with --log, or in a --policy")]
    NoLog,
    /// Restore it from a backup. To begin anew would forget what was signed.
    #[error(
        "{0} is missing, and what this witness or mirror has signed is not known without it; \
         restore it from a backup, or make a new folder, whose new key everyone must then be told"
    )]
    Missing(PathBuf),
    /// Restore it from a backup.
    #[error(
        "{path} is damaged: {why}; restore it from a backup, or make a new folder, whose new key \
         everyone must then be told"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system did not let us.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An address or the roots to trust there.
    #[error(transparent)]
    Address(#[from] FetchError),
}

/// A witness or a mirror.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    role: Role,
    logs: BTreeMap<String, Served>,
    alarms: Arc<Alarms>,
    client: Client,
    clock: listen::Clock,
    tasks: Tasks,
    uploads: Semaphore,
    /// Whether the last that was to be signed could not be.
    ailing: AtomicBool,
}

/// One log, and where it is asked for.
struct Served {
    /// In hexadecimal, its part of paths.
    hash: String,
    folder: PathBuf,
    url: Option<String>,
    kept: Arc<Mutex<Kept>>,
}

impl Server {
    /// Makes what a folder needs before its first start. `folder` must not have been started yet.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`].
    pub fn create(folder: &Path) -> Result<(), OpenError> {
        write_known(folder, &[])
    }

    /// Goes on with a folder. `keys` sign, in every answer all of them; `roots`, PEM, are trusted
    /// when a log is asked for its tiles.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(
        folder: &Path,
        role: Role,
        keys: Vec<SignerKey>,
        logs: &[KnownLog],
        roots: &[String],
        clock: listen::Clock,
        tasks: Tasks,
    ) -> Result<Self, OpenError> {
        if logs.is_empty() {
            return Err(OpenError::NoLog);
        }
        let signers: Arc<[SignerKey]> = keys.into();
        let mut by_origin: BTreeMap<&str, (Vec<VerifierKey>, Option<String>)> = BTreeMap::new();
        for log in logs {
            let (keys, url) = by_origin.entry(log.key.name()).or_default();
            keys.push(log.key.clone());
            if let Some(given) = &log.url {
                *url = Some(fetch::prefix(given)?);
            }
        }
        let mut known = read_known(folder)?;
        let mut served = BTreeMap::new();
        for (origin, (keys, url)) in by_origin {
            let hash = hex::encode(digest(&SHA256, origin.as_bytes()));
            let place = folder.join("logs").join(&hash);
            if !known.iter().any(|other| other == origin) {
                begin(folder, &place, origin, &mut known)?;
            }
            let kept = Kept::open(role, keys, Arc::clone(&signers), &place)?;
            let log = Served {
                hash,
                folder: place,
                url,
                kept: Arc::new(Mutex::new(kept)),
            };
            served.insert(origin.to_owned(), log);
        }
        Ok(Self(Arc::new(Inner {
            role,
            logs: served,
            alarms: Arc::new(Alarms::new(folder.join("alarms"))),
            client: fetch::client(roots)?,
            clock,
            tasks,
            uploads: Semaphore::new(limits::MIRROR_UPLOADS),
            ailing: AtomicBool::new(false),
        })))
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Keeps the evidence that a log may show two histories, and looks for where they part once the
    /// request is answered.
    fn raise(&self, log: &Served, kept: &Kept, refused: &Accepted) {
        let known = kept.known();
        let kind = match refused.checkpoint.size.cmp(&known.size) {
            Ordering::Less => Kind::OtherPast,
            Ordering::Equal => Kind::TwoRoots,
            Ordering::Greater => Kind::NoExtension,
        };
        let Some(latest) = kept.latest() else {
            // Nothing was accepted yet: whatever this is, it contradicts nothing.
            return;
        };
        let origin = kept.origin().to_owned();
        let alarm = match self.0.alarms.keep(kind, &latest.note, refused, self.now()) {
            Ok(Some(alarm)) => alarm,
            Ok(None) => return,
            Err(error) => {
                error!(%origin, %error, "an alarm could not be kept");
                return;
            }
        };
        error!(
            %origin,
            known = known.size,
            refused = refused.checkpoint.size,
            "the log signed a checkpoint that is not shown to fit the one before; see the alarms"
        );
        let refused = History {
            size: refused.checkpoint.size,
            root: refused.checkpoint.root,
        };
        let held = kept.held().map(|size| (log.folder.clone(), size));
        let search = Search {
            origin,
            client: self.0.client.clone(),
            url: log.url.clone(),
            known,
            refused,
            held,
            alarm,
            alarms: Arc::clone(&self.0.alarms),
        };
        if let Err(full) = self.0.tasks.spawn(search.run()) {
            error!(%full, "where two histories part is not being sought");
        }
    }
}

/// Looks for where two histories part, and writes it to the alarm.
struct Search {
    origin: String,
    client: Client,
    url: Option<String>,
    known: History,
    refused: History,
    held: Option<(PathBuf, u64)>,
    alarm: Alarm,
    alarms: Arc<Alarms>,
}

impl Search {
    async fn run(self) {
        let origin = self.origin.clone();
        let searched = tokio::task::spawn_blocking(move || {
            let own = self
                .held
                .as_ref()
                .map(|(folder, size)| (folder.as_path(), *size));
            let url = self.url.as_deref();
            let finding = split::find(&self.client, url, self.known, self.refused, own);
            self.alarms.tell(&self.alarm, &finding).map(|()| finding)
        });
        match searched.await {
            Ok(Ok(Finding::FirstDifference(index))) => {
                error!(%origin, index, "the log shows two histories; this entry is the first that differs");
            }
            Ok(Ok(Finding::Between(from, to, why))) => {
                error!(%origin, from, to, why, "the log shows two histories");
            }
            Ok(Ok(Finding::NoSplit)) => {
                info!(%origin, "the log only grew; the proof that was sent was wrong");
            }
            Ok(Err(error)) => error!(%origin, %error, "the alarm could not be written"),
            Err(error) => error!(%origin, %error, "the search for the split did not end"),
        }
    }
}

impl Served {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

/// A panic of somebody else leaves what is on disk, and that is what is gone on with.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins with a log that was never heard of: its empty state first, then the note that there is
/// one, so that a state which is gone is missed.
fn begin(
    folder: &Path,
    place: &Path,
    origin: &str,
    known: &mut Vec<String>,
) -> Result<(), OpenError> {
    let path = Kept::state_path(place);
    match State::read(&path) {
        // An empty one is there when we were stopped between the two files.
        Err(Unreadable::Missing) => State::default()
            .write(&path)
            .map_err(|source| OpenError::Io { path, source })?,
        Ok(state) if state == State::default() => {}
        Ok(_) | Err(_) => {
            return Err(OpenError::Damaged {
                path: known_path(folder),
                why: format!("it does not name {origin}, for which there is a state"),
            });
        }
    }
    known.push(origin.into());
    write_known(folder, known)
}

fn known_path(folder: &Path) -> PathBuf {
    folder.join("logs/known")
}

fn write_known(folder: &Path, known: &[String]) -> Result<(), OpenError> {
    let path = known_path(folder);
    let body: String = known.iter().map(|origin| format!("{origin}\n")).collect();
    write_sealed(&path, &body).map_err(|source| OpenError::Io { path, source })
}

fn read_known(folder: &Path) -> Result<Vec<String>, OpenError> {
    let path = known_path(folder);
    match read_sealed(&path) {
        Ok(body) => Ok(body.lines().map(str::to_owned).collect()),
        Err(Unreadable::Missing) => Err(OpenError::Missing(path)),
        Err(Unreadable::Io(source)) => Err(OpenError::Io { path, source }),
        Err(Unreadable::Damaged(why)) => Err(OpenError::Damaged {
            path,
            why: why.into(),
        }),
    }
}
