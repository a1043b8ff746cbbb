//! The live connections, so that a change in the registry finds them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use broker::{CloseReason, Session};
use ledger::Verb;
use model::{CertificateId, ClientId, Refusal, Timestamp};
use policy::{Action, Context, Resource};

use crate::{Caller, Hub, Principal, act};

/// A live connection.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) caller: Arc<Caller>,
    pub(crate) session: Arc<Session>,
    /// What the policies were asked at CONNECT, to ask again.
    pub(crate) persistent: bool,
    pub(crate) will_topic: Option<String>,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) session_expiry: Duration,
    pub(crate) connected_at: Timestamp,
}

/// All live connections, by their number.
#[derive(Debug, Default)]
pub(crate) struct LiveConnections {
    by_number: Mutex<BTreeMap<u64, Arc<Live>>>,
    /// Counts the changes of the registry.
    changes: AtomicU64,
    /// Held while a caller's access is read and replaced, so that the newest one stays.
    refreshing: Mutex<()>,
}

impl LiveConnections {
    pub(crate) fn insert(&self, number: u64, live: Live) {
        self.lock().insert(number, Arc::new(live));
    }

    /// How often the registry has changed. Whoever is judged by what it says at one count and
    /// listed here at another must be judged again.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn refreshing(&self) -> MutexGuard<'_, ()> {
        self.refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remove(&self, number: u64) {
        self.lock().remove(&number);
    }

    pub(crate) fn all(&self) -> Vec<(u64, Arc<Live>)> {
        self.lock()
            .iter()
            .map(|(number, live)| (*number, Arc::clone(live)))
            .collect()
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Live>> {
        self.lock().get(&number).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Live>>> {
        self.by_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a client's connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// As it calls itself.
    pub client_id: ClientId,
    /// Whether it is connected now.
    pub connected: bool,
    /// Who it is; `None` when it is not connected.
    pub principal: Option<Principal>,
    /// From where.
    pub address: Option<SocketAddr>,
    /// Whether it asked to start clean.
    pub clean_start: bool,
    /// In seconds; 0 is never.
    pub keep_alive_seconds: u16,
    /// How long its session outlives it.
    pub session_expiry: Duration,
    /// Since when.
    pub connected_at: Option<Timestamp>,
    /// The filters it subscribes to, in canonical spelling.
    pub subscriptions: Vec<(model::TopicFilter, mqtt_proto::QoS)>,
}

/// What changed in the registry, and so whom it concerns.
#[derive(Clone, Debug)]
pub enum Changed {
    /// One certificate: its status, policies or devices.
    Certificate(CertificateId),
    /// Anything that may concern many: a policy's text, a group.
    Everyone,
}

impl Hub {
    /// Acts on a change of the registry: asks again whether each live connection it concerns may
    /// be what it is, and ends those that may not, telling them why.
    ///
    /// Called after the change is on disk and before the operator is answered, so that nobody is
    /// told "revoked" while the connection still works.
    pub fn registry_changed(&self, changed: &Changed) {
        // Before the list is read: who is not in it yet looks at the count afterwards.
        self.0.live.changes.fetch_add(1, Ordering::SeqCst);
        for (number, live) in self.0.live.all() {
            let Principal::Certificate(id) = live.caller.principal() else {
                continue;
            };
            let concerned = match changed {
                Changed::Certificate(certificate) => certificate == id,
                Changed::Everyone => true,
            };
            if !concerned {
                continue;
            }
            if let Err(refusal) = self.ask_again(&live, *id) {
                // Not whoever has taken over from it, perhaps with another certificate.
                live.session
                    .close_connection(number, CloseReason::NoLongerAllowed(Arc::new(refusal)));
            }
        }
    }

    /// For a connection that was just listed: asks again if the registry has changed since its
    /// caller was authenticated, for that change did not find it.
    pub(crate) fn catch_up(&self, number: u64) {
        let Some(live) = self.0.live.get(number) else {
            return;
        };
        let Principal::Certificate(id) = live.caller.principal() else {
            return;
        };
        if live.caller.as_of() == self.0.live.changes() {
            return;
        }
        if let Err(refusal) = self.may_stay(&live, *id) {
            live.session
                .close_connection(number, CloseReason::NoLongerAllowed(Arc::new(refusal)));
        }
    }

    /// Whether it may still be connected.
    fn may_stay(&self, live: &Live, id: CertificateId) -> Result<(), Refusal> {
        let caller = &live.caller;
        self.refresh_access(caller, id)?;
        let client_id = live.session.client_id();
        let context = Context {
            persistent_connect: live.persistent,
            last_will_topic: live.will_topic.as_deref(),
            ..Context::default()
        };
        self.check_connect(caller, client_id, &context)
    }

    /// Whether it may still be connected and subscribe to what it subscribes to.
    fn ask_again(&self, live: &Live, id: CertificateId) -> Result<(), Refusal> {
        self.may_stay(live, id)?;
        let caller = &live.caller;
        for (filter, _) in live.session.subscriptions() {
            let spelled = self.0.language.filter(filter.as_str());
            self.check(
                caller,
                Action::Subscribe,
                Resource::filter(&spelled),
                &Context::default(),
            )?;
        }
        Ok(())
    }

    /// What is known of a client, connected or remembered.
    #[must_use]
    pub fn connection_info(&self, client_id: &ClientId) -> Option<ConnectionInfo> {
        let session = self.0.broker.session(client_id)?;
        let live = session
            .connection()
            .and_then(|number| self.0.live.get(number));
        let live = live.as_deref();
        Some(ConnectionInfo {
            client_id: client_id.clone(),
            connected: live.is_some(),
            principal: live.map(|live| live.caller.principal().clone()),
            address: live.and_then(|live| Some(live.caller.peer()?.address)),
            clean_start: live.is_some_and(|live| live.clean_start),
            keep_alive_seconds: live.map_or(0, |live| live.keep_alive_seconds),
            session_expiry: live.map_or(Duration::ZERO, |live| live.session_expiry),
            connected_at: live.map(|live| live.connected_at),
            subscriptions: session
                .subscriptions()
                .into_iter()
                .map(|(filter, options)| (filter, options.qos))
                .collect(),
        })
    }

    /// Ends a client's connection, and with `end_session` its session too. Returns whether it had a
    /// connection.
    ///
    /// # Errors
    ///
    /// `operator.required`, and as every change: nothing is ended that is not recorded.
    pub async fn disconnect_client(
        &self,
        caller: &Caller,
        client_id: &ClientId,
        send_will: bool,
        end_session: bool,
    ) -> Result<bool, Refusal> {
        let permit = self.authorize::<act::ManageConnections>(caller, client_id.as_str())?;
        let is_connected = self
            .connection_info(client_id)
            .is_some_and(|info| info.connected);
        let Some(session) = self.0.broker.session(client_id).filter(|_| is_connected) else {
            return Ok(false);
        };
        let draft = self
            .draft(permit.errand(), Verb::ConnectionEnd)?
            .with("client", client_id.as_str())
            .with("will", if send_will { "sent" } else { "prevented" })
            .with("session", if end_session { "ended" } else { "kept" });
        self.record_alone(draft).await?;
        let reason = CloseReason::Administrative {
            send_will,
            end_session,
        };
        Ok(session.close(reason))
    }

    /// The number of live connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.0.live.len()
    }
}
