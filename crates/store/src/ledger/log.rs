//! The handle on the ledger: to start it, to read it, to prove what it says.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::JoinHandle,
};

use ledger::Entry;
use rusqlite::Connection;
use tlog::{Checkpoint, Hash, Note, NoteSignature, SignerKey, TileId, merkle};
use tokio::sync::watch;

use super::{
    edge::Edge,
    error::LedgerError,
    files::{COSIGNED, Files},
    index::Index,
    integrate,
    outbox::Gate,
    read::{Flow, SignedCheckpoint, Tree, decode},
    search::{self, Query},
    start,
};
use crate::{
    commit::Inbox,
    database::{self, Durability, Readers},
    registry_file::{self, Job},
};

/// The ledger of this data folder. Reads block for microseconds, or for a file.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the handle and the integrator share.
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    pub(crate) files: Files,
    pub(crate) registry: Arc<Readers>,
    pub(crate) inbox: Arc<Inbox<Job>>,
    /// The tree up to what the integrator has taken in and written.
    edge: Mutex<Arc<Edge>>,
    latest: watch::Sender<Option<Arc<SignedCheckpoint>>>,
    cosigned: Mutex<Option<Arc<SignedCheckpoint>>>,
    signing: OnceLock<Signing>,
    pub(crate) index: OnceLock<Index>,
}

/// In whose name checkpoints are made, and the keys.
struct Signing {
    origin: String,
    signers: Vec<Arc<SignerKey>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("files", &self.files)
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn edge(&self) -> Arc<Edge> {
        let edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&edge)
    }

    pub(crate) fn set_edge(&self, edge: Edge) {
        *self.edge.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(edge);
    }

    pub(crate) fn latest(&self) -> Option<Arc<SignedCheckpoint>> {
        self.latest.borrow().clone()
    }

    pub(crate) fn publish(&self, signed: SignedCheckpoint) {
        self.latest.send_replace(Some(Arc::new(signed)));
    }

    /// Another connection to the registry's file. None when it cannot be had, which costs speed.
    pub(crate) fn checkpointer(&self) -> Option<Connection> {
        let data = self.files.folder().parent()?;
        let opened = database::another(data, &registry_file::LAYOUT, self.files.durability());
        opened
            .inspect_err(
                |error| tracing::warn!(%error, "the registry's log is moved by its writer"),
            )
            .ok()
    }

    fn cosigned(&self) -> Option<Arc<SignedCheckpoint>> {
        let cosigned = self.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
        cosigned.clone()
    }

    /// Signs as the log. `None` before the start.
    pub(crate) fn sign(&self, size: u64, root: Hash) -> Option<SignedCheckpoint> {
        let Signing { origin, signers } = self.signing.get()?;
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size,
            root,
            extensions: Vec::new(),
        };
        let note = Note {
            text: checkpoint.to_string(),
            signatures: signers
                .iter()
                .map(|signer| signer.sign_checkpoint(&checkpoint))
                .collect(),
        };
        Some(SignedCheckpoint { checkpoint, note })
    }
}

