//! A running hub's ledger, as the files it serves.

use ledger::audit::Source;
use tlog::{
    Hash, Level, TileId,
    bundle::{bundle_entries, push_entry},
};
use tokio::runtime::Handle;

use crate::{client::Hub, failure::Failure};

/// Reads files of a hub from threads that may wait, while the runtime's own thread drives the
/// connections.
pub(super) struct Remote {
    hub: Hub,
    runtime: Handle,
}

impl Remote {
    /// To be made where the runtime is.
    pub(super) fn new(hub: Hub) -> Self {
        Self {
            hub,
            runtime: Handle::current(),
        }
    }

    /// A file, as it is served.
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = format!("/ledger/{path}");
        self.runtime.block_on(self.hub.file(&path))
    }

    /// A tile, cut from the full one when the partial one is there no more (C2SP `tlog-tiles`,
    /// "Partial Tiles").
    pub(super) fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.fetch(&id.path())?;
        if found.is_some() || id.is_full() {
            return Ok(found);
        }
        let full = self.fetch(&id.full().path())?;
        Ok(full.map(|bytes| cut(&bytes, id)))
    }
}

impl Source for Remote {
    type Error = Failure;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        match path.parse() {
            Ok(id) => self.tile(id),
            Err(_) => self.fetch(path),
        }
    }

    /// A hub does not list its files.
    fn list(&self) -> Result<Option<Vec<String>>, Failure> {
        Ok(None)
    }
}

/// The first of what a full tile holds.
fn cut(bytes: &[u8], id: TileId) -> Vec<u8> {
    let width = usize::from(id.width);
    match id.level {
        Level::Hashes(_) => bytes[..bytes.len().min(width * Hash::LENGTH)].to_vec(),
        Level::Entries => {
            let mut first = Vec::new();
            for entry in bundle_entries(bytes).take(width) {
                // What is broken stays away, and is seen as too few entries.
                if entry.is_ok_and(|entry| push_entry(&mut first, entry).is_err()) {
                    break;
                }
            }
            first
        }
    }
}
