//! What is due when a client stays away: its will, and the end of its session.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use broker::{MatchCache, Origin, Session, SessionKey, SessionKind};
use model::Timestamp;
use store::QueueOp;

use crate::{
    Caller, Hub, Will,
    publish::key,
    timeline::{Kind, Subject},
};

/// Clients that have left and may come back.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ends: BTreeMap<(Timestamp, SessionKey), Arc<Session>>,
    ends_at: HashMap<SessionKey, Timestamp>,
    wills: HashMap<SessionKey, DueWill>,
}

#[derive(Debug)]
struct DueWill {
    due: Timestamp,
    caller: Arc<Caller>,
    will: Will,
}

impl Departures {
    /// The client has left; its session ends at `ends_at` unless it comes back.
    pub(crate) fn left(&self, session: &Arc<Session>, ends_at: Timestamp) {
        let mut state = self.lock();
        state
            .ends
            .insert((ends_at, session.key()), Arc::clone(session));
        state.ends_at.insert(session.key(), ends_at);
    }

    /// Its will is to be published at `due` unless it comes back.
    pub(crate) fn will(
        &self,
        session: &Arc<Session>,
        caller: Arc<Caller>,
        will: Will,
        due: Timestamp,
    ) {
        self.lock()
            .wills
            .insert(session.key(), DueWill { due, caller, will });
    }

    /// The client is back: nothing is due.
    pub(crate) fn returned(&self, hub: &Hub, session: &Session) {
        let mut state = self.lock();
        if let Some(ends_at) = state.ends_at.remove(&session.key()) {
            state.ends.remove(&(ends_at, session.key()));
        }
        if state.wills.remove(&session.key()).is_some() {
            drop(state);
            drop(
                hub.0
                    .store
                    .queues()
                    .append_lazily(vec![QueueOp::DeleteWill {
                        session: key(session.key()),
                    }]),
            );
        }
    }

    /// The session was forgotten at the client's wish: a will that was to wait is published now.
    /// MQTT 5.0 §3.1.3.2.2.
    pub(crate) fn forget(&self, hub: &Hub, session: &Session) {
        let will = {
            let mut state = self.lock();
            if let Some(ends_at) = state.ends_at.remove(&session.key()) {
                state.ends.remove(&(ends_at, session.key()));
            }
            state.wills.remove(&session.key())
        };
        if let Some(will) = will {
            hub.publish_will(&will.caller, &will.will);
        }
    }

    /// Forgets everything that was to come.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn take_due_wills(&self, now: Timestamp) -> Vec<(SessionKey, DueWill)> {
        self.lock()
            .wills
            .extract_if(|_, will| will.due <= now)
            .collect()
    }

    fn take_ended(&self, now: Timestamp) -> Vec<Arc<Session>> {
        let mut state = self.lock();
        let later = state.ends.split_off(&(
            now.after(std::time::Duration::from_millis(1)),
            SessionKey(i64::MIN),
        ));
        let ended = std::mem::replace(&mut state.ends, later);
        for (_, session) in ended.keys() {
            state.ends_at.remove(session);
        }
        ended.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Does what has come due: wills, ends of sessions, expired messages. To be called about
    /// once a second.
    pub async fn sweep(&self) {
        let now = self.now();
        let mut ops = Vec::new();
        for (session, due) in self.0.departures.take_due_wills(now) {
            self.publish_will(&due.caller, &due.will);
            ops.push(QueueOp::DeleteWill {
                session: key(session),
            });
        }
        for session in self.0.departures.take_ended(now) {
            if session.is_online() {
                continue;
            }
            self.0.broker.discard(&session);
            if session.kind() == SessionKind::Persistent {
                ops.push(QueueOp::DeleteSession {
                    session: key(session.key()),
                });
            }
        }
        drop(self.0.store.queues().append_lazily(ops));
        match self.0.store.queues().remove_expired(now).await {
            Ok(expired) => {
                for gone in expired.queued {
                    let messages = usize::try_from(gone.messages).unwrap_or(usize::MAX);
                    let bytes = usize::try_from(gone.bytes).unwrap_or(usize::MAX);
                    self.0
                        .broker
                        .expired(SessionKey(gone.session.0), messages, bytes);
                }
                for topic in expired.retained {
                    self.0.broker.forget_expired(&topic, now);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot remove expired messages"),
        }
    }

    /// Publishes a will, if its author may still publish there.
    pub(crate) fn publish_will(&self, caller: &Caller, will: &Will) {
        let request = will.to_publish();
        if let Err(refusal) = self.check_publish(caller, &request) {
            let subject = Subject {
                client_id: caller.client_id().cloned(),
                ..caller.subject()
            };
            self.record_refusal(Kind::PublishRefused, subject, &refusal);
            return;
        }
        let origin = Origin {
            session: None,
            client_id: caller.client_id().cloned(),
        };
        match self.deliver(request, origin, &mut MatchCache::default(), None) {
            // Nobody waits for a will's acknowledgement.
            Ok(ack) => drop(ack),
            Err(refusal) => {
                self.record_refusal(Kind::PublishRefused, caller.subject(), &refusal);
            }
        }
    }
}
