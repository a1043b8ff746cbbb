//! A log in memory, and witnesses and mirrors on loopback.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use listen::{
    Gate, HandshakeFailure, HandshakeObserver, Io, Listener, Peer, Security, Service,
    ServiceFuture, Services, Shutdown, ShutdownTrigger, Tasks,
};
use model::Timestamp;
use tlog::{
    Algorithm, Checkpoint, Hash, Note, NoteSignature, Policy, SignerKey,
    merkle::{leaf_hash, prove_consistency, prove_subtree, root_of},
    policy::Standing as Verdicts,
};
use tokio::sync::watch;
use witness::{KnownLog, LatestCheckpoint, Log, OpenError, Role, Server, Standing};

pub(crate) const ORIGIN: &str = "log.example";
pub(crate) const NOW: u64 = 1_795_000_000;

/// How long something that happens at once may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A log whose entries are in memory.
pub(crate) struct MemoryLog {
    signer: SignerKey,
    entries: Mutex<Vec<Vec<u8>>>,
    size: watch::Sender<u64>,
    /// What was cosigned, and how each witness stands.
    pub(crate) seen: watch::Sender<Seen>,
}

#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) signatures: Vec<(u64, NoteSignature)>,
    pub(crate) standings: Vec<(String, Standing)>,
}

impl Seen {
    pub(crate) fn standing(&self, name: &str) -> Option<&Standing> {
        let mut all = self.standings.iter().rev();
        all.find(|(other, _)| other == name)
            .map(|(_, standing)| standing)
    }
}

impl MemoryLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            signer: log_key(),
            entries: Mutex::default(),
            size: watch::Sender::new(0),
            seen: watch::Sender::default(),
        })
    }

    /// Adds entries that say `salt`, until there are so many.
    pub(crate) fn grow(&self, to: u64, salt: &str) {
        let mut entries = self.entries.lock().unwrap();
        while (entries.len() as u64) < to {
            let entry = format!("{salt} {}", entries.len()).into_bytes();
            entries.push(entry);
        }
        self.size.send_replace(to);
    }

    pub(crate) fn leaves(&self) -> Vec<Hash> {
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|entry| leaf_hash(entry)).collect()
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let leaves = self.leaves();
        Checkpoint {
            origin: ORIGIN.into(),
            size: leaves.len() as u64,
            root: root_of(&leaves),
            extensions: Vec::new(),
        }
    }

    pub(crate) fn note(&self) -> Note {
        let checkpoint = self.checkpoint();
        Note {
            text: checkpoint.to_string(),
            signatures: vec![self.signer.sign_checkpoint(&checkpoint)],
        }
    }

    /// The latest note with every cosignature that has come.
    pub(crate) fn cosigned_note(&self) -> Note {
        let mut note = self.note();
        let size = self.checkpoint().size;
        let seen = self.seen.borrow();
        let signatures = seen.signatures.iter().filter(|(of, _)| *of == size);
        note.signatures
            .extend(signatures.map(|(_, signature)| signature.clone()));
        note
    }

    /// Waits until what was seen is as it should be.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let waiting = seen.wait_for(|seen| wanted(seen));
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            outcome.is_ok(),
            "never: {what}: {:?}",
            self.seen.borrow().standings
        );
    }

    /// Waits until so many have cosigned the latest checkpoint.
    pub(crate) async fn cosigned_by(&self, witnesses: usize) {
        let size = self.checkpoint().size;
        self.until("cosigned", |seen| {
            seen.signatures.iter().filter(|(of, _)| *of == size).count() >= witnesses
        })
        .await;
    }
}

impl Log for MemoryLog {
    type Error = io::Error;

    fn latest(&self) -> Option<LatestCheckpoint> {
        let (checkpoint, note) = (self.checkpoint(), self.note());
        (checkpoint.size > 0).then_some(LatestCheckpoint { checkpoint, note })
    }

    async fn changed(&self, than: Option<u64>) {
        let mut size = self.size.subscribe();
        let waiting = size.wait_for(|size| *size > than.unwrap_or(0)).await;
        drop(waiting);
    }

    fn consistency(&self, old: u64, new: u64) -> io::Result<Vec<Hash>> {
        prove_consistency(old, new, &self.leaves()).map_err(io::Error::other)
    }

    fn subtree(&self, start: u64, end: u64, size: u64) -> io::Result<Vec<Hash>> {
        prove_subtree(start, end, size, &self.leaves()).map_err(io::Error::other)
    }

    fn entries(&self, from: u64, to: u64) -> io::Result<Vec<Vec<u8>>> {
        let entries = self.entries.lock().unwrap();
        Ok(entries[from as usize..to as usize].to_vec())
    }

