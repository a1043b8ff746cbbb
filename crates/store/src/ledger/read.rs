//! Reading the ledger: tiles, entries and proofs.
//!
//! What is full comes from its file, the rest from memory, and what is not in the tree yet from the
//! outbox. Hash tiles are compared with the level above before they are used, and made again where
//! they are damaged; entries are compared with their hashes.

use ledger::{Entry, InvalidEntry};
use tlog::{
    Checkpoint, Hash, Level, Note, TILE_WIDTH, TileId, TileNodes,
    bundle::bundle_entries,
    merkle::{self, Unprovable},
    tile::TileError,
};

use super::{
    edge::{Edge, bytes_of, full},
    error::LedgerError,
    files::Files,
    log::Shared,
    outbox,
    tiles::{Source, hashes_of},
};

/// A checkpoint, and the note that signs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// Its text and the signatures under it.
    pub note: Note,
}

/// The tree as it was at one moment.
pub(crate) struct Tree<'a> {
    pub(crate) files: &'a Files,
    pub(crate) edge: &'a Edge,
}

impl Tree<'_> {
    /// A tile, of any width it has had; `None` when the tree has none such.
    pub(crate) fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(now) = TileId::in_tree(id.level, id.index, self.edge.size()) else {
            return Ok(None);
        };
        if id.width > now.width {
            return Ok(None);
        }
        if !now.is_full() {
            return Ok(self.edge.partial(id));
        }
        let bytes = match id.level {
            Level::Entries => {
                let mut bytes = self.files.bundle(id.index)?;
                bytes.truncate(length_of(&bytes, id.width));
                bytes
            }
            Level::Hashes(level) => {
                let hashes = self.hashes(level, id.index)?;
                bytes_of(hashes.get(..usize::from(id.width)).unwrap_or_default())
            }
        };
        Ok(Some(bytes))
    }

    /// The hashes of a full tile, which are right: their root stands in the level above.
    fn hashes(&self, level: u8, index: u64) -> Result<Vec<Hash>, LedgerError> {
        let id = full(Level::Hashes(level), index);
        let expected = match self.edge.hash(level + 1, index) {
            Some(hash) => hash,
            None => {
                let above = self.hashes(level + 1, index / TILE_WIDTH)?;
                let at = usize::try_from(index % TILE_WIDTH).unwrap_or_default();
                above.get(at).copied().ok_or(LedgerError::NotInTree {
                    size: self.edge.size(),
                })?
            }
        };
        let right = |hashes: &Vec<Hash>| merkle::root_of(hashes) == expected;
        if let Some(stored) = self.files.stored_hashes(id)?.filter(right) {
            return Ok(stored);
        }
        for source in [Source::Below, Source::Entries] {
            let again = self.files.rebuilt(id, source)?;
            if right(&again) {
                self.files.repair(id, &again)?;
                return Ok(again);
            }
        }
        // Below the lowest tile are only the entries.
        let blamed = match level {
            0 => full(Level::Entries, index),
            _ => id,
        };
        let what = format!("it does not hash to {expected}, as the tree has it");
        Err(LedgerError::damaged(self.files.path(blamed), what))
    }

    /// A full bundle whose entries have the hashes that the tree has.
    pub(crate) fn bundle(&self, index: u64) -> Result<Vec<u8>, LedgerError> {
        let bundle = self.files.bundle(index)?;
        if hashes_of(&bundle) == self.hashes(0, index)? {
            return Ok(bundle);
        }
        let id = full(Level::Entries, index);
        let what = "an entry does not have the hash that the tree has";
        Err(LedgerError::damaged(self.files.path(id), what))
    }

    /// Proves with the tiles of the tree when it had `size` entries.
    pub(crate) fn prove<T>(
        &self,
        size: u64,
        proof: impl FnOnce(
            &TileNodes<&dyn Fn(TileId) -> Result<Vec<u8>, LedgerError>>,
        ) -> Result<T, Unprovable<TileError<LedgerError>>>,
    ) -> Result<T, LedgerError> {
        if size > self.edge.size() {
            return Err(LedgerError::NotInTree { size });
        }
        let read = |id| self.tile(id)?.ok_or(LedgerError::NotInTree { size });
        proof(&TileNodes::new(size, &read)).map_err(|error| match error {
            Unprovable::NotInTree { size, .. } => LedgerError::NotInTree { size },
            Unprovable::Nodes(error) => tile_error(self.files, error),
        })
    }

    /// The root of the tree when it had `size` entries.
    pub(crate) fn root(&self, size: u64) -> Result<Hash, LedgerError> {
        if size == self.edge.size() {
            return Ok(self.edge.root());
        }
        self.prove(size, |nodes| {
            merkle::root(size, nodes).map_err(Unprovable::Nodes)
        })
    }

    /// Shows `visit` the entries `from..` of the tree in order, until it has seen enough. Answers
    /// the index after the last, and what `visit` said of it.
    pub(crate) fn visit(
        &self,
        from: u64,
        visit: &mut impl FnMut(u64, &[u8]) -> Result<Flow, LedgerError>,
    ) -> Result<(u64, Flow), LedgerError> {
        let mut next = from;
        while next < self.edge.size() {
            let index = next / TILE_WIDTH;
            let bundle = match TileId::in_tree(Level::Entries, index, self.edge.size()) {
                Some(id) if !id.is_full() => self.edge.partial(id).unwrap_or_default(),
                _ => self.bundle(index)?,
            };
            let skip = usize::try_from(next % TILE_WIDTH).unwrap_or_default();
            for entry in bundle_entries(&bundle).skip(skip).map_while(Result::ok) {
                next += 1;
                if visit(next - 1, entry)? == Flow::Stop {
                    return Ok((next, Flow::Stop));
                }
            }
        }
        Ok((next, Flow::Go))
    }

    /// The bytes of an entry of the tree.
    pub(crate) fn entry(&self, index: u64) -> Result<Vec<u8>, LedgerError> {
        let mut found = None;
        self.visit(index, &mut |_, entry| {
            found = Some(entry.to_vec());
            Ok(Flow::Stop)
        })?;
        found.ok_or(LedgerError::NotInTree {
            size: self.edge.size(),
        })
    }
}

