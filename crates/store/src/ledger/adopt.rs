//! Taking entries over from another copy of the ledger.

use ledger::EntryView;

use crate::{Failure, WriteTxn};

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
        let (actor, at) = (view.actor.to_string(), view.at);
        let index = self.recorder_mut().add(actor, at, vec![entry.to_vec()]);
        Ok(index)
    }
}
