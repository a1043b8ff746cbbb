//! Copying a data folder's files, also while a hub runs on it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{LedgerError, ledger::Notes};

/// Copies both files of the data folder `folder` and its ledger into the folder `into`, which must
/// hold neither.
///
/// Each copy is what one commit left; the two files may be some commits apart, as they may be
/// after a crash, too. The ledger is as long as the registry's copy says. Writers go on meanwhile.
///
/// # Errors
///
/// [`LedgerError::Store`] or [`LedgerError::Io`] when a file cannot be read or its copy not be
/// written.
pub fn backup(folder: &Path, into: &Path) -> Result<(), LedgerError> {
    let notes = Notes::read(folder)?;
    for name in [
        crate::registry_file::LAYOUT.name,
        crate::queues::LAYOUT.name,
    ] {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = Connection::open_with_flags(folder.join(name), flags)?;
        let copy = into.join(name);
        file.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    }
    notes.copy(folder, into)
}

#[test]
fn a_copy_made_while_the_hub_runs_opens_as_a_folder() {
    let store = crate::Store::open_temporary().unwrap();
    let topic = "t".parse().unwrap();
    let message = std::sync::Arc::new(crate::Message {
        topic,
        payload: "kept".into(),
        properties: bytes::Bytes::new(),
        published_at: model::Timestamp::default(),
        expires_at: None,
    });
    let retain = crate::QueueOp::Retain(crate::RetainedMessage { qos: 1, message });
    store.queues().append(vec![retain]).wait().unwrap();
    let copy = tempfile::tempdir().unwrap();
    backup(store.folder(), copy.path()).unwrap();
    assert!(
        backup(store.folder(), copy.path()).is_err(),
        "it overwrites nothing"
    );
    let restored = crate::Store::open(copy.path()).unwrap();
    assert_eq!(restored.queues().load_retained().unwrap().len(), 1);
}
