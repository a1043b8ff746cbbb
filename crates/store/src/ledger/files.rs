//! The ledger's files: full tiles, which never change, and checkpoints, which are replaced whole.
//!
//! A tile is written under another name and renamed, so that a reader sees all of it or nothing. It
//! is brought to the disk later, with many others at once: until then the outbox still has its
//! entries, and a start writes it again.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use tlog::TileId;

use super::{edge::FullTile, error::LedgerError};
use crate::database::Durability;

/// The folder of the ledger within the data folder.
pub(crate) const FOLDER: &str = "ledger";

/// The checkpoint that the log itself signed last.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The newest checkpoint with the signatures of witnesses.
pub(crate) const COSIGNED: &str = "checkpoint.cosigned";

/// `DATA/ledger`.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    durability: Durability,
}

/// Files and folders that are written and not yet on disk.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    files: Vec<(PathBuf, File)>,
    folders: BTreeSet<PathBuf>,
}

impl Unsynced {
    pub(crate) const fn len(&self) -> usize {
        self.files.len()
    }
}

impl Files {
    pub(crate) fn new(data: &Path, durability: Durability) -> Self {
        Self {
            folder: data.join(FOLDER),
            durability,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a full tile lies: its C2SP path.
    pub(crate) fn path(&self, id: TileId) -> PathBuf {
        self.folder.join(id.full().path())
    }

    /// The bytes of a full tile; `None` when there is no such file.
    pub(crate) fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, LedgerError> {
        read(&self.path(id))
    }

    pub(crate) fn has(&self, id: TileId) -> bool {
        self.path(id).exists()
    }

    /// Writes full tiles; they are on disk only after [`Self::sync`].
    pub(crate) fn put(
        &self,
        tiles: &[FullTile],
        unsynced: &mut Unsynced,
    ) -> Result<(), LedgerError> {
        for tile in tiles {
            let path = self.path(tile.id);
            let folder = path.parent().unwrap_or(&self.folder);
            if unsynced.folders.insert(folder.to_path_buf()) {
                fs::create_dir_all(folder)
                    .map_err(|error| LedgerError::io("make", folder, &error))?;
                let above = folder.ancestors().skip(1);
                unsynced.folders.extend(
                    above
                        .take_while(|above| above.starts_with(&self.folder))
                        .map(Path::to_path_buf),
                );
            }
            let file = replace(&path, &tile.bytes)?;
            unsynced.files.push((path, file));
        }
        Ok(())
    }

    /// Returns when everything that was written is on disk.
    pub(crate) fn sync(&self, unsynced: &mut Unsynced) -> Result<(), LedgerError> {
        let unsynced = std::mem::take(unsynced);
        if self.durability == Durability::Process {
            return Ok(());
        }
        for (path, file) in unsynced.files {
            file.sync_data()
                .map_err(|error| LedgerError::io("sync", &path, &error))?;
        }
        unsynced
            .folders
            .iter()
            .try_for_each(|folder| sync_folder(folder))
    }

    /// A checkpoint's text; `None` when there is none.
    pub(crate) fn note(&self, name: &str) -> Result<Option<String>, LedgerError> {
        let path = self.folder.join(name);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| LedgerError::damaged(path, "it is not UTF-8"))
    }

    /// Replaces a checkpoint: whoever reads sees the old or the new one. It is on disk when this
    /// returns, though after a power cut its folder may still name the old one.
    pub(crate) fn put_note(&self, name: &str, text: &str) -> Result<(), LedgerError> {
        fs::create_dir_all(&self.folder)
            .map_err(|error| LedgerError::io("make", &self.folder, &error))?;
        let path = self.folder.join(name);
        let temporary = temporary(&path);
        let file = write(&temporary, text.as_bytes())?;
        if self.durability == Durability::Disk {
            file.sync_data()
                .map_err(|error| LedgerError::io("sync", &temporary, &error))?;
        }
        rename(&temporary, &path)
    }

    /// Brings the names of replaced checkpoints to disk.
    pub(crate) fn sync_notes(&self) -> Result<(), LedgerError> {
        match self.durability {
            Durability::Disk => sync_folder(&self.folder),
            Durability::Process => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("read", path, &error)),
    }
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

fn write(path: &Path, bytes: &[u8]) -> Result<File, LedgerError> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes).map(|()| file))
        .map_err(|error| LedgerError::io("write", path, &error))
}

fn rename(from: &Path, to: &Path) -> Result<(), LedgerError> {
    fs::rename(from, to).map_err(|error| LedgerError::io("write", to, &error))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<File, LedgerError> {
    let temporary = temporary(path);
    let file = write(&temporary, bytes)?;
    rename(&temporary, path)?;
    Ok(file)
}

fn sync_folder(folder: &Path) -> Result<(), LedgerError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| LedgerError::io("sync", folder, &error))
}
