//! The tree above the leaves: every tile against its children, and the root against the
//! checkpoint's.

use tlog::{
    Hash, Level, TILE_WIDTH, TileId,
    checkpoint::Checkpoint,
    merkle::{Nodes, root, root_of},
    tile::tile_hashes,
};

use super::{
    CHECKPOINT, Fault, Report, Source, Trouble,
    bundles::{Leaves, Side, wrong_length},
    read,
};

/// Hashes of one level, as files tell them. `None` stands for what could not be read.
type Row = Vec<Option<Hash>>;

/// Compares everything above the leaves, and tells which files are at fault where they differ.
pub(super) fn check<S: Source>(
    source: &S,
    checkpoint: &Checkpoint,
    leaves: &Leaves,
    report: &mut Report,
) {
    let size = checkpoint.size;
    let before = report.fault_count;
    let stored = read_rows(source, size, report);
    let by_entries = Tower::computed(size, &leaves.entries);
    let found = root(size, &by_entries).ok();
    if found == Some(checkpoint.root) {
        // The entries are what was signed, so whatever differs from them is wrong.
        tiles_against_entries(size, leaves, &by_entries, &stored, report);
        return;
    }
    entries_against_tiles(size, leaves, report);
    tiles_against_tiles(size, &leaves.tiles, &stored, report);
    let stored_root = root(size, &Tower::stored(size, &leaves.tiles, stored)).ok();
    let wrong = match (stored_root, found) {
        (Some(stored), _) if stored != checkpoint.root => Some(stored),
        // What could not be read was told; only what was read and fits must not pass for the log.
        (None, Some(found)) if report.fault_count == before => Some(found),
        _ => None,
    };
    if let Some(found) = wrong {
        let trouble = Trouble::Root {
            size,
            signed: checkpoint.root,
            found,
        };
        report.fault(Fault::of_file(CHECKPOINT, trouble));
    }
}

fn tiles_against_entries(
    size: u64,
    leaves: &Leaves,
    by_entries: &Tower,
    stored: &[Row],
    report: &mut Report,
) {
    for index in &leaves.differing {
        let at = index / TILE_WIDTH;
        let bundle = TileId::in_tree(Level::Entries, at, size);
        let tile = TileId::in_tree(Level::Hashes(0), at, size);
        if let (Some(tile), Some(below)) = (tile, bundle) {
            let at = index % TILE_WIDTH;
            report.fault(Fault::of_entry(tile, *index, Trouble::Hash { at, below }));
        }
    }
    uncounted(leaves, report);
    for (level, row) in (1..).zip(stored) {
        let computed = by_entries.rows.get(usize::from(level) - 1);
        for ((index, stored), computed) in (0..).zip(row).zip(computed.into_iter().flatten()) {
            let differs = stored.is_some() && stored != computed;
            let above = TileId::in_tree(Level::Hashes(level), index / TILE_WIDTH, size);
            let below = TileId::in_tree(Level::Hashes(level - 1), index, size);
            if let (true, Some(above), Some(below)) = (differs, above, below) {
                let at = index % TILE_WIDTH;
                report.fault(Fault::of_file(above.path(), Trouble::Hash { at, below }));
            }
        }
    }
}

fn entries_against_tiles(size: u64, leaves: &Leaves, report: &mut Report) {
    for index in &leaves.differing {
        let at = index / TILE_WIDTH;
        let bundle = TileId::in_tree(Level::Entries, at, size);
        let tile = TileId::in_tree(Level::Hashes(0), at, size);
        if let (Some(tile), Some(bundle)) = (tile, bundle) {
            report.fault(Fault::of_entry(bundle, *index, Trouble::Altered { tile }));
        }
    }
    uncounted(leaves, report);
}

/// Those of which only the number is known, because as many as are listed came before them.
const fn uncounted(leaves: &Leaves, report: &mut Report) {
    report.fault_count += leaves.differing_count - leaves.differing.len() as u64;
}

