//! Verifies a whole log: every byte of every file, from nothing but the files and a policy.
//!
//! The checkpoint's signatures say what the log is; from there everything follows, and nothing
//! else is believed. First the bundles and the leaf hashes are read, many at a time; then each
//! upper tile is compared with what its children give, and the root with the checkpoint's. When
//! the *entries* lead to the signed root, they are what was signed, and a tile that disagrees is
//! the damaged file; when they do not, whatever disagrees with what is nearer to the root is.
//! Beside this every entry must be readable, times must not run backwards, and each entry must
//! name its actor's entry before it.

mod bundles;
mod chain;
mod fault;
mod signatures;
mod tree;

use std::{collections::BTreeSet, fmt, num::NonZeroUsize};

use tlog::{checkpoint::Checkpoint, note::Note, policy::Policy, tile::tiles_of};

pub use fault::{Fault, Trouble};

/// The file that says what the log is.
const CHECKPOINT: &str = "checkpoint";

/// What faults of the checkpoint from before are told of.
const SINCE: &str = "since";

/// Faults that are listed; the others are only counted.
pub const LISTED_FAULTS: usize = 100;

/// Where the files of a log are, at their C2SP `tlog-tiles` paths.
pub trait Source: Sync {
    /// Why a file could not be read.
    type Error: fmt::Display;

    /// The bytes of a file; `None` when there is no such file.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error>;

    /// The paths of all files, in any order; `None` when the place cannot be listed.
    ///
    /// # Errors
    ///
    /// When listing failed.
    fn list(&self) -> Result<Option<Vec<String>>, Self::Error>;
}

/// How to verify.
#[derive(Clone, Debug)]
pub struct Options {
    /// A checkpoint of the log from before, of which it must be a continuation.
    pub since: Option<Note>,
    /// Threads that read and hash.
    pub threads: NonZeroUsize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the log says of itself, if that could be read.
    pub checkpoint: Option<Checkpoint>,
    /// The names of the witnesses whose cosignatures count.
    pub witnesses: Vec<String>,
    /// Entries that were read and hashed.
    pub entries: u64,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, the first [`LISTED_FAULTS`] of it, with those of whole files before those of
    /// entries.
    pub faults: Vec<Fault>,
    /// How much is wrong.
    pub fault_count: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < LISTED_FAULTS {
            self.faults.push(fault);
        } else if fault.entry.is_none()
            && let Some(at) = self
                .faults
                .iter()
                .rposition(|listed| listed.entry.is_some())
        {
            // One missing entry puts every later one in the wrong place. That must not hide which
            // files are wrong.
            self.faults[at] = fault;
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.files += 1;
        self.bytes += bytes.len() as u64;
    }
}

/// Verifies a log. `progress` is told the entries that are done and how many there are.
///
/// When the log's own signature does not hold nothing else is looked at: what is not signed must
/// not say what to read.
pub fn verify<S: Source>(
    source: &S,
    policy: &Policy,
    options: &Options,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Report {
    let mut report = Report {
        checkpoint: None,
        witnesses: Vec::new(),
        entries: 0,
        files: 0,
        bytes: 0,
        faults: Vec::new(),
        fault_count: 0,
    };
    if let Some(checkpoint) = signatures::check(source, policy, &mut report) {
        let leaves = bundles::check(source, &checkpoint, options, progress, &mut report);
        tree::check(source, &checkpoint, &leaves, &mut report);
        if let Some(since) = &options.since {
            signatures::check_since(source, since, policy, &checkpoint, &mut report);
        }
        strangers(source, checkpoint.size, &mut report);
        report.checkpoint = Some(checkpoint);
    }
    report.faults.sort_by_key(|fault| fault.entry.is_some());
    report
}

/// Files that are not the log's hide what it is, and so does a place that cannot be listed.
fn strangers<S: Source>(source: &S, size: u64, report: &mut Report) {
    let paths = match source.list() {
        Ok(Some(paths)) => paths,
        Ok(None) => return,
        Err(error) => {
            return report.fault(Fault::of_file(".", Trouble::Unreadable(error.to_string())));
        }
    };
    let mut paths: BTreeSet<_> = paths.into_iter().collect();
    paths.remove(CHECKPOINT);
    for id in tiles_of(size) {
        if paths.is_empty() {
            return;
        }
        paths.remove(&id.path());
    }
    for path in paths {
        report.fault(Fault::of_file(path, Trouble::Foreign));
    }
}

/// Reads a file that must be there.
fn read<S: Source>(source: &S, path: &str) -> Result<Vec<u8>, Fault> {
    match source.read(path) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Fault::of_file(path, Trouble::Missing)),
        Err(error) => Err(Fault::of_file(path, Trouble::Unreadable(error.to_string()))),
    }
}
