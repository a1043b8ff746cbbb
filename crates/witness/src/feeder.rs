//! The log's side: brings each checkpoint to every witness and mirror of a policy, and their
//! cosignatures back.
//!
//! Each address has a task of its own, so that a slow one delays nobody. Whether an address is a
//! witness or a mirror is found out by asking: a mirror answers `add-checkpoint` without the
//! cosignature that its key in the policy promises, and gives it for the entries.

mod courier;

use std::{collections::BTreeMap, error::Error, future::Future, sync::Arc, time::Duration};

use listen::{Shutdown, Tasks, TasksFull};
use tlog::{Checkpoint, Hash, Note, NoteSignature, Policy, VerifierKey};

use crate::fetch::{self, FetchError};
use courier::{Courier, Trouble};

/// The first pause after a failure; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The checkpoint that a log stands by now.
#[derive(Clone, Debug)]
pub struct LatestCheckpoint {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// With the log's signature, and whatever cosignatures it has already.
    pub note: Note,
}

/// A log that wants witnesses. Everything but [`Self::latest`] and [`Self::changed`] may block on
/// the disk.
pub trait Log: Send + Sync + 'static {
    /// Why a proof or an entry could not be had.
    type Error: Error + Send + Sync + 'static;

    /// The newest checkpoint, if there is one: it must be on disk, since from now on the log
    /// can never take it back.
    fn latest(&self) -> Option<LatestCheckpoint>;

    /// Resolves once [`Self::latest`] is larger than this size, or there is one at all.
    fn changed(&self, than: Option<u64>) -> impl Future<Output = ()> + Send;

    /// The proof that the tree of `old` entries is a prefix of the one of `new`.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Self::Error>;

    /// The proof that the subtree of `start..end` belongs to the tree of `size` entries.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    fn subtree(&self, start: u64, end: u64, size: u64) -> Result<Vec<Hash>, Self::Error>;

    /// The entries `from..to`.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, Self::Error>;

    /// Takes cosignatures of keys of the policy, each of them verified.
    fn cosigned(&self, checkpoint: &Checkpoint, signatures: Vec<NoteSignature>);

    /// Learns how a witness of the policy stands, by its name there, when that has changed.
    fn standing(&self, witness: &str, standing: &Standing);
}

/// How a witness or a mirror stands to the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It cosigned the latest checkpoint that it was sent.
    Cosigns,
    /// It does not answer, or not sensibly; it is asked again.
    Unreachable(String),
    /// It answers that it will not: it does not know the log or its key.
    Refuses(String),
    /// It has seen another history of this log than the one that is sent: an alarm.
    OtherHistory(String),
}

/// Why a policy cannot be fed.
#[derive(Debug, thiserror::Error)]
pub enum FeederError {
    /// An address, or the roots.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// The couriers to every address of a policy.
pub struct Feeder {
    couriers: Vec<Courier>,
}

impl Feeder {
    /// Prepares for every witness of the policy that has a URL. `roots`, PEM, are the certificates
    /// that their servers are trusted by; no others are.
    ///
    /// # Errors
    ///
    /// See [`FeederError`].
    pub fn new(policy: &Policy, roots: &[String]) -> Result<Self, FeederError> {
        let mut addresses: BTreeMap<String, Vec<(String, VerifierKey)>> = BTreeMap::new();
        for witness in policy.witnesses() {
            if let Some(url) = &witness.url {
                let keys = addresses.entry(fetch::prefix(url)?).or_default();
                keys.push((witness.name().into_owned(), witness.key.clone()));
            }
        }
        let client = fetch::client(roots)?;
        let couriers = addresses
            .into_iter()
            .map(|(url, keys)| Courier::new(client.clone(), url, keys))
            .collect();
        Ok(Self { couriers })
    }

    /// How many addresses there are to feed.
    #[must_use]
    pub const fn addresses(&self) -> usize {
        self.couriers.len()
    }

    /// Starts a task for each address, until shutdown is requested.
    ///
    /// # Errors
    ///
    /// [`TasksFull`] when a task could not be started; those before it run.
    pub fn run<L: Log>(
        self,
        log: &Arc<L>,
        tasks: &Tasks,
        shutdown: &Shutdown,
    ) -> Result<(), TasksFull> {
        for courier in self.couriers {
            tasks.spawn(feed(courier, Arc::clone(log), shutdown.clone()))?;
        }
        Ok(())
    }
}

/// Brings every new checkpoint to one address.
async fn feed<L: Log>(mut courier: Courier, log: Arc<L>, mut shutdown: Shutdown) {
    let mut done: Option<u64> = None;
    let mut failures = 0;
    let mut told = None;
    loop {
        let latest = log.latest();
        let latest = latest.filter(|latest| done.is_none_or(|done| latest.checkpoint.size > done));
        let Some(latest) = latest else {
            tokio::select! {
                () = log.changed(done) => continue,
                () = shutdown.requested() => return,
            }
        };
        let outcome = tokio::select! {
            outcome = courier.deliver(&log, &latest) => outcome,
            () = shutdown.requested() => return,
        };
        let standing = match outcome {
            Ok(()) => {
                done = Some(latest.checkpoint.size);
                failures = 0;
                Standing::Cosigns
            }
            Err(trouble) => {
                failures += 1;
                trouble.into()
            }
        };
        // What it says may name sizes, which grow; only another kind of standing is news.
        let kind = std::mem::discriminant(&standing);
        if told != Some(kind) {
            for name in courier.names() {
                log.standing(name, &standing);
            }
            told = Some(kind);
        }
        if failures > 0 {
            let pause = pause(failures, courier.url());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.requested() => return,
            }
        }
    }
}

impl From<Trouble> for Standing {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.to_string();
        match trouble {
            Trouble::Fetch(_) | Trouble::Answer(_) | Trouble::Own(_) => Self::Unreachable(text),
            Trouble::Refused(..) | Trouble::NotCosigned(_) => Self::Refuses(text),
            Trouble::Ahead { .. } | Trouble::OtherRoot(_) | Trouble::OtherHistory { .. } => {
                Self::OtherHistory(text)
            }
        }
    }
}

/// How long to rest after so many failures in a row: between half and all of the doubled pause. No
/// randomness is needed to keep addresses from one another's rhythm, only a difference.
fn pause(failures: u32, url: &str) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let longest = doubled.min(LONGEST_PAUSE);
    let spread = url
        .bytes()
        .chain(failures.to_be_bytes())
        .fold(17_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
    longest / 2 + (longest / 2).mul_f64(f64::from(spread % 1000) / 1000.0)
}

#[test]
fn pauses_grow_to_a_bound_and_differ_between_addresses() {
    let url = "https://w.example";
    for failures in 1..40 {
        let pause = pause(failures, url);
        assert!(
            pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE,
            "{pause:?}"
        );
    }
    assert!(pause(1, url) <= FIRST_PAUSE);
    assert!(pause(40, url) >= LONGEST_PAUSE / 2);
    assert_ne!(pause(5, url), pause(5, "https://v.example"));
}