fn tiles_against_tiles(size: u64, leaves: &Side, stored: &[Row], report: &mut Report) {
    let mut given: Row = leaves.full.clone();
    for (level, row) in (1..).zip(stored) {
        for ((index, held), given) in (0..).zip(row).zip(&given) {
            let differs = matches!((held, given), (Some(held), Some(given)) if held != given);
            let above = TileId::in_tree(Level::Hashes(level), index / TILE_WIDTH, size);
            let below = TileId::in_tree(Level::Hashes(level - 1), index, size);
            if let (true, Some(above), Some(below)) = (differs, above, below) {
                let at = index % TILE_WIDTH;
                report.fault(Fault::of_file(below.path(), Trouble::Parent { above, at }));
            }
        }
        given = roots(row);
    }
}

/// The roots of the full tiles of a row.
fn roots(row: &[Option<Hash>]) -> Row {
    let (tiles, _) = row.as_chunks::<{ TILE_WIDTH as usize }>();
    tiles
        .iter()
        .map(|tile| {
            let hashes: Option<Vec<_>> = tile.iter().copied().collect();
            hashes.map(|hashes| root_of(&hashes))
        })
        .collect()
}

/// Reads every tile above level 0.
fn read_rows<S: Source>(source: &S, size: u64, report: &mut Report) -> Vec<Row> {
    let levels = (1..).map(Level::Hashes);
    levels
        .take_while(|level| level.count(size) > 0)
        .map(|level| {
            let tiles = (0..).map_while(|index| TileId::in_tree(level, index, size));
            tiles
                .flat_map(|tile| match read_tile(source, tile, report) {
                    Ok(hashes) => hashes.into_iter().map(Some).collect(),
                    Err(fault) => {
                        report.fault(fault);
                        vec![None; tile.width.into()]
                    }
                })
                .collect()
        })
        .collect()
}

fn read_tile<S: Source>(source: &S, tile: TileId, report: &mut Report) -> Result<Vec<Hash>, Fault> {
    let bytes = read(source, &tile.path())?;
    report.count(&bytes);
    tile_hashes(&bytes, tile.width).ok_or_else(|| wrong_length(tile, bytes.len()))
}

/// A tree as rows of hashes, level 1 first, and the leaves at its right edge.
struct Tower {
    rows: Vec<Row>,
    edge: Option<Vec<Hash>>,
    edge_start: u64,
}

/// A hash of the tower that could not be read.
struct Unread;

impl Tower {
    /// The tree that the leaves give.
    fn computed(size: u64, leaves: &Side) -> Self {
        let mut rows = Vec::new();
        let mut row = leaves.full.clone();
        while !row.is_empty() {
            let above = roots(&row);
            rows.push(std::mem::replace(&mut row, above));
        }
        Self::stored(size, leaves, rows)
    }

    /// The tree that the tiles hold.
    fn stored(size: u64, leaves: &Side, rows: Vec<Row>) -> Self {
        Self {
            rows,
            edge: leaves.edge.clone(),
            edge_start: size - size % TILE_WIDTH,
        }
    }
}

impl Nodes for Tower {
    type Error = Unread;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Unread> {
        // Of the leaves, a root needs only those at the edge.
        let width = 1 << (level % 8);
        let first = index * width;
        let range = |start: u64| start as usize..(start + width) as usize;
        if level < 8 {
            let edge = self.edge.as_ref().ok_or(Unread)?;
            let start = first.checked_sub(self.edge_start).ok_or(Unread)?;
            return edge.get(range(start)).map(root_of).ok_or(Unread);
        }
        let row = self.rows.get(usize::from(level / 8) - 1).ok_or(Unread)?;
        let hashes = row.get(range(first)).ok_or(Unread)?;
        let hashes: Option<Vec<_>> = hashes.iter().copied().collect();
        hashes.map(|hashes| root_of(&hashes)).ok_or(Unread)
    }
}
