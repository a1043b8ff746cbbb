//! Taking entries over from another copy of the ledger.

use ledger::EntryView;
use rusqlite::params;

use super::outbox::Mark;
use crate::{Failure, WriteTxn, rows::run};

impl WriteTxn<'_> {
    /// Takes over the next entry of this ledger as another copy of it has it, byte by byte: for a
    /// folder that was restored from a backup older than the copy. That the copy is of this
    /// ledger, its caller has verified. Answers its index.
    ///
    /// # Errors
    ///
    /// [`Failure::Unreadable`] when it is no entry; [`Failure`] when the store cannot be written.
    pub fn adopt(&mut self, entry: &[u8]) -> Result<u64, Failure> {
        let view = EntryView::parse(entry).map_err(|_| Failure::Unreadable { what: "entry" })?;
        let index = self.recorder().next();
        self.keep(index, entry)?;
        run(
            self.file(),
            "INSERT INTO ledger_actors (actor, last) VALUES (?1, ?2) \
             ON CONFLICT (actor) DO UPDATE SET last = excluded.last",
            params![view.actor.to_string(), index.cast_signed()],
        )?;
        self.recorder_mut().set(Mark::after(index, view.at));
        Ok(index)
    }
}
