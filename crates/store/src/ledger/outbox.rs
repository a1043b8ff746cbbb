//! Entries in the making: recorded in the transaction of the deed, kept until files hold them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::{Entry, EntryTooLarge, Verb};
use model::{Timestamp, limits};
use rusqlite::{Connection, params};
use tlog::TILE_WIDTH;

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{millis, one, time, unsigned},
};

/// How far the clock may step back before changes are refused: what time synchronisation does.
/// Smaller steps are recorded at the time of the entry before. Hub.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Entries that a transaction removes from the outbox at least, if files hold so many.
const FORGOTTEN_AT_ONCE: u64 = 512;

/// Longest that the writer waits for the integrator before a transaction. Hub: a client waits for
/// its answer meanwhile.
const HOLD_UP: Duration = Duration::from_millis(20);

/// Where a deed stands in the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// The index of its entry, or of the first of several.
    pub first: u64,
    /// The index of the last of its entries.
    pub last: u64,
}

/// What the writer of the registry and the integrator tell each other.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Entries below it are committed.
    recorded: AtomicU64,
    /// Entries below it are on disk in files.
    filed: AtomicU64,
    /// Entries below it are not in the outbox any more.
    forgotten: AtomicU64,
    /// Why the integrator cannot write its files, if it cannot.
    trouble: Mutex<Option<String>>,
    /// Whether the integrator runs.
    started: AtomicBool,
    bell: Mutex<Bell>,
    rung: Condvar,
    /// `filed` has moved.
    progress: Condvar,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waited {
    /// There are new entries.
    Rung,
    /// Nothing came.
    Long,
    /// The store is closing.
    Stopped,
}

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    stop: bool,
}

impl Gate {
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Acquire)
    }

    pub(crate) fn filed(&self) -> u64 {
        self.filed.load(Ordering::Acquire)
    }

    /// Whether the outbox still has entries that files hold.
    pub(crate) fn has_filed_entries(&self) -> bool {
        self.forgotten.load(Ordering::Acquire) < self.filed() / TILE_WIDTH * TILE_WIDTH
    }

    pub(crate) fn set_filed(&self, filed: u64) {
        self.filed.store(filed, Ordering::Release);
        let _bell = self.bell();
        self.progress.notify_all();
    }

    /// Holds the writer up while half of what may wait does, so that entries come no faster than
    /// files can be written. Where they cannot be written at all, waiting does not help.
    fn hold_up(&self, next: u64) {
        let is_far = || {
            let waiting = next.saturating_sub(self.filed());
            waiting > limits::LEDGER_OUTBOX_ENTRIES / 2 && self.trouble().is_none()
        };
        if is_far() && self.started.load(Ordering::Acquire) {
            let bell = self.bell();
            let _passed = self
                .progress
                .wait_timeout_while(bell, HOLD_UP, |bell| !bell.stop && is_far())
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on the integrator takes entries.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring(&self) {
        self.bell().rung = true;
        self.rung.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.bell().stop = true;
        self.rung.notify_all();
        self.progress.notify_all();
    }

    /// Waits until rung or stopped, at most `longest`.
    pub(crate) fn wait(&self, longest: Duration) -> Waited {
        let bell = self.bell();
        let (mut bell, _) = self
            .rung
            .wait_timeout_while(bell, longest, |bell| !bell.rung && !bell.stop)
            .unwrap_or_else(PoisonError::into_inner);
        if bell.stop {
            Waited::Stopped
        } else if std::mem::take(&mut bell.rung) {
            Waited::Rung
        } else {
            Waited::Long
        }
    }

    /// Lets `pause` pass, however often it is rung meanwhile. Whether to go on.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let bell = self.bell();
        let (bell, _) = self
            .rung
            .wait_timeout_while(bell, pause, |bell| !bell.stop)
            .unwrap_or_else(PoisonError::into_inner);
        !bell.stop
    }
}

/// Gives entries their indices: the writer of the registry's own. What jobs record collects in
/// memory and is written at the end of the transaction, once for all of them.
#[derive(Debug)]
pub(crate) struct Recorder {
    now: Position,
    /// What the file says.
    stored: Position,
    /// Entries below it are not in the outbox any more.
    forgotten: u64,
    /// Entries of this transaction, from `stored.next` on.
    pending: Vec<Vec<u8>>,
    /// Each actor's last entry, as far as it is known here.
    actors: HashMap<String, u64>,
    /// What `actors` said before each entry of this transaction.
    undo: Vec<(String, Option<u64>)>,
    gate: Arc<Gate>,
}

/// How far the ledger is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Position {
    next: u64,
    last: Timestamp,
}

/// To come back to when a job is undone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    position: Position,
    pending: usize,
    undo: usize,
}

