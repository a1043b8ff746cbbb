//! A client's messages: read by the dialect, carried out by the hub, answered in order.

use std::num::NonZeroU16;

use broker::Message;
use bytes::Bytes;
use bytestring::ByteString;
use dialect::Inbound;
use hub::{Ack, DisconnectReason, Intent, timeline::Kind};
use model::{ReasonId, Refusal, RefusalKind};
use mqtt_proto::{EncodedPublish, PublishProperties, QoS, ReasonCode, Version, packet::Publish};

use crate::{
    answers::Answer,
    conversation::{Conversation, Ending, refused},
    refusals, strict,
};

/// A payload that is this small a part of what was read with it is copied out.
const COPIED_PART: usize = 4;

/// What a message asks for beyond being delivered.
pub(crate) struct Request {
    intent: Intent,
    qos: QoS,
    packet_id: Option<NonZeroU16>,
}

impl Conversation {
    /// Publishes one message, or gives back what it asks for beyond that.
    ///
    /// # Errors
    ///
    /// The end of the connection, when the client cannot be told of a refusal in any other way.
    pub(crate) fn publish(&mut self, publish: Publish) -> Result<Option<Box<Request>>, Ending> {
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        self.spend(publish.topic.len() + publish.payload.len());
        let done = match self.interpret(publish) {
            Ok(Intent::Publish(request)) => self.connection.publish(request),
            Ok(intent @ (Intent::Shadow(..) | Intent::Claim(..))) => {
                return Ok(Some(Box::new(Request {
                    intent,
                    qos,
                    packet_id,
                })));
            }
            Err(refusal) => {
                let subject = self.connection.caller().subject();
                self.shared
                    .hub
                    .record_refusal(Kind::PublishRefused, subject, &refusal);
                Err(refusal)
            }
        };
        self.done(done, qos, packet_id)?;
        Ok(None)
    }

    /// Counts a message of so many bytes against what the client may send.
    fn spend(&mut self, bytes: usize) {
        let Some(allowance) = &mut self.allowance else {
            return;
        };
        let pause = allowance.spend(bytes, self.shared.hub.now());
        if !pause.is_zero() && !allowance.is_told {
            allowance.is_told = true;
            self.shared.hub.record(
                Kind::Throttled,
                self.connection.caller().subject(),
                ReasonId("publish.rate"),
                "the client publishes more than 100 messages or 512 KiB a second; it is listened \
                 to more slowly, and nothing is lost"
                    .into(),
                None,
            );
        }
    }

    /// Carries out what a message asks for; the packets behind it wait.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub(crate) async fn answer(&mut self, request: Box<Request>) -> Result<(), Ending> {
        let done = self.connection.handle(request.intent).await;
        self.done(done, request.qos, request.packet_id)
    }

    /// Has the client told what became of its message.
    fn done(
        &mut self,
        done: Result<Ack, Refusal>,
        qos: QoS,
        packet_id: Option<NonZeroU16>,
    ) -> Result<(), Ending> {
        match (done, packet_id) {
            (Ok(ack), Some(packet_id)) => {
                let answer = Answer::Published {
                    packet_id,
                    qos,
                    reason: ReasonCode::Success,
                    text: None,
                };
                self.answers.push(ack, answer);
            }
            // Nobody waits for it.
            (Ok(ack), None) => drop(ack),
            // 3.1.1 §3.3.5: either a positive acknowledgement or the end of the connection.
            (Err(refusal), _) if self.session.version() == Version::V311 => {
                return Err(ended_by(&refusal));
            }
            (Err(refusal), Some(packet_id)) => {
                let answer = Answer::Published {
                    packet_id,
                    qos,
                    reason: refusals::codes(refusal.kind).puback,
                    text: Some((*refusal.message).into()),
                };
                // Behind the answers to what came before.
                self.answers.push(Ack::default(), answer);
            }
            (Err(refusal), None) => match refusal.kind {
                // A message that may get lost, lost; it is in the timeline.
                RefusalKind::TooMany | RefusalKind::Unavailable | RefusalKind::Internal => {}
                RefusalKind::Malformed
                | RefusalKind::Unauthenticated
                | RefusalKind::Denied
                | RefusalKind::NotFound
                | RefusalKind::AlreadyExists
                | RefusalKind::Conflict
                | RefusalKind::TooLarge
                | RefusalKind::Unsupported
                | RefusalKind::Expired => return Err(ended_by(&refusal)),
            },
        }
        Ok(())
    }

    fn interpret(&self, publish: Publish) -> Result<Intent, Refusal> {
        let limit = self.shared.terms.payload_bytes;
        if publish.payload.len() > limit {
            return Err(Refusal::new(
                RefusalKind::TooLarge,
                "publish.too-large",
                format!(
                    "the payload has {} bytes, the most is {limit}",
                    publish.payload.len()
                ),
            ));
        }
        if self.shared.terms.strict {
            strict::check_topic(&publish.topic, publish.retain)?;
        }
        let payload = if publish.payload.len() < self.read_bytes / COPIED_PART {
            Bytes::copy_from_slice(&publish.payload)
        } else {
            publish.payload
        };
        let inbound = Inbound {
            topic: own(&publish.topic),
            payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: own_properties(publish.properties),
            packet_id: publish.packet_id,
        };
        let caller = self.connection.caller();
        self.shared.dialect.interpret(caller, inbound)
    }
}

fn ended_by(refusal: &Refusal) -> Ending {
    refused(refusal, DisconnectReason::Unauthorized)
}

/// A copy of its own: topics are remembered for long, and must not keep a whole read buffer alive.
pub(crate) fn own(text: &ByteString) -> ByteString {
    ByteString::from(&**text)
}

/// The same for what travels with a message.
pub(crate) fn own_properties(mut properties: PublishProperties) -> PublishProperties {
    let texts = [&mut properties.content_type, &mut properties.response_topic];
    for text in texts.into_iter().flatten() {
        *text = own(text);
    }
    if let Some(data) = &mut properties.correlation_data {
        *data = Bytes::copy_from_slice(data);
    }
    for (name, value) in &mut properties.user_properties {
        *name = own(name);
        *value = own(value);
    }
    properties
}

/// A message under a topic as one dialect spells it.
pub(crate) fn encode(topic: &str, message: &Message) -> EncodedPublish {
    EncodedPublish::new(topic, &message.payload, &message.properties)
}
