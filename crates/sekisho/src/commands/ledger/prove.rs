//! `sekisho ledger prove` and `check`: one entry, for whoever holds nothing but the policy.

use std::path::Path;

use ledger::{Entry, Identity};
use tlog::Proof;

use super::{find, not_a, read, read_policy, show};
use crate::{
    cli::Where,
    failure::Failure,
    folder::{self, Secrecy},
    output,
};

/// Writes or prints the proof of an entry.
pub(super) async fn prove(hub: &Where, index: u64, out: Option<&Path>) -> Result<(), Failure> {
    let text = find(hub)?.text(&path(index)).await?;
    match out {
        Some(out) => {
            folder::write(out, &text, Secrecy::Public)?;
            output::note(&format!("wrote {}", out.display()));
        }
        None => output::line(text.trim_end()),
    }
    Ok(())
}

/// Where REST v1 has the proof of an entry.
pub(super) fn path(index: u64) -> String {
    format!("/ledger/proofs/{index}")
}

/// What a proof that holds says, as `--json` prints it.
#[derive(serde::Serialize)]
struct Proved {
    origin: String,
    size: u64,
    witnesses: Vec<String>,
    entry: api::LedgerEntry,
}

/// Checks a proof file and shows the entry it carries.
pub(super) fn check(proof: &Path, policy: &Path, json: bool) -> Result<(), Failure> {
    let policy = read_policy(policy)?;
    let file = proof.display();
    let proof = Proof::parse(&read(proof)?).map_err(|error| not_a("proof", proof, &error))?;
    let bytes = proof.extra.as_deref().ok_or_else(|| {
        Failure::usage(format!(
            "{file} does not carry its entry; one from `sekisho ledger prove` does"
        ))
    })?;
    let refused =
        |error: &dyn std::fmt::Display| Failure::Refused(format!("{file} proves nothing: {error}"));
    let checkpoint = proof
        .check(bytes, &policy)
        .map_err(|error| refused(&error))?;
    let entry = Entry::decode(bytes)
        .map_err(|error| refused(&format!("what it carries is no entry: {error}")))?;
    let standing = policy.is_final(&proof.note);
    let standing = standing.map_err(|error| refused(&error))?;
    let proved = Proved {
        witnesses: standing.witnesses().map(str::to_owned).collect(),
        origin: checkpoint.origin,
        size: checkpoint.size,
        entry: decoded(proof.index, entry, bytes),
    };
    if json {
        return output::json(&proved);
    }
    show::print(&proved.entry);
    let witnesses = match proved.witnesses.as_slice() {
        [] => "nobody but the ledger itself".to_owned(),
        names => names.join(", "),
    };
    output::note(&format!(
        "it is entry {} of {} in {}, witnessed by {witnesses}",
        proof.index, proved.size, proved.origin
    ));
    Ok(())
}

/// The entry as far as it says itself what it means: who is behind a pseudonym, only its hub knows.
fn decoded(index: u64, entry: Entry, bytes: &[u8]) -> api::LedgerEntry {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (name, pseudonym) = match entry.actor.id {
        Identity::Plain(name) => (Some(name), None),
        Identity::Pseudonym(digest) => (None, Some(digest.to_string())),
    };
    let text = |digest: Option<ledger::Digest>| digest.map(|digest| digest.to_string());
    api::LedgerEntry {
        index,
        at: entry.at.millis(),
        actor: api::LedgerActor {
            kind: entry.actor.kind.name().to_owned(),
            name,
            pseudonym,
            credential: text(entry.actor.credential),
            address: None,
            address_pseudonym: text(entry.actor.address),
        },
        verb: entry.verb,
        changes: entry
            .changes
            .into_iter()
            .map(|change| api::LedgerChange {
                kind: change.object.kind,
                id: change.object.id,
                of: change.object.of,
                before: text(change.before),
                after: text(change.after),
            })
            .collect(),
        part: entry.part,
        detail: entry.detail,
        request: entry.request,
        previous: entry.previous,
        bytes: STANDARD.encode(bytes),
    }
}
