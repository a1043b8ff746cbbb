//! `sekisho ledger …`: what the hub records, and how anybody can check it.

mod erase;
mod export;
mod folder;
mod keys;
mod prove;
mod remote;
mod s3;
mod show;
mod verify;

use std::{fs, path::Path};

pub(super) use folder::Folder;
use tlog::Policy;

use super::find;
use crate::{
    cli::{Key, Ledger, Where},
    client::Hub,
    failure::Failure,
    output,
};

/// The checkpoint's path below a log's prefix (C2SP `tlog-tiles`).
const CHECKPOINT: &str = "checkpoint";

/// Does what is asked.
pub(super) async fn run(action: Ledger) -> Result<(), Failure> {
    match action {
        Ledger::Status { hub } => status(&hub).await,
        Ledger::Policy { hub } => {
            let ledger = ledger(&find(&hub)?).await?;
            output::line(ledger.policy.trim_end());
            Ok(())
        }
        Ledger::Export {
            hub,
            out,
            s3_endpoint,
        } => export::run(&hub, out, s3_endpoint).await,
        Ledger::Verify {
            hub,
            offline: Some(folder),
            policy,
            since,
        } => verify::offline(&folder, &hub, policy.as_deref(), since.as_deref()).await,
        Ledger::Verify {
            hub, policy, since, ..
        } => verify::online(&hub, policy.as_deref(), since.as_deref()).await,
        Ledger::Prove { hub, index, out } => prove::prove(&hub, index, out.as_deref()).await,
        Ledger::Check {
            proof,
            policy,
            json,
        } => prove::check(&proof, &policy, json),
        Ledger::Tail { hub, follow, count } => show::tail(&hub, follow, count).await,
        Ledger::Search { hub, wanted } => show::search(&hub, &wanted).await,
        Ledger::Erase { hub, what } => erase::run(&hub, &what).await,
        Ledger::Key { action } => match action {
            Key::Add { hub } => keys::add(&hub.data),
            Key::Retire { hub, id } => keys::retire(&hub.data, &id),
            Key::List { hub } => keys::list(&hub.data),
        },
        Ledger::History {
            hub,
            device,
            proofs,
        } => show::history(&hub, device, proofs.as_deref()).await,
    }
}

async fn ledger(hub: &Hub) -> Result<api::Ledger, Failure> {
    hub.get("/ledger").await
}

async fn status(hub: &Where) -> Result<(), Failure> {
    let ledger = ledger(&find(hub)?).await?;
    if hub.json {
        return output::json(&ledger);
    }
    let yes = |yes| if yes { "yes" } else { "no" };
    let rows = [
        ("origin", ledger.origin),
        ("entries", ledger.size.to_string()),
        ("signed", ledger.signed.to_string()),
        ("final", ledger.final_size.to_string()),
        ("changes wait", yes(ledger.require_cosigned).to_owned()),
        ("public", yes(ledger.public).to_owned()),
    ];
    for (name, value) in rows {
        output::line(&format!("{name:14} {value}"));
    }
    for alarm in &ledger.alarms {
        output::line(&format!("{:14} {alarm}", "ALARM"));
    }
    match ledger.alarms.len() {
        0 => Ok(()),
        _ => Err(Failure::Refused("the ledger raises an alarm".into())),
    }
}

/// Reads a policy file.
fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = read(path)?;
    Policy::parse(&bytes).map_err(|error| not_a("policy", path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

fn not_a(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{} is not a {what}: {error}", path.display()))
}
