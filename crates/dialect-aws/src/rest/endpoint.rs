//! Where devices connect to.

use serde_json::json;

use super::call::{Call, Outcome, Reply, invalid};

/// `DescribeEndpoint`: the host name alone, as AWS tells it. Every type of endpoint is on the same
/// host here; types that AWS has given up are answered for the tools that still ask for them.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    match call.query("endpointType")?.as_deref() {
        None
        | Some(
            "iot:Data-ATS" | "iot:Data" | "iot:CredentialProvider" | "iot:Jobs" | "iot:Data-Beta",
        ) => Ok(Reply::json(&json!({ "endpointAddress": call.endpoint }))),
        Some(other) => Err(invalid(format!(
            "{other:?} is no type of endpoint; ask for iot:Data-ATS or iot:CredentialProvider"
        ))
        .into()),
    }
}
