//! Entries in the making: recorded in the transaction of the deed, kept until files hold them.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::{Entry, EntryTooLarge, Verb};
use model::{Timestamp, limits};
use rusqlite::{Connection, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{millis, one, run, time, unsigned},
};

/// How far the clock may step back before changes are refused: what time synchronisation does.
/// Smaller steps are recorded at the time of the entry before. Hub.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

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
    /// Why the integrator cannot write its files, if it cannot.
    trouble: Mutex<Option<String>>,
    bell: Mutex<Bell>,
    rung: Condvar,
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

    pub(crate) fn set_filed(&self, filed: u64) {
        self.filed.store(filed, Ordering::Release);
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

/// Gives entries their indices: the writer of the registry's own.
#[derive(Debug)]
pub(crate) struct Recorder {
    now: Mark,
    /// What the file says.
    stored: Mark,
    gate: Arc<Gate>,
}

/// How far the ledger was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mark {
    next: u64,
    last: Timestamp,
}

impl Mark {
    /// After the entry at `index`, of the time `at`.
    pub(crate) const fn after(index: u64, at: Timestamp) -> Self {
        Self {
            next: index + 1,
            last: at,
        }
    }
}

impl Recorder {
    /// The index of the next entry.
    pub(crate) const fn next(&self) -> u64 {
        self.now.next
    }

    pub(crate) const fn set(&mut self, now: Mark) {
        self.now = now;
    }

    pub(crate) fn load(file: &Connection, gate: Arc<Gate>) -> rusqlite::Result<Self> {
        let now = file.query_row("SELECT next, last FROM ledger_state", [], |row| {
            Ok(Mark {
                next: unsigned(row, 0)?,
                last: time(row, 1)?,
            })
        })?;
        let first: Option<i64> =
            file.query_row("SELECT min(idx) FROM ledger_outbox", [], |row| row.get(0))?;
        gate.set_filed(first.map_or(now.next, i64::cast_unsigned));
        gate.recorded.store(now.next, Ordering::Release);
        Ok(Self {
            now,
            stored: now,
            gate,
        })
    }

    /// To come back to when a job is undone.
    pub(crate) const fn mark(&self) -> Mark {
        self.now
    }

    /// Takes back what was recorded since `mark`: its indices are given again.
    pub(crate) const fn rewind(&mut self, mark: Mark) {
        self.now = mark;
    }

    /// Last in a transaction.
    pub(crate) fn store(&self, file: &Connection) -> rusqlite::Result<()> {
        if self.now != self.stored {
            file.prepare_cached("UPDATE ledger_state SET next = ?1, last = ?2")?
                .execute(params![self.now.next.cast_signed(), millis(self.now.last)])?;
        }
        Ok(())
    }

    /// After a transaction is on disk.
    pub(crate) fn committed(&mut self) {
        if self.now != self.stored {
            self.stored = self.now;
            self.gate.recorded.store(self.now.next, Ordering::Release);
            self.gate.ring();
        }
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
        entry.previous = one(
            self.file(),
            "SELECT last FROM ledger_actors WHERE actor = ?1",
            [&actor],
            |row| Ok(unsigned(row, 0)?),
        )?;
        let first = self.recorder().now.next;
        let mut next = first;
        match entry.encode() {
            Ok(bytes) => {
                self.keep(next, &bytes)?;
                next += 1;
            }
            Err(EntryTooLarge::Whole { .. }) => {
                for mut part in entry.split() {
                    if next > first {
                        part.previous = Some(next - 1);
                    }
                    self.keep(next, &part.encode()?)?;
                    next += 1;
                }
            }
            Err(too_large @ EntryTooLarge::Field { .. }) => return Err(too_large.into()),
        }
        let last = next - 1;
        run(
            self.file(),
            "INSERT INTO ledger_actors (actor, last) VALUES (?1, ?2) \
             ON CONFLICT (actor) DO UPDATE SET last = excluded.last",
            params![actor, last.cast_signed()],
        )?;
        self.recorder_mut().now = Mark { next, last: at };
        Ok(Recorded { first, last })
    }

    pub(crate) fn keep(&self, index: u64, entry: &[u8]) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO ledger_outbox (idx, entry) VALUES (?1, ?2)",
            params![index.cast_signed(), entry],
        )?;
        Ok(())
    }

    /// The time of the ledger's last entry, those of this transaction included.
    #[must_use]
    pub fn last_recorded_at(&self) -> Timestamp {
        self.recorder().now.last
    }

    /// Removes entries that files hold durably.
    pub(crate) fn forget_filed(&self, below: u64) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM ledger_outbox WHERE idx < ?1",
            [below.cast_signed()],
        )?;
        Ok(())
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
