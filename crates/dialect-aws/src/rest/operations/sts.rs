//! The token service (`sts`, 2011-06-15): 11 operations, told apart by the form field `Action`.

use super::{Operation, Service::Sts};

/// Every operation, by name.
pub(super) const TABLE: &[Operation] = &[
    Operation::named(Sts, "AssumeRole"),
    Operation::named(Sts, "AssumeRoleWithSAML"),
    Operation::named(Sts, "AssumeRoleWithWebIdentity"),
    Operation::named(Sts, "AssumeRoot"),
    Operation::named(Sts, "DecodeAuthorizationMessage"),
    Operation::named(Sts, "GetAccessKeyInfo"),
    Operation::named(Sts, "GetCallerIdentity"),
    Operation::named(Sts, "GetDelegatedAccessToken"),
    Operation::named(Sts, "GetFederationToken"),
    Operation::named(Sts, "GetSessionToken"),
    Operation::named(Sts, "GetWebIdentityToken"),
];
