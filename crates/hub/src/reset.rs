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
        self.0.store.clear(|_| Ok(()))?;
        self.0.timeline.clear();
        Ok(())
    }
}
