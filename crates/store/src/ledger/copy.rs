//! The ledger's files in a backup and in a check of a folder, also while a hub runs on it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tlog::{Level, TILE_WIDTH, TileId, tile::tiles_of};

use super::{
    edge::full,
    error::LedgerError,
    files::{CHECKPOINT, COSIGNED, Files},
    outbox,
};
use crate::database::Durability;

/// Bytes of a full tile of hashes.
const HASHES_BYTES: u64 = 32 * TILE_WIDTH;

/// The checkpoints of the data folder `folder`, to be read before its registry is copied: what the
/// registry then has, they promise.
#[derive(Debug)]
pub(crate) struct Notes(Vec<(&'static str, String)>);

impl Notes {
    pub(crate) fn read(folder: &Path) -> Result<Self, LedgerError> {
        let files = Files::new(folder, Durability::Disk);
        let mut notes = Vec::new();
        for name in [CHECKPOINT, COSIGNED] {
            if let Some(text) = files.note(name)? {
                notes.push((name, text));
            }
        }
        Ok(Self(notes))
    }

    /// Completes a copy whose registry is in `into` already: these checkpoints, and the full tiles
    /// that the outbox of that registry builds on. They never change, and are on disk.
    pub(crate) fn copy(&self, folder: &Path, into: &Path) -> Result<(), LedgerError> {
        let (from, to) = (
            Files::new(folder, Durability::Disk),
            Files::new(into, Durability::Disk),
        );
        let registry = Connection::open(into.join(crate::registry_file::LAYOUT.name))?;
        let extent = outbox::extent(&registry)?;
        for id in full_tiles(extent.first) {
            let (path, target) = (from.path(id), to.path(id));
            let folder = target.parent().unwrap_or(into);
            fs::create_dir_all(folder).map_err(|error| LedgerError::io("make", folder, &error))?;
            fs::copy(&path, &target).map_err(|error| LedgerError::io("copy", &path, &error))?;
        }
        for (name, text) in &self.0 {
            to.put_note(name, text)?;
        }
        Ok(())
    }
}

/// What is wrong with the ledger of the data folder `folder`, if anything is: a gap in the outbox,
/// or a tile that is missing or has a wrong length. What is in the files is not looked at.
pub(crate) fn problem(folder: &Path, registry: &Connection) -> Option<String> {
    // A folder of a version before the ledger has none; it begins when the folder is opened.
    let begun = registry.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'ledger_state'",
        [],
        |row| row.get::<_, bool>(0),
    );
    let extent = match begun.and_then(|begun| begun.then(|| outbox::extent(registry)).transpose()) {
        Ok(Some(extent)) => extent,
        Ok(None) => return None,
        Err(error) => return Some(error.to_string()),
    };
    if !extent.whole || !extent.first.is_multiple_of(TILE_WIDTH) {
        return Some(format!(
            "the outbox has gaps below entry {}; restore the folder from a backup",
            extent.next
        ));
    }
    let files = Files::new(folder, Durability::Disk);
    if extent.first > 0 && !files.folder().join(CHECKPOINT).exists() {
        return Some("the checkpoint is missing; restore it from a backup or a mirror".into());
    }
    let missing = full_tiles(extent.first).find(|id| !is_there(&files.path(*id), *id))?;
    let path: PathBuf = files.path(missing);
    Some(match missing.level {
        Level::Entries => format!(
            "{} is missing; restore it from a backup or a mirror",
            path.display()
        ),
        Level::Hashes(_) => format!(
            "{} is missing or has a wrong length; it is made again when it is read",
            path.display()
        ),
    })
}

fn is_there(path: &Path, id: TileId) -> bool {
    fs::metadata(path).is_ok_and(|file| match id.level {
        Level::Entries => file.len() > 0,
        Level::Hashes(_) => file.len() == HASHES_BYTES,
    })
}

/// Every full tile of a tree of `size` entries.
fn full_tiles(size: u64) -> impl Iterator<Item = TileId> {
    tiles_of(size)
        .filter(TileId::is_full)
        .map(|id| full(id.level, id.index))
}

#[test]
fn a_folder_older_than_the_ledger_has_nothing_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Connection::open_in_memory().unwrap();
    assert_eq!(problem(folder.path(), &registry), None);
    registry
        .execute_batch(include_str!("../registry_file/ledger.sql"))
        .unwrap();
    assert_eq!(problem(folder.path(), &registry), None);
    registry
        .execute_batch("UPDATE ledger_state SET next = 7")
        .unwrap();
    assert!(problem(folder.path(), &registry).is_some());
}
