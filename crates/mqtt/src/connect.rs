//! From the first byte to the CONNACK: who is it, and may it connect?

use std::{future::poll_fn, io, sync::Arc, time::Duration};

use dialect::Hello;
use hub::{
    Caller, ConnectRequest, Connection, PeerFacts, Principal, Will, timeline::Kind,
    timeline::Subject,
};
use listen::{Breach, Io, Peer, Shutdown};
use model::{ClientId, ReasonId, Refusal, RefusalKind, limits};
use mqtt_proto::{
    DecodeError, Version,
    codec::Decoder,
    packet::{self, ConnAckProperties, Connect, Packet},
    server::{Event, Session},
};
use tokio::time::timeout;

use crate::{
    farewell, publishing, refusals,
    service::{Shared, Voucher},
    strict,
    wire::Wire,
};

/// A connection that was accepted.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    pub(crate) decoder: Decoder,
    pub(crate) session: Session,
    pub(crate) connection: Connection,
}

/// Hears the CONNECT and answers it. `None` when the connection has ended; why is in the timeline.
pub(crate) async fn open(
    shared: &Shared,
    io: Io,
    peer: Peer,
    voucher: Option<Voucher>,
    mut shutdown: Shutdown,
) -> Option<Box<Opened>> {
    let now = shared.hub.now();
    let mut stranger = Stranger {
        shared,
        wire: Wire::new(io),
        decoder: Decoder::server().with_maximum_bytes(shared.terms.packet_bytes),
        session: Session::new(shared.terms.settings, now),
        subject: Subject {
            client_id: None,
            principal: match &voucher {
                None => peer.certificate_id().map(Principal::Certificate),
                Some(Voucher::AccessKey(id)) => Some(Principal::Operator(Arc::clone(id))),
            }
            .map(|principal| principal.to_string()),
            address: Some(peer.address),
        },
        voucher,
    };
    let connect = tokio::select! {
        heard = timeout(limits::HELLO_DEADLINE, stranger.hear_connect()) => match heard {
            Ok(connect) => connect?,
            Err(_) => {
                let seconds = limits::HELLO_DEADLINE.as_secs();
                let text = format!("no CONNECT came within {seconds} s");
                stranger.record("mqtt.no-connect", text);
                return None;
            }
        },
        () = shutdown.requested() => return None,
    };
    match stranger.connect(&connect, peer).await {
        Ok((connection, client_id)) => {
            let Stranger {
                wire,
                decoder,
                session,
                ..
            } = stranger;
            let mut opened = Box::new(Opened {
                wire,
                decoder,
                session,
                connection,
            });
            opened.accept(shared, &connect, client_id);
            Some(opened)
        }
        Err(refusal) => {
            stranger.refuse(&refusal).await;
            None
        }
    }
}

/// A peer that has not connected yet.
struct Stranger<'a> {
    shared: &'a Shared,
    wire: Wire,
    decoder: Decoder,
    session: Session,
    voucher: Option<Voucher>,
    subject: Subject,
}

