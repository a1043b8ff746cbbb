//! The right edge of the ledger's tree: everything that no full tile holds yet.
//!
//! Per level the hashes after the last full tile, and the entries after the last full bundle. That
//! is enough to append, to know the root, and to serve every partial tile.

use tlog::{Frontier, Hash, Level, TILE_WIDTH, TileId, bundle, merkle};

use super::error::LedgerError;

const WIDTH: usize = TILE_WIDTH as usize;

/// The part of the tree that is in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    size: u64,
    /// By level, the hashes after the last full tile: fewer than 256 each.
    levels: Vec<Vec<Hash>>,
    /// The entries after the last full bundle, as a bundle, and where each ends in it.
    bundle: Vec<u8>,
    ends: Vec<usize>,
}

/// A full tile, to be written.
#[derive(Debug)]
pub(crate) struct FullTile {
    pub(crate) id: TileId,
    pub(crate) bytes: Vec<u8>,
}

impl Edge {
    /// The edge of a tree of `size` entries, a multiple of 256. `tile` reads a full tile of hashes:
    /// at most 255 of each level, whose roots the level above does not hold in a file yet.
    pub(crate) fn at(
        size: u64,
        mut tile: impl FnMut(TileId) -> Result<Vec<Hash>, LedgerError>,
    ) -> Result<Self, LedgerError> {
        let mut levels = vec![Vec::new()];
        for level in 1.. {
            let count = Level::Hashes(level).count(size);
            if count == 0 {
                break;
            }
            let first = count / TILE_WIDTH * TILE_WIDTH;
            let hashes = (first..count)
                .map(|index| {
                    Ok(merkle::root_of(&tile(full(
                        Level::Hashes(level - 1),
                        index,
                    ))?))
                })
                .collect::<Result<_, LedgerError>>()?;
            levels.push(hashes);
        }
        Ok(Self {
            size,
            levels,
            bundle: Vec::new(),
            ends: Vec::new(),
        })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry of at most 4,096 bytes; tiles that become full go to `full`.
    pub(crate) fn push(&mut self, entry: &[u8], filled: &mut Vec<FullTile>) {
        bundle::push_entry(&mut self.bundle, entry)
            .expect("an entry of the ledger is shorter than a bundle's entries may be");
        self.ends.push(self.bundle.len());
        if self.ends.len() == WIDTH {
            filled.push(FullTile {
                id: full(Level::Entries, self.size / TILE_WIDTH),
                bytes: std::mem::take(&mut self.bundle),
            });
            self.ends.clear();
        }
        self.size += 1;
        let mut hash = merkle::leaf_hash(entry);
        for level in 0.. {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[usize::from(level)];
            hashes.push(hash);
            if hashes.len() < WIDTH {
                break;
            }
            hash = merkle::root_of(hashes);
            let index = Level::Hashes(level).count(self.size) / TILE_WIDTH - 1;
            filled.push(FullTile {
                id: full(Level::Hashes(level), index),
                bytes: bytes_of(hashes),
            });
            hashes.clear();
        }
    }

    /// The root of the whole tree.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let (peak, after) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(merkle::root_of(peak));
                rest = after;
            }
        }
        Frontier::from_parts(self.size, peaks)
            .expect("every level holds the digits of the size to the base 256")
            .root()
    }

    /// The hash `index` of `level`, if it is on the edge.
    pub(crate) fn hash(&self, level: u8, index: u64) -> Option<Hash> {
        let hashes = self.levels.get(usize::from(level))?;
        let first = Level::Hashes(level).count(self.size) / TILE_WIDTH * TILE_WIDTH;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        hashes.get(at).copied()
    }

    /// The bytes of a tile that is not full yet, at any width it has had. `None` when it is not the
    /// partial tile of its level, or not so wide yet.
    pub(crate) fn partial(&self, id: TileId) -> Option<Vec<u8>> {
        let now = TileId::in_tree(id.level, id.index, self.size)?;
        if now.is_full() || id.width > now.width {
            return None;
        }
        let width = usize::from(id.width);
        match id.level {
            Level::Entries => {
                let end = *self.ends.get(width.checked_sub(1)?)?;
                Some(self.bundle[..end].to_vec())
            }
            Level::Hashes(level) => {
                let hashes = self.levels.get(usize::from(level))?;
                Some(bytes_of(hashes.get(..width)?))
            }
        }
    }
}

/// The full tile at `index` of `level`.
pub(crate) const fn full(level: Level, index: u64) -> TileId {
    TileId {
        level,
        index,
        width: TILE_WIDTH as u16,
    }
}

/// A tile of hashes as it is stored and served.
pub(crate) fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_edge_has_the_root_and_the_tiles_of_the_tree() {
        let mut edge = Edge::default();
        let mut tiles = BTreeMap::new();
        let mut leaves = Vec::new();
        for size in 0..70_000_u64 {
            if size < 600 || size % 9_973 == 0 || size.abs_diff(65_536) < 3 {
                assert_eq!(edge.size(), size);
                assert_eq!(edge.root(), merkle::root_of(&leaves), "at {size}");
                check(&edge, &tiles, &leaves);
            }
            let entry = size.to_be_bytes();
            let mut filled = Vec::new();
            edge.push(&entry, &mut filled);
            tiles.extend(filled.into_iter().map(|tile| (tile.id, tile.bytes)));
            leaves.push(merkle::leaf_hash(&entry));
        }
        let base = edge.size() / TILE_WIDTH * TILE_WIDTH;
        let again = Edge::at(base, |id| {
            Ok(tlog::tile::tile_hashes(&tiles[&id], id.width).unwrap())
        });
        let leaves = &leaves[..usize::try_from(base).unwrap()];
        assert_eq!(again.unwrap().root(), merkle::root_of(leaves));
    }

    /// Every tile that the tree should have is there, full or partial, and nothing wider.
    fn check(edge: &Edge, tiles: &BTreeMap<TileId, Vec<u8>>, leaves: &[Hash]) {
        for id in tlog::tile::tiles_of(edge.size()) {
            if id.is_full() {
                assert!(tiles.contains_key(&id), "{id}");
                assert_eq!(edge.partial(id), None);
                continue;
            }
            let bytes = edge.partial(id).unwrap();
            if id.level == Level::Hashes(0) {
                let start = usize::try_from(id.index * TILE_WIDTH).unwrap();
                assert_eq!(bytes, bytes_of(&leaves[start..]));
            }
            let wider = TileId {
                width: id.width + 1,
                ..id
            };
            assert_eq!(edge.partial(wider), None);
        }
    }
}
