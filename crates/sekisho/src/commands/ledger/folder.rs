//! A ledger's files in a folder.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use ledger::audit::Source;

use super::export::Place;
use crate::failure::Failure;

/// What the name of a file that is being written ends with.
const UNFINISHED: &str = ".new";

/// A folder with a log's files at their C2SP `tlog-tiles` paths.
pub(in crate::commands) struct Folder(PathBuf);

impl Folder {
    pub(in crate::commands) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Every file with its bytes, by its path with slashes.
    fn walk(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut files = Vec::new();
        let mut folders = vec![(self.0.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let cannot = |error| cannot("read", &folder, &error);
            for entry in fs::read_dir(&folder).map_err(cannot)? {
                let entry = entry.map_err(cannot)?;
                let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let about = entry.metadata().map_err(cannot)?;
                if about.is_dir() {
                    folders.push((entry.path(), format!("{path}/")));
                } else {
                    files.push((path, about.len()));
                }
            }
        }
        Ok(files)
    }
}

impl Source for Folder {
    type Error = Failure;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.0.join(path);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(cannot("read", &path, &error)),
        }
    }

    fn list(&self) -> Result<Option<Vec<String>>, Failure> {
        let files = self.walk()?;
        Ok(Some(files.into_iter().map(|(path, _)| path).collect()))
    }
}

impl Place for Folder {
    fn files(&self) -> Result<Vec<(String, u64)>, Failure> {
        if self.0.exists() {
            self.walk()
        } else {
            Ok(Vec::new())
        }
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.read(path)
    }

    /// The file is there whole or not at all.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.0.join(path);
        let mut beside = path.as_os_str().to_owned();
        beside.push(UNFINISHED);
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = fs::File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|error| cannot("write", &path, &error))
    }

    fn remove(&self, path: &str) -> Result<(), Failure> {
        let path = self.0.join(path);
        fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
        // The folder of a tile's partial forms, when it was the last of them.
        if let Some(folder) = path.parent()
            && folder.extension().is_some_and(|ending| ending == "p")
        {
            match fs::remove_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(cannot("remove", folder, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn is_leftover(&self, path: &str) -> bool {
        path.ends_with(UNFINISHED)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot {verb} {}: {error}", path.display()))
}
