//! What happened to devices, with reasons: the record that `explain`, `timeline`, `trace`, reason
//! strings and lifecycle events all read.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use model::{ClientId, Decision, ReasonId, Refusal, RefusalKind, Timestamp};

use crate::Hub;

/// Entries kept in memory for all devices together, for `trace`.
const RECENT_ENTRIES: usize = 10_000;

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A TLS handshake failed.
    HandshakeFailed,
    /// A connection was refused at CONNECT.
    ConnectRefused,
    /// A connection was opened.
    Connected,
    /// A connection ended.
    Disconnected,
    /// A message was refused.
    PublishRefused,
    /// A subscription was refused.
    SubscribeRefused,
    /// A message was not delivered, because the receiver may not have it.
    ReceiveRefused,
    /// Messages were dropped, because the receiver was too slow or away too long.
    MessagesDropped,
    /// An HTTPS request was refused.
    RequestRefused,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::HandshakeFailed,
        Self::ConnectRefused,
        Self::Connected,
        Self::Disconnected,
        Self::PublishRefused,
        Self::SubscribeRefused,
        Self::ReceiveRefused,
        Self::MessagesDropped,
        Self::RequestRefused,
    ];

    /// The name in listings and files; stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HandshakeFailed => "handshake-failed",
            Self::ConnectRefused => "connect-refused",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::PublishRefused => "publish-refused",
            Self::SubscribeRefused => "subscribe-refused",
            Self::ReceiveRefused => "receive-refused",
            Self::MessagesDropped => "messages-dropped",
            Self::RequestRefused => "request-refused",
        }
    }

    /// Whether something did not go as the device wished.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Connected | Self::Disconnected)
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counts all entries since the hub started, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// Whom it happened to, as it called itself.
    pub client_id: Option<ClientId>,
    /// The principal, as text: `certificate/…`, `operator/…`.
    pub principal: Option<String>,
    /// From where.
    pub address: Option<SocketAddr>,
    /// The stable name of the reason.
    pub reason: &'static str,
    /// For people: what happened and, if it was refused, what to do.
    pub message: String,
    /// The whole decision, when there was one.
    pub decision: Option<Decision>,
}

/// Whom an entry is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// As it called itself.
    pub client_id: Option<ClientId>,
    /// The principal, as text.
    pub principal: Option<String>,
    /// From where.
    pub address: Option<SocketAddr>,
}

/// The recent entries of all devices.
#[derive(Debug, Default)]
pub struct Timeline {
    recent: Mutex<Recent>,
    changed: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Recent {
    entries: VecDeque<Arc<Entry>>,
    next: u64,
}

impl Hub {
    /// Records a refusal.
    pub fn record_refusal(&self, kind: Kind, subject: Subject, refusal: &Refusal) {
        self.record(
            kind,
            subject,
            refusal.reason,
            refusal.message.to_string(),
            refusal.decision.as_deref().cloned(),
        );
    }

    /// Records that something happened.
    pub fn record(
        &self,
        kind: Kind,
        subject: Subject,
        reason: ReasonId,
        message: String,
        decision: Option<Decision>,
    ) {
        let entry = Entry {
            number: 0,
            at: self.now(),
            kind,
            client_id: subject.client_id,
            principal: subject.principal,
            address: subject.address,
            reason: reason.0,
            message,
            decision,
        };
        self.0.timeline.push(entry);
    }

    /// The recent entries behind `after` (0 for all that are kept), oldest first.
    #[must_use]
    pub fn recent_entries(&self, after: u64) -> Vec<Arc<Entry>> {
        let recent = self.0.timeline.lock();
        let skip = recent
            .entries
            .partition_point(|entry| entry.number <= after);
        recent.entries.iter().skip(skip).cloned().collect()
    }

    /// Waits until there is an entry behind `after`.
    pub async fn entry_behind(&self, after: u64) {
        loop {
            let changed = self.0.timeline.changed.notified();
            if self.0.timeline.lock().next > after {
                return;
            }
            changed.await;
        }
    }
}

impl Timeline {
    fn push(&self, mut entry: Entry) {
        let mut recent = self.lock();
        recent.next += 1;
        entry.number = recent.next;
        if recent.entries.len() >= RECENT_ENTRIES {
            recent.entries.pop_front();
        }
        recent.entries.push_back(Arc::new(entry));
        drop(recent);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kind of refusal that a reason of the hub's own is told as, for listings.
#[must_use]
pub const fn kind_name(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Malformed => "malformed",
        RefusalKind::Unauthenticated => "unauthenticated",
        RefusalKind::Denied => "denied",
        RefusalKind::NotFound => "not-found",
        RefusalKind::AlreadyExists => "already-exists",
        RefusalKind::Conflict => "conflict",
        RefusalKind::TooLarge => "too-large",
        RefusalKind::TooMany => "too-many",
        RefusalKind::Unsupported => "unsupported",
        RefusalKind::Expired => "expired",
        RefusalKind::Unavailable => "unavailable",
        RefusalKind::Internal => "internal",
    }
}