/// Actors whose last entry is remembered in memory. Hub: about a megabyte.
const KNOWN_ACTORS: usize = 10_000;

impl Recorder {
    /// The index of the next entry.
    pub(crate) const fn next(&self) -> u64 {
        self.now.next
    }

    /// Appends the entries of one deed of `actor`; answers the index of the last.
    pub(crate) fn add(&mut self, actor: String, at: Timestamp, entries: Vec<Vec<u8>>) -> u64 {
        let next = self.now.next + u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let last = next - 1;
        self.pending.extend(entries);
        self.now = Position { next, last: at };
        let before = self.actors.insert(actor.clone(), last);
        self.undo.push((actor, before));
        last
    }

    pub(crate) fn load(file: &Connection, gate: Arc<Gate>) -> rusqlite::Result<Self> {
        let now = file.query_row("SELECT next, last FROM ledger_state", [], |row| {
            Ok(Position {
                next: unsigned(row, 0)?,
                last: time(row, 1)?,
            })
        })?;
        let first: Option<i64> =
            file.query_row("SELECT min(idx) FROM ledger_outbox", [], |row| row.get(0))?;
        let first = first.map_or(now.next, i64::cast_unsigned);
        gate.set_filed(first);
        gate.recorded.store(now.next, Ordering::Release);
        Ok(Self {
            now,
            stored: now,
            forgotten: first,
            pending: Vec::new(),
            actors: HashMap::new(),
            undo: Vec::new(),
            gate,
        })
    }

    /// Before a transaction.
    pub(crate) fn hold_up(&self) {
        self.gate.hold_up(self.stored.next);
    }

    pub(crate) const fn mark(&self) -> Mark {
        Mark {
            position: self.now,
            pending: self.pending.len(),
            undo: self.undo.len(),
        }
    }

    /// Takes back what was recorded since `mark`: its indices are given again.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.now = mark.position;
        self.pending.truncate(mark.pending);
        while self.undo.len() > mark.undo {
            if let Some((actor, before)) = self.undo.pop() {
                match before {
                    Some(last) => self.actors.insert(actor, last),
                    None => self.actors.remove(&actor),
                };
            }
        }
    }

    /// Writes what was recorded: last in a transaction. Also forgets some of what files hold, a
    /// little each time, so that nobody waits for it.
    pub(crate) fn store(&mut self, file: &Connection) -> rusqlite::Result<()> {
        if self.now != self.stored {
            let mut insert =
                file.prepare_cached("INSERT INTO ledger_outbox (idx, entry) VALUES (?1, ?2)")?;
            for (index, entry) in (self.stored.next..).zip(&self.pending) {
                insert.execute(params![index.cast_signed(), entry])?;
            }
            let mut update = file.prepare_cached(
                "INSERT INTO ledger_actors (actor, last) VALUES (?1, ?2) \
                 ON CONFLICT (actor) DO UPDATE SET last = excluded.last",
            )?;
            self.undo.sort_unstable();
            self.undo.dedup_by(|one, other| one.0 == other.0);
            for (actor, _) in &self.undo {
                if let Some(last) = self.actors.get(actor) {
                    update.execute(params![actor, last.cast_signed()])?;
                }
            }
            file.prepare_cached("UPDATE ledger_state SET next = ?1, last = ?2")?
                .execute(params![self.now.next.cast_signed(), millis(self.now.last)])?;
        }
        let some = (self.now.next - self.stored.next).max(FORGOTTEN_AT_ONCE) * 2;
        let below = self.gate.filed().min(self.forgotten + some) / TILE_WIDTH * TILE_WIDTH;
        if below > self.forgotten {
            file.prepare_cached("DELETE FROM ledger_outbox WHERE idx < ?1")?
                .execute([below.cast_signed()])?;
            self.forgotten = below;
        }
        Ok(())
    }

    /// After a transaction is on disk.
    pub(crate) fn committed(&mut self) {
        if self.now != self.stored {
            self.stored = self.now;
            self.pending.clear();
            self.undo.clear();
            if self.actors.len() > KNOWN_ACTORS {
                self.actors.clear();
            }
            self.gate.recorded.store(self.now.next, Ordering::Release);
            self.gate.ring();
        }
        self.gate.forgotten.store(self.forgotten, Ordering::Release);
    }

    /// Whether an entry may be recorded now; answers the time it is recorded at.
    fn admit(&self, entry: &Entry) -> Result<Timestamp, Failure> {
        let waiting = self.now.next.saturating_sub(self.gate.filed());
        if waiting >= limits::LEDGER_OUTBOX_ENTRIES {
            let reason = self.gate.trouble();
            return Err(Failure::LedgerBehind { waiting, reason });
        }
        let back = self.now.last.since(entry.at);
        if back.is_zero() || entry.verb == Verb::LedgerClock.name() {
            Ok(entry.at)
        } else if back > CLOCK_TOLERANCE {
            Err(Failure::LedgerClock { back })
        } else {
            Ok(self.now.last)
        }
    }
}

