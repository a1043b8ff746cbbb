//! Secure tunneling (`iotsecuretunneling`, 2018-10-05): 8 operations, told apart by
//! `X-Amz-Target: IoTSecuredTunneling.NAME`.

use super::{Operation, Service::SecureTunneling};

/// What stands before the operation's name in `X-Amz-Target`.
pub(super) const TARGET_PREFIX: &str = "IoTSecuredTunneling.";

/// Every operation, by name.
pub(super) const TABLE: &[Operation] = &[
    Operation::named(SecureTunneling, "CloseTunnel"),
    Operation::named(SecureTunneling, "DescribeTunnel"),
    Operation::named(SecureTunneling, "ListTagsForResource"),
    Operation::named(SecureTunneling, "ListTunnels"),
    Operation::named(SecureTunneling, "OpenTunnel"),
    Operation::named(SecureTunneling, "RotateTunnelAccessToken"),
    Operation::named(SecureTunneling, "TagResource"),
    Operation::named(SecureTunneling, "UntagResource"),
];
