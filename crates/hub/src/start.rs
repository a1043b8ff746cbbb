//! Starting: the broker is put back as the store kept it.

use std::{collections::HashMap, fmt, sync::Arc};

use broker::{Broker, Restored, Rules, Session, SessionKey, SessionKind};
use model::{ClientId, Timestamp, limits::Profile};

use crate::{
    Caller, Hub, HubConfig, Inner, PolicyLanguage, clock::Clock, connections::options_from_byte,
    counts::Counts, departures::Departures, live::LiveConnections, stored, timeline::Timeline,
};

/// Subscriptions of one connection. AWS: 50.
const AWS_SUBSCRIPTIONS: usize = 50;

/// How the broker behaves under a profile.
pub(crate) fn rules(profile: Profile) -> Rules {
    match profile {
        Profile::Standard | Profile::AzureStrict => Rules::default(),
        Profile::AwsStrict => Rules {
            subscriptions_per_session: AWS_SUBSCRIPTIONS,
            leaves_out_parents: true,
        },
    }
}

impl Hub {
    /// Opens the hub over `store`: sessions, subscriptions and retained messages are as they
    /// were when the last process ended, however it ended.
    ///
    /// # Errors
    ///
    /// [`store::Failure`] when the store cannot be read.
    pub fn open(
        store: store::Store,
        authority: ca::Authority,
        clock: Arc<dyn Clock>,
        language: Arc<dyn PolicyLanguage>,
        config: HubConfig,
    ) -> Result<Self, store::Failure> {
        let counts = Counts::since(clock.now());
        let hub = Self(Arc::new(Inner {
            broker: Broker::new(rules(config.profile)),
            store,
            authority,
            clock,
            language,
            live: LiveConnections::default(),
            timeline: Timeline::default(),
            departures: Departures::default(),
            parsed: crate::access::ParsedPolicies::default(),
            shadow_turns: crate::shadows::Turns::default(),
            counts,
            ledger: crate::ledger::Kept::default(),
            cosigning: crate::cosigning::Cosigning::default(),
            stopping: tokio::sync::watch::Sender::new(false),
            config,
        }));
        hub.restore()?;
        Ok(hub)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The clock, for tests that move it.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// What the operator chose.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.0.config
    }

    /// A client id for a client that gave none. It cannot be guessed: whoever knows a client id
    /// and may use it can take over its session.
    ///
    /// # Panics
    ///
    /// Never: a UUID is a short name of letters.
    #[must_use]
    pub fn new_client_id(&self) -> ClientId {
        let name = format!("auto-{}", crate::registry_events::new_uuid());
        ClientId::new(&name).expect("a UUID is a short name of letters")
    }

    /// A UUID for a request that brings no id of its own.
    #[must_use]
    pub fn new_request_id(&self) -> Arc<str> {
        crate::registry_events::new_uuid().into()
    }

    /// Whether something could not be written, so that the hub must be restarted.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.store.has_failed()
    }

    fn restore(&self) -> Result<(), store::Failure> {
        let now = self.now();
        let queues = self.0.store.queues();
        for retained in queues.load_retained()? {
            let qos = mqtt_proto::QoS::try_from(retained.qos).unwrap_or_default();
            let message = Arc::new(stored::from_store(&retained.message, qos, true));
            // Bounded when they were written.
            self.0.broker.retain(&message);
        }
        let loaded = queues.load()?;
        let mut subscriptions: HashMap<_, Vec<_>> = HashMap::new();
        for (session, subscription) in loaded.subscriptions {
            let options = options_from_byte(subscription.options, subscription.subscription_id);
            subscriptions
                .entry(session)
                .or_default()
                .push((subscription.filter, options));
        }
        let mut inbound: HashMap<_, Vec<_>> = HashMap::new();
        for (session, packet_id) in loaded.inbound {
            inbound.entry(session).or_default().push(packet_id);
        }
        let backlog: HashMap<_, _> = loaded
            .backlog
            .into_iter()
            .map(|backlog| (backlog.session, backlog))
            .collect();
        let mut wills: HashMap<_, _> = loaded.wills.into_iter().collect();
        for record in loaded.sessions {
            let waiting = backlog.get(&record.key);
            let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
            let last_seq = waiting.map_or(0, |waiting| waiting.last_seq);
            let session = Session::restored(&Restored {
                key: SessionKey(record.key.0),
                client_id: record.client_id.clone(),
                owner: record.principal.as_str().into(),
                kind: SessionKind::Persistent,
                next_seq: record.next_seq.max(last_seq.max(record.sent_through) + 1),
                // Whoever was connected when the process ended may have been sent anything.
                sent_through: if record.online {
                    last_seq.max(record.sent_through)
                } else {
                    record.sent_through
                },
                journal_messages: waiting.map_or(0, |waiting| count(waiting.messages)),
                journal_bytes: waiting.map_or(0, |waiting| count(waiting.bytes)),
                inbound: inbound.remove(&record.key).unwrap_or_default(),
            });
            let session = self.0.broker.restore(
                session,
                subscriptions.remove(&record.key).unwrap_or_default(),
            );
            let expiry = std::time::Duration::from_secs(record.expiry_seconds.into());
            let ends_at = record.expires_at.unwrap_or_else(|| now.after(expiry));
            if let Some(will) = wills.remove(&record.key) {
                self.restore_will(&session, &will, now, ends_at)?;
            }
            self.0.departures.left(&session, ends_at);
        }
        Ok(())
    }

    /// The connection broke with the process, so the will is due after its delay, and when the
    /// session ends at the latest.
    fn restore_will(
        &self,
        session: &Arc<Session>,
        will: &store::StoredWill,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> Result<(), store::Failure> {
        let delay = std::time::Duration::from_secs(will.delay_seconds.into());
        let due = will.due_at.unwrap_or_else(|| now.after(delay)).min(ends_at);
        let qos = mqtt_proto::QoS::try_from(will.qos).unwrap_or_default();
        let message = stored::from_store(&will.message, qos, will.retain);
        let will = crate::Will {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos,
            retain: will.retain,
            delay,
            properties: message.properties,
        };
        let author = Arc::new(self.will_author(session, &will)?);
        self.0.departures.will(session, author, will, due);
        Ok(())
    }

    /// Whose rights a restored will is published with: those of the session's certificate, or of
    /// the one of its device's that may do it.
    fn will_author(&self, session: &Session, will: &crate::Will) -> Result<Caller, store::Failure> {
        let client_id = session.client_id();
        let certificates = match session.owner().split_once('/') {
            Some(("operator", _)) => return Ok(Caller::hub().under(client_id.clone())),
            Some(("certificate", id)) => id.parse().into_iter().collect(),
            Some(("device", name)) => match name.parse() {
                Ok(device) => self.certificates_of(&device)?,
                Err(_) => Vec::new(),
            },
            Some(_) | None => Vec::new(),
        };
        let mut author = Caller::stranger(client_id.clone());
        for id in certificates {
            author = Caller::remembered(client_id.clone(), id);
            let may = self
                .refresh_access(&author, id)
                .and_then(|()| self.check_publish(&author, &will.to_publish()));
            if may.is_ok() {
                break;
            }
        }
        Ok(author)
    }

    fn certificates_of(
        &self,
        device: &model::DeviceId,
    ) -> Result<Vec<model::CertificateId>, store::Failure> {
        let attachments = self.0.store.read(|txn| txn.principals_of_device(device))?;
        Ok(attachments
            .into_iter()
            .filter_map(|attachment| match attachment.principal {
                registry::Principal::Certificate(id) => Some(id),
                registry::Principal::Identity(_) => None,
            })
            .collect())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