impl Stranger<'_> {
    /// The CONNECT; `None` when the connection has ended without a good one.
    async fn hear_connect(&mut self) -> Option<Box<Connect>> {
        loop {
            match self.decoder.decode(&mut self.wire.input) {
                Ok(Some(packet)) => return self.take_connect(packet).await,
                Ok(None) => {}
                Err(error) => {
                    self.undecodable(&error).await;
                    return None;
                }
            }
            match poll_fn(|context| self.wire.poll_read(context)).await {
                Err(error) if Breach::behind(&error).is_some() => {
                    self.broken(&error).await;
                    return None;
                }
                Ok(0) | Err(_) => {
                    let text = "the connection closed before its CONNECT was complete";
                    self.record("mqtt.no-connect", text.into());
                    return None;
                }
                Ok(_) => {}
            }
        }
    }

    /// The peer broke a rule of what MQTT travels in.
    async fn broken(&mut self, error: &io::Error) {
        if let Some(breach) = Breach::behind(error) {
            self.record(breach.reason.0, breach.text.to_string());
        }
        farewell::say(&mut self.wire).await;
    }

    async fn take_connect(&mut self, packet: Packet) -> Option<Box<Connect>> {
        let now = self.shared.hub.now();
        match self.session.handle(packet, now, &mut self.wire.output) {
            Ok(Some(Event::Connect(connect))) => Some(connect),
            // The decoder lets nothing else be first.
            Ok(Some(_) | None) => None,
            Err(violation) => {
                self.session.violated(&violation, &mut self.wire.output);
                let id = refusals::violation_id(violation.code);
                self.record(id, violation.to_string());
                farewell::say(&mut self.wire).await;
                None
            }
        }
    }

    async fn undecodable(&mut self, error: &DecodeError) {
        let version = self.decoder.version();
        let output = &mut self.wire.output;
        self.session.undecodable(error, version, output);
        let id = refusals::violation_id(error.reason());
        self.record(id, error.to_string());
        farewell::say(&mut self.wire).await;
    }

    /// Has the hub decide. Also gives the client id when it was chosen here.
    async fn connect(
        &mut self,
        connect: &Connect,
        peer: Peer,
    ) -> Result<(Connection, Option<ClientId>), Refusal> {
        let shared = self.shared;
        let (client_id, assigned) = self.client_id(connect)?;
        self.subject.client_id = Some(client_id.clone());
        if let Some(will) = &connect.will {
            self.check_will(will)?;
        }
        let caller = self.caller(connect, &peer, &client_id).await?;
        let will = match &connect.will {
            None => None,
            Some(will) => {
                let topic = shared
                    .dialect
                    .will_topic(&caller, will.topic.clone())
                    .inspect_err(|refusal| self.record_refusal(refusal))?;
                Some(hub_will(will, topic))
            }
        };
        let request = ConnectRequest {
            clean_start: connect.clean_start,
            session_expiry: session_expiry(connect).min(shared.terms.session_expiry),
            keep_alive_seconds: shared
                .terms
                .keep_alive(connect.keep_alive_seconds)
                .unwrap_or(connect.keep_alive_seconds),
            protocol_level: match connect.version {
                Version::V311 => 4,
                Version::V5 => 5,
            },
            will,
        };
        let connection = shared.hub.connect(caller, request).await?;
        Ok((connection, assigned.then_some(client_id)))
    }

    /// Finds out who it is: what a voucher says, or else what the certificate and CONNECT prove.
    async fn caller(
        &mut self,
        connect: &Connect,
        peer: &Peer,
        client_id: &ClientId,
    ) -> Result<Caller, Refusal> {
        let facts = PeerFacts {
            address: peer.address,
            server_name: peer.sni.as_deref().map(Arc::from),
        };
        match &self.voucher {
            // User name and password are the SDK's metrics, or nothing.
            Some(Voucher::AccessKey(id)) => {
                Ok(Caller::operator(id, Some(facts)).under(client_id.clone()))
            }
            None => {
                let hello = Hello {
                    user_name: connect.username.as_deref(),
                    password: connect.password.as_deref(),
                    certificate: peer.chain.first().map(|leaf| Arc::from(&**leaf)),
                };
                let credentials = self
                    .shared
                    .dialect
                    .identify(&hello)
                    .inspect_err(|refusal| self.record_refusal(refusal))?;
                self.shared
                    .hub
                    .admit(&credentials, client_id.clone(), facts)
                    .await
            }
        }
    }

    /// What the client calls itself, or what it is called from now on.
    fn client_id(&self, connect: &Connect) -> Result<(ClientId, bool), Refusal> {
        if connect.client_id.is_empty() {
            return Ok((self.shared.hub.new_client_id(), true));
        }
        let checked = if self.shared.terms.strict {
            strict::check_client_id(&connect.client_id)
        } else {
            Ok(())
        };
        checked
            .and_then(|()| {
                ClientId::new(&connect.client_id)
                    .map_err(|error| Refusal::malformed("mqtt.client-id", error.to_string()))
            })
            .map(|name| (name, false))
            .inspect_err(|refusal| self.record_refusal(refusal))
    }

    fn check_will(&self, will: &packet::Will) -> Result<(), Refusal> {
        let highest = self.shared.terms.maximum_qos;
        if will.qos <= highest {
            return if self.shared.terms.strict {
                strict::check_topic(&will.topic, will.retain)
                    .inspect_err(|refusal| self.record_refusal(refusal))
            } else {
                Ok(())
            };
        }
        let refusal = Refusal::new(
            RefusalKind::Unsupported,
            "mqtt.will-qos",
            format!("the highest QoS of a will is {} here", highest as u8),
        );
        self.record_refusal(&refusal);
        Err(refusal)
    }

    /// Says no. What the hub refused is in the timeline already.
    async fn refuse(&mut self, refusal: &Refusal) {
        let silent = self.session.version() == Version::V311 && !self.shared.terms.tells_v311;
        if !silent {
            let code = refusals::codes_for(refusal.kind, refusal.reason).connack;
            let output = &mut self.wire.output;
            self.session.refuse(code, Some(&refusal.message), output);
        }
        farewell::say(&mut self.wire).await;
    }

    fn record(&self, id: &'static str, text: String) {
        self.shared.hub.record(
            Kind::ConnectRefused,
            self.subject.clone(),
            ReasonId(id),
            text,
            None,
        );
    }

    fn record_refusal(&self, refusal: &Refusal) {
        let subject = self.subject.clone();
        self.shared
            .hub
            .record_refusal(Kind::ConnectRefused, subject, refusal);
    }
}

impl Opened {
    /// Says yes.
    fn accept(&mut self, shared: &Shared, connect: &Connect, assigned: Option<ClientId>) {
        let terms = &shared.terms;
        let granted = self.connection.session_expiry();
        let asked = session_expiry(connect);
        let properties = ConnAckProperties {
            session_expiry_seconds: (granted != asked)
                .then(|| u32::try_from(granted.as_secs()).unwrap_or(u32::MAX)),
            maximum_qos: terms.maximum_qos,
            assigned_client_id: assigned.map(|name| name.as_str().into()),
            subscription_ids_available: terms.subscription_ids,
            server_keep_alive_seconds: terms.keep_alive(connect.keep_alive_seconds),
            ..ConnAckProperties::default()
        };
        let present = self.connection.session_present();
        let received = self.connection.inbound_packet_ids();
        let received = received.into_iter().filter_map(|id| id.try_into().ok());
        self.session.resume_received(received);
        let now = shared.hub.now();
        let output = &mut self.wire.output;
        self.session.accept(present, properties, now, output);
    }
}

/// How long the client wants its session to outlive the connection. MQTT 3.1.1 §3.1.2.4: for
/// ever, unless it starts clean; 5.0 §3.1.2.11.2: `u32::MAX` is for ever.
fn session_expiry(connect: &Connect) -> Duration {
    match connect.version {
        Version::V311 if connect.clean_start => Duration::ZERO,
        Version::V311 => Duration::MAX,
        Version::V5 => Duration::from_secs(connect.properties.session_expiry_seconds.into()),
    }
}

fn hub_will(will: &packet::Will, topic: model::TopicName) -> Will {
    Will {
        topic,
        payload: bytes::Bytes::copy_from_slice(&will.payload),
        qos: will.qos,
        retain: will.retain,
        delay: Duration::from_secs(will.delay_seconds.into()),
        properties: publishing::own_properties(will.properties.clone()),
    }
}