impl Ledger {
    pub(crate) fn new(
        data: &Path,
        durability: Durability,
        gate: Arc<Gate>,
        registry: Arc<Readers>,
        inbox: Arc<Inbox<Job>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                gate,
                files: Files::new(data, durability),
                registry,
                inbox,
                edge: Mutex::new(Arc::new(Edge::default())),
                latest: watch::Sender::new(None),
                cosigned: Mutex::new(None),
                signing: OnceLock::new(),
                index: OnceLock::new(),
            }),
            thread: Mutex::new(None),
        }
    }

    /// Checks what is on disk, and starts to take recorded entries into the tree and to sign
    /// checkpoints of `origin` with `signers`. Until then, entries only collect.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] says which file does not fit the others. Nothing was signed then.
    pub fn start(&self, origin: &str, signers: Vec<Arc<SignerKey>>) -> Result<(), LedgerError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Err(LedgerError::Started);
        }
        if signers.is_empty() {
            return Err(LedgerError::NoSigner);
        }
        let shared = &self.shared;
        let mut found = None;
        shared.registry.with(|file| {
            found = Some(start::find(&shared.files, file, origin, &signers));
            Ok(())
        })?;
        let found = found.expect("the work has run, or its failure was returned above")?;
        shared.set_edge(found.edge.clone());
        *shared
            .cosigned
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = found.cosigned.map(Arc::new);
        let origin = origin.to_owned();
        if shared.signing.set(Signing { origin, signers }).is_err() {
            return Err(LedgerError::Started);
        }
        *thread = Some(integrate::spawn(Arc::clone(shared), found.edge)?);
        Ok(())
    }

    /// Ends the integrator; what it has not taken in stays in the outbox.
    pub(crate) fn stop(&self) {
        self.shared.gate.stop();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the ledger's integrator panicked");
        }
    }

    /// Entries that the tree has. Those recorded since the last checkpoint may not be among them.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.edge().size()
    }

    /// Entries that are recorded: the index of the next one.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.shared.gate.recorded()
    }

    /// Why the ledger's files cannot be written now, if they cannot.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.gate.trouble()
    }

    /// The newest checkpoint, signed by this log alone.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<SignedCheckpoint>> {
        self.shared.latest()
    }

    /// Waits for a checkpoint of more than `size` entries. It never comes when the store is closed
    /// meanwhile.
    pub async fn changed(&self, size: u64) -> Arc<SignedCheckpoint> {
        let mut latest = self.shared.latest.subscribe();
        let newer = |signed: &Option<Arc<SignedCheckpoint>>| {
            signed
                .as_ref()
                .is_some_and(|signed| signed.checkpoint.size > size)
        };
        if let Ok(signed) = latest.wait_for(newer).await
            && let Some(signed) = signed.as_ref()
        {
            return Arc::clone(signed);
        }
        std::future::pending().await
    }

    /// The newest checkpoint that [`Self::add_cosignatures`] was given signatures of witnesses for.
    #[must_use]
    pub fn cosigned(&self) -> Option<Arc<SignedCheckpoint>> {
        self.shared.cosigned()
    }

    /// Keeps what witnesses signed. Signatures of a checkpoint older than the newest cosigned one
    /// are not needed any more; those of the same are added to it, one of each key.
    ///
    /// # Errors
    ///
    /// [`LedgerError::ForeignCheckpoint`] when it is not a checkpoint of this tree.
    pub fn add_cosignatures(
        &self,
        checkpoint: &Checkpoint,
        signatures: Vec<NoteSignature>,
    ) -> Result<(), LedgerError> {
        let size = checkpoint.size;
        let foreign = || LedgerError::ForeignCheckpoint { size };
        let shared = &self.shared;
        let mut cosigned = shared
            .cosigned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut signed = match cosigned.as_deref() {
            Some(known) if known.checkpoint.size > size => return Ok(()),
            Some(known) if known.checkpoint == *checkpoint => known.clone(),
            _ => {
                let edge = shared.edge();
                if size > edge.size() || self.tree(&edge).root(size)? != checkpoint.root {
                    return Err(foreign());
                }
                shared
                    .sign(size, checkpoint.root)
                    .filter(|signed| signed.checkpoint == *checkpoint)
                    .ok_or_else(foreign)?
            }
        };
        let kept = &mut signed.note.signatures;
        for signature in signatures {
            let of_same_key = |known: &&mut NoteSignature| {
                known.name == signature.name && known.key_id == signature.key_id
            };
            if let Some(known) = kept.iter_mut().find(of_same_key) {
                *known = signature;
            } else if kept.len() < model::limits::NOTE_SIGNATURES {
                kept.push(signature);
            }
        }
        shared.files.put_note(COSIGNED, &signed.note.to_string())?;
        *cosigned = Some(Arc::new(signed));
        Ok(())
    }

    fn tree<'a>(&'a self, edge: &'a Edge) -> Tree<'a> {
        Tree {
            files: &self.shared.files,
            edge,
        }
    }

    /// A tile as it is served, of any width it has had; `None` when the tree has none such.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Damaged`] when its file is, and it cannot be made again.
    pub fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tree(&self.shared.edge()).tile(id)
    }

    /// The bytes of an entry, also of one that is not in the tree yet.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Damaged`] when its bundle is.
    pub fn entry_bytes(&self, index: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut found = None;
        self.shared.visit(index, |_, entry| {
            found = Some(entry.to_vec());
            Ok(Flow::Stop)
        })?;
        Ok(found)
    }

    /// An entry, also one that is not in the tree yet.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Damaged`] when its bundle is.
    pub fn entry(&self, index: u64) -> Result<Option<Entry>, LedgerError> {
        let bytes = self.entry_bytes(index)?;
        bytes.map(|bytes| decode(index, &bytes)).transpose()
    }

    /// At most `limit` entries from the index `from` on.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Damaged`] when a bundle is.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Entry)>, LedgerError> {
        let mut entries = Vec::new();
        if limit == 0 {
            return Ok(entries);
        }
        self.shared.visit(from, |index, entry| {
            entries.push((index, decode(index, entry)?));
            Ok(if entries.len() < limit {
                Flow::Go
            } else {
                Flow::Stop
            })
        })?;
        Ok(entries)
    }

    /// What a query finds, oldest first.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when a file is damaged or cannot be read.
    pub fn search(&self, query: &Query) -> Result<Vec<(u64, Entry)>, LedgerError> {
        search::search(&self.shared, query)
    }

    /// The root of the tree when it had `size` entries.
    ///
    /// # Errors
    ///
    /// [`LedgerError::NotInTree`] when it never had so many.
    pub fn root(&self, size: u64) -> Result<Hash, LedgerError> {
        self.tree(&self.shared.edge()).root(size)
    }

    /// Proves that the entry `index` is in the tree of `size` entries.
    ///
    /// # Errors
    ///
    /// [`LedgerError::NotInTree`] when it is not.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, LedgerError> {
        let edge = self.shared.edge();
        self.tree(&edge)
            .prove(size, |nodes| merkle::prove_inclusion(index, size, nodes))
    }

    /// Proves that the tree of `old` entries is the beginning of that of `new` entries.
    ///
    /// # Errors
    ///
    /// [`LedgerError::NotInTree`] when it never had so many.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        let edge = self.shared.edge();
        self.tree(&edge)
            .prove(new, |nodes| merkle::prove_consistency(old, new, nodes))
    }

    /// Proves that the entries `start..end` are a subtree of the tree of `size` entries.
    ///
    /// # Errors
    ///
    /// [`LedgerError::NotInTree`] when they are not.
    pub fn prove_subtree(&self, start: u64, end: u64, size: u64) -> Result<Vec<Hash>, LedgerError> {
        let edge = self.shared.edge();
        self.tree(&edge)
            .prove(size, |nodes| merkle::prove_subtree(start, end, size, nodes))
    }
}
