//! What is checked before the ledger goes on: files and registry must tell of one tree.
//!
//! The right edge of the tree is computed from the last tiles of each level and the outbox, and
//! must have the root that the stored checkpoint promised. That is not a scan of everything: what
//! lies further left was covered by the hashes that are looked at here, and is checked when it is
//! read.

use std::cell::Cell;

use rusqlite::Connection;
use tlog::{Checkpoint, Hash, Level, Note, SignerKey, TILE_WIDTH, TileNodes, merkle};

use super::{
    edge::{Edge, FullTile, full},
    error::LedgerError,
    files::{CHECKPOINT, COSIGNED, Files},
    outbox::{self, Extent},
    read::{self, SignedCheckpoint},
    tiles::{Source, hashes_of},
};
use crate::Failure;

/// Entries of the outbox in memory at once.
const BATCH: u64 = 4096;

/// What a start finds.
#[derive(Debug)]
pub(crate) struct Found {
    /// The edge at the last full bundle that the files hold durably: the outbox goes on from here.
    pub(crate) edge: Edge,
    pub(crate) cosigned: Option<SignedCheckpoint>,
}

/// Looks at the folder and the registry, and refuses what does not fit together.
pub(crate) fn find(
    files: &Files,
    registry: &Connection,
    origin: &str,
    signers: &[std::sync::Arc<SignerKey>],
) -> Result<Found, LedgerError> {
    let extent = outbox::extent(registry)?;
    let registry_file = files
        .folder()
        .with_file_name(crate::registry_file::LAYOUT.name);
    if !extent.whole || !extent.first.is_multiple_of(TILE_WIDTH) {
        let what = format!(
            "its outbox of the ledger has gaps below entry {}, or ends there",
            extent.next
        );
        return Err(LedgerError::damaged(registry_file, what));
    }
    let latest = checkpoint(files, CHECKPOINT, origin, signers)?;
    let cosigned = checkpoint(files, COSIGNED, origin, &[])?;
    if latest.is_none() && extent.first > 0 {
        let path = files.folder().join(CHECKPOINT);
        return Err(LedgerError::damaged(path, "it is missing"));
    }
    not_rolled_back(files, extent, &latest, &cosigned)?;
    let expected = Expected {
        files,
        registry,
        extent,
        checkpoints: [(CHECKPOINT, &latest), (COSIGNED, &cosigned)]
            .into_iter()
            .filter_map(|(name, signed)| Some((name, &signed.as_ref()?.checkpoint)))
            .collect(),
    };
    let edge = expected.edge()?;
    Ok(Found { edge, cosigned })
}

/// Reads a stored checkpoint. Where one of `signers` signed it, the signature must be good.
fn checkpoint(
    files: &Files,
    name: &str,
    origin: &str,
    signers: &[std::sync::Arc<SignerKey>],
) -> Result<Option<SignedCheckpoint>, LedgerError> {
    let Some(text) = files.note(name)? else {
        return Ok(None);
    };
    let damaged = |what: String| LedgerError::damaged(files.folder().join(name), what);
    let note: Note = text.parse().map_err(|error| damaged(format!("{error}")))?;
    let checkpoint: Checkpoint = note
        .text
        .parse()
        .map_err(|error| damaged(format!("{error}")))?;
    if checkpoint.origin != origin {
        return Err(LedgerError::Origin {
            stored: checkpoint.origin,
            given: origin.into(),
        });
    }
    for signature in &note.signatures {
        for signer in signers {
            let key = signer.verifier();
            if key.claims(signature) {
                key.verify(&note.text, signature).map_err(|error| {
                    damaged(format!("the signature of {}: {error}", key.name()))
                })?;
            }
        }
    }
    Ok(Some(SignedCheckpoint { checkpoint, note }))
}

/// The files may not know of more entries than the registry.
fn not_rolled_back(
    files: &Files,
    extent: Extent,
    latest: &Option<SignedCheckpoint>,
    cosigned: &Option<SignedCheckpoint>,
) -> Result<(), LedgerError> {
    let promised = [(CHECKPOINT, latest), (COSIGNED, cosigned)]
        .into_iter()
        .filter_map(|(name, signed)| {
            let size = signed.as_ref()?.checkpoint.size;
            Some((files.folder().join(name), size))
        });
    let beyond = full(Level::Entries, extent.next / TILE_WIDTH);
    let written = files
        .has(beyond)
        .then(|| (files.path(beyond), (beyond.index + 1) * TILE_WIDTH));
    for (file, found) in promised.chain(written) {
        if found > extent.next {
            return Err(LedgerError::RolledBack {
                file,
                found,
                recorded: extent.next,
            });
        }
    }
    Ok(())
}

/// What the tree must come out as.
struct Expected<'a> {
    files: &'a Files,
    registry: &'a Connection,
    extent: Extent,
    checkpoints: Vec<(&'static str, &'a Checkpoint)>,
}

