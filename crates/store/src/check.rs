//! Looking at a data folder's files without changing them, also while a hub runs on it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Checks both files of the data folder `folder` with SQLite's `quick_check`. Answers the name of
/// each and what is wrong with it, if anything is.
#[must_use]
pub fn check(folder: &Path) -> Vec<(&'static str, Option<String>)> {
    [
        crate::registry_file::LAYOUT.name,
        crate::queues::LAYOUT.name,
    ]
    .into_iter()
    .map(|name| (name, quick_check(&folder.join(name))))
    .collect()
}

fn quick_check(file: &Path) -> Option<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let answer = Connection::open_with_flags(file, flags).and_then(|file| {
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
