//! A mirror's copy of a log: bundles of entries and tiles of hashes, as files at their C2SP paths.
//!
//! Entries are saved in order and only when they were proven to belong to a checkpoint. Full bundles
//! and tiles are written when their last entry comes; partial ones when a checkpoint is to be
//! signed ([`Tree::settle`]), so that whatever was signed can be served.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tlog::{
    Hash, Level, TILE_WIDTH, TileId, TileNodes,
    bundle::{bundle_entries, push_entry},
    merkle::{leaf_hash, root, root_of},
    mirror::Span,
    tile::{TileError, tile_hashes},
};

use crate::durable;

/// Bytes of a hash in a tile.
const HASH_BYTES: usize = Hash::LENGTH;

/// The copy, and its right edge in memory.
pub(crate) struct Tree {
    folder: PathBuf,
    /// The first entry that is not saved.
    next: u64,
    /// The entries of the last bundle while it is not full.
    bundle: Vec<u8>,
    /// The hashes of the last tile of each level while it is not full.
    edge: Vec<Vec<Hash>>,
}

/// Why a copy cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} does not hold {width} hashes or entries")]
    Length { path: PathBuf, width: u16 },
    #[error("{path} does not hold the entries that the hashes beside it stand for")]
    Entries { path: PathBuf },
    #[error("the tiles do not lead to the root that was signed for {0} entries")]
    Root(u64),
}

impl Tree {
    /// Goes on with the copy in `folder`, of which `size` entries were signed for with this root.
    pub(crate) fn open(folder: &Path, size: u64, signed: &Hash) -> Result<Self, Unusable> {
        let mut tree = Self {
            folder: folder.into(),
            next: size,
            bundle: Vec::new(),
            edge: Vec::new(),
        };
        for level in (0..).map(Level::Hashes) {
            if level.count(size) == 0 {
                break;
            }
            let hashes = match partial(level, size) {
                Some(id) => {
                    let bytes = tree.load(id)?;
                    let hashes = tile_hashes(&bytes, id.width);
                    hashes.ok_or_else(|| tree.length(id))?
                }
                None => Vec::new(),
            };
            tree.edge.push(hashes);
        }
        if let Some(id) = partial(Level::Entries, size) {
            tree.bundle = tree.load(id)?;
            let leaves: Result<Vec<_>, _> = bundle_entries(&tree.bundle)
                .map(|entry| entry.map(leaf_hash))
                .collect();
            let leaves = leaves.map_err(|_| tree.length(id))?;
            if tree.edge.first() != Some(&leaves) {
                return Err(Unusable::Entries {
                    path: tree.path(id),
                });
            }
        }
        match tree.root(size)? {
            found if found == *signed => Ok(tree),
            _ => Err(Unusable::Root(size)),
        }
    }

    /// The first entry that is not saved.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// The root of the first `size` entries, which must be settled.
    fn root(&self, size: u64) -> Result<Hash, Unusable> {
        root(size, &nodes(&self.folder, size)).map_err(|error| match error {
            TileError::Read(fault) => fault,
            TileError::Length(id) => self.length(id),
            TileError::NotInTree { .. } => Unusable::Root(size),
        })
    }

    /// The leaf hashes of the entries before a span, from where its tile begins. All of them must
    /// be saved.
    pub(crate) fn leaves_before(&self, span: Span) -> Result<Vec<Hash>, Unusable> {
        let count = (span.start - span.tile) as usize;
        let current = self.next - self.next % TILE_WIDTH;
        if span.tile == current {
            let leaves = self.edge.first().and_then(|leaves| leaves.get(..count));
            return Ok(leaves.unwrap_or_default().to_vec());
        }
        let id = TileId {
            level: Level::Hashes(0),
            index: span.tile / TILE_WIDTH,
            width: TILE_WIDTH as u16,
        };
        let bytes = self.load(id)?;
        let hashes = tile_hashes(&bytes, id.width).ok_or_else(|| self.length(id))?;
        Ok(hashes[..count].to_vec())
    }

    /// Saves the entries of a span, which must be proven to belong to the log; those that are saved
    /// already are passed over. When it fails, [`Self::next`] tells how far it came.
    pub(crate) fn append(&mut self, span: Span, entries: &[Vec<u8>]) -> io::Result<()> {
        let skipped = self.next.saturating_sub(span.start);
        for entry in entries.iter().skip(skipped as usize) {
            self.push(entry)?;
        }
        Ok(())
    }

    fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        let bytes = self.bundle.len();
        push_entry(&mut self.bundle, entry).map_err(io::Error::other)?;
        let pushed = self.push_leaf(leaf_hash(entry));
        match pushed {
            Ok(()) => self.next += 1,
            Err(_) => self.bundle.truncate(bytes),
        }
        if self.next.is_multiple_of(TILE_WIDTH) {
            self.bundle.clear();
        }
        pushed
    }

    /// Adds a leaf to the edge, and writes what it fills: the bundle, its tile, and the tiles above.
    fn push_leaf(&mut self, leaf: Hash) -> io::Result<()> {
        let mut filled = Vec::new();
        let mut hash = leaf;
        for level in 0.. {
            let before = self.edge.get(level).map_or(&[][..], Vec::as_slice);
            if before.len() + 1 < TILE_WIDTH as usize {
                break;
            }
            let full = [before, &[hash]].concat();
            hash = root_of(&full);
            filled.push(full);
        }
        if !filled.is_empty() {
            self.write_full(Level::Entries, &self.bundle)?;
        }
        for (level, hashes) in filled.iter().enumerate() {
            self.write_full(Level::Hashes(level as u8), &bytes_of(hashes))?;
        }
        // Nothing can fail from here on.
        for level in &mut self.edge[..filled.len()] {
            level.clear();
        }
        match self.edge.get_mut(filled.len()) {
            Some(level) => level.push(hash),
            None => self.edge.push(vec![hash]),
        }
        Ok(())
    }

    fn write_full(&self, level: Level, bytes: &[u8]) -> io::Result<()> {
        // The entry that fills it is counted only once it is written.
        let id = TileId {
            level,
            index: level.count(self.next + 1).div_ceil(TILE_WIDTH) - 1,
            width: TILE_WIDTH as u16,
        };
        let path = self.path(id);
        durable::write(&path, bytes)?;
        let mut partial = path.into_os_string();
        partial.push(".p");
        match fs::remove_dir_all(&partial) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the partial bundle and tiles of a tree of `size` entries, all of which are saved, and
    /// checks that what is on disk leads to this root.
    pub(crate) fn settle(&self, size: u64, expected: &Hash) -> Result<(), Unusable> {
        let levels = (0..self.edge.len()).map(|level| Level::Hashes(level as u8));
        for level in std::iter::once(Level::Entries).chain(levels) {
            let Some(id) = partial(level, size) else {
                continue;
            };
            let bytes = match self.partial_bytes(id) {
                Some(bytes) => bytes,
                None => cut(&self.load(id.full())?, id).ok_or_else(|| self.length(id))?,
            };
            let path = self.path(id);
            durable::write(&path, &bytes).map_err(|source| Unusable::Write { path, source })?;
        }
        match self.root(size)? {
            found if found == *expected => Ok(()),
            _ => Err(Unusable::Root(size)),
        }
    }

    /// A partial tile or bundle out of the edge, when that is where it is.
    fn partial_bytes(&self, id: TileId) -> Option<Vec<u8>> {
        if id.index != id.level.count(self.next) / TILE_WIDTH {
            return None;
        }
        match id.level {
            Level::Entries => cut(&self.bundle, id),
            Level::Hashes(level) => {
                let hashes = self.edge.get(usize::from(level))?;
                hashes.get(..usize::from(id.width)).map(bytes_of)
            }
        }
    }

    fn load(&self, id: TileId) -> Result<Vec<u8>, Unusable> {
        load(&self.folder, id)
    }

    fn path(&self, id: TileId) -> PathBuf {
        self.folder.join(id.path())
    }

    fn length(&self, id: TileId) -> Unusable {
        Unusable::Length {
            path: self.path(id),
            width: id.width,
        }
    }
}

/// The partial tile that a tree of `size` entries ends with on this level, if it does not end with
/// a full one.
fn partial(level: Level, size: u64) -> Option<TileId> {
    TileId::in_tree(level, level.count(size) / TILE_WIDTH, size)
}

/// The nodes of the first `size` entries, which must be settled, in the files of a copy.
pub(crate) fn nodes(
    folder: &Path,
    size: u64,
) -> TileNodes<impl Fn(TileId) -> Result<Vec<u8>, Unusable>> {
    TileNodes::new(size, move |id| load(folder, id))
}

