//! What is sent to the client: packet ids, its window, aliases, and the size it takes.

use std::{collections::BTreeMap, num::NonZeroU16};

use bytes::{Bytes, BytesMut};

use super::{Event, Settings, Violation};
use crate::{
    EncodedPublish, PacketKind, QoS, ReasonCode, Version, encode,
    packet::{Connect, PubAck},
    publish::{Alias, Delivery},
};

/// The packet id of the message with this number in its queue: the same after a restart.
#[must_use]
pub fn packet_id(seq: u64) -> NonZeroU16 {
    let id = u16::try_from(seq % u64::from(u16::MAX)).expect("a remainder of 65,535");
    NonZeroU16::MIN.saturating_add(id)
}

/// A message on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What.
    pub message: &'a EncodedPublish,
    /// Its number in the client's queue; has no meaning at QoS 0.
    pub seq: u64,
    /// Whether it was sent before.
    pub dup: bool,
    /// At which level of service.
    pub qos: QoS,
    /// Whether it is a retained message.
    pub retain: bool,
    /// What is left of its life, in seconds.
    pub message_expiry_seconds: Option<u32>,
    /// The subscriptions it is sent for.
    pub subscription_ids: &'a [u32],
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// It was written.
    Written,
    /// Not now: the client's window is full, or an older message has the packet id. Try again
    /// after [`Event::Acknowledged`] or [`Event::Completed`].
    Later,
    /// Never: the client takes no packet as large. It counts as sent and leaves the queue. MQTT
    /// 5.0 §3.1.2.11.4.
    TooLarge {
        /// Bytes of the packet.
        bytes: usize,
        /// The most the client takes.
        maximum: usize,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// PUBLISH was sent at QoS 1.
    AwaitsAck,
    /// PUBLISH was sent at QoS 2.
    AwaitsReceipt,
    /// PUBREC came, PUBREL is for the embedding to send.
    Received,
    /// PUBREL was sent.
    AwaitsCompletion,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    seq: u64,
    state: State,
}

#[derive(Clone, Debug)]
pub(super) struct Outbound {
    window: usize,
    maximum_bytes: usize,
    alias_maximum: usize,
    /// The topic of alias 1, 2, … The first topics sent get them and keep them: bookkeeping that
    /// chose better would cost more than it saves.
    aliases: Vec<Bytes>,
    in_flight: BTreeMap<NonZeroU16, InFlight>,
}

impl Outbound {
    pub(super) const fn new() -> Self {
        Self {
            window: 0,
            maximum_bytes: usize::MAX,
            alias_maximum: 0,
            aliases: Vec::new(),
            in_flight: BTreeMap::new(),
        }
    }

    pub(super) fn open(&mut self, connect: &Connect, settings: &Settings) {
        let asked = &connect.properties;
        self.window = asked
            .receive_maximum
            .get()
            .min(settings.outbound_window.max(1))
            .into();
        self.maximum_bytes = asked.maximum_packet_bytes.map_or(usize::MAX, |bytes| {
            usize::try_from(bytes.get()).unwrap_or(usize::MAX)
        });
        self.alias_maximum = asked
            .topic_alias_maximum
            .min(settings.outbound_aliases)
            .into();
    }

    pub(super) const fn maximum_bytes(&self) -> usize {
        self.maximum_bytes
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn window_open(&self) -> bool {
        self.in_flight.len() < self.window
    }

    pub(super) fn can_send(&self, seq: u64) -> bool {
        self.window_open() && !self.in_flight.contains_key(&packet_id(seq))
    }

    pub(super) fn send(
        &mut self,
        outgoing: &Outgoing<'_>,
        version: Version,
        out: &mut BytesMut,
    ) -> Sent {
        let state = match outgoing.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(State::AwaitsAck),
            QoS::ExactlyOnce => Some(State::AwaitsReceipt),
        };
        if state.is_some() && !self.can_send(outgoing.seq) {
            return Sent::Later;
        }
        let delivery = Delivery {
            dup: outgoing.dup && state.is_some(),
            qos: outgoing.qos,
            retain: outgoing.retain,
            packet_id: state.map(|_| packet_id(outgoing.seq)),
            message_expiry_seconds: outgoing.message_expiry_seconds,
            subscription_ids: outgoing.subscription_ids,
            alias: self.alias(outgoing.message),
        };
        let bytes = outgoing.message.packet_bytes(version, &delivery);
        if bytes > self.maximum_bytes {
            return Sent::TooLarge {
                bytes,
                maximum: self.maximum_bytes,
            };
        }
        if let Some(Alias::Introduced(_)) = delivery.alias {
            // A copy: sharing would keep the whole message alive.
            self.aliases
                .push(Bytes::copy_from_slice(outgoing.message.topic()));
        }
        outgoing.message.append(version, &delivery, out);
        if let Some(state) = state {
            let seq = outgoing.seq;
            self.in_flight
                .insert(packet_id(seq), InFlight { seq, state });
        }
        Sent::Written
    }

