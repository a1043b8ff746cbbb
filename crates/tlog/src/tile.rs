//! Tiles: the hashes of a tree as files of up to 256 (C2SP `tlog-tiles`, "Merkle Tree").

use std::{cell::RefCell, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use model::limits;

use crate::{
    bundle::{bundle_entries, push_entry},
    hash::Hash,
    merkle::{Nodes, root_of},
};

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Levels of the tree in one tile: 2^8 hashes are 8 levels.
const TILE_HEIGHT: u8 = 8;

/// The highest level that a path can name.
const MAX_LEVEL: u8 = 63;

/// What a tile holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// The entries themselves; see [`bundle`](crate::bundle).
    Entries,
    /// Hashes, each over 256^level entries; 0 to 63.
    Hashes(u8),
}

/// Names a tile or an entry bundle.
///
/// Written as its path below the log's prefix, `tile/0/x001/234.p/5`, and read back only in
/// exactly that form.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TileId {
    /// What it holds.
    pub level: Level,
    /// Its place in the level.
    pub index: u64,
    /// How much it holds: 1 to 256 hashes or entries.
    pub width: u16,
}

/// A path that names no tile.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no tile has such a path; it reads like tile/0/x001/234 or tile/entries/000.p/5")]
pub struct InvalidTilePath;

impl Level {
    /// How many hashes or entries of this level a tree of `size` entries has.
    #[must_use]
    pub fn count(self, size: u64) -> u64 {
        match self {
            Self::Entries => size,
            Self::Hashes(level) => size
                .checked_shr(u32::from(level) * u32::from(TILE_HEIGHT))
                .unwrap_or(0),
        }
    }
}

impl TileId {
    /// The tile at a place as it is in a tree of `size` entries, full or partial, if that tree has
    /// one there.
    #[must_use]
    pub fn in_tree(level: Level, index: u64, size: u64) -> Option<Self> {
        let before = index.checked_mul(TILE_WIDTH)?;
        let width = level.count(size).saturating_sub(before).min(TILE_WIDTH);
        (width > 0).then_some(Self {
            level,
            index,
            width: width as u16,
        })
    }

    /// Whether it holds all that a tile can, and so never changes again.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width as u64 == TILE_WIDTH
    }

    /// The same tile once it is full.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: TILE_WIDTH as u16,
            ..self
        }
    }

    /// The path below the log's prefix, without a slash before it.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Entries => f.write_str("tile/entries/")?,
            Level::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        // Three digits an element, with an x on all but the last.
        let mut unit = 1;
        while self.index / unit >= 1000 {
            unit *= 1000;
        }
        while unit > 1 {
            write!(f, "x{:03}/", self.index / unit % 1000)?;
            unit /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if !self.is_full() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for TileId {
    type Err = InvalidTilePath;

    fn from_str(path: &str) -> Result<Self, InvalidTilePath> {
        let parsed = read_path(path).ok_or(InvalidTilePath)?;
        // One tile has one name: what is not written back the same way was not it.
        if parsed.to_string() == path {
            Ok(parsed)
        } else {
            Err(InvalidTilePath)
        }
    }
}

fn read_path(path: &str) -> Option<TileId> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let level = match level {
        "entries" => Level::Entries,
        number => Level::Hashes(decimal(number, MAX_LEVEL.into())? as u8),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, decimal(width, TILE_WIDTH - 1)?),
        None => (rest, TILE_WIDTH),
    };
    if width == 0 {
        return None;
    }
    let mut number = 0_u64;
    let mut elements = index.split('/').peekable();
    while let Some(element) = elements.next() {
        let digits = match elements.peek() {
            Some(_) => element.strip_prefix('x')?,
            None => element,
        };
        if digits.len() != 3 {
            return None;
        }
        number = number
            .checked_mul(1000)?
            .checked_add(decimal(digits, 999)?)?;
    }
    Some(TileId {
        level,
        index: number,
        width: width as u16,
    })
}

/// ASCII digits, and no more than `most`.
fn decimal(digits: &str, most: u64) -> Option<u64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number <= most)
}

/// Every tile and bundle of a tree of `size` entries: the bundles, then the hashes from the leaves
/// up, each level from the left.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TileId> {
    std::iter::once(Level::Entries)
        .chain((0..=MAX_LEVEL).map(Level::Hashes))
        .take_while(move |level| level.count(size) > 0)
        .flat_map(move |level| {
            (0..level.count(size).div_ceil(TILE_WIDTH))
                .filter_map(move |index| TileId::in_tree(level, index, size))
        })
}

/// The hashes of a tile's bytes, if they are whole hashes and as many as `width`.
#[must_use]
pub fn tile_hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks();
    let fits = rest.is_empty() && hashes.len() == usize::from(width);
    fits.then(|| hashes.iter().copied().map(Hash).collect())
}

/// Why a node could not be computed from tiles.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TileError<E> {
    /// A tile could not be read.
    #[error(transparent)]
    Read(E),
    /// A tile does not have 32 bytes for each of its hashes.
    #[error("the tile {0} does not have the length its width asks for")]
    Length(TileId),
    /// The node is not in a tree of this size.
    #[error("a tree of {size} entries has no complete subtree {index} of level {level}")]
    NotInTree {
        /// Level of the node, in the binary tree.
        level: u8,
        /// Its place in the level.
        index: u64,
        /// Entries of the tree.
        size: u64,
    },
}

