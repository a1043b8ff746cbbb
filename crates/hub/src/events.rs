//! What the hub tells subscribers of its own accord: lifecycle events of connections and of the
//! registry.

use std::net::IpAddr;

use model::{ClientId, DeviceId, Timestamp};

use crate::DisconnectReason;

/// Something that happened, for whoever subscribes to it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A device connected.
    Connected {
        /// As it calls itself.
        client_id: ClientId,
        /// The device it is, when its certificate belongs to it alone.
        device: Option<DeviceId>,
        /// The principal's id.
        principal: String,
        /// Identifies the connection; the same in its disconnected event.
        session: String,
        /// From where.
        address: IpAddr,
        /// Counts the connections of this client id; the same in its disconnected event.
        version: u64,
        /// When.
        at: Timestamp,
    },
    /// A device's connection ended.
    Disconnected {
        /// As it calls itself.
        client_id: ClientId,
        /// The device it is, when its certificate belongs to it alone.
        device: Option<DeviceId>,
        /// The principal's id.
        principal: String,
        /// Identifies the connection.
        session: String,
        /// As in its connected event.
        version: u64,
        /// Why.
        reason: DisconnectReason,
        /// When.
        at: Timestamp,
    },
    /// A connection was refused because of who asked for it.
    ConnectFailed {
        /// As it calls itself.
        client_id: ClientId,
        /// The principal's id, when it is known.
        principal: String,
        /// When.
        at: Timestamp,
    },
    /// A client subscribed.
    Subscribed {
        /// As it calls itself.
        client_id: ClientId,
        /// The principal's id.
        principal: String,
        /// Identifies the connection.
        session: String,
        /// The filters, in the client's own spelling.
        filters: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// A client unsubscribed.
    Unsubscribed {
        /// As it calls itself.
        client_id: ClientId,
        /// The principal's id.
        principal: String,
        /// Identifies the connection.
        session: String,
        /// The filters, in the client's own spelling.
        filters: Vec<String>,
        /// When.
        at: Timestamp,
    },
}
