//! How devices tried to become registered, in `registry.db`.
//!
//! Records are written within 100 ms and nobody waits for them. All together keep the last
//! [`limits::PROVISIONING_ATTEMPTS`], because anybody can try.

use model::{Timestamp, limits};
use rusqlite::params;

use crate::{
    Failure, ReadTxn, Store, WriteTxn,
    rows::{all, limit, millis, run, time},
};

/// One attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptAttempt {
    /// Counts all attempts, from 1; 0 before it is kept.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Which way.
    pub flow: String,
    /// Who, as it calls itself; may be empty.
    pub subject: String,
    /// The certificate it was about, in hexadecimal.
    pub certificate: Option<String>,
    /// The stable reason id, when it was refused.
    pub refused: Option<String>,
    /// Everything else, as the hub spells it (JSON).
    pub detail: String,
}

impl Store {
    /// Notes an attempt; does not wait for the disk.
    pub fn note_attempt(&self, attempt: KeptAttempt) {
        self.write_lazily("provisioning attempt", move |txn| txn.add_attempt(&attempt));
    }
}

impl ReadTxn<'_> {
    /// The attempts before the number `before`, newest first: at most `rows`. Only those of
    /// `certificate`, or refused ones, where that is asked for.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn attempts(
        &self,
        certificate: Option<&str>,
        only_refused: bool,
        before: Option<u64>,
        rows: usize,
    ) -> Result<Vec<KeptAttempt>, Failure> {
        let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
        all(
            self.file(),
            "SELECT id, at, flow, subject, certificate, refused, detail \
             FROM provisioning_attempts \
             WHERE id < ?1 AND (?2 IS NULL OR certificate = ?2) AND (NOT ?3 OR refused IS NOT NULL) \
             ORDER BY id DESC LIMIT ?4",
            params![before, certificate, only_refused, limit(rows)],
            |row| {
                Ok(KeptAttempt {
                    number: crate::rows::unsigned(row, 0)?,
                    at: time(row, 1)?,
                    flow: row.get(2)?,
                    subject: row.get(3)?,
                    certificate: row.get(4)?,
                    refused: row.get(5)?,
                    detail: row.get(6)?,
                })
            },
        )
    }
}

impl WriteTxn<'_> {
    fn add_attempt(&self, attempt: &KeptAttempt) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO provisioning_attempts (at, flow, subject, certificate, refused, detail) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                millis(attempt.at),
                attempt.flow,
                attempt.subject,
                attempt.certificate,
                attempt.refused,
                attempt.detail,
            ],
        )?;
        let newest = self.file().last_insert_rowid();
        run(
            self.file(),
            "DELETE FROM provisioning_attempts WHERE id <= ?1",
            [newest.saturating_sub(limit(limits::PROVISIONING_ATTEMPTS))],
        )?;
        Ok(())
    }
}
