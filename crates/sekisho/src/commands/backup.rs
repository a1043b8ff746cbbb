//! `sekisho backup` and `sekisho restore`: a data folder as one file, and back.
//!
//! The file is a tar archive of [`NAMES`] and the ledger's files, and nothing else. It holds private keys and the operator's
//! secrets, so only its owner may read it. A folder that is being restored is prepared beside its
//! place and renamed into it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::continuation;
use crate::{
    failure::Failure,
    folder,
    ledger::{self, RestoredNote},
    output,
};

/// What every backup holds.
const NAMES: [&str; 7] = [
    "registry.db",
    "queues.db",
    "operator.json",
    "tls/root-ca.pem",
    "tls/root-ca.key",
    "tls/server.pem",
    "tls/server.key",
];

/// What a backup holds of the ledger besides, if there is any: these, and its full tiles.
const OF_LEDGER: [&str; 3] = [
    ledger::KEY_FILE,
    "ledger/checkpoint",
    "ledger/checkpoint.cosigned",
];

/// Writes the folder `data` into the new file `file`; the hub may run meanwhile.
pub(super) fn backup(data: &Path, file: &Path) -> Result<(), Failure> {
    if !data.join("tls/root-ca.pem").exists() {
        return Err(Failure::usage(format!(
            "{} is not a data folder of sekisho; name one with --data",
            data.display()
        )));
    }
    if file.exists() {
        return Err(Failure::usage(format!(
            "{} exists; name a new file or remove it",
            file.display()
        )));
    }
    let beside = beside(file);
    let made = pack(data, &beside, file);
    // What is left of it is of no use to anyone.
    let _ = fs::remove_dir_all(&beside);
    made?;
    output::note(&format!(
        "wrote {}; it holds private keys: keep it where only you can read it",
        file.display()
    ));
    Ok(())
}

/// Makes the folder `data`, which must be absent or empty, from the backup `file`; its ledger goes on
/// where the copy `ledger` of it ends, if there is one.
pub(super) fn restore(data: &Path, file: &Path, ledger: Option<&Path>) -> Result<(), Failure> {
    if fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::usage(format!(
            "{} is not empty; name another folder with --data",
            data.display()
        )));
    }
    let beside = beside(data);
    let made = unpack(file, &beside)
        .and_then(|()| say_restored(&beside, ledger))
        .and_then(|()| fs::rename(&beside, data).map_err(|error| cannot("create", data, &error)));
    if made.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&beside);
    }
    made?;
    output::note(&format!(
        "restored {}; start it with `sekisho up --data {0}`",
        data.display()
    ));
    Ok(())
}

/// Leaves word for the first start of the restored folder, which records it in the ledger.
fn say_restored(restored: &Path, copy: Option<&Path>) -> Result<(), Failure> {
    let size = continuation::size(restored)?;
    if let Some(copy) = copy {
        let taken = continuation::take_over(restored, copy)?;
        output::note(&format!(
            "the ledger goes on behind {taken} entries that the backup did not have"
        ));
    } else if size > 0 {
        output::note(
            "what the ledger recorded after the backup was made is lost, unless a mirror or an \
             export has it: then restore with --ledger FOLDER; witnesses refuse a ledger that \
             has lost entries",
        );
    }
    if size == 0 {
        return Ok(());
    }
    let note = RestoredNote {
        id: hex::encode(*folder::random::<16>()?),
        size,
    };
    let text = serde_json::to_string(&note).map_err(Failure::internal)?;
    folder::write(
        &restored.join(ledger::RESTORED_FILE),
        &text,
        folder::Secrecy::Public,
    )
}

