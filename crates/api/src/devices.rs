//! Devices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Certificate;

/// A device to be registered and given a key and a certificate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its name.
    pub id: String,
    /// The policy to attach to its certificate; by default one that lets every device use its own
    /// topics and shadows and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// A device and its secrets. They are told this once and kept nowhere.
#[derive(Clone, Deserialize, Serialize)]
pub struct IssuedDevice {
    /// Its name.
    pub id: String,
    /// The id of its certificate.
    pub certificate_id: String,
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PEM (PKCS#8).
    pub private_key_pem: String,
    /// What it must trust, PEM.
    pub root_ca_pem: String,
    /// The policy attached to its certificate.
    pub policy: String,
}

/// A device in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Device {
    /// Its name.
    pub id: String,
    /// Its type.
    pub device_type: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Whether a client of its name is connected now.
    pub connected: bool,
    /// When it was registered.
    pub created_at: u64,
    /// When it was changed last.
    pub modified_at: u64,
}

/// A device with all that belongs to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceDetails {
    /// The device.
    pub device: Device,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// The connection or remembered session of the client of its name.
    pub connection: Option<Connection>,
}

/// What is known of a client.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Connection {
    /// Whether it is connected now.
    pub connected: bool,
    /// From where.
    pub address: Option<String>,
    /// Since when.
    pub connected_at: Option<u64>,
    /// In seconds; 0 is never.
    pub keep_alive_seconds: u16,
    /// What it subscribes to.
    pub subscriptions: Vec<Subscription>,
}

/// A subscription.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Subscription {
    /// The filter, in the hub's spelling.
    pub filter: String,
    /// Quality of service: 0 to 2.
    pub qos: u8,
}
