//! What devices ask for, in the hub's own words.

use std::num::NonZeroU16;

use bytes::Bytes;
use model::{Address, ShadowName, TopicName};
use mqtt_proto::{PublishProperties, QoS};

use crate::{ClaimRequest, Encoding};

/// What a device's message asks for, once its dialect has read it.
#[derive(Clone, Debug)]
pub enum Intent {
    /// A plain message.
    Publish(PublishRequest),
    /// A shadow request: an ordinary message too, and answered by messages.
    Shadow(PublishRequest, ShadowRequest),
    /// A device with a claim asks to be provisioned; nobody else sees request or answer.
    Claim(PublishRequest, ClaimRequest, Encoding),
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// Where, in canonical spelling.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// At what quality of service.
    pub qos: QoS,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// Properties that travel with it.
    pub properties: PublishProperties,
    /// The publisher's packet id; present above QoS 0 when it comes by MQTT.
    pub packet_id: Option<NonZeroU16>,
}

/// What is asked of a shadow. The payload is that of the message that asks.
#[derive(Clone, Debug)]
pub struct ShadowRequest {
    /// Whose shadow.
    pub address: Address,
    /// Which of its shadows; `None` is the unnamed one.
    pub name: Option<ShadowName>,
    /// What to do.
    pub verb: ShadowVerb,
}

/// What to do with a shadow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShadowVerb {
    /// Read it.
    Get,
    /// Merge the payload into it.
    Update,
    /// Remove it.
    Delete,
}
