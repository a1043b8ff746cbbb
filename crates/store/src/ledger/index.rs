//! The search index: which entries an actor, an object or a verb stands in.
//!
//! Sorted runs (`DATA/ledger/index/LEVEL-NUMBER`), each of 4,096 entries; eight become one of the
//! next level, so that what is written once is written again but twice. They are derived from the
//! entries and made anew when they are missing or of another tree; what no run holds yet is looked
//! through. Words stand in them as 64-bit hashes, so whoever uses them looks at the entries, too.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use ledger::EntryView;
use tlog::Hash;

use super::{
    error::LedgerError,
    log::Shared,
    read::{Flow, Tree},
};

/// Entries of a run of the lowest level.
const RUN: u64 = 4096;
/// Runs that become one of the next level.
const FAN: u64 = 8;
/// The highest level: runs of 262,144 entries, which are merged in a fraction of a second.
const TOP: u32 = 2;
/// Bytes of a record: a term and, behind the run's first, an entry.
const RECORD: usize = 12;
/// Bytes of a run's head: [`MAGIC`], the root of the tree at its end, the count of its records.
const HEAD: usize = 16 + 32 + 8;
const MAGIC: &[u8; 16] = b"sekisho index 1\n";
/// A list this many times longer than the shortest is not read, but looked up in.
const MUCH_LONGER: u64 = 32;
/// Folder within the ledger's.
const FOLDER: &str = "index";

/// The index as searches see it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Without a gap from the first entry on.
    runs: RwLock<Vec<Arc<Run>>>,
}

/// The index as the integrator writes it.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    runs: Vec<Arc<Run>>,
    /// The records of the run in the making, and the entry it goes on with.
    pending: Vec<(Term, u64)>,
    next: u64,
}

/// A word that entries are found by, hashed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Term(u64);

impl Term {
    pub(crate) fn actor(actor: &str) -> Self {
        Self::new(b'a', actor)
    }

    pub(crate) fn subject(subject: &str) -> Self {
        Self::new(b's', subject)
    }

    pub(crate) fn verb(verb: &str) -> Self {
        Self::new(b'v', verb)
    }

    /// FNV-1a, which stays the same from one binary to the next.
    fn new(field: u8, word: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in std::iter::once(field).chain(word.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(hash)
    }
}

/// A file of sorted records.
#[derive(Debug)]
struct Run {
    level: u32,
    first: u64,
    path: PathBuf,
    file: File,
    records: u64,
    root: Hash,
}

/// Entries of a run of this level.
const fn width(level: u32) -> u64 {
    RUN * FAN.pow(level)
}

impl Run {
    const fn end(&self) -> u64 {
        self.first + width(self.level)
    }

    fn path(folder: &Path, level: u32, first: u64) -> PathBuf {
        folder.join(format!("{level}-{:012}", first / width(level)))
    }

    /// Opens a run; `None` when it is not there, or is none.
    fn open(folder: &Path, level: u32, first: u64) -> Option<Self> {
        let path = Self::path(folder, level, first);
        let file = File::open(&path).ok()?;
        let bytes = usize::try_from(file.metadata().ok()?.len()).ok()?;
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let (magic, rest) = head.split_first_chunk()?;
        let (root, count) = rest.split_first_chunk()?;
        let records = u64::from_be_bytes(count.try_into().ok()?);
        let expected = usize::try_from(records).ok()?.checked_mul(RECORD)?;
        if magic != MAGIC || bytes.checked_sub(HEAD) != Some(expected) {
            return None;
        }
        Some(Self {
            level,
            first,
            path,
            file,
            records,
            root: Hash(*root),
        })
    }

    /// Writes sorted records as a run. It need not reach the disk: it can be made again.
    fn write(
        folder: &Path,
        level: u32,
        first: u64,
        root: Hash,
        records: &[(Term, u64)],
    ) -> io::Result<Self> {
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let mut bytes = [MAGIC.as_slice(), &root.0, &count.to_be_bytes()].concat();
        for (term, index) in records {
            let offset = u32::try_from(index - first).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&term.0.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        let path = Self::path(folder, level, first);
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, &bytes)?;
        fs::rename(&temporary, &path)?;
        Self::open(folder, level, first).ok_or_else(|| io::Error::other("a run does not read back"))
    }