fn load(folder: &Path, id: TileId) -> Result<Vec<u8>, Unusable> {
    read(folder, id).map_err(|source| Unusable::Read {
        path: folder.join(id.path()),
        source,
    })
}

/// The bytes of a tile or bundle; a partial one may be cut from the full one that took its place.
pub(crate) fn read(folder: &Path, id: TileId) -> io::Result<Vec<u8>> {
    match fs::read(folder.join(id.path())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !id.is_full() => {
            let full = fs::read(folder.join(id.full().path()))?;
            cut(&full, id).ok_or(error)
        }
        outcome => outcome,
    }
}

/// The beginning of a tile or bundle, as wide as `id` says.
pub(crate) fn cut(bytes: &[u8], id: TileId) -> Option<Vec<u8>> {
    let width = usize::from(id.width);
    let end = match id.level {
        Level::Hashes(_) => width * HASH_BYTES,
        Level::Entries => {
            let entries: Result<Vec<_>, _> = bundle_entries(bytes).take(width).collect();
            let entries = entries.ok().filter(|entries| entries.len() == width)?;
            entries.iter().map(|entry| 2 + entry.len()).sum()
        }
    };
    bytes.get(..end).map(<[u8]>::to_vec)
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog::{merkle::empty_root, tile::tiles_of};

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index}").into_bytes()
    }

    fn signed(size: u64) -> Hash {
        let leaves: Vec<_> = (0..size).map(|index| leaf_hash(&entry(index))).collect();
        root_of(&leaves)
    }

    fn grow(tree: &mut Tree, to: u64) {
        while tree.next() < to {
            let start = tree.next();
            let tile = start - start % TILE_WIDTH;
            let end = to.min(tile + TILE_WIDTH);
            let entries: Vec<_> = (start..end).map(entry).collect();
            tree.append(Span { tile, start, end }, &entries).unwrap();
        }
    }

    #[test]
    fn every_tile_of_every_settled_size_is_there_and_the_copy_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(folder.path(), 0, &empty_root()).unwrap();
        for size in [0, 1, 3, 255, 256, 257, 300, 511, 512, 1000, 66_000] {
            grow(&mut tree, size);
            tree.settle(size, &signed(size)).unwrap();
            for id in tiles_of(size) {
                assert!(folder.path().join(id.path()).is_file(), "{size}: {id}");
                assert!(read(folder.path(), id).is_ok());
            }
            tree = Tree::open(folder.path(), size, &signed(size)).unwrap();
            assert_eq!(tree.next(), size);
        }
        // An earlier size than what is saved, as when two uploads overtake one another.
        tree.settle(65_700, &signed(65_700)).unwrap();
        tree.settle(260, &signed(260)).unwrap();
        assert!(Tree::open(folder.path(), 260, &signed(260)).is_ok());
        let leaves = tree.leaves_before(Span {
            tile: 256,
            start: 258,
            end: 300,
        });
        assert_eq!(
            leaves.unwrap(),
            [256, 257].map(|index| leaf_hash(&entry(index)))
        );
    }

    #[test]
    fn entries_that_are_saved_already_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(folder.path(), 0, &empty_root()).unwrap();
        grow(&mut tree, 10);
        let entries: Vec<_> = (5..20).map(entry).collect();
        let span = Span {
            tile: 0,
            start: 5,
            end: 20,
        };
        tree.append(span, &entries).unwrap();
        tree.append(span, &entries).unwrap();
        assert_eq!(tree.next(), 20);
        tree.settle(20, &signed(20)).unwrap();
    }

    #[test]
    fn a_copy_that_was_changed_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(folder.path(), 0, &empty_root()).unwrap();
        grow(&mut tree, 300);
        tree.settle(300, &signed(300)).unwrap();
        assert!(matches!(
            Tree::open(folder.path(), 300, &signed(299)),
            Err(Unusable::Root(300))
        ));
        for path in ["tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"] {
            let path = folder.path().join(path);
            let good = fs::read(&path).unwrap();
            for at in [0, 5, good.len() - 1] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                fs::write(&path, bad).unwrap();
                assert!(
                    Tree::open(folder.path(), 300, &signed(300)).is_err(),
                    "{path:?} {at}"
                );
            }
            fs::remove_file(&path).unwrap();
            assert!(Tree::open(folder.path(), 300, &signed(300)).is_err());
            fs::write(&path, good).unwrap();
        }
        assert!(Tree::open(folder.path(), 300, &signed(300)).is_ok());
    }
}
