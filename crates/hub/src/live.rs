//! The live connections, so that a change in the registry finds them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{CloseReason, Session};
use model::{CertificateId, ClientId, Refusal, Timestamp};
use policy::{Action, Context, Resource};

use crate::{Caller, Hub, Principal};

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
pub(crate) struct LiveConnections(Mutex<BTreeMap<u64, Arc<Live>>>);

impl LiveConnections {
    pub(crate) fn insert(&self, number: u64, live: Live) {
        self.lock().insert(number, Arc::new(live));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        for (_, live) in self.0.live.all() {
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
                live.session
                    .close(CloseReason::NoLongerAllowed(Arc::new(refusal)));
            }
        }
    }

    fn ask_again(&self, live: &Live, id: CertificateId) -> Result<(), Refusal> {
        let caller = &live.caller;
        self.refresh_access(caller, id)?;
        let client_id = live.session.client_id();
        let context = Context {
            persistent_connect: live.persistent,
            last_will_topic: live.will_topic.as_deref(),
            ..Context::default()
        };
        self.check_connect(caller, client_id, &context)?;
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
    pub fn disconnect_client(
        &self,
        client_id: &ClientId,
        send_will: bool,
        end_session: bool,
    ) -> bool {
        let reason = CloseReason::Administrative {
            send_will,
            end_session,
        };
        self.0
            .broker
            .session(client_id)
            .is_some_and(|session| session.close(reason))
    }

    /// The number of live connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.0.live.len()
    }
}
