//! The entries and the leaf hashes, read many bundles at a time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tlog::{
    Hash, Level, TILE_WIDTH, TileId,
    bundle::bundle_entries,
    checkpoint::Checkpoint,
    merkle::{leaf_hash, root_of},
    tile::tile_hashes,
};

use super::{
    Fault, LISTED_FAULTS, Options, Report, Source, Trouble,
    chain::{Chain, Reading, Span},
    read,
};
use crate::EntryView;

/// Bundles that are read before their entries are joined: it bounds what is kept of them.
const ROUND: u64 = 1024;

/// The leaves of the tree, as the entries and as the tiles tell them.
pub(super) struct Leaves {
    /// By the hashes of the entries.
    pub(super) entries: Side,
    /// By the tiles of level 0.
    pub(super) tiles: Side,
    /// Entries whose hash is not the tile's; the first [`LISTED_FAULTS`].
    pub(super) differing: Vec<u64>,
    /// How many of them there are.
    pub(super) differing_count: u64,
}

/// One telling of the leaves. `None` stands for what could not be read.
#[derive(Default)]
pub(super) struct Side {
    /// The roots of the full bundles or tiles.
    pub(super) full: Vec<Option<Hash>>,
    /// The leaf hashes after them, fewer than a tile's.
    pub(super) edge: Option<Vec<Hash>>,
}

impl Side {
    fn add(&mut self, id: TileId, hashes: Option<Vec<Hash>>) {
        if id.is_full() {
            self.full.push(hashes.map(|hashes| root_of(&hashes)));
        } else {
            self.edge = hashes;
        }
    }
}

/// What one thread made of one bundle and its tile.
struct Outcome {
    bundle: TileId,
    entries: Option<Vec<Hash>>,
    hashes: Option<Vec<Hash>>,
    differing: Vec<u64>,
    span: Span,
    faults: Vec<Fault>,
    files: u64,
    bytes: u64,
}

/// Reads every bundle and every tile of level 0.
pub(super) fn check<S: Source>(
    source: &S,
    checkpoint: &Checkpoint,
    options: &Options,
    progress: &(dyn Fn(u64, u64) + Sync),
    report: &mut Report,
) -> Leaves {
    let size = checkpoint.size;
    let mut leaves = Leaves {
        entries: Side::default(),
        tiles: Side::default(),
        differing: Vec::new(),
        differing_count: 0,
    };
    if size.is_multiple_of(TILE_WIDTH) {
        leaves.entries.edge = Some(Vec::new());
        leaves.tiles.edge = Some(Vec::new());
    }
    let mut chain = Chain::default();
    let done = AtomicU64::new(0);
    let bundles = size.div_ceil(TILE_WIDTH);
    let mut start = 0;
    while start < bundles {
        let end = bundles.min(start + ROUND);
        let next = AtomicU64::new(start);
        let work = || {
            let mut outcomes = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let bundle = TileId::in_tree(Level::Entries, index, size);
                let Some(bundle) = bundle.filter(|_| index < end) else {
                    return outcomes;
                };
                let width = u64::from(bundle.width);
                outcomes.push(one(source, bundle));
                progress(done.fetch_add(width, Ordering::Relaxed) + width, size);
            }
        };
        let mut outcomes: Vec<_> = thread::scope(|scope| {
            let others: Vec<_> = (1..options.threads.get())
                .map(|_| scope.spawn(work))
                .collect();
            let mut outcomes = work();
            for other in others {
                match other.join() {
                    Ok(more) => outcomes.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            outcomes
        });
        outcomes.sort_by_key(|outcome| outcome.bundle.index);
        for outcome in outcomes {
            leaves.take(outcome, &mut chain, report);
        }
        start = end;
    }
    leaves
}

impl Leaves {
    fn take(&mut self, outcome: Outcome, chain: &mut Chain, report: &mut Report) {
        report.files += outcome.files;
        report.bytes += outcome.bytes;
        report.entries += outcome.entries.as_ref().map_or(0, Vec::len) as u64;
        for fault in outcome.faults.into_iter().chain(chain.join(outcome.span)) {
            report.fault(fault);
        }
        self.entries.add(outcome.bundle, outcome.entries);
        self.tiles.add(outcome.bundle, outcome.hashes);
        self.differing_count += outcome.differing.len() as u64;
        let room = LISTED_FAULTS.saturating_sub(self.differing.len());
        self.differing
            .extend(outcome.differing.into_iter().take(room));
    }
}

fn one<S: Source>(source: &S, bundle: TileId) -> Outcome {
    let tile = TileId {
        level: Level::Hashes(0),
        ..bundle
    };
    let mut faults = Vec::new();
    let (mut files, mut bytes) = (0, 0);
    let mut read = |id: TileId| {
        let read = read(source, &id.path());
        if let Ok(content) = &read {
            files += 1;
            bytes += content.len() as u64;
        }
        read.map_err(|fault| faults.push(fault)).ok()
    };
    let (content, hashes) = (read(bundle), read(tile));
    let hashes = hashes.and_then(|bytes| {
        let hashes = tile_hashes(&bytes, tile.width);
        if hashes.is_none() {
            faults.push(wrong_length(tile, bytes.len()));
        }
        hashes
    });
    let content = content.as_deref().and_then(|content| {
        split(bundle, content)
            .map_err(|trouble| faults.push(Fault::of_file(bundle.path(), trouble)))
            .ok()
    });
    let first = bundle.index * TILE_WIDTH;
    let mut reading = Reading::new(bundle);
    let mut differing = Vec::new();
    let entries = match content {
        None => {
            reading.gap(first..first + u64::from(bundle.width));
            None
        }
        Some(content) => {
            let leaves: Vec<_> = content.iter().map(|entry| leaf_hash(entry)).collect();
            for ((at, entry), index) in content.into_iter().enumerate().zip(first..) {
                if hashes
                    .as_ref()
                    .is_some_and(|hashes| hashes[at] != leaves[at])
                {
                    // Whether the entry or the hash was altered is seen further up.
                    differing.push(index);
                    reading.gap(index..index + 1);
                    continue;
                }
                match EntryView::parse(entry) {
                    Ok(entry) => reading.entry(index, &entry),
                    Err(error) => {
                        reading.fault(index, error.into());
                        reading.gap(index..index + 1);
                    }
                }
            }
            Some(leaves)
        }
    };
    Outcome {
        bundle,
        entries,
        hashes,
        differing,
        span: reading.finish(),
        faults,
        files,
        bytes,
    }
}

/// The entries of a bundle, as many as its name says.
fn split(bundle: TileId, content: &[u8]) -> Result<Vec<&[u8]>, Trouble> {
    let expected = usize::from(bundle.width);
    let mut entries = Vec::with_capacity(expected);
    for entry in bundle_entries(content) {
        entries.push(entry?);
    }
    if entries.len() == expected {
        Ok(entries)
    } else {
        Err(Trouble::Entries {
            entries: entries.len(),
            expected,
        })
    }
}

pub(super) fn wrong_length(tile: TileId, bytes: usize) -> Fault {
    let expected = usize::from(tile.width) * Hash::LENGTH;
    Fault::of_file(tile.path(), Trouble::Length { bytes, expected })
}