    fn cosigned(&self, checkpoint: &Checkpoint, signatures: Vec<NoteSignature>) {
        self.seen.send_modify(|seen| {
            let of = signatures
                .into_iter()
                .map(|signature| (checkpoint.size, signature));
            seen.signatures.extend(of);
        });
    }

    fn standing(&self, witness: &str, standing: &Standing) {
        self.seen.send_modify(|seen| {
            seen.standings.push((witness.to_owned(), standing.clone()));
        });
    }
}

pub(crate) fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32]).unwrap()
}

/// The two keys of the role of this number, as its program would make them.
pub(crate) fn keys(number: u8) -> Vec<SignerKey> {
    [Algorithm::Ed25519Cosignature, Algorithm::MlDsa44Cosignature]
        .map(|algorithm| {
            let name = format!("w{number}.example");
            SignerKey::from_seed(&name, algorithm, &[number; 32]).unwrap()
        })
        .into()
}

/// A witness or a mirror that runs.
pub(crate) struct Running {
    pub(crate) url: String,
    number: u8,
    trigger: ShutdownTrigger,
    tasks: Tasks,
}

impl Running {
    /// Policy lines for both of its keys.
    pub(crate) fn lines(&self) -> String {
        let [one, other] = [0, 1].map(|key| keys(self.number)[key].verifier().to_string());
        let (number, url) = (self.number, &self.url);
        format!("witness w{number} {one} {url}\nwitness w{number}-pq {other} {url}\n")
    }

    pub(crate) async fn stop(self) {
        self.trigger.request();
        assert_eq!(self.tasks.wait(PATIENCE).await, 0);
    }
}

/// A folder as the program makes one.
pub(crate) fn new_folder(parent: &Path, name: &str) -> PathBuf {
    let folder = parent.join(name);
    Server::create(&folder).unwrap();
    folder
}

/// Opens a folder without serving it.
pub(crate) fn open(
    folder: &Path,
    role: Role,
    number: u8,
    url: Option<String>,
) -> Result<Server, OpenError> {
    open_at(folder, role, number, url, NOW, Tasks::new(100))
}

fn open_at(
    folder: &Path,
    role: Role,
    number: u8,
    url: Option<String>,
    now: u64,
    tasks: Tasks,
) -> Result<Server, OpenError> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .unwrap();
    });
    let logs = [KnownLog {
        key: log_key().verifier().clone(),
        url,
    }];
    let clock: listen::Clock = Arc::new(move || Timestamp::from_seconds(now));
    Server::open(folder, role, keys(number), &logs, &[], clock, tasks)
}

/// Serves a folder on a port of its own.
pub(crate) fn start(folder: &Path, role: Role, number: u8, url: Option<String>) -> Running {
    start_at(folder, role, number, url, NOW)
}

pub(crate) fn start_at(
    folder: &Path,
    role: Role,
    number: u8,
    url: Option<String>,
    now: u64,
) -> Running {
    let (trigger, shutdown) = Shutdown::new();
    let tasks = Tasks::new(1000);
    let server = open_at(folder, role, number, url, now, tasks.clone()).unwrap();
    let gate = Gate::new(
        Services {
            mqtt: Arc::new(Nobody),
            http: Arc::new(server),
            amqp: None,
        },
        Arc::new(Nobody),
        tasks.clone(),
        shutdown,
        Arc::new(|| Timestamp::from_seconds(NOW)),
    );
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Listener::bind(any, Security::Plain).unwrap();
    let url = format!("http://{}", listener.local_address());
    tasks.spawn(listener.run(Arc::new(gate))).unwrap();
    Running {
        url,
        number,
        trigger,
        tasks,
    }
}

/// Serves nothing, and hears nothing.
struct Nobody;

impl Service for Nobody {
    fn serve(&self, _: Io, _: Peer, _: Shutdown) -> ServiceFuture {
        Box::pin(async {})
    }
}

impl HandshakeObserver for Nobody {
    fn failed(&self, failure: HandshakeFailure) {
        panic!("{failure:?}");
    }
}

/// What a policy says of a log's latest checkpoint.
pub(crate) fn stands(policy: &Policy, log: &MemoryLog) -> Verdicts {
    policy.is_final(&log.cosigned_note()).unwrap()
}

pub(crate) fn policy(running: &[&Running], quorum: &str) -> Policy {
    let lines: String = running.iter().map(|one| one.lines()).collect();
    let log = log_key();
    let text = format!("log {}\n{lines}{quorum}", log.verifier());
    Policy::parse(text.as_bytes()).unwrap()
}