fn pack(data: &Path, beside: &Path, file: &Path) -> Result<(), Failure> {
    make_folder(beside)?;
    store::backup(data, beside)
        .map_err(|error| Failure::usage(format!("cannot copy {}: {error}", data.display())))?;
    let archive = beside.join("archive");
    let write = || -> io::Result<()> {
        let out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&archive)?;
        let mut tar = tar::Builder::new(out);
        for name in NAMES {
            let copied = beside.join(name);
            let from = if copied.exists() {
                copied
            } else {
                data.join(name)
            };
            tar.append_file(name, &mut File::open(from)?)?;
        }
        if data.join(ledger::KEY_FILE).exists() {
            let mut key = File::open(data.join(ledger::KEY_FILE))?;
            tar.append_file(ledger::KEY_FILE, &mut key)?;
        }
        for name in ledger_files(beside)? {
            tar.append_file(&name, &mut File::open(beside.join(&name))?)?;
        }
        tar.into_inner()?.sync_all()
    };
    write().map_err(|error| cannot("write", file, &error))?;
    fs::rename(&archive, file).map_err(|error| cannot("write", file, &error))
}

fn unpack(file: &Path, into: &Path) -> Result<(), Failure> {
    let broken = |what: String| Failure::usage(format!("{} is no backup: {what}", file.display()));
    let archive = File::open(file).map_err(|error| cannot("read", file, &error))?;
    make_folder(into)?;
    make_folder(&into.join("tls"))?;
    let mut missing = NAMES.to_vec();
    let mut archive = tar::Archive::new(archive);
    let entries = archive
        .entries()
        .map_err(|error| broken(error.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(error.to_string()))?;
        let path = entry.path().map_err(|error| broken(error.to_string()))?;
        // Only names we know are written, so no entry leads out of the folder.
        match missing.iter().position(|name| Path::new(name) == path) {
            Some(at) => {
                missing.swap_remove(at);
            }
            None if is_of_ledger(&path) => {}
            None => return Err(broken(format!("it holds {}", path.display()))),
        }
        let place = into.join(&path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(|error| cannot("create", parent, &error))?;
        }
        let mut write = || -> io::Result<()> {
            let mut out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&place)?;
            io::copy(&mut entry, &mut out)?;
            out.sync_all()
        };
        write().map_err(|error| cannot("write", &place, &error))?;
    }
    if let Some(name) = missing.first() {
        return Err(broken(format!("{name} is missing")));
    }
    for (name, problem) in store::check(into) {
        if let Some(problem) = problem {
            return Err(broken(format!("{name}: {problem}")));
        }
    }
    Ok(())
}

/// The names of the ledger's files that were copied into `beside`.
fn ledger_files(beside: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("ledger")];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(beside.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(name);
            } else if is_of_ledger(&name) {
                found.push(name);
            }
        }
    }
    Ok(found)
}

/// Whether this is the name of a checkpoint or a tile of the ledger in a data folder.
fn is_of_ledger(name: &Path) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    OF_LEDGER.contains(&name)
        || name
            .strip_prefix("ledger/")
            .is_some_and(|tile| tile.parse::<tlog::TileId>().is_ok())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".making-{}", std::process::id()));
    name.into()
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|error| cannot("create", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_folder(path: &Path) {
        fs::create_dir_all(path.join("tls")).unwrap();
        drop(store::Store::open(path).unwrap());
        for name in &NAMES[2..] {
            fs::write(path.join(name), name).unwrap();
        }
    }

    #[test]
    fn a_restored_folder_is_what_was_backed_up() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        data_folder(&at("data"));
        backup(&at("data"), &at("file")).unwrap();
        restore(&at("again"), &at("file"), None).unwrap();
        for name in &NAMES[2..] {
            assert_eq!(fs::read_to_string(at("again").join(name)).unwrap(), *name);
        }
        drop(store::Store::open(&at("again")).unwrap());
        assert!(
            backup(&at("data"), &at("file")).is_err(),
            "it overwrites nothing"
        );
        assert!(
            restore(&at("again"), &at("file"), None).is_err(),
            "it overwrites nothing"
        );
    }

    #[test]
    fn a_file_that_is_no_backup_makes_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), [7; 4096]).unwrap();
        assert!(restore(&at("data"), &at("file"), None).is_err());
        let mut tar = tar::Builder::new(File::create(at("evil")).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_cksum();
        tar.append_data(&mut header, "tls/../../escaped", io::empty())
            .unwrap_err();
        tar.append_data(&mut header, "elsewhere", io::empty())
            .unwrap();
        tar.finish().unwrap();
        assert!(restore(&at("data"), &at("evil"), None).is_err());
        assert!(!at("data").exists());
    }
}