    /// The records `from..to`.
    fn read(&self, from: u64, to: u64) -> io::Result<Vec<(Term, u64)>> {
        let records = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        let mut bytes = vec![0; records * RECORD];
        let at = u64::try_from(HEAD).unwrap_or(0) + from * u64::try_from(RECORD).unwrap_or(0);
        self.file.read_exact_at(&mut bytes, at)?;
        let (records, _) = bytes.as_chunks::<RECORD>();
        let record = |record: &[u8; RECORD]| {
            let (term, offset) = record.split_first_chunk::<8>()?;
            let offset = u32::from_be_bytes(offset.try_into().ok()?);
            let term = Term(u64::from_be_bytes(*term));
            Some((term, self.first + u64::from(offset)))
        };
        Ok(records.iter().filter_map(record).collect())
    }

    /// The place of the first record that is not below `wanted`.
    fn place(&self, wanted: (Term, u64)) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.records);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(middle, middle + 1)?.first() {
                Some(record) if *record < wanted => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The entries at or behind `from` that have all of `terms`.
    fn find(&self, terms: &[Term], from: u64) -> io::Result<Vec<u64>> {
        let mut lists = Vec::with_capacity(terms.len());
        for term in terms {
            let (start, stop) = (self.place((*term, from))?, self.place((*term, u64::MAX))?);
            if start >= stop {
                return Ok(Vec::new());
            }
            lists.push((stop - start, start, *term));
        }
        lists.sort_unstable();
        let Some(((shortest, start, _), others)) = lists.split_first() else {
            return Ok(Vec::new());
        };
        let entries = |start: u64, count: u64| -> io::Result<Vec<u64>> {
            let records = self.read(start, start + count)?;
            Ok(records.into_iter().map(|(_, index)| index).collect())
        };
        let mut found = entries(*start, *shortest)?;
        for (count, start, term) in others {
            if *count / MUCH_LONGER > *shortest {
                let mut both = Vec::new();
                for index in found {
                    let place = self.place((*term, index))?;
                    if self.read(place, (place + 1).min(self.records))? == [(*term, index)] {
                        both.push(index);
                    }
                }
                found = both;
            } else {
                let other = entries(*start, *count)?;
                found.retain(|index| other.binary_search(index).is_ok());
            }
        }
        Ok(found)
    }
}

impl Index {
    /// Opens the index for the integrator, and for searches in `shared`. `None` when that fails:
    /// searches then look at every entry.
    pub(crate) fn open(shared: &Shared) -> Option<Writer> {
        let folder = shared.files.folder().join(FOLDER);
        if let Err(error) = fs::create_dir_all(&folder) {
            tracing::warn!(%error, "the ledger has no search index; searches are slow");
            return None;
        }
        let mut runs: Vec<Arc<Run>> = Vec::new();
        loop {
            let first = runs.last().map_or(0, |run| run.end());
            let aligned = (0..=TOP)
                .rev()
                .filter(|level| first.is_multiple_of(width(*level)));
            let mut found = aligned.filter_map(|level| Run::open(&folder, level, first));
            let Some(run) = found.next() else { break };
            runs.push(Arc::new(run));
        }
        let edge = shared.edge();
        let tree = Tree {
            files: &shared.files,
            edge: &edge,
        };
        // The root at the end of the last covers those before it, too.
        let of_this_tree = runs.last().is_none_or(|last| {
            last.end() <= edge.size() && tree.root(last.end()).is_ok_and(|root| root == last.root)
        });
        if !of_this_tree {
            tracing::warn!("the ledger's search index is made anew");
            runs.clear();
        }
        let writer = Writer {
            next: runs.last().map_or(0, |run| run.end()),
            folder,
            runs,
            pending: Vec::new(),
        };
        writer.remove_others();
        let index = Self::default();
        index.set(&writer.runs);
        shared.index.set(index).ok().map(|()| writer)
    }

    fn set(&self, runs: &[Arc<Run>]) {
        *self.runs.write().unwrap_or_else(PoisonError::into_inner) = runs.to_vec();
    }

    /// Entries below it are indexed.
    pub(crate) fn next(&self) -> u64 {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.last().map_or(0, |run| run.end())
    }