impl WriteTxn<'_> {
    /// Records `entry` in this transaction: fills in the actor's entry before it, makes several of
    /// one that is too large, and gives them the next indices. They are the ledger's when the
    /// transaction commits, and were never there when it does not.
    ///
    /// # Errors
    ///
    /// [`Failure::LedgerClock`] when its time lies more than two seconds before that of the entry
    /// before it, unless its verb says that the clock was set; [`Failure::LedgerBehind`] when too
    /// many entries wait for their files; [`Failure::LedgerEntry`] when one of its values is above
    /// its bound.
    pub fn record(&mut self, mut entry: Entry) -> Result<Recorded, Failure> {
        entry.at = self.recorder().admit(&entry)?;
        let at = entry.at;
        let actor = entry.actor.to_string();
        entry.previous = match self.recorder().actors.get(&actor) {
            Some(known) => Some(*known),
            None => one(
                self.file(),
                "SELECT last FROM ledger_actors WHERE actor = ?1",
                [&actor],
                |row| Ok(unsigned(row, 0)?),
            )?,
        };
        let first = self.recorder().next();
        let encoded = match entry.encode() {
            Ok(bytes) => vec![bytes],
            Err(EntryTooLarge::Whole { .. }) => {
                let parts = (first..).zip(entry.split());
                parts
                    .map(|(index, mut part)| {
                        if index > first {
                            part.previous = Some(index - 1);
                        }
                        part.encode()
                    })
                    .collect::<Result<_, _>>()?
            }
            Err(too_large @ EntryTooLarge::Field { .. }) => return Err(too_large.into()),
        };
        let last = self.recorder_mut().add(actor, at, encoded);
        Ok(Recorded { first, last })
    }

    /// As [`ReadTxn::ledger_next`], those of this transaction included.
    ///
    /// # Errors
    ///
    /// None.
    pub fn ledger_next(&self) -> Result<u64, Failure> {
        Ok(self.recorder().next())
    }

    /// As [`ReadTxn::ledger_last_at`], that of this transaction included.
    ///
    /// # Errors
    ///
    /// None.
    pub fn ledger_last_at(&self) -> Result<Timestamp, Failure> {
        Ok(self.recorder().now.last)
    }
}

impl ReadTxn<'_> {
    /// The ledger's length: the index of the next entry.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ledger_next(&self) -> Result<u64, Failure> {
        let next = one(self.file(), "SELECT next FROM ledger_state", [], |row| {
            Ok(unsigned(row, 0)?)
        })?;
        next.ok_or(Failure::Unreadable {
            what: "length of the ledger",
        })
    }

    /// The time of the ledger's last entry that is committed.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ledger_last_at(&self) -> Result<Timestamp, Failure> {
        let last = one(self.file(), "SELECT last FROM ledger_state", [], |row| {
            Ok(time(row, 0)?)
        })?;
        last.ok_or(Failure::Unreadable {
            what: "time of the ledger",
        })
    }
}

/// The entries `from..from + count` of the outbox, as many as are there without a gap.
pub(crate) fn read(file: &Connection, from: u64, count: u64) -> Result<Vec<Vec<u8>>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT idx, entry FROM ledger_outbox WHERE idx >= ?1 ORDER BY idx LIMIT ?2",
    )?;
    let mut rows = statement.query(params![from.cast_signed(), count.cast_signed()])?;
    let mut entries = Vec::new();
    let mut next = from;
    while let Some(row) = rows.next()? {
        if unsigned(row, 0)? != next {
            break;
        }
        entries.push(row.get(1)?);
        next += 1;
    }
    Ok(entries)
}

/// What the outbox should hold and what it holds: first and last index, and how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// Whether every index from `first` to `next` is there, and nothing else.
    pub(crate) whole: bool,
}

pub(crate) fn extent(file: &Connection) -> rusqlite::Result<Extent> {
    file.query_row(
        "SELECT next, count(idx), coalesce(min(idx), next), coalesce(max(idx) + 1, next) \
         FROM ledger_state LEFT JOIN ledger_outbox",
        [],
        |row| {
            let (next, count) = (unsigned(row, 0)?, unsigned(row, 1)?);
            let (first, end) = (unsigned(row, 2)?, unsigned(row, 3)?);
            Ok(Extent {
                first,
                next,
                whole: end == next && end - first == count,
            })
        },
    )
}