/// The nodes of a tree that is kept as tiles. A tile is read once, however many of its nodes are
/// asked for, so one of these should live as long as one proof is made, and not longer.
///
/// What the tiles say is taken as it is: whoever does not trust them compares the root.
pub struct TileNodes<F> {
    size: u64,
    read: F,
    tiles: RefCell<BTreeMap<TileId, Arc<[Hash]>>>,
}

impl<F> TileNodes<F> {
    /// The nodes of the tree of `size` entries, with a function that reads the bytes of a tile.
    /// The partial tiles it is asked for are those of this size; it may cut them from the
    /// full tile.
    #[must_use]
    pub const fn new(size: u64, read: F) -> Self {
        Self {
            size,
            read,
            tiles: RefCell::new(BTreeMap::new()),
        }
    }
}

impl<F, B, E> TileNodes<F>
where
    F: Fn(TileId) -> Result<B, E>,
    B: AsRef<[u8]>,
{
    fn tile(&self, id: TileId) -> Result<Arc<[Hash]>, TileError<E>> {
        if let Some(tile) = self.tiles.borrow().get(&id) {
            return Ok(Arc::clone(tile));
        }
        let bytes = (self.read)(id).map_err(TileError::Read)?;
        let hashes = tile_hashes(bytes.as_ref(), id.width).ok_or(TileError::Length(id))?;
        let hashes: Arc<[Hash]> = hashes.into();
        self.tiles.borrow_mut().insert(id, Arc::clone(&hashes));
        Ok(hashes)
    }
}

impl<F, B, E> Nodes for TileNodes<F>
where
    F: Fn(TileId) -> Result<B, E>,
    B: AsRef<[u8]>,
{
    type Error = TileError<E>;

    fn node(&self, level: u8, index: u64) -> Result<Hash, TileError<E>> {
        let outside = || TileError::NotInTree {
            level,
            index,
            size: self.size,
        };
        // The node is the root over 2^(level mod 8) neighbouring hashes of one tile.
        let width = 1 << (level % TILE_HEIGHT);
        let first = index.checked_mul(width).ok_or_else(outside)?;
        let tile_level = Level::Hashes(level / TILE_HEIGHT);
        let id = TileId::in_tree(
            tile_level,
            first / TILE_WIDTH,
            self.size.min(limits::LOG_ENTRIES),
        )
        .ok_or_else(outside)?;
        let hashes = self.tile(id)?;
        let start = (first % TILE_WIDTH) as usize;
        let hashes = hashes
            .get(start..start + width as usize)
            .ok_or_else(outside)?;
        Ok(root_of(hashes))
    }
}

