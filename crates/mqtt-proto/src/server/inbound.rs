//! What the client publishes: aliases, the receive maximum, and QoS 2 messages not yet released.

use std::{collections::BTreeMap, num::NonZeroU16};

use bytes::BytesMut;
use bytestring::ByteString;

use super::{Event, Settings, Violation};
use crate::{
    PacketKind, QoS, ReasonCode, Version, encode,
    packet::{PubAck, Publish},
};

/// Whether a message takes one of the places of the receive maximum on this connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Taken,
    /// It came on an earlier connection.
    NotTaken,
}

#[derive(Clone, Debug)]
pub(super) struct Inbound {
    /// Topics by alias, from 1; as long as the highest alias met.
    aliases: Vec<ByteString>,
    /// Messages that take a place of the receive maximum. §4.9.
    unfinished: usize,
    /// QoS 2 messages received and not released. Bounded by the number of packet ids.
    received: BTreeMap<NonZeroU16, Place>,
}

impl Inbound {
    pub(super) const fn new() -> Self {
        Self {
            aliases: Vec::new(),
            unfinished: 0,
            received: BTreeMap::new(),
        }
    }

    pub(super) fn publish(
        &mut self,
        mut publish: Publish,
        version: Version,
        settings: &Settings,
    ) -> Result<Event, Violation> {
        if let Some(alias) = publish.topic_alias {
            self.resolve(alias, &mut publish, settings.topic_alias_maximum)?;
        }
        let Some(packet_id) = publish.packet_id else {
            return Ok(Event::Publish(publish));
        };
        let before = self.received.get(&packet_id).copied();
        if publish.qos == QoS::ExactlyOnce && before == Some(Place::Taken) {
            return Ok(Event::Duplicate { packet_id });
        }
        // 3.1.1 has no receive maximum; there the embedding stops reading instead.
        let maximum = usize::from(settings.receive_maximum.get());
        if version == Version::V5 && self.unfinished >= maximum {
            return Err(Violation::new(
                ReasonCode::ReceiveMaximumExceeded,
                "3.3.4",
                format!("more than {maximum} messages before the first was acknowledged"),
            ));
        }
        self.unfinished += 1;
        if publish.qos == QoS::ExactlyOnce {
            self.received.insert(packet_id, Place::Taken);
            if before.is_some() {
                return Ok(Event::Duplicate { packet_id });
            }
        }
        Ok(Event::Publish(publish))
    }

    /// §3.3.2.3.4: the topic an alias stands for, or from now on stands for.
    fn resolve(
        &mut self,
        alias: NonZeroU16,
        publish: &mut Publish,
        maximum: u16,
    ) -> Result<(), Violation> {
        if alias.get() > maximum {
            return Err(Violation::new(
                ReasonCode::TopicAliasInvalid,
                "3.3.2.3.4",
                format!("the topic alias {alias} is over the maximum, {maximum}"),
            ));
        }
        let at = usize::from(alias.get()) - 1;
        if publish.topic.is_empty() {
            match self.aliases.get(at).filter(|topic| !topic.is_empty()) {
                Some(topic) => publish.topic = topic.clone(),
                None => {
                    return Err(Violation::new(
                        ReasonCode::ProtocolError,
                        "3.3.2.3.4",
                        format!("the topic alias {alias} stands for no topic"),
                    ));
                }
            }
        } else {
            if self.aliases.len() <= at {
                self.aliases.resize(at + 1, ByteString::new());
            }
            // A copy: sharing would keep the whole read buffer alive.
            self.aliases[at] = ByteString::from(&*publish.topic);
        }
        Ok(())
    }

    pub(super) fn acknowledged(
        &mut self,
        packet_id: NonZeroU16,
        qos: QoS,
        reason: ReasonCode,
        version: Version,
    ) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.finish_one(),
            // §4.3.3: a PUBREC of 0x80 and above ends the exchange; 3.1.1 has no such PUBREC.
            QoS::ExactlyOnce => {
                if reason.is_error() && version == Version::V5 {
                    self.complete(packet_id);
                }
            }
        }
    }

    pub(super) fn released(
        &mut self,
        step: &PubAck,
        version: Version,
        out: &mut BytesMut,
    ) -> Option<Event> {
        let packet_id = step.packet_id;
        if self.received.contains_key(&packet_id) {
            return Some(Event::Released { packet_id });
        }
        let answer = PubAck::new(packet_id, ReasonCode::PacketIdentifierNotFound);
        encode::append_step(PacketKind::PubComp, &answer, version, out);
        None
    }

    pub(super) fn complete(&mut self, packet_id: NonZeroU16) {
        if self.received.remove(&packet_id) == Some(Place::Taken) {
            self.finish_one();
        }
    }

    pub(super) fn resume_received(&mut self, packet_ids: impl IntoIterator<Item = NonZeroU16>) {
        for packet_id in packet_ids {
            self.received.entry(packet_id).or_insert(Place::NotTaken);
        }
    }

    const fn finish_one(&mut self) {
        self.unfinished = self.unfinished.saturating_sub(1);
    }
}