impl Shared {
    /// Shows `visit` the entries `from..` in order, those of the outbox too, until it has seen
    /// enough.
    pub(crate) fn visit(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<Flow, LedgerError>,
    ) -> Result<(), LedgerError> {
        let end = self.gate.recorded();
        let mut next = from;
        while next < end {
            let edge = self.edge();
            let tree = Tree {
                files: &self.files,
                edge: &edge,
            };
            let (reached, flow) = tree.visit(next, &mut visit)?;
            next = reached;
            if flow == Flow::Stop {
                return Ok(());
            }
            // What is not there has gone into the tree meanwhile.
            let entries = self
                .registry
                .with(|file| outbox::read(file, next, TILE_WIDTH))?;
            if entries.is_empty() && next < end && self.edge().size() <= next {
                return Err(crate::Failure::Unreadable {
                    what: "outbox of the ledger",
                }
                .into());
            }
            for entry in &entries {
                next += 1;
                if visit(next - 1, entry)? == Flow::Stop {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    Go,
    Stop,
}

/// Reads an entry that is in the tree.
pub(crate) fn decode(index: u64, entry: &[u8]) -> Result<Entry, LedgerError> {
    Entry::decode(entry).map_err(|error| unreadable(index, &error))
}

pub(crate) fn unreadable(index: u64, error: &InvalidEntry) -> LedgerError {
    tracing::error!(index, %error, "an entry of the ledger is unreadable");
    crate::Failure::Unreadable {
        what: "entry of the ledger",
    }
    .into()
}

/// A tile that nothing has been compared with yet.
pub(crate) fn unchecked_tile(
    files: &Files,
    edge: &Edge,
    id: TileId,
) -> Result<Vec<u8>, LedgerError> {
    if let Some(partial) = edge.partial(id) {
        return Ok(partial);
    }
    let hashes = match files.stored_hashes(id)? {
        Some(hashes) => hashes,
        None => files.rebuilt(id.full(), Source::Below)?,
    };
    Ok(bytes_of(
        hashes.get(..usize::from(id.width)).unwrap_or_default(),
    ))
}

pub(crate) fn tile_error(files: &Files, error: TileError<LedgerError>) -> LedgerError {
    match error {
        TileError::Read(error) => error,
        TileError::Length(id) => LedgerError::damaged(files.path(id), "it has a wrong length"),
        TileError::NotInTree { size, .. } => LedgerError::NotInTree { size },
    }
}

/// How many bytes the first `entries` entries of a bundle take.
fn length_of(bundle: &[u8], entries: u16) -> usize {
    let entries = bundle_entries(bundle).take(entries.into());
    entries
        .map_while(Result::ok)
        .map(|entry| entry.len() + 2)
        .sum()
}
