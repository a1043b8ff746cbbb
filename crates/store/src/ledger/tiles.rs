//! Full tiles as they are on disk, and hash tiles made again from what is below them.

use tlog::{Hash, Level, TILE_WIDTH, TileId, bundle::bundle_entries, merkle, tile::tile_hashes};

use super::{
    edge::{FullTile, bytes_of, full},
    error::LedgerError,
    files::{Files, Unsynced},
};

/// What a hash tile is made again from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The tiles directly below it, where they are there.
    Below,
    /// The entries.
    Entries,
}

impl Files {
    /// A full tile of hashes as its file has it; `None` when the file is missing or has not the
    /// length of one.
    pub(crate) fn stored_hashes(&self, id: TileId) -> Result<Option<Vec<Hash>>, LedgerError> {
        let bytes = self.tile(id)?;
        Ok(bytes.and_then(|bytes| tile_hashes(&bytes, id.full().width)))
    }

    /// The entries of a full bundle.
    pub(crate) fn bundle(&self, index: u64) -> Result<Vec<u8>, LedgerError> {
        let id = full(Level::Entries, index);
        let damaged = |what: String| LedgerError::damaged(self.path(id), what);
        let bytes = self
            .tile(id)?
            .ok_or_else(|| damaged("it is missing".into()))?;
        let mut entries = 0;
        for entry in bundle_entries(&bytes) {
            entry.map_err(|error| damaged(error.to_string()))?;
            entries += 1;
        }
        if entries == TILE_WIDTH {
            Ok(bytes)
        } else {
            Err(damaged(format!(
                "it has {entries} entries instead of {TILE_WIDTH}"
            )))
        }
    }

    /// A full tile of hashes made again, whatever its file says.
    pub(crate) fn rebuilt(&self, id: TileId, source: Source) -> Result<Vec<Hash>, LedgerError> {
        let level = match id.level {
            Level::Entries | Level::Hashes(0) => return Ok(hashes_of(&self.bundle(id.index)?)),
            Level::Hashes(level) => level - 1,
        };
        (id.index * TILE_WIDTH..(id.index + 1) * TILE_WIDTH)
            .map(|index| {
                let below = full(Level::Hashes(level), index);
                let stored = match source {
                    Source::Below => self.stored_hashes(below)?,
                    Source::Entries => None,
                };
                let hashes = match stored {
                    Some(hashes) => hashes,
                    None => self.rebuilt(below, source)?,
                };
                Ok(merkle::root_of(&hashes))
            })
            .collect()
    }

    /// Replaces a damaged tile of hashes, durably.
    pub(crate) fn repair(&self, id: TileId, hashes: &[Hash]) -> Result<(), LedgerError> {
        let path = self.path(id);
        tracing::warn!(file = %path.display(), "a damaged tile of the ledger was made again");
        let tile = FullTile {
            id: id.full(),
            bytes: bytes_of(hashes),
        };
        let mut unsynced = Unsynced::default();
        self.put(&[tile], &mut unsynced)?;
        self.sync(&unsynced)
    }
}

/// The leaf hashes of a bundle.
pub(crate) fn hashes_of(bundle: &[u8]) -> Vec<Hash> {
    // A bundle is looked through when it is read.
    bundle_entries(bundle)
        .map_while(Result::ok)
        .map(merkle::leaf_hash)
        .collect()
}
