//! Property lists of MQTT 5.0 §2.2.2, and the ones a message carries from end to end.

use bytes::Bytes;
use bytestring::ByteString;
use model::limits;

use crate::{DecodeError, encode::Sink, packet::UserProperties, read::Reader};

/// The properties of a message that travel from the publisher to every subscriber. §3.3.2.3.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PublishProperties {
    /// Whether the payload says what it is: `Some(true)` UTF-8 text, `Some(false)` unspecified
    /// bytes, `None` not said.
    pub payload_format: Option<bool>,
    /// How long the message is worth delivering, in seconds.
    pub message_expiry_seconds: Option<u32>,
    /// What the payload is, as the publisher calls it.
    pub content_type: Option<ByteString>,
    /// Where answers go.
    pub response_topic: Option<ByteString>,
    /// What answers repeat.
    pub correlation_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// Identifiers of properties. §2.2.2.2, table 2-4.
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;
}

/// A property list being read. Whoever reads it takes an identifier, then the value; whatever it
/// does not expect it hands to [`Section::misplaced`].
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) value: Reader,
    /// One bit per identifier met.
    seen: u64,
}

impl Section {
    pub(crate) fn read(packet: &mut Reader) -> Result<Self, DecodeError> {
        let bytes = packet.varint()?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self {
            value: packet.part(bytes)?,
            seen: 0,
        })
    }

    /// The next identifier; `None` at the end. Refuses a second one of a kind that may stand once.
    pub(crate) fn next(&mut self) -> Result<Option<u8>, DecodeError> {
        if self.value.is_empty() {
            return Ok(None);
        }
        let id = self.value.u8()?;
        if id > id::SHARED_AVAILABLE {
            return Err(Self::misplaced());
        }
        let bit = 1 << id;
        let may_repeat = matches!(id, id::USER_PROPERTY | id::SUBSCRIPTION_ID);
        if self.seen & bit != 0 && !may_repeat {
            return Err(DecodeError::protocol(
                "2.2.2.2",
                "a property stands more than once",
            ));
        }
        self.seen |= bit;
        Ok(Some(id))
    }

    /// §2.2.2.2: an identifier that is unknown or not valid for this packet.
    pub(crate) const fn misplaced() -> DecodeError {
        DecodeError::malformed("2.2.2.2", "a property does not belong in this packet")
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, clause: &'static str) -> Result<bool, DecodeError> {
        match self.value.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::protocol(
                clause,
                "a property is neither 0 nor 1",
            )),
        }
    }

    pub(crate) fn user_property(&mut self, into: &mut UserProperties) -> Result<(), DecodeError> {
        if into.len() >= limits::USER_PROPERTIES {
            return Err(DecodeError::TooMany {
                of: "user properties",
                limit: limits::USER_PROPERTIES,
            });
        }
        let name = self.value.string()?;
        into.push((name, self.value.string()?));
        Ok(())
    }

    /// Reads the value of `id` when it is one that travels with a message.
    pub(crate) fn message_property(
        &mut self,
        id: u8,
        into: &mut PublishProperties,
    ) -> Result<(), DecodeError> {
        match id {
            id::PAYLOAD_FORMAT => into.payload_format = Some(self.flag("3.3.2.3.2")?),
            id::MESSAGE_EXPIRY => into.message_expiry_seconds = Some(self.value.u32()?),
            id::CONTENT_TYPE => into.content_type = Some(self.value.string()?),
            id::RESPONSE_TOPIC => {
                let topic = self.value.string()?;
                if topic.is_empty() || topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
                    return Err(DecodeError::protocol(
                        "3.3.2.3.5",
                        "the response topic is empty or holds a wildcard",
                    ));
                }
                into.response_topic = Some(topic);
            }
            id::CORRELATION_DATA => into.correlation_data = Some(self.value.binary()?),
            id::USER_PROPERTY => self.user_property(&mut into.user_properties)?,
            _ => return Err(Self::misplaced()),
        }
        Ok(())
    }
}

/// Writing properties; each writes its identifier and its value.
pub(crate) trait PropertySink: Sink {
    fn byte_property(&mut self, id: u8, value: u8) {
        self.u8(id);
        self.u8(value);
    }

    fn u16_property(&mut self, id: u8, value: u16) {
        self.u8(id);
        self.u16(value);
    }

    fn u32_property(&mut self, id: u8, value: u32) {
        self.u8(id);
        self.u32(value);
    }

    fn string_property(&mut self, id: u8, value: Option<&ByteString>) {
        if let Some(value) = value {
            self.u8(id);
            self.string(value);
        }
    }

    fn binary_property(&mut self, id: u8, value: Option<&Bytes>) {
        if let Some(value) = value {
            self.u8(id);
            self.binary(value);
        }
    }

    fn user_properties(&mut self, properties: &UserProperties) {
        for (name, value) in properties {
            self.u8(id::USER_PROPERTY);
            self.string(name);
            self.string(value);
        }
    }

    /// What travels with a message, except its expiry.
    fn message_properties(&mut self, properties: &PublishProperties) {
        if let Some(is_text) = properties.payload_format {
            self.byte_property(id::PAYLOAD_FORMAT, u8::from(is_text));
        }
        self.string_property(id::CONTENT_TYPE, properties.content_type.as_ref());
        self.string_property(id::RESPONSE_TOPIC, properties.response_topic.as_ref());
        self.binary_property(id::CORRELATION_DATA, properties.correlation_data.as_ref());
        self.user_properties(&properties.user_properties);
    }
}

impl<S: Sink + ?Sized> PropertySink for S {}
