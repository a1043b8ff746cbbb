//! The integrator: the thread that takes recorded entries into the tree.
//!
//! It reads the outbox, appends to the edge, writes what became full, signs a checkpoint, and from
//! time to time brings the files to disk and lets the registry forget the entries they hold. When
//! a file cannot be written it says why, starts again from what is on disk, and tries until it can;
//! meanwhile entries collect in the outbox, up to its bound.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use model::limits;
use tlog::TILE_WIDTH;

use super::{
    edge::{Edge, FullTile},
    error::LedgerError,
    filer::{Filer, Request},
    files::Unsynced,
    index::{self, Index},
    log::Shared,
    outbox::{self, Waited},
};
use crate::{commit::Urgency, registry_file};

/// Entries taken in at once: 64 bundles at most 16 MiB of which are in memory.
const BATCH: u64 = 4096;

/// Least time between two checkpoints. Hub: a tenth of what witnesses may take.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(100);

/// Entries that wait for the next checkpoint without hurry. Hub: what comes in a tenth of a second
/// at full speed.
const PAUSED_FOR: u64 = 4096;

/// Checkpoints after which files are brought to disk, if not enough are written before.
const CHECKPOINTS_PER_SYNC: u32 = 10;

/// Checkpoints after which the registry's log is moved into its file: often enough that the writer
/// has nothing left to move when the log is long.
const CHECKPOINTS_PER_MOVE: u32 = 2;

/// Written files after which they are brought to disk.
const FILES_PER_SYNC: usize = 256;

/// Longest that an end waits for the disk.
const LONGEST_FLUSH: Duration = Duration::from_secs(60);

/// How long to wait before a file that could not be written is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

struct Integrator {
    shared: Arc<Shared>,
    edge: Edge,
    unsynced: Unsynced,
    /// The edge at the last full bundle that is on disk, to start again from.
    durable: Edge,
    /// The edge at the last full bundle that is written.
    written: Edge,
    /// Checkpoints signed since files were last brought to disk.
    checkpoints: u32,
    /// The size in the checkpoint that is on disk.
    noted: Option<u64>,
    /// The search index; none before the first pass, or when it cannot be had.
    index: Option<index::Writer>,
    filer: Filer,
}

pub(crate) fn spawn(shared: Arc<Shared>, edge: Edge) -> Result<JoinHandle<()>, LedgerError> {
    let folder = shared.files.folder().to_path_buf();
    let filer = Filer::spawn(Arc::clone(&shared))?;
    let mut integrator = Integrator {
        shared,
        durable: edge.clone(),
        written: edge.clone(),
        edge,
        unsynced: Unsynced::default(),
        checkpoints: 0,
        noted: None,
        index: None,
        filer,
    };
    // Once before anybody reads, so that the tree has all that was ever signed.
    let first = integrator.pass();
    integrator.note(first);
    integrator.shared.gate.set_started();
    std::thread::Builder::new()
        .name("ledger integrator".into())
        .spawn(move || integrator.run())
        .map_err(|error| LedgerError::io("start a thread for", &folder, &error))
}

impl Integrator {
    fn run(&mut self) {
        self.index = Index::open(&self.shared);
        loop {
            let outcome = self.pass();
            let pause = self.note(outcome);
            let mut behind = self.catch_up();
            while behind && self.shared.gate.pause(Duration::ZERO) && self.is_idle() {
                behind = self.catch_up();
            }
            let waiting = self.shared.gate.recorded().saturating_sub(self.edge.size());
            let far = waiting > PAUSED_FOR;
            let pause = if far && self.shared.gate.trouble().is_none() {
                Duration::ZERO
            } else {
                pause
            };
            if !self.shared.gate.pause(pause) {
                break;
            }
            if !behind && self.is_idle() {
                self.forget();
                let is_done = self.checkpoints == 0
                    && !self.filer.is_busy()
                    && !self.shared.gate.has_filed_entries();
                let longest = if is_done {
                    Duration::from_secs(3600)
                } else {
                    CHECKPOINT_PAUSE * CHECKPOINTS_PER_SYNC
                };
                match self.shared.gate.wait(longest) {
                    Waited::Rung => {}
                    // Nothing new: a good time to bring to disk what is written.
                    Waited::Long => self.checkpoints = CHECKPOINTS_PER_SYNC,
                    Waited::Stopped => break,
                }
            }
        }
        if let Err(error) = self.end() {
            tracing::warn!(%error, "the ledger's files were not brought to disk; the next start does");
        }
        while self.shared.gate.has_filed_entries() {
            let forgetting = registry_file::write_nothing(&self.shared.inbox, Urgency::Now);
            if forgetting.wait().is_err() {
                break;
            }
        }
    }

    /// The last words: the next start then has nothing to write again.
    fn end(&mut self) -> Result<(), LedgerError> {
        self.filed(LONGEST_FLUSH)?;
        self.pass()?;
        self.file();
        self.filed(LONGEST_FLUSH)
    }

