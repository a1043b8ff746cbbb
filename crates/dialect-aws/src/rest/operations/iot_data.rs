//! The data plane (`iot-data`, 2015-05-28): 11 operations.

use super::{Method::*, Operation, Service::IotData};

/// Every operation, by name.
#[rustfmt::skip] // one operation a line
pub(super) const TABLE: &[Operation] = &[
    Operation::at(IotData, "DeleteConnection", Delete, "/connections/{}"),
    Operation::at(IotData, "DeleteThingShadow", Delete, "/things/{}/shadow"),
    Operation::at(IotData, "GetConnection", Get, "/connections/{}"),
    Operation::at(IotData, "GetRetainedMessage", Get, "/retainedMessage/{+}"),
    Operation::at(IotData, "GetThingShadow", Get, "/things/{}/shadow"),
    Operation::at(IotData, "ListNamedShadowsForThing", Get, "/api/things/shadow/ListNamedShadowsForThing/{}"),
    Operation::at(IotData, "ListRetainedMessages", Get, "/retainedMessage"),
    Operation::at(IotData, "ListSubscriptions", Get, "/connections/{}/subscriptions"),
    Operation::at(IotData, "Publish", Post, "/topics/{+}"),
    Operation::at(IotData, "SendDirectMessage", Post, "/connections/{}/messages"),
    Operation::at(IotData, "UpdateThingShadow", Post, "/things/{}/shadow"),
];
