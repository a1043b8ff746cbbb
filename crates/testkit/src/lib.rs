//! Helpers for tests of the whole: the committed outputs in `golden/`, and the fuzz corpora.
//!
//! No product links this. What stands here reads the checkout it was compiled in.

use std::path::{Path, PathBuf};

/// Set to rewrite the outputs instead of comparing them; `cargo xtask golden --update` does.
const WRITE: &str = "SEKISHO_WRITE_GOLDEN";

/// The root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("a crate lies two folders below the root")
        .to_path_buf()
}

/// Compares `printed` with `golden/NAME`, or rewrites it.
///
/// # Panics
///
/// When they differ: it is a test's last line.
#[track_caller]
pub fn golden(name: &str, printed: &str) {
    let path = checkout().join("golden").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, printed)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed
        .lines()
        .zip(printed.lines())
        .position(|(committed, printed)| committed != printed);
    assert!(
        committed == printed,
        "golden/{name} differs from line {}: `cargo xtask golden --update`, and look at the difference",
        differs.unwrap_or_else(|| committed.lines().count().min(printed.lines().count())) + 1
    );
}

/// Every committed input of one fuzz target, by file name.
///
/// # Panics
///
/// When the corpus cannot be read, or is empty: a replay of nothing would be no test.
#[must_use]
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = checkout().join("fuzz/corpora").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.expect("the folder was opened").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let bytes =
                std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (name.into_owned(), bytes)
        })
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}
