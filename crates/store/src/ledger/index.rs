//! The search index: which entries an actor, an object or a verb stands in.
//!
//! A file of its own (`DATA/ledger/index.db`), derived from the entries: made anew when it is
//! missing, damaged, or of another tree. Words stand in it as 64-bit hashes, so whoever uses it
//! looks at the entries themselves.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use ledger::EntryView;
use rusqlite::{Connection, params};
use tlog::Hash;

use super::{
    error::LedgerError,
    log::Shared,
    read::{Flow, Tree},
};
use crate::{
    Failure,
    database::{self, Durability, Layout, Readers},
    rows::{one, unsigned},
};

const LAYOUT: Layout = Layout {
    name: "index.db",
    application_id: 0x5345_4b49,
    migrations: &[include_str!("index/001.sql")],
    readers: 2,
    log_pages: 4000,
};

/// Entries indexed in one transaction, between which the integrator looks for new ones.
const BATCH: u64 = 4096;

/// Indices taken from the index at once by a search.
const CANDIDATES: usize = 1024;

/// The index as searches see it.
#[derive(Debug)]
pub(crate) struct Index {
    readers: Readers,
    /// Entries below it are indexed.
    next: AtomicU64,
}

/// The index as the integrator writes it.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Connection,
    next: u64,
}

/// A word that entries are found by, hashed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Term(i64);

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
        Self(hash.cast_signed())
    }
}

impl Index {
    /// Opens the index for the integrator, and for searches in `shared`. `None` when that fails:
    /// searches then look at every entry.
    pub(crate) fn open(shared: &Shared) -> Option<Writer> {
        let folder = shared.files.folder();
        let opened = fs::create_dir_all(folder)
            .map_err(|error| LedgerError::io("make", folder, &error).to_string())
            .and_then(|()| {
                database::open(folder, &LAYOUT, Durability::Process).or_else(|error| {
                    tracing::warn!(%error, "the ledger's search index is made anew");
                    remove(folder);
                    database::open(folder, &LAYOUT, Durability::Process)
                        .map_err(|error| error.to_string())
                })
            });
        let (file, readers) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, "the ledger has no search index; searches are slow");
                return None;
            }
        };
        let mut writer = Writer { file, next: 0 };
        if let Err(error) = writer.begin(shared) {
            tracing::warn!(%error, "the ledger's search index cannot be read; searches are slow");
            return None;
        }
        let index = Self {
            readers,
            next: AtomicU64::new(writer.next),
        };
        shared.index.set(index).ok().map(|()| writer)
    }

    /// Entries below it are indexed.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// The first entries in `from..end` that have all of `terms`, but for clashes of hashes. When
    /// there are none, there are no more; otherwise ask again from behind the last.
    pub(crate) fn candidates(
        &self,
        terms: &[Term],
        from: u64,
        end: u64,
    ) -> Result<Vec<u64>, Failure> {
        self.readers.with(|file| {
            let mut lists: Vec<_> = terms.iter().map(|term| List::new(file, *term)).collect();
            let mut found = Vec::new();
            let mut at = from;
            // Each list moves to the highest entry that any of them has reached.
            'entries: while at < end && found.len() < CANDIDATES {
                for list in &mut lists {
                    match list.reach(at)? {
                        None => break 'entries,
                        Some(reached) if reached > at => {
                            at = reached;
                            continue 'entries;
                        }
                        Some(_) => {}
                    }
                }
                found.push(at);
                at += 1;
            }
            Ok(found)
        })
    }
}

/// The entries of one term, in order.
struct List<'a> {
    file: &'a Connection,
    term: Term,
    row: Vec<u64>,
}

impl<'a> List<'a> {
    const fn new(file: &'a Connection, term: Term) -> Self {
        Self {
            file,
            term,
            row: Vec::new(),
        }
    }

    /// The first entry at or behind `at`.
    fn reach(&mut self, at: u64) -> Result<Option<u64>, Failure> {
        let before = "SELECT first, rest FROM postings WHERE term = ?1 AND first <= ?2 \
                      ORDER BY first DESC LIMIT 1";
        let behind = "SELECT first, rest FROM postings WHERE term = ?1 AND first > ?2 \
                      ORDER BY first LIMIT 1";
        for sql in ["", before, behind] {
            if !sql.is_empty() {
                self.read(sql, at)?;
            }
            let place = self.row.partition_point(|index| *index < at);
            let known_from = self.row.first().is_some_and(|first| *first <= at) || sql == behind;
            if let Some(index) = self.row.get(place).filter(|_| known_from) {
                return Ok(Some(*index));
            }
        }
        Ok(None)
    }

    fn read(&mut self, sql: &str, at: u64) -> Result<(), Failure> {
        let row = one(
            self.file,
            sql,
            params![self.term.0, at.cast_signed()],
            |row| {
                let first = unsigned(row, 0)?;
                let rest: Vec<u8> = row.get(1)?;
                Ok(unpack(first, &rest))
            },
        )?;
        self.row = row.unwrap_or_default();
        Ok(())
    }
}

