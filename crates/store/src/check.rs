//! Looking at a data folder's files without changing them, also while a hub runs on it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Checks both files of the data folder `folder` with SQLite's `quick_check`, and that the ledger's
/// files and outbox go on from one another. Answers the name of each and what is wrong with it, if
/// anything is.
#[must_use]
pub fn check(folder: &Path) -> Vec<(&'static str, Option<String>)> {
    let mut checked: Vec<_> = [
        crate::registry_file::LAYOUT.name,
        crate::queues::LAYOUT.name,
    ]
    .into_iter()
    .map(|name| (name, quick_check(&folder.join(name))))
    .collect();
    let ledger = match open(&folder.join(crate::registry_file::LAYOUT.name)) {
        Ok(registry) => crate::ledger::problem(folder, &registry),
        Err(error) => Some(error.to_string()),
    };
    checked.push(("ledger", ledger));
    checked
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags)
}

fn quick_check(file: &Path) -> Option<String> {
    let answer = open(file).and_then(|file| {
        file.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
    });
    match answer {
        Ok(answer) if answer == "ok" => None,
        Ok(problem) => Some(format!("{problem}; restore the folder from a backup")),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn a_damaged_file_is_found() {
    let store = crate::Store::open_temporary().unwrap();
    let folder = store.folder();
    let healthy = |problem: &Option<String>| problem.is_none();
    assert!(check(folder).iter().all(|(_, problem)| healthy(problem)));
    let elsewhere = folder.join("copy");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("registry.db"), [7; 8192]).unwrap();
    assert!(
        check(&elsewhere)
            .iter()
            .all(|(_, problem)| !healthy(problem))
    );
}
