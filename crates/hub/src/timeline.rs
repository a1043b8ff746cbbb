//! What happened to devices, with reasons: the record that `explain`, `timeline`, `trace`, reason
//! strings and lifecycle events all read.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use model::{ClientId, Decision, ReasonId, Refusal, RefusalKind, Timestamp, limits};

use crate::{Caller, Hub};

/// Entries kept in memory for all devices together, for `trace`.
const RECENT_ENTRIES: usize = 4096;

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
    /// A connection was refused so much that not all of it was recorded.
    RefusalsOmitted,
    /// A client sent more than its share, and is listened to more slowly.
    Throttled,
    /// A device was registered without an operator, or is on its way.
    Provisioned,
    /// A device was not registered, because a step of its way failed.
    ProvisioningRefused,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::HandshakeFailed,
        Self::ConnectRefused,
        Self::Connected,
        Self::Disconnected,
        Self::PublishRefused,
        Self::SubscribeRefused,
        Self::ReceiveRefused,
        Self::MessagesDropped,
        Self::RequestRefused,
        Self::RefusalsOmitted,
        Self::Throttled,
        Self::Provisioned,
        Self::ProvisioningRefused,
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
            Self::RefusalsOmitted => "refusals-omitted",
            Self::Throttled => "throttled",
            Self::Provisioned => "provisioned",
            Self::ProvisioningRefused => "provisioning-refused",
        }
    }

    /// Whether something did not go as the device wished.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        // What was omitted is counted under its own kind.
        !matches!(
            self,
            Self::Connected | Self::Disconnected | Self::RefusalsOmitted | Self::Provisioned
        )
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

/// Refusals recorded for one caller, so that one that goes on for ever fills no timeline.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The second being counted, since 1970.
    second: u64,
    made: u32,
    omitted: u64,
}

impl Records {
    /// Counts one more. Returns whether it is to be recorded, and how many were not before, once.
    fn count(&mut self, second: u64) -> (bool, Option<u64>) {
        let mut before = None;
        if self.second != second {
            self.second = second;
            self.made = 0;
            before = Some(std::mem::take(&mut self.omitted)).filter(|count| *count > 0);
        }
        let room = self.made < limits::RECORDS_PER_SECOND;
        if room {
            self.made += 1;
        } else {
            self.omitted += 1;
        }
        (room, before)
    }
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

    /// Records a refusal to a caller that may go on asking, or only counts it when there are more
    /// than [`limits::RECORDS_PER_SECOND`].
    pub(crate) fn record_refused(&self, kind: Kind, caller: &Caller, refusal: &Refusal) {
        let second = self.now().seconds();
        let (made, omitted) = caller.records().count(second);
        if let Some(count) = omitted {
            self.record_count_omitted(caller, count);
        }
        if made {
            self.record_refusal(kind, caller.subject(), refusal);
        } else {
            self.0.counts.happened(kind);
        }
    }

    /// Records how many refusals were not recorded and not told of yet.
    pub(crate) fn record_omitted(&self, caller: &Caller) {
        let count = std::mem::take(&mut caller.records().omitted);
        if count > 0 {
            self.record_count_omitted(caller, count);
        }
    }

    fn record_count_omitted(&self, caller: &Caller, count: u64) {
        self.record(
            Kind::RefusalsOmitted,
            caller.subject(),
            ReasonId("timeline.omitted"),
            format!(
                "{count} more refusals were counted and not recorded: at most {} per second are",
                limits::RECORDS_PER_SECOND
            ),
            None,
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
        self.0.counts.happened(kind);
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
        let entry = self.0.timeline.push(entry);
        // Nobody waits for a record; it is on disk within 100 ms.
        if entry.client_id.is_some() {
            self.0.store.note(vec![entry.to_store()]);
        } else {
            self.0.store.note_failed_connection(entry.to_failed());
        }
    }

    /// What happened to a client since `since`, oldest first, also before the hub was restarted:
    /// the last [`limits::TIMELINE_ENTRIES`] of it.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Internal`] when the store cannot be read.
    pub fn timeline(&self, client: &str, since: Timestamp) -> Result<Vec<KeptEntry>, Refusal> {
        let kept = self
            .0
            .store
            .read(|txn| txn.timeline(client, since, limits::TIMELINE_ENTRIES))?;
        Ok(kept.into_iter().map(KeptEntry::from).collect())
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

/// An entry as it was kept.
#[derive(Clone, Debug)]
pub struct KeptEntry {
    /// When.
    pub at: Timestamp,
    /// What: the name of a [`Kind`].
    pub kind: String,
    /// The stable name of the reason.
    pub reason: String,
    /// The rest, as a JSON object: `message`, `principal`, `address`, `decision`.
    pub detail: serde_json::Value,
}

impl From<store::TimelineEntry> for KeptEntry {
    fn from(kept: store::TimelineEntry) -> Self {
        Self {
            at: kept.at,
            kind: kept.what,
            reason: kept.reason,
            detail: serde_json::from_str(&kept.detail).unwrap_or(serde_json::Value::Null),
        }
    }
}

impl Entry {
    /// The entry but for what has a column of its own, as a JSON object.
    #[must_use]
    pub fn detail(&self) -> serde_json::Value {
        serde_json::json!({
            "message": self.message,
            "principal": self.principal,
            "address": self.address.map(|address| address.to_string()),
            "decision": self.decision.as_ref().map(decision_json),
        })
    }

    fn to_store(&self) -> store::TimelineEntry {
        store::TimelineEntry {
            at: self.at,
            subject: self
                .client_id
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            what: self.kind.name().into(),
            allowed: !self.kind.is_failure(),
            reason: self.reason.into(),
            detail: self.detail().to_string(),
        }
    }

    fn to_failed(&self) -> store::FailedConnection {
        store::FailedConnection {
            at: self.at,
            address: self
                .address
                .map_or_else(String::new, |address| address.to_string()),
            reason: self.reason.into(),
            detail: self.detail().to_string(),
        }
    }
}

/// A decision as JSON, for the timeline and REST: outcome, action, resource, and what decided.
#[must_use]
pub fn decision_json(decision: &Decision) -> serde_json::Value {
    let because = &decision.because;
    let variables: Vec<_> = because
        .variables
        .iter()
        .map(|variable| {
            serde_json::json!({
                "name": variable.name,
                "value": variable.value,
                "note": variable.note,
            })
        })
        .collect();
    serde_json::json!({
        "outcome": match decision.outcome {
            model::Outcome::Allowed => "allowed",
            model::Outcome::ExplicitlyDenied => "explicitly-denied",
            model::Outcome::ImplicitlyDenied => "not-allowed",
        },
        "reason": decision.reason.0,
        "action": decision.action,
        "resource": decision.resource,
        "policy": because.policy,
        "statement": because.statement,
        "text": because.text,
        "miss": because.miss,
        "variables": variables,
        "remedy": because.remedy,
    })
}

impl Timeline {
    /// Forgets what happened; numbers go on.
    pub(crate) fn clear(&self) {
        self.lock().entries.clear();
    }

    fn push(&self, mut entry: Entry) -> Arc<Entry> {
        let mut recent = self.lock();
        recent.next += 1;
        entry.number = recent.next;
        if recent.entries.len() >= RECENT_ENTRIES {
            recent.entries.pop_front();
        }
        let entry = Arc::new(entry);
        recent.entries.push_back(Arc::clone(&entry));
        drop(recent);
        self.changed.notify_waiters();
        entry
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
