//! Packets to bytes, for both versions. Writing cannot fail: what came off the wire fits on it.
//!
//! Each packet's contents are written twice by the same function, once into a counter to learn the
//! length that stands before them, once into the buffer.

use bytes::{BufMut, BytesMut};

use crate::{
    PacketKind, QoS, ReasonCode, Version,
    packet::{
        Auth, ConnAck, Connect, Disconnect, Packet, PubAck, Publish, SubAck, Subscribe,
        SubscribeOptions, UnsubAck, Unsubscribe, UserProperties, Will,
    },
    properties::{PropertySink, id},
    read::VARINT_MAX,
};

/// Where bytes go: a buffer, or a counter that only learns how many.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, number: u8) {
        self.put(&[number]);
    }

    fn u16(&mut self, number: u16) {
        self.put(&number.to_be_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.put(&number.to_be_bytes());
    }

    /// A variable byte integer. §1.5.5.
    fn varint(&mut self, number: usize) {
        let mut rest = number.min(VARINT_MAX as usize);
        loop {
            let byte = (rest & 0x7f).to_le_bytes()[0];
            rest >>= 7;
            if rest == 0 {
                return self.u8(byte);
            }
            self.u8(byte | 0x80);
        }
    }

    /// Binary data. §1.5.6. Longer than its length field can say is cut, which only texts of our
    /// own could be.
    fn binary(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        self.u16(u16::try_from(bytes.len()).expect("cut to fit"));
        self.put(bytes);
    }

    /// A text, cut between characters when it is too long for its length field.
    fn string(&mut self, text: &str) {
        let end = text.floor_char_boundary(usize::from(u16::MAX));
        self.binary(&text.as_bytes()[..end]);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// How many bytes `write` writes.
pub(crate) fn count(write: impl Fn(&mut dyn Sink)) -> usize {
    let mut counter = Counter(0);
    write(&mut counter);
    counter.0
}

/// Bytes of the variable byte integer `number`.
pub(crate) const fn varint_len(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// A property list: its length, then what `write` writes.
fn section(sink: &mut dyn Sink, write: impl Fn(&mut dyn Sink)) {
    sink.varint(count(&write));
    write(sink);
}

/// A packet: its fixed header, then what `write` writes.
fn packet(out: &mut BytesMut, kind: PacketKind, flags: u8, write: impl Fn(&mut dyn Sink)) {
    let bytes = count(&write);
    out.reserve(bytes + 5);
    out.put_u8((kind as u8) << 4 | flags);
    out.varint(bytes);
    write(out);
}

/// Appends `packet` as `version` spells it.
///
/// What 3.1.1 cannot say is left out: properties, reason codes of acknowledgements, and whole AUTH
/// packets; CONNACK and SUBACK get the code that comes nearest.
pub fn append(packet: &Packet, version: Version, out: &mut BytesMut) {
    match packet {
        Packet::Connect(connect) => append_connect(connect, out),
        Packet::ConnAck(connack) => append_connack(connack, version, out),
        Packet::Publish(publish) => append_publish(publish, version, out),
        Packet::PubAck(step) => append_step(PacketKind::PubAck, step, version, out),
        Packet::PubRec(step) => append_step(PacketKind::PubRec, step, version, out),
        Packet::PubRel(step) => append_step(PacketKind::PubRel, step, version, out),
        Packet::PubComp(step) => append_step(PacketKind::PubComp, step, version, out),
        Packet::Subscribe(subscribe) => append_subscribe(subscribe, version, out),
        Packet::SubAck(suback) => append_suback(suback, version, out),
        Packet::Unsubscribe(unsubscribe) => append_unsubscribe(unsubscribe, version, out),
        Packet::UnsubAck(unsuback) => append_unsuback(unsuback, version, out),
        Packet::PingReq(_) => out.put_slice(&[0xC0, 0]),
        Packet::PingResp(_) => append_pong(out),
        Packet::Disconnect(disconnect) => append_disconnect(disconnect, version, out),
        Packet::Auth(auth) => append_auth(auth, version, out),
    }
}

/// Appends CONNECT, in the version it names.
pub fn append_connect(connect: &Connect, out: &mut BytesMut) {
    packet(out, PacketKind::Connect, 0, |sink| {
        sink.string("MQTT");
        sink.u8(match connect.version {
            Version::V311 => 4,
            Version::V5 => 5,
        });
        let will = connect.will.as_ref().map_or(0, |will| {
            0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5
        });
        sink.u8(u8::from(connect.clean_start) << 1
            | will
            | u8::from(connect.password.is_some()) << 6
            | u8::from(connect.username.is_some()) << 7);
        sink.u16(connect.keep_alive_seconds);
        if connect.version == Version::V5 {
            section(sink, |sink| connect_properties(connect, sink));
        }
        sink.string(&connect.client_id);
        if let Some(will) = &connect.will {
            if connect.version == Version::V5 {
                section(sink, |sink| will_properties(will, sink));
            }
            sink.string(&will.topic);
            sink.binary(&will.payload);
        }
        if let Some(username) = &connect.username {
            sink.string(username);
        }
        if let Some(password) = &connect.password {
            sink.binary(password);
        }
    });
}

fn connect_properties(connect: &Connect, sink: &mut dyn Sink) {
    let properties = &connect.properties;
    if properties.session_expiry_seconds != 0 {
        sink.u32_property(id::SESSION_EXPIRY, properties.session_expiry_seconds);
    }
    if properties.receive_maximum.get() != u16::MAX {
        sink.u16_property(id::RECEIVE_MAXIMUM, properties.receive_maximum.get());
    }
    if let Some(maximum) = properties.maximum_packet_bytes {
        sink.u32_property(id::MAXIMUM_PACKET_SIZE, maximum.get());
    }
    if properties.topic_alias_maximum != 0 {
        sink.u16_property(id::TOPIC_ALIAS_MAXIMUM, properties.topic_alias_maximum);
    }
    if properties.request_response_information {
        sink.byte_property(id::REQUEST_RESPONSE_INFORMATION, 1);
    }
    if !properties.request_problem_information {
        sink.byte_property(id::REQUEST_PROBLEM_INFORMATION, 0);
    }
    sink.string_property(
        id::AUTHENTICATION_METHOD,
        properties.authentication_method.as_ref(),
    );
    sink.binary_property(
        id::AUTHENTICATION_DATA,
        properties.authentication_data.as_ref(),
    );
    sink.user_properties(&properties.user_properties);
}

fn will_properties(will: &Will, sink: &mut dyn Sink) {
    if will.delay_seconds != 0 {
        sink.u32_property(id::WILL_DELAY, will.delay_seconds);
    }
    if let Some(seconds) = will.properties.message_expiry_seconds {
        sink.u32_property(id::MESSAGE_EXPIRY, seconds);
    }
    sink.message_properties(&will.properties);
}

/// Appends CONNACK.
///
/// For 3.1.1 a reason without a return code of its own becomes 3, server unavailable; callers that
/// would rather close in silence ask [`ReasonCode::v311_return_code`] first.
pub fn append_connack(connack: &ConnAck, version: Version, out: &mut BytesMut) {
    // §3.2.2.1.1 [MQTT-3.2.2-6]: no session is present when the connection is refused.
    let present = connack.session_present && connack.reason == ReasonCode::Success;
    packet(out, PacketKind::ConnAck, 0, |sink| {
        sink.u8(u8::from(present));
        match version {
            Version::V311 => sink.u8(connack.reason.v311_return_code().unwrap_or(3)),
            Version::V5 => {
                sink.u8(connack.reason.as_u8());
                section(sink, |sink| connack_properties(connack, sink));
            }
        }
    });
}

fn connack_properties(connack: &ConnAck, sink: &mut dyn Sink) {
    let properties = &connack.properties;
    if let Some(seconds) = properties.session_expiry_seconds {
        sink.u32_property(id::SESSION_EXPIRY, seconds);
    }
    if properties.receive_maximum.get() != u16::MAX {
        sink.u16_property(id::RECEIVE_MAXIMUM, properties.receive_maximum.get());
    }
    if properties.maximum_qos != QoS::ExactlyOnce {
        sink.byte_property(id::MAXIMUM_QOS, properties.maximum_qos as u8);
    }
    if !properties.retain_available {
        sink.byte_property(id::RETAIN_AVAILABLE, 0);
    }
    if let Some(maximum) = properties.maximum_packet_bytes {
        sink.u32_property(id::MAXIMUM_PACKET_SIZE, maximum.get());
    }
    sink.string_property(
        id::ASSIGNED_CLIENT_ID,
        properties.assigned_client_id.as_ref(),
    );
    if properties.topic_alias_maximum != 0 {
        sink.u16_property(id::TOPIC_ALIAS_MAXIMUM, properties.topic_alias_maximum);
    }
    sink.string_property(id::REASON_STRING, properties.reason_string.as_ref());
    sink.user_properties(&properties.user_properties);
    for (id, available) in [
        (
            id::WILDCARD_AVAILABLE,
            properties.wildcard_subscription_available,
        ),
        (
            id::SUBSCRIPTION_IDS_AVAILABLE,
            properties.subscription_ids_available,
        ),
        (
            id::SHARED_AVAILABLE,
            properties.shared_subscription_available,
        ),
    ] {
        if !available {
            sink.byte_property(id, 0);
        }
    }
    if let Some(seconds) = properties.server_keep_alive_seconds {
        sink.u16_property(id::SERVER_KEEP_ALIVE, seconds);
    }
    sink.string_property(
        id::RESPONSE_INFORMATION,
        properties.response_information.as_ref(),
    );
    sink.string_property(id::SERVER_REFERENCE, properties.server_reference.as_ref());
    sink.string_property(
        id::AUTHENTICATION_METHOD,
        properties.authentication_method.as_ref(),
    );
    sink.binary_property(
        id::AUTHENTICATION_DATA,
        properties.authentication_data.as_ref(),
    );
}

/// The first byte of a PUBLISH. §3.3.1.
pub(crate) const fn publish_head(dup: bool, qos: QoS, retain: bool) -> u8 {
    0x30 | (dup as u8) << 3 | (qos as u8) << 1 | retain as u8
}

/// Appends PUBLISH. A message for several subscribers is written by [`crate::EncodedPublish`].
pub fn append_publish(publish: &Publish, version: Version, out: &mut BytesMut) {
    let flags = publish_head(publish.dup, publish.qos, publish.retain) & 0x0F;
    packet(out, PacketKind::Publish, flags, |sink| {
        sink.string(&publish.topic);
        if let Some(packet_id) = publish.packet_id {
            sink.u16(packet_id.get());
        }
        if version == Version::V5 {
            section(sink, |sink| {
                if let Some(alias) = publish.topic_alias {
                    sink.u16_property(id::TOPIC_ALIAS, alias.get());
                }
                for &subscription in &publish.subscription_ids {
                    sink.u8(id::SUBSCRIPTION_ID);
                    sink.varint(subscription as usize);
                }
                if let Some(seconds) = publish.properties.message_expiry_seconds {
                    sink.u32_property(id::MESSAGE_EXPIRY, seconds);
                }
                sink.message_properties(&publish.properties);
            });
        }
        sink.put(&publish.payload);
    });
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP; another `kind` is a fault of the caller.
pub fn append_step(kind: PacketKind, step: &PubAck, version: Version, out: &mut BytesMut) {
    let flags = if kind == PacketKind::PubRel { 2 } else { 0 };
    let plain = step.reason_string.is_none() && step.user_properties.is_empty();
    if version == Version::V311 || (plain && step.reason == ReasonCode::Success) {
        // The commonest packets: no properties, no reason. §3.4.2.1.
        let [high, low] = step.packet_id.get().to_be_bytes();
        return out.put_slice(&[(kind as u8) << 4 | flags, 2, high, low]);
    }
    packet(out, kind, flags, |sink| {
        sink.u16(step.packet_id.get());
        sink.u8(step.reason.as_u8());
        if !plain {
            reasons(sink, step.reason_string.as_deref(), &step.user_properties);
        }
    });
}

/// A property list of a reason string and user properties.
fn reasons(sink: &mut dyn Sink, text: Option<&str>, user_properties: &UserProperties) {
    section(sink, |sink| {
        if let Some(text) = text {
            sink.u8(id::REASON_STRING);
            sink.string(text);
        }
        sink.user_properties(user_properties);
    });
}

/// The options byte of a subscription. §3.8.3.1.
fn options(options: SubscribeOptions, version: Version) -> u8 {
    match version {
        Version::V311 => options.qos as u8,
        Version::V5 => {
            options.qos as u8
                | u8::from(options.no_local) << 2
                | u8::from(options.retain_as_published) << 3
                | (options.retain_handling as u8) << 4
        }
    }
}

/// Appends SUBSCRIBE.
pub fn append_subscribe(subscribe: &Subscribe, version: Version, out: &mut BytesMut) {
    packet(out, PacketKind::Subscribe, 2, |sink| {
        sink.u16(subscribe.packet_id.get());
        if version == Version::V5 {
            section(sink, |sink| {
                if let Some(id) = subscribe.subscription_id {
                    sink.u8(id::SUBSCRIPTION_ID);
                    sink.varint(id.get() as usize);
                }
                sink.user_properties(&subscribe.user_properties);
            });
        }
        for (filter, wanted) in &subscribe.filters {
            sink.string(filter);
            sink.u8(options(*wanted, version));
        }
    });
}

/// Appends SUBACK.
pub fn append_suback(suback: &SubAck, version: Version, out: &mut BytesMut) {
    packet(out, PacketKind::SubAck, 0, |sink| {
        sink.u16(suback.packet_id.get());
        if version == Version::V5 {
            reasons(
                sink,
                suback.reason_string.as_deref(),
                &suback.user_properties,
            );
        }
        for reason in &suback.reasons {
            sink.u8(match version {
                Version::V311 => reason.v311_suback(),
                Version::V5 => reason.as_u8(),
            });
        }
    });
}

/// Appends UNSUBSCRIBE.
pub fn append_unsubscribe(unsubscribe: &Unsubscribe, version: Version, out: &mut BytesMut) {
    packet(out, PacketKind::Unsubscribe, 2, |sink| {
        sink.u16(unsubscribe.packet_id.get());
        if version == Version::V5 {
            section(sink, |sink| {
                sink.user_properties(&unsubscribe.user_properties);
            });
        }
        for filter in &unsubscribe.filters {
            sink.string(filter);
        }
    });
}

/// Appends UNSUBACK; 3.1.1 says only which UNSUBSCRIBE it answers.
pub fn append_unsuback(unsuback: &UnsubAck, version: Version, out: &mut BytesMut) {
    packet(out, PacketKind::UnsubAck, 0, |sink| {
        sink.u16(unsuback.packet_id.get());
        if version == Version::V5 {
            reasons(
                sink,
                unsuback.reason_string.as_deref(),
                &unsuback.user_properties,
            );
            for reason in &unsuback.reasons {
                sink.u8(reason.as_u8());
            }
        }
    });
}

/// Appends PINGRESP.
pub fn append_pong(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// Appends DISCONNECT.
pub fn append_disconnect(disconnect: &Disconnect, version: Version, out: &mut BytesMut) {
    let plain = disconnect.session_expiry_seconds.is_none()
        && disconnect.reason_string.is_none()
        && disconnect.server_reference.is_none()
        && disconnect.user_properties.is_empty();
    if version == Version::V311 || (plain && disconnect.reason == ReasonCode::Success) {
        return out.put_slice(&[0xE0, 0]);
    }
    packet(out, PacketKind::Disconnect, 0, |sink| {
        sink.u8(disconnect.reason.as_u8());
        if !plain {
            section(sink, |sink| {
                if let Some(seconds) = disconnect.session_expiry_seconds {
                    sink.u32_property(id::SESSION_EXPIRY, seconds);
                }
                sink.string_property(id::REASON_STRING, disconnect.reason_string.as_ref());
                sink.string_property(id::SERVER_REFERENCE, disconnect.server_reference.as_ref());
                sink.user_properties(&disconnect.user_properties);
            });
        }
    });
}

/// Appends AUTH; nothing for 3.1.1, which has none.
pub fn append_auth(auth: &Auth, version: Version, out: &mut BytesMut) {
    if version == Version::V311 {
        return;
    }
    packet(out, PacketKind::Auth, 0, |sink| {
        sink.u8(auth.reason.as_u8());
        section(sink, |sink| {
            sink.string_property(id::AUTHENTICATION_METHOD, auth.method.as_ref());
            sink.binary_property(id::AUTHENTICATION_DATA, auth.data.as_ref());
            sink.string_property(id::REASON_STRING, auth.reason_string.as_ref());
            sink.user_properties(&auth.user_properties);
        });
    });
}
