//! What is due when a client stays away: its will, and the end of its session.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use broker::{MatchCache, Origin, Session, SessionKey, SessionKind};
use model::{ClientId, Timestamp};
use store::QueueOp;

use crate::{
    Caller, Hub, Principal, Will,
    publish::key,
    timeline::{Kind, Subject},
};

/// Clients that have left and may come back.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    state: Mutex<State>,
    turns: [Mutex<()>; TURNS],
}

/// Clients whose coming and going is decided at the same time, at most.
const TURNS: usize = 16;

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
    /// While it is held, this client neither connects nor leaves, and its session does not end:
    /// each of these is several steps, and a client that is quickly back must find all of them
    /// done or none. Not to be held over an `await`.
    pub(crate) fn turn(&self, client_id: &ClientId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0);
        self.turns[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the end of this session is still to come.
    fn awaits(&self, session: SessionKey) -> bool {
        self.lock().ends_at.contains_key(&session)
    }

    /// The client has left; its session ends at `ends_at` unless it comes back.
    pub(crate) fn left(&self, session: &Arc<Session>, ends_at: Timestamp) {
        let mut state = self.lock();
        state
            .ends
            .insert((ends_at, session.key()), Arc::clone(session));
        let before = state.ends_at.insert(session.key(), ends_at);
        if let Some(before) = before.filter(|before| *before != ends_at) {
            state.ends.remove(&(before, session.key()));
        }
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Does what has come due: wills, ends of sessions, expired messages. To be called about
    /// once a second.
    pub async fn sweep(&self) {
        let now = self.now();
        self.look_at_ledger();
        let mut ops = Vec::new();
        for (session, due) in self.0.departures.take_due_wills(now) {
            self.publish_will(&due.caller, &due.will);
            ops.push(QueueOp::DeleteWill {
                session: key(session),
            });
        }
        for session in self.0.departures.take_ended(now) {
            let _turn = self.0.departures.turn(session.client_id());
            // It may have been back since the list was made, and gone again.
            if session.is_online() || self.0.departures.awaits(session.key()) {
                continue;
            }
            self.0.broker.discard(&session);
            if session.kind() == SessionKind::Persistent {
                // At once, before the client is back.
                let op = QueueOp::DeleteSession {
                    session: key(session.key()),
                };
                drop(self.0.store.queues().append_lazily(vec![op]));
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
        // As of now: who is not connected is not told about changes of the registry.
        let current = match caller.principal() {
            Principal::Certificate(id) => self.refresh_access(caller, *id),
            Principal::Operator(_) | Principal::Hub => Ok(()),
        };
        if let Err(refusal) = current.and_then(|()| self.check_publish(caller, &request)) {
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
