//! The smallest server there is, for transcripts, properties and fuzz targets: it takes every
//! client, grants every subscription and sends messages back to the client they came from.

use std::collections::VecDeque;

use bytes::BytesMut;
use bytestring::ByteString;
use model::Timestamp;

use crate::{
    EncodedPublish, QoS, ReasonCode, Version,
    codec::Decoder,
    encode,
    packet::{ConnAckProperties, Packet, Publish, SubscribeOptions},
    server::{Event, Outgoing, Sent, Session, Settings},
};

/// Messages that wait for the client's window; older ones are forgotten first.
const WAITING: usize = 100;

/// A server of one client that is its own only subscriber.
#[derive(Debug)]
pub struct Echo {
    decoder: Decoder,
    session: Session,
    subscriptions: Vec<(ByteString, SubscribeOptions)>,
    waiting: VecDeque<(u64, QoS, EncodedPublish)>,
    next_seq: u64,
}

impl Echo {
    /// A connection on which nothing was said yet.
    #[must_use]
    pub const fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            decoder: Decoder::server(),
            session: Session::new(settings, now),
            subscriptions: Vec::new(),
            waiting: VecDeque::new(),
            next_seq: 0,
        }
    }

    /// What the client speaks, once it has said so.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.decoder.version()
    }

    /// Takes every whole packet off `buffer` and appends the answers to `out`.
    ///
    /// # Errors
    ///
    /// The violation that ended the connection, as text; `out` then ends with what the client is
    /// told, if anything.
    pub fn feed(
        &mut self,
        buffer: &mut BytesMut,
        now: Timestamp,
        out: &mut BytesMut,
    ) -> Result<(), String> {
        loop {
            let packet = match self.decoder.decode(buffer) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.session
                        .undecodable(&error, self.decoder.version(), out);
                    return Err(error.to_string());
                }
            };
            match self.session.handle(packet, now, out) {
                Ok(Some(event)) => self.carry_out(event, now, out),
                Ok(None) => {}
                Err(violation) => {
                    self.session.violated(&violation, out);
                    return Err(violation.to_string());
                }
            }
            self.drain(out);
        }
    }

    fn carry_out(&mut self, event: Event, now: Timestamp, out: &mut BytesMut) {
        let session = &mut self.session;
        match event {
            Event::Connect(_) => {
                session.accept(false, ConnAckProperties::default(), now, out);
            }
            Event::Publish(publish) => {
                if let Some(packet_id) = publish.packet_id {
                    session.acknowledge(packet_id, publish.qos, ReasonCode::Success, None, out);
                }
                self.echo(&publish);
            }
            Event::Duplicate { packet_id } => {
                let success = ReasonCode::Success;
                session.acknowledge(packet_id, QoS::ExactlyOnce, success, None, out);
            }
            Event::Released { packet_id } => session.complete(packet_id, out),
            Event::Subscribe(subscribe) => {
                let grant = |(_, options): &(_, SubscribeOptions)| options.qos.into();
                let reasons: Vec<_> = subscribe.filters.iter().map(grant).collect();
                session.suback(subscribe.packet_id, &reasons, None, out);
                self.subscriptions.extend(subscribe.filters);
            }
            Event::Unsubscribe(unsubscribe) => {
                let reasons = vec![ReasonCode::Success; unsubscribe.filters.len()];
                session.unsuback(unsubscribe.packet_id, &reasons, None, out);
                self.subscriptions
                    .retain(|(filter, _)| !unsubscribe.filters.contains(filter));
            }
            Event::Received { seq } => session.release(seq, out),
            Event::Acknowledged { .. } | Event::Completed { .. } | Event::Disconnect(_) => {}
        }
    }

    fn echo(&mut self, publish: &Publish) {
        let granted = self
            .subscriptions
            .iter()
            .filter(|(filter, _)| model::matches(filter, &publish.topic))
            .map(|(_, options)| options.qos)
            .max();
        if let Some(granted) = granted {
            let message =
                EncodedPublish::new(&publish.topic, &publish.payload, &publish.properties);
            if self.waiting.len() >= WAITING {
                self.waiting.pop_front();
            }
            let qos = granted.min(publish.qos);
            self.waiting.push_back((self.next_seq, qos, message));
            self.next_seq += 1;
        }
    }

    fn drain(&mut self, out: &mut BytesMut) {
        while let Some((seq, qos, message)) = self.waiting.front() {
            let outgoing = Outgoing {
                message,
                seq: *seq,
                dup: false,
                qos: *qos,
                retain: false,
                message_expiry_seconds: None,
                subscription_ids: &[],
            };
            match self.session.send(&outgoing, out) {
                Sent::Later => return,
                Sent::Written | Sent::TooLarge { .. } => self.waiting.pop_front(),
            };
        }
    }
}

/// Decodes `bytes` at both ends and in both versions; what is a packet must survive being written
/// and read again.
///
/// # Errors
///
/// The packet that did not.
pub fn packets(bytes: &[u8]) -> Result<(), String> {
    for version in [Version::V311, Version::V5] {
        let mut server = Decoder::server();
        server
            .decode(&mut hello(version))
            .map_err(|e| e.to_string())?;
        for mut decoder in [Decoder::server(), server, Decoder::client(version)] {
            let mut buffer = BytesMut::from(bytes);
            let before = decoder.clone();
            while let Ok(Some(packet)) = decoder.decode(&mut buffer) {
                let version = decoder.version().unwrap_or(version);
                let mut written = BytesMut::new();
                encode::append(&packet, version, &mut written);
                let is_connect = matches!(packet, Packet::Connect(_));
                let mut again = if is_connect { &before } else { &decoder }.clone();
                if again.decode(&mut written) != Ok(Some(packet.clone())) {
                    return Err(format!("{version:?} {packet:?}"));
                }
            }
        }
    }
    Ok(())
}

/// Runs an [`Echo`] over `bytes`, as they are and after a CONNECT of each version; whatever it
/// says must be something a client can read.
///
/// # Errors
///
/// What the client could not read.
pub fn session(bytes: &[u8]) -> Result<(), String> {
    let now = Timestamp::default();
    let starts = [BytesMut::new(), hello(Version::V311), hello(Version::V5)];
    for mut buffer in starts {
        buffer.extend_from_slice(bytes);
        let mut echo = Echo::new(Settings::default(), now);
        let mut out = BytesMut::new();
        // A violation is an answer like any other here.
        let _ended = echo.feed(&mut buffer, now, &mut out);
        let Some(version) = echo.version() else {
            continue;
        };
        let mut client = Decoder::client(version).with_maximum_bytes(usize::MAX);
        while client
            .decode(&mut out)
            .map_err(|error| format!("{error}: {out:02x?}"))?
            .is_some()
        {}
        if !out.is_empty() {
            return Err(format!("half a packet: {out:02x?}"));
        }
    }
    Ok(())
}

/// A plain CONNECT.
fn hello(version: Version) -> BytesMut {
    let bytes: &[u8] = match version {
        Version::V311 => b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01d",
        Version::V5 => b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\x03\x22\0\x02\0\x01d",
    };
    BytesMut::from(bytes)
}