impl Expected<'_> {
    fn edge(&self) -> Result<Edge, LedgerError> {
        // The tiles as they are, only missing ones made again; if that does not give the promised
        // roots, all from the entries; if that does not either, nothing can be signed.
        let missing = Cell::new(false);
        let stored = Edge::at(self.extent.first, |id| {
            match self.files.stored_hashes(id)? {
                Some(hashes) => Ok(hashes),
                None => {
                    missing.set(true);
                    self.files.rebuilt(id, Source::Below)
                }
            }
        });
        let problem = match stored {
            Ok(edge) => match self.problem(&edge)? {
                None if missing.get() => return self.repaired(Source::Below, edge),
                None => return Ok(edge),
                Some(problem) => problem,
            },
            Err(error) => return Err(error),
        };
        tracing::warn!(%problem, "the ledger's tiles are read again from its entries");
        let edge = Edge::at(self.extent.first, |id| {
            self.files.rebuilt(id, Source::Entries)
        })?;
        match self.problem(&edge)? {
            None => self.repaired(Source::Entries, edge),
            Some(problem) => Err(self.culprit(problem)?),
        }
    }

    /// Why `edge` is not what was promised.
    fn problem(&self, edge: &Edge) -> Result<Option<LedgerError>, LedgerError> {
        let mut edge = edge.clone();
        let mut filled: Vec<FullTile> = Vec::new();
        let wrong = |name: &str, found: Hash, checkpoint: &Checkpoint| {
            let what = format!(
                "it promises the root {} for {} entries, and they have {found}",
                checkpoint.root, checkpoint.size
            );
            Some(LedgerError::damaged(self.files.folder().join(name), what))
        };
        for (name, checkpoint) in &self.checkpoints {
            if checkpoint.size < edge.size() {
                let found = self.root(&edge, checkpoint.size)?;
                if found != checkpoint.root {
                    return Ok(wrong(name, found, checkpoint));
                }
            }
        }
        loop {
            let from = edge.size();
            for (name, checkpoint) in &self.checkpoints {
                if checkpoint.size == from && edge.root() != checkpoint.root {
                    return Ok(wrong(name, edge.root(), checkpoint));
                }
            }
            // Up to the next size that was promised, or as much as fits into memory.
            let stop = self.checkpoints.iter().map(|(_, promised)| promised.size);
            let Some(stop) = stop.filter(|size| *size > from).min() else {
                return Ok(None);
            };
            let entries = outbox::read(self.registry, from, BATCH.min(stop - from))?;
            if entries.is_empty() {
                return Err(Failure::Unreadable {
                    what: "outbox of the ledger",
                }
                .into());
            }
            for entry in &entries {
                edge.push(entry, &mut filled);
                filled.clear();
            }
        }
    }

    /// The root of the tree when it had `size` entries, fewer than the edge has.
    fn root(&self, edge: &Edge, size: u64) -> Result<Hash, LedgerError> {
        let nodes = TileNodes::new(size, |id| read::unchecked_tile(self.files, edge, id));
        merkle::root(size, &nodes).map_err(|error| read::tile_error(self.files, error))
    }

    /// Writes what had to be made again and is now proved right.
    fn repaired(&self, source: Source, edge: Edge) -> Result<Edge, LedgerError> {
        Edge::at(self.extent.first, |id| {
            let right = match (self.files.stored_hashes(id)?, source) {
                (Some(stored), Source::Below) => return Ok(stored),
                (stored, _) => {
                    let right = self.files.rebuilt(id, source)?;
                    if stored.as_ref() == Some(&right) {
                        return Ok(right);
                    }
                    right
                }
            };
            self.files.repair(id, &right)?;
            Ok(right)
        })?;
        Ok(edge)
    }

    /// The file to blame when neither tiles nor entries give what was promised: the first bundle
    /// that disagrees with its tile, or else the checkpoint.
    fn culprit(&self, problem: LedgerError) -> Result<LedgerError, LedgerError> {
        for index in 0..self.extent.first / TILE_WIDTH {
            let id = full(Level::Hashes(0), index);
            let entries = hashes_of(&self.files.bundle(index)?);
            let Some(stored) = self.files.stored_hashes(id)? else {
                continue;
            };
            if let Some(at) = (0..).zip(&stored).find_map(|(at, hash): (u64, _)| {
                (entries.get(usize::try_from(at).ok()?) != Some(hash)).then_some(at)
            }) {
                let what = format!(
                    "entry {} does not have its hash in {}",
                    index * TILE_WIDTH + at,
                    id.path()
                );
                let bundle = full(Level::Entries, index);
                return Ok(LedgerError::damaged(self.files.path(bundle), what));
            }
        }
        Ok(problem)
    }
}
