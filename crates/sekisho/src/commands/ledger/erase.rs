//! `sekisho ledger erase`: forgets what hashes in the ledger stand for.

use crate::{cli::Where, commands::find, failure::Failure, output};

/// Erases `what`: operator/NAME, address/IP, or a thing as KIND/NAME.
pub(super) async fn run(hub: &Where, what: &str) -> Result<(), Failure> {
    let erasure = match what.split_once('/') {
        Some(("operator", name)) => api::Erasure::Operator(name.into()),
        Some(("address", address)) => api::Erasure::Address(address.into()),
        Some((_, _)) => api::Erasure::Object(what.into()),
        None => {
            return Err(Failure::usage(
                "write what to erase as operator/NAME, address/IP or KIND/NAME, such as \
                 device/pump-1",
            ));
        }
    };
    let erased: api::Erased = find(hub)?.post("/ledger/erasures", &erasure).await?;
    if hub.json {
        return output::json(&erased);
    }
    if erased.erased {
        output::line(&format!(
            "erased {what}: the ledger stands, and nobody can tell from it any more"
        ));
        Ok(())
    } else {
        Err(Failure::Refused(format!(
            "the ledger knows nothing of {what}: it never did, or it was erased before"
        )))
    }
}
