//! Emptying a hub in development.

use model::Refusal;

use crate::Hub;

impl Hub {
    /// Ends every connection and forgets everything but the certificate authority: the registry,
    /// shadows, sessions, queues, retained messages and the timeline. Last wills are not
    /// published. Blocks until it is on disk: only for hubs in development.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Unavailable`] when nothing can be written.
    pub fn reset(&self) -> Result<(), Refusal> {
        self.0.departures.clear();
        self.0.broker.clear();
        let draft = self.draft(&crate::Caller::hub().errand(), ledger::Verb::HubReset)?;
        self.0.store.clear(move |txn| {
            let draft = draft.in_any_case();
            draft.record(txn, Vec::new()).map(drop)
        })?;
        self.0.timeline.clear();
        Ok(())
    }
}
