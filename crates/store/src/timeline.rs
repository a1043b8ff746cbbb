//! What happened to devices and clients, and connections that failed, in `registry.db`.
//!
//! Records are written within 100 ms and nobody waits for them. Each subject keeps its last
//! [`limits::TIMELINE_ENTRIES`], and all together the last [`limits::TIMELINE_TOTAL`], because
//! anybody can invent client ids.

use model::{Timestamp, limits};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, Store, WriteTxn,
    rows::{all, limit, millis, run, time},
};

/// Something that happened to a device or client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// To whom: a device id or client id.
    pub subject: String,
    /// What: `connect`, `publish`, `subscribe`, …
    pub what: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The stable reason id.
    pub reason: String,
    /// Everything else, as the hub spells it (JSON).
    pub detail: String,
}

/// A connection that came to nothing: a failed handshake, an unknown certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailedConnection {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub address: String,
    /// The stable reason id.
    pub reason: String,
    /// What was seen of it (server name, protocol, subject), as the hub spells it (JSON).
    pub detail: String,
}

fn read(row: &Row<'_>) -> Result<TimelineEntry, Failure> {
    Ok(TimelineEntry {
        at: time(row, 0)?,
        subject: row.get(1)?,
        what: row.get(2)?,
        allowed: row.get(3)?,
        reason: row.get(4)?,
        detail: row.get(5)?,
    })
}

impl Store {
    /// Notes `entries`; does not wait for the disk.
    pub fn note(&self, entries: Vec<TimelineEntry>) {
        if !entries.is_empty() {
            self.write_lazily("timeline", move |txn| {
                entries
                    .iter()
                    .try_for_each(|entry| txn.add_to_timeline(entry))
            });
        }
    }

    /// Notes a connection that failed; does not wait for the disk.
    pub fn note_failed_connection(&self, failed: FailedConnection) {
        self.write_lazily("failed connection", move |txn| {
            txn.add_failed_connection(&failed)
        });
    }
}

impl ReadTxn<'_> {
    /// What happened to `subject` since `since`, oldest first: the last `rows` of it.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn timeline(
        &self,
        subject: &str,
        since: Timestamp,
        rows: usize,
    ) -> Result<Vec<TimelineEntry>, Failure> {
        let mut entries = all(
            self.file(),
            "SELECT at, subject, what, allowed, reason, detail FROM timeline \
             WHERE subject = ?1 AND at >= ?2 ORDER BY id DESC LIMIT ?3",
            params![subject, millis(since), limit(rows)],
            read,
        )?;
        entries.reverse();
        Ok(entries)
    }

    /// The last `rows` connections that failed since `since`, oldest first.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn failed_connections(
        &self,
        since: Timestamp,
        rows: usize,
    ) -> Result<Vec<FailedConnection>, Failure> {
        let mut failed = all(
            self.file(),
            "SELECT at, address, reason, detail FROM failed_connections WHERE at >= ?1 \
             ORDER BY id DESC LIMIT ?2",
            params![millis(since), limit(rows)],
            |row| {
                Ok(FailedConnection {
                    at: time(row, 0)?,
                    address: row.get(1)?,
                    reason: row.get(2)?,
                    detail: row.get(3)?,
                })
            },
        )?;
        failed.reverse();
        Ok(failed)
    }
}

impl WriteTxn<'_> {
    fn add_to_timeline(&self, entry: &TimelineEntry) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO timeline (subject, at, what, allowed, reason, detail) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                entry.subject,
                millis(entry.at),
                entry.what,
                entry.allowed,
                entry.reason,
                entry.detail,
            ],
        )?;
        let newest = self.file().last_insert_rowid();
        run(
            self.file(),
            "DELETE FROM timeline WHERE subject = ?1 AND id <= (SELECT id FROM timeline \
             WHERE subject = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            params![entry.subject, limit(limits::TIMELINE_ENTRIES)],
        )?;
        run(
            self.file(),
            "DELETE FROM timeline WHERE id <= ?1",
            [newest.saturating_sub(limit(limits::TIMELINE_TOTAL))],
        )?;
        Ok(())
    }

    fn add_failed_connection(&self, failed: &FailedConnection) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO failed_connections (at, address, reason, detail) VALUES (?1, ?2, ?3, ?4)",
            params![
                millis(failed.at),
                failed.address,
                failed.reason,
                failed.detail
            ],
        )?;
        let newest = self.file().last_insert_rowid();
        run(
            self.file(),
            "DELETE FROM failed_connections WHERE id <= ?1",
            [newest.saturating_sub(limit(limits::FAILED_CONNECTIONS))],
        )?;
        Ok(())
    }
}