    /// Shows `visit` the entries in `from..end` that have all of `terms`, but for clashes of
    /// hashes, in order, some at a time.
    pub(crate) fn candidates(
        &self,
        terms: &[Term],
        from: u64,
        end: u64,
        mut visit: impl FnMut(&[u64]) -> Result<Flow, LedgerError>,
    ) -> Result<(), LedgerError> {
        let runs = self
            .runs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for run in runs
            .iter()
            .filter(|run| run.end() > from && run.first < end)
        {
            let mut found = run
                .find(terms, from)
                .map_err(|error| LedgerError::io("read", &run.path, &error))?;
            found.retain(|index| *index < end);
            if visit(&found)? == Flow::Stop {
                break;
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Indexes the entries that have just been taken in, `from` on, when everything before them is
    /// indexed.
    pub(crate) fn follow(&mut self, shared: &Shared, from: u64, entries: &[Vec<u8>]) {
        // After a failure they are taken in again; what is indexed stays so.
        let known = self.next.checked_sub(from);
        let known = known.and_then(|known| usize::try_from(known).ok());
        for entry in known
            .and_then(|known| entries.get(known..))
            .unwrap_or_default()
        {
            if !self.add(shared, entry) {
                return;
            }
        }
    }

    /// Indexes what is in the tree and not in the index, up to a run of it. Whether there is more.
    pub(crate) fn catch_up(&mut self, shared: &Shared) -> bool {
        let edge = shared.edge();
        let end = edge.size().min(self.next + RUN);
        if end <= self.next {
            return false;
        }
        let tree = Tree {
            files: &shared.files,
            edge: &edge,
        };
        let visited = tree.visit(self.next, &mut |index, entry| {
            Ok(if index < end && self.add(shared, entry) {
                Flow::Go
            } else {
                Flow::Stop
            })
        });
        if let Err(error) = visited {
            tracing::warn!(%error, "the ledger's search index cannot go on; searches are slow");
            return false;
        }
        self.next == end && end < edge.size()
    }

    /// Adds the next entry. Whether that went well; if not, it is to be added again.
    fn add(&mut self, shared: &Shared, entry: &[u8]) -> bool {
        let before = self.pending.len();
        // What a newer version wrote cannot be read, and is not found.
        if let Ok(view) = EntryView::parse(entry) {
            let next = self.next;
            self.pending
                .push((Term::actor(&view.actor.to_string()), next));
            self.pending.push((Term::verb(view.verb), next));
            let subjects = view.subjects();
            let subjects = subjects
                .iter()
                .map(|subject| (Term::subject(subject), next));
            self.pending.extend(subjects);
        }
        self.next += 1;
        if !self.next.is_multiple_of(RUN) {
            return true;
        }
        if let Err(error) = self.end_run(shared) {
            tracing::warn!(%error, "the ledger's search index cannot be written; searches are slow");
            self.pending.truncate(before);
            self.next -= 1;
            return false;
        }
        self.pending.clear();
        if let Some(index) = shared.index.get() {
            index.set(&self.runs);
        }
        self.remove_merged();
        true
    }

    /// Writes the run that has become whole, and what it completes.
    fn end_run(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        let edge = shared.edge();
        let tree = Tree {
            files: &shared.files,
            edge: &edge,
        };
        let root = tree.root(self.next)?;
        let failed = |error: io::Error| LedgerError::io("write", &self.folder, &error);
        let mut records = self.pending.clone();
        records.sort_unstable();
        records.dedup();
        let first = self.next - RUN;
        let run = Run::write(&self.folder, 0, first, root, &records).map_err(failed)?;
        let mut runs = self.runs.clone();
        runs.push(Arc::new(run));
        for level in 0..TOP {
            let of_level = runs.iter().rev().take_while(|run| run.level == level);
            let of_level = of_level.count();
            if u64::try_from(of_level).unwrap_or(0) < FAN {
                break;
            }
            let merged = runs.split_off(runs.len() - of_level);
            let Some(first) = merged.first().map(|run| run.first) else {
                break;
            };
            let mut records = Vec::new();
            for run in &merged {
                records.extend(run.read(0, run.records).map_err(failed)?);
            }
            records.sort_unstable();
            let run = Run::write(&self.folder, level + 1, first, root, &records).map_err(failed)?;
            runs.push(Arc::new(run));
        }
        self.runs = runs;
        Ok(())
    }

    /// Removes runs that a merge has made needless. Searches that read them still can.
    fn remove_merged(&self) {
        if let Some(last) = self.runs.last()
            && last.level > 0
        {
            self.remove_others();
        }
    }

    /// Removes what is in the folder and not of the index.
    fn remove_others(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return;
        };
        for file in files.map_while(Result::ok) {
            let path = file.path();
            if self.runs.iter().any(|run| run.path == path) {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, file = %path.display(), "cannot be removed");
            }
        }
    }
}