    /// The alias of the message's topic: one it has, or the next free one. The maximum is 0 for
    /// 3.1.1 clients, who have none.
    fn alias(&self, message: &EncodedPublish) -> Option<Alias> {
        if self.alias_maximum == 0 {
            return None;
        }
        let topic = message.topic();
        let known = self.aliases.iter().position(|known| known == topic);
        let at = known.unwrap_or(self.aliases.len());
        if at >= self.alias_maximum {
            return None;
        }
        let number = NonZeroU16::new(u16::try_from(at + 1).ok()?)?;
        Some(if known.is_some() {
            Alias::Known(number)
        } else {
            Alias::Introduced(number)
        })
    }

    pub(super) fn acknowledged(&mut self, step: &PubAck) -> Result<Option<Event>, Violation> {
        let Some(entry) = self.in_flight.get(&step.packet_id).copied() else {
            // A late answer to something that was given up: nothing to be done about it.
            return Ok(None);
        };
        if entry.state != State::AwaitsAck {
            return Err(Violation::protocol("4.3.3", "PUBACK to a QoS 2 message"));
        }
        self.in_flight.remove(&step.packet_id);
        Ok(Some(Event::Acknowledged {
            seq: entry.seq,
            reason: step.reason,
        }))
    }

    pub(super) fn received(
        &mut self,
        step: &PubAck,
        version: Version,
        out: &mut BytesMut,
    ) -> Result<Option<Event>, Violation> {
        let Some(entry) = self.in_flight.get_mut(&step.packet_id) else {
            if !step.reason.is_error() {
                // §3.6.2.1: so that the client, too, forgets the exchange.
                let answer = PubAck::new(step.packet_id, ReasonCode::PacketIdentifierNotFound);
                encode::append_step(PacketKind::PubRel, &answer, version, out);
            }
            return Ok(None);
        };
        let seq = entry.seq;
        match entry.state {
            State::AwaitsAck => Err(Violation::protocol("4.3.2", "PUBREC to a QoS 1 message")),
            State::AwaitsReceipt if step.reason.is_error() => {
                self.in_flight.remove(&step.packet_id);
                Ok(Some(Event::Acknowledged {
                    seq,
                    reason: step.reason,
                }))
            }
            State::AwaitsReceipt => {
                entry.state = State::Received;
                Ok(Some(Event::Received { seq }))
            }
            State::Received => Ok(None),
            State::AwaitsCompletion => {
                append_release(step.packet_id, version, out);
                Ok(None)
            }
        }
    }

    pub(super) fn completed(&mut self, step: &PubAck) -> Result<Option<Event>, Violation> {
        let Some(entry) = self.in_flight.get(&step.packet_id).copied() else {
            return Ok(None);
        };
        if entry.state != State::AwaitsCompletion {
            return Err(Violation::protocol(
                "4.3.3",
                "PUBCOMP to a message that was not released",
            ));
        }
        self.in_flight.remove(&step.packet_id);
        Ok(Some(Event::Completed { seq: entry.seq }))
    }

    pub(super) fn release(&mut self, seq: u64, version: Version, out: &mut BytesMut) {
        let id = packet_id(seq);
        if let Some(entry) = self.in_flight.get_mut(&id)
            && entry.seq == seq
            && entry.state == State::Received
        {
            entry.state = State::AwaitsCompletion;
            append_release(id, version, out);
        }
    }

    pub(super) fn resume_released(&mut self, seq: u64, version: Version, out: &mut BytesMut) {
        let id = packet_id(seq);
        let state = State::AwaitsCompletion;
        self.in_flight.insert(id, InFlight { seq, state });
        append_release(id, version, out);
    }
}

fn append_release(id: NonZeroU16, version: Version, out: &mut BytesMut) {
    let step = PubAck::new(id, ReasonCode::Success);
    encode::append_step(PacketKind::PubRel, &step, version, out);
}
