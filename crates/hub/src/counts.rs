//! How much happened since the hub started, and how much there is now.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{Refusal, Timestamp};

use crate::{Hub, timeline::Kind};

/// A counter on a cache line of its own, because every connection's task counts.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the hub counts as it goes.
#[derive(Debug)]
pub(crate) struct Counts {
    started_at: Timestamp,
    messages_in: Counter,
    messages_out: Counter,
    /// By the place of the kind in [`Kind::ALL`].
    happened: [Counter; Kind::ALL.len()],
}

impl Counts {
    pub(crate) fn since(started_at: Timestamp) -> Self {
        Self {
            started_at,
            messages_in: Counter::default(),
            messages_out: Counter::default(),
            happened: Default::default(),
        }
    }

    pub(crate) fn message_in(&self) {
        self.messages_in.add();
    }

    pub(crate) fn message_out(&self) {
        self.messages_out.add();
    }

    pub(crate) fn happened(&self, kind: Kind) {
        let counters = Kind::ALL.iter().zip(&self.happened);
        for (_, counter) in counters.filter(|(each, _)| **each == kind) {
            counter.add();
        }
    }
}

/// Figures about the hub.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Figures {
    /// When the hub was started.
    pub started_at: Timestamp,
    /// Live MQTT connections.
    pub connections: usize,
    /// Sessions, connected or remembered.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Messages taken since the start, those of the hub itself included.
    pub messages_in: u64,
    /// Messages given to MQTT connections since the start.
    pub messages_out: u64,
    /// How often each kind of thing happened since the start.
    pub happened: Vec<(Kind, u64)>,
    /// Bytes that wait to be written.
    pub pending_bytes: usize,
}

impl Figures {
    /// How often something did not go as a device wished.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.happened
            .iter()
            .filter(|(kind, _)| kind.is_failure())
            .map(|(_, count)| count)
            .sum()
    }
}

impl Hub {
    /// Figures about the hub, as of now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let counts = &self.0.counts;
        let counted = counts.happened.iter().map(Counter::get);
        Figures {
            started_at: counts.started_at,
            connections: self.connection_count(),
            sessions: self.0.broker.session_count(),
            subscriptions: self.0.broker.subscription_count(),
            messages_in: counts.messages_in.get(),
            messages_out: counts.messages_out.get(),
            happened: Kind::ALL.into_iter().zip(counted).collect(),
            pending_bytes: self.0.store.queues().pending_bytes(),
        }
    }

    /// The number of registered devices.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Internal`] when the store cannot be read.
    pub fn device_count(&self) -> Result<usize, Refusal> {
        Ok(self.0.store.read(|txn| txn.device_count(None))?)
    }

    /// The certificate clients must trust, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.0.authority.root_pem()
    }
}