/// For the fuzzer: bytes as a path, and as a bundle; what is read is written back the same way.
///
/// # Errors
///
/// What differed.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    if let Ok(path) = str::from_utf8(bytes)
        && let Ok(id) = path.parse::<TileId>()
        && id.path() != path
    {
        return Err(format!("{path} is written back as {id}"));
    }
    let mut again = Vec::new();
    let mut whole = true;
    for entry in bundle_entries(bytes) {
        match entry {
            Ok(entry) => push_entry(&mut again, entry).map_err(|error| error.to_string())?,
            Err(error) if error.at == again.len() => whole = false,
            Err(error) => return Err(format!("{} bytes were read: {error}", again.len())),
        }
    }
    if bytes.starts_with(&again) && whole == (bytes.len() == again.len()) {
        Ok(())
    } else {
        Err(format!("the bundle is written back as {again:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{
        check_consistency, check_inclusion, leaf_hash, prove_consistency, prove_inclusion, root,
    };
    use proptest::prelude::*;
    use std::cell::Cell;

    #[test]
    fn a_tile_has_one_path() {
        let hashes = Level::Hashes;
        check("tile/0/000", hashes(0), 0, 256);
        check("tile/0/x001/234.p/5", hashes(0), 1234, 5);
        check("tile/63/999", hashes(63), 999, 256);
        check("tile/1/x001/000.p/255", hashes(1), 1000, 255);
        check("tile/entries/x001/x234/067", Level::Entries, 1_234_067, 256);
        check("tile/entries/000.p/1", Level::Entries, 0, 1);
        check(
            "tile/0/x018/x446/x744/x073/x709/x551/615",
            hashes(0),
            u64::MAX,
            256,
        );
    }

    #[test]
    fn what_is_not_exactly_a_path_is_refused() {
        for path in [
            "",
            "checkpoint",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/a/000",
            "tile/Entries/000",
            "tile/0/x000/001",
            "tile/0/x001",
            "tile/0/001/002",
            "tile/0/x001/x002",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/+5",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/5/",
            "tile/0/000.p/5.p/5",
            "tile/0/000\n",
            "tile/0/٠٠٠",
            "tile/0/x018/x446/x744/x073/x709/x551/616", // 2^64
            "tile/0/../000",
        ] {
            assert_eq!(path.parse::<TileId>(), Err(InvalidTilePath), "{path:?}");
        }
    }

    #[test]
    fn the_tiles_of_a_tree_are_those_of_the_specification() {
        // The example of C2SP tlog-tiles, "Partial Tiles".
        let size = 70_000;
        let tiles = |level: Level, full: bool| {
            tiles_of(size)
                .filter(move |id| id.level == level && id.is_full() == full)
                .collect::<Vec<_>>()
        };
        assert_eq!(tiles(Level::Hashes(0), true).len(), 273);
        assert_eq!(tiles(Level::Entries, true).len(), 273);
        let widths = |level| -> Vec<_> { tiles(level, false).iter().map(|id| id.width).collect() };
        assert_eq!(widths(Level::Hashes(0)), [112]);
        assert_eq!(widths(Level::Entries), [112]);
        assert_eq!(tiles(Level::Hashes(1), true).len(), 1);
        assert_eq!(widths(Level::Hashes(1)), [17]);
        assert_eq!(widths(Level::Hashes(2)), [1]);
        assert_eq!(tiles_of(size).count(), 274 * 2 + 2 + 1);
        let paths: Vec<_> = tiles_of(256).map(|id| id.path()).collect();
        assert_eq!(paths, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(tiles_of(0).count(), 0);
    }

    #[test]
    fn proofs_come_from_tiles_and_each_tile_is_read_once() {
        for size in [1, 2, 255, 256, 257, 511, 65_536, 70_000] {
            let log = Tiles::of(size);
            let expected = root_of(&log.levels[0]);
            assert_eq!(root(size, &log.nodes(size)), Ok(expected));
            for index in [0, size / 2, size - 1] {
                log.reads.set(0);
                let proof = prove_inclusion(index, size, &log.nodes(size)).unwrap();
                assert!(log.reads.get() <= 5, "{}", log.reads.get());
                let leaf = &log.levels[0][index as usize];
                assert_eq!(
                    check_inclusion(leaf, index, size, &proof, &expected),
                    Ok(())
                );
                let old_root = root(index + 1, &log.nodes(size)).unwrap();
                let proof = prove_consistency(index + 1, size, &log.nodes(size)).unwrap();
                let checked = check_consistency(index + 1, &old_root, size, &expected, &proof);
                assert_eq!(checked, Ok(()));
            }
        }
    }

    #[test]
    fn a_tile_of_the_wrong_length_is_named() {
        let nodes = TileNodes::new(3, |_| Ok::<_, ()>(vec![0; 95]));
        let id = TileId {
            level: Level::Hashes(0),
            index: 0,
            width: 3,
        };
        assert_eq!(nodes.node(0, 0), Err(TileError::Length(id)));
        let nodes = TileNodes::new(3, |_| Err::<Vec<u8>, _>("gone"));
        assert_eq!(nodes.node(0, 0), Err(TileError::Read("gone")));
    }

    #[test]
    fn a_node_outside_of_the_tree_is_refused() {
        let log = Tiles::of(300);
        for (level, index) in [(0, 300), (8, 1), (3, 37), (1, u64::MAX), (255, 0)] {
            let refused = Err(TileError::NotInTree {
                level,
                index,
                size: 300,
            });
            assert_eq!(log.nodes(300).node(level, index), refused);
        }
    }

    proptest! {
        #[test]
        fn every_tile_is_read_back_from_its_path(
            level in prop::option::of(0..=63_u8),
            index: u64,
            shift in 0..64,
            width in 1..=256_u16,
        ) {
            let level = level.map_or(Level::Entries, Level::Hashes);
            let id = TileId { level, index: index >> shift, width };
            prop_assert_eq!(id.path().parse(), Ok(id));
        }
    }

    /// A log in memory, as tiles.
    struct Tiles {
        levels: Vec<Vec<Hash>>,
        reads: Cell<usize>,
    }

    impl Tiles {
        fn of(size: u64) -> Self {
            let leaves: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let mut levels = vec![leaves];
            while levels[levels.len() - 1].len() >= 256 {
                let (tiles, _) = levels[levels.len() - 1].as_chunks::<256>();
                levels.push(tiles.iter().map(|tile| root_of(tile)).collect());
            }
            Self {
                levels,
                reads: Cell::new(0),
            }
        }

        fn nodes(&self, size: u64) -> impl Nodes<Error = TileError<&'static str>> {
            TileNodes::new(size, |id: TileId| {
                self.reads.set(self.reads.get() + 1);
                let Level::Hashes(level) = id.level else {
                    return Err("entries are not asked for");
                };
                let hashes = &self.levels[usize::from(level)][id.index as usize * 256..];
                Ok(hashes[..usize::from(id.width)]
                    .iter()
                    .flat_map(|hash| hash.0)
                    .collect::<Vec<_>>())
            })
        }
    }

    #[track_caller]
    fn check(path: &str, level: Level, index: u64, width: u16) {
        let id = TileId {
            level,
            index,
            width,
        };
        assert_eq!(path.parse(), Ok(id));
        assert_eq!(id.path(), path);
    }
}