impl Writer {
    /// Goes on where the file ends, if it is of this tree.
    fn begin(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        let progress = one(&self.file, "SELECT next, root FROM progress", [], |row| {
            Ok((unsigned(row, 0)?, Hash(row.get(1)?)))
        })?;
        let edge = shared.edge();
        let tree = Tree {
            files: &shared.files,
            edge: &edge,
        };
        if let Some((next, root)) = progress
            && next <= edge.size()
            && tree.root(next)? == root
        {
            self.next = next;
            return Ok(());
        }
        self.file
            .execute_batch("DELETE FROM postings; DELETE FROM progress;")?;
        Ok(())
    }

    /// Indexes the entries that have just been taken in, `from` on, when everything before them is
    /// indexed. `root` is the tree's with them.
    pub(crate) fn follow(&mut self, shared: &Shared, from: u64, entries: &[Vec<u8>], root: Hash) {
        // After a failure they are taken in again; what is indexed stays so.
        let known = self
            .next
            .checked_sub(from)
            .and_then(|known| usize::try_from(known).ok());
        let Some(new) = known.and_then(|known| entries.get(known..)) else {
            return;
        };
        let end = self.next + u64::try_from(new.len()).unwrap_or_default();
        let mut postings = Postings::default();
        for (index, entry) in (self.next..).zip(new) {
            postings.add(index, entry);
        }
        let kept = self.keep(postings, end, root);
        self.indexed(shared, end, kept.map_err(LedgerError::from));
    }

    /// Indexes what is in the tree and not in the index, up to a batch of it. Whether there is
    /// more.
    pub(crate) fn catch_up(&mut self, shared: &Shared) -> bool {
        let edge = shared.edge();
        let end = edge.size().min(self.next + BATCH);
        if end <= self.next {
            return false;
        }
        let tree = Tree {
            files: &shared.files,
            edge: &edge,
        };
        let kept = self.read(&tree, end);
        self.indexed(shared, end, kept) && end < edge.size()
    }

    fn read(&mut self, tree: &Tree<'_>, end: u64) -> Result<(), LedgerError> {
        let mut postings = Postings::default();
        tree.visit(self.next, &mut |index, entry| {
            if index >= end {
                return Ok(Flow::Stop);
            }
            postings.add(index, entry);
            Ok(Flow::Go)
        })?;
        self.keep(postings, end, tree.root(end)?)?;
        Ok(())
    }

    /// Whether it went well.
    fn indexed(&mut self, shared: &Shared, end: u64, kept: Result<(), LedgerError>) -> bool {
        if let Err(error) = kept {
            tracing::warn!(%error, "the ledger's search index cannot be written; searches are slow");
            return false;
        }
        self.next = end;
        if let Some(index) = shared.index.get() {
            index.next.store(end, Ordering::Release);
        }
        true
    }

    fn keep(&mut self, postings: Postings, end: u64, root: Hash) -> rusqlite::Result<()> {
        let transaction = self.file.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO postings (term, first, rest) VALUES (?1, ?2, ?3)")?;
            for (term, indices) in postings.0 {
                let [first, rest @ ..] = indices.as_slice() else {
                    continue;
                };
                insert.execute(params![term.0, first.cast_signed(), pack(*first, rest)])?;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO progress (id, next, root) VALUES (0, ?1, ?2) \
                     ON CONFLICT (id) DO UPDATE SET next = excluded.next, root = excluded.root",
                )?
                .execute(params![end.cast_signed(), root.0.as_slice()])?;
        }
        transaction.commit()
    }
}

/// What is to be written: by term, the entries that have it.
#[derive(Debug, Default)]
struct Postings(BTreeMap<Term, Vec<u64>>);

impl Postings {
    fn add(&mut self, index: u64, entry: &[u8]) {
        // What a newer version wrote cannot be read, and is not found.
        if let Ok(view) = EntryView::parse(entry) {
            for term in terms_of(&view) {
                self.0.entry(term).or_default().push(index);
            }
        }
    }
}

fn terms_of(entry: &EntryView<'_>) -> Vec<Term> {
    let mut terms = vec![
        Term::actor(&entry.actor.to_string()),
        Term::verb(entry.verb),
    ];
    terms.extend(
        entry
            .subjects()
            .iter()
            .map(|subject| Term::subject(subject)),
    );
    terms.sort();
    terms.dedup();
    terms
}

/// Ascending indices as the differences between them, seven bits a byte, low ones first.
fn pack(first: u64, rest: &[u64]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(rest.len());
    let mut last = first;
    for index in rest {
        let mut step = index - last;
        while step >= 0x80 {
            packed.push(step.to_le_bytes()[0] | 0x80);
            step >>= 7;
        }
        packed.push(step.to_le_bytes()[0]);
        last = *index;
    }
    packed
}

fn unpack(first: u64, packed: &[u8]) -> Vec<u64> {
    let mut indices = vec![first];
    let (mut last, mut step, mut shift) = (first, 0_u64, 0_u32);
    for byte in packed {
        step |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            last = last.saturating_add(step);
            indices.push(last);
            (step, shift) = (0, 0);
        }
    }
    indices
}

fn remove(folder: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let path = folder.join(format!("{}{suffix}", LAYOUT.name));
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %path.display(), "cannot be removed");
        }
    }
}

#[test]
fn packed_indices_unpack() {
    for indices in [
        &[7][..],
        &[0, 1],
        &[3, 130, 131, 20_000, 1 << 40, u64::MAX >> 1],
    ] {
        let packed = pack(indices[0], &indices[1..]);
        assert_eq!(unpack(indices[0], &packed), indices);
    }
}