    /// Indexes some of what is not indexed yet. Whether there is more.
    fn catch_up(&mut self) -> bool {
        let index = self.index.as_mut();
        index.is_some_and(|index| index.catch_up(&self.shared))
    }

    /// Remembers whether files can be written; answers how long to wait.
    fn note(&mut self, outcome: Result<(), LedgerError>) -> Duration {
        let gate = &self.shared.gate;
        match outcome {
            Ok(()) => {
                if gate.trouble().is_some() {
                    tracing::info!("the ledger's files can be written again");
                    gate.set_trouble(None);
                }
                CHECKPOINT_PAUSE
            }
            Err(error) => {
                if gate.trouble().is_none() {
                    tracing::error!(%error, "the ledger's files cannot be written");
                }
                gate.set_trouble(Some(error.to_string()));
                // What was written may not be on disk, and what is in memory not written.
                self.edge = self.durable.clone();
                self.written = self.durable.clone();
                self.unsynced = Unsynced::default();
                self.noted = None;
                self.checkpoints = CHECKPOINTS_PER_SYNC;
                RETRY_PAUSE
            }
        }
    }

    /// A commit can be read a moment before it is told.
    fn is_idle(&self) -> bool {
        self.shared.gate.recorded() <= self.edge.size()
    }

    /// Takes in what is recorded, and signs.
    fn pass(&mut self) -> Result<(), LedgerError> {
        self.filed(Duration::ZERO)?;
        // What is recorded meanwhile is for the next checkpoint.
        let target = self.shared.gate.recorded();
        while self.edge.size() < target {
            let from = self.edge.size();
            let registry = &self.shared.registry;
            let entries = registry.with(|file| outbox::read(file, from, BATCH))?;
            if entries.is_empty() {
                return Err(crate::Failure::Unreadable {
                    what: "outbox of the ledger",
                }
                .into());
            }
            let mut filled: Vec<FullTile> = Vec::new();
            for entry in &entries {
                self.edge.push(entry, &mut filled);
                if self.edge.size().is_multiple_of(TILE_WIDTH) {
                    self.written = self.edge.clone();
                }
            }
            self.shared.files.put(&filled, &mut self.unsynced)?;
            // When tried again, the tree must not shrink for those who read.
            if self.edge.size() > self.shared.edge().size() {
                self.shared.set_edge(self.edge.clone());
            }
            if let Some(index) = &mut self.index {
                index.follow(&self.shared, from, &entries);
            }
            self.filed(Duration::ZERO)?;
            if self.unsynced.files() >= FILES_PER_SYNC && !self.filer.is_busy() {
                self.sign();
                self.file();
            }
        }
        self.filed(Duration::ZERO)?;
        self.sign();
        if self.checkpoints >= CHECKPOINTS_PER_SYNC {
            self.file();
        }
        Ok(())
    }

    /// Signs the tree if it has grown since the last checkpoint; the first one also when empty.
    fn sign(&mut self) {
        let size = self.edge.size();
        let known = self.shared.latest();
        if known.is_some_and(|signed| signed.checkpoint.size >= size) {
            return;
        }
        if let Some(signed) = self.shared.sign(size, self.edge.root()) {
            self.shared.publish(signed);
            self.checkpoints += 1;
            if self.checkpoints.is_multiple_of(CHECKPOINTS_PER_MOVE) && !self.filer.is_busy() {
                self.filer.move_log();
            }
        }
    }

    /// Has files brought to disk. The checkpoint goes with them: on disk it tells the next start
    /// what the tree must at least be, and the entries it covers are all durable, so that it may
    /// lag behind the one that is served.
    fn file(&mut self) {
        if self.filer.is_busy() {
            return;
        }
        self.checkpoints = 0;
        let Some(signed) = self.shared.latest() else {
            return;
        };
        if self.noted == Some(signed.checkpoint.size) && self.unsynced.files() == 0 {
            return;
        }
        self.noted = Some(signed.checkpoint.size);
        self.filer.ask(Request {
            written: self.written.clone(),
            files: std::mem::take(&mut self.unsynced),
            note: signed.note.to_string(),
        });
    }

    /// Lets the registry forget what has been brought to disk.
    fn filed(&mut self, longest: Duration) -> Result<(), LedgerError> {
        if let Some(durable) = self.filer.answer(longest)? {
            self.shared.gate.set_filed(durable.size());
            self.durable = durable;
        }
        Ok(())
    }

    /// Gives the registry's writer an occasion to forget what files hold, when nobody else does.
    fn forget(&self) {
        if self.shared.gate.has_filed_entries() {
            let _nobody_waits = registry_file::write_nothing(&self.shared.inbox, Urgency::Lazy);
        }
    }
}

/// The outbox must have room for what is written between two syncs, and for bursts.
const _: () = assert!(
    limits::LEDGER_OUTBOX_ENTRIES > 2 * TILE_WIDTH * FILES_PER_SYNC as u64,
    "the outbox would refuse what only waits for its files"
);
