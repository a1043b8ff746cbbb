//! A cloud's way of spelling the hub: the [`Dialect`] trait and the values that cross it.
//!
//! A dialect translates names and payloads in both directions; it judges nothing and does no I/O.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use hub::{Caller, Credentials, Intent};
use model::{Refusal, TopicFilter, TopicName};
use mqtt_proto::{PublishProperties, QoS};
use std::{num::NonZeroU16, sync::Arc};

/// The header of HTTP answers that says where in the ledger stands what was done: a decimal index.
pub const LEDGER_INDEX_HEADER: &str = "x-sekisho-ledger-index";

/// What a peer says of itself in CONNECT, with what the handshake proved.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    /// The user name, as sent.
    pub user_name: Option<&'a str>,
    /// The password, as sent.
    pub password: Option<&'a [u8]>,
    /// The leaf certificate whose key the handshake proved, in DER.
    pub certificate: Option<Arc<[u8]>>,
}

/// A message as a device sent it: its topic in the device's own spelling.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Where, as the device spells it.
    pub topic: ByteString,
    /// What.
    pub payload: Bytes,
    /// At what quality of service.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Properties that travel with it.
    pub properties: PublishProperties,
    /// The packet id, above QoS 0.
    pub packet_id: Option<NonZeroU16>,
}

/// A cloud's way of spelling the hub. All of these are pure functions.
pub trait Dialect: Send + Sync {
    /// Reads the evidence a peer presents; never judges it.
    ///
    /// # Errors
    ///
    /// A refusal when the evidence is of a kind the hub does not take, naming it.
    fn identify(&self, hello: &Hello<'_>) -> Result<Credentials, Refusal>;

    /// Reads what a device asks for with a message.
    ///
    /// # Errors
    ///
    /// A refusal when the topic is not one devices may publish to, or not implemented, naming it.
    fn interpret(&self, caller: &Caller, inbound: Inbound) -> Result<Intent, Refusal>;

    /// A will's topic in canonical spelling.
    ///
    /// # Errors
    ///
    /// As [`Dialect::interpret`].
    fn will_topic(&self, caller: &Caller, topic: ByteString) -> Result<TopicName, Refusal>;

    /// A filter in canonical spelling.
    ///
    /// # Errors
    ///
    /// A refusal when it is no filter, or none that devices may use.
    fn filter(&self, caller: &Caller, filter: &ByteString) -> Result<TopicFilter, Refusal>;

    /// A canonical topic as this device spells it; `None` when it is the same. Only topics that
    /// begin with `$` ever differ.
    fn spell<'a>(&self, canonical: &'a TopicName) -> Option<Cow<'a, str>>;
}
