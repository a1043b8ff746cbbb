//! The switches that decide which changes of the registry are announced.

use std::collections::BTreeMap;

use ledger::Verb;
use model::Refusal;
use registry::{EventConfigurations, EventFamily};

use crate::{Caller, Hub, act};

impl Hub {
    /// Which changes of the registry are announced.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub fn event_configurations(&self, caller: &Caller) -> Result<EventConfigurations, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "event configurations")?;
        self.0.store.read(|txn| Ok(txn.event_configurations()?))
    }

    /// Sets the switches in `changes`; the others stay.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub async fn update_event_configurations(
        &self,
        caller: &Caller,
        changes: BTreeMap<EventFamily, bool>,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageSettings>(caller, "event configurations")?;
        let now = self.now();
        self.transact(permit, Verb::EventsConfigure, move |txn| {
            let mut switches = txn.event_configurations()?;
            switches.apply(changes, now);
            Ok::<_, Refusal>(txn.put_event_configurations(&switches)?)
        })
        .await
    }
}
