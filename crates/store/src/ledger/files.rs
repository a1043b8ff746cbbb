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

/// What is written and not yet on disk.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    files: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Unsynced {
    pub(crate) const fn files(&self) -> usize {
        self.files.len()
    }
}

/// Files up to which each is flushed by itself. Above it, one flush of the whole file system costs
/// less, though it waits for what others have written, too. Hub.
const FLUSHED_ALONE: usize = 16;

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

    pub(crate) const fn durability(&self) -> Durability {
        self.durability
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
            // A folder is looked at once between two syncs.
            if !unsynced.folders.contains(folder) {
                fs::create_dir_all(folder)
                    .map_err(|error| LedgerError::io("make", folder, &error))?;
                unsynced.folders.insert(folder.to_path_buf());
            }
            replace(&path, &tile.bytes)?;
            unsynced.files.push(path);
        }
        Ok(())
    }

    /// Returns when `unsynced` and the names of checkpoints are on disk.
    pub(crate) fn sync(&self, unsynced: &Unsynced) -> Result<(), LedgerError> {
        if self.durability == Durability::Process {
            return Ok(());
        }
        if unsynced.files.len() > FLUSHED_ALONE {
            let failed = |error: &std::io::Error| LedgerError::io("sync", &self.folder, error);
            let folder = File::open(&self.folder).map_err(|error| failed(&error))?;
            return rustix::fs::syncfs(&folder).map_err(|error| failed(&error.into()));
        }
        let mut folders = BTreeSet::from([self.folder.as_path()]);
        for folder in &unsynced.folders {
            let ours = |above: &&Path| above.starts_with(&self.folder);
            folders.extend(folder.ancestors().take_while(ours));
        }
        let files = unsynced.files.iter().map(PathBuf::as_path);
        files.chain(folders).try_for_each(|path| {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(|error| LedgerError::io("sync", path, &error))
        })
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

    /// Replaces a checkpoint: whoever reads sees the old or the new one. After a power cut, too,
    /// though without [`Self::sync`] it may be the old one.
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
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("read", path, &error)),
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

fn write(path: &Path, bytes: &[u8]) -> Result<File, LedgerError> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes).map(|()| file))
        .map_err(|error| LedgerError::io("write", path, &error))
}

fn rename(from: &Path, to: &Path) -> Result<(), LedgerError> {
    fs::rename(from, to).map_err(|error| LedgerError::io("write", to, &error))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let temporary = temporary(path);
    write(&temporary, bytes)?;
    rename(&temporary, path)
}
