//! The ledger: what was done, by whom, and how that is proved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the ledger is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ledger {
    /// The log's name in its checkpoints.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// How many of them the newest signed checkpoint covers.
    pub signed: u64,
    /// How many of them are final: cosigned as the policy asks, or signed where it asks for nothing.
    pub final_size: u64,
    /// The newest signed checkpoint, a C2SP signed note.
    pub checkpoint: Option<String>,
    /// The newest final checkpoint, with its cosignatures.
    pub final_checkpoint: Option<String>,
    /// The policy by which anybody can check, a C2SP tlog-policy file.
    pub policy: String,
    /// Whether changes are answered only when they are final.
    pub require_cosigned: bool,
    /// Whether the checkpoint and the tiles are served to everybody.
    pub public: bool,
    /// What is wrong with it, for people: a witness that saw another history, files that cannot be
    /// written.
    pub alarms: Vec<String>,
}

/// One entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LedgerEntry {
    /// Its place, from 0.
    pub index: u64,
    /// When it was done.
    pub at: u64,
    /// Who did it.
    pub actor: LedgerActor,
    /// What was done: `device.create`, `certificate.revoke`, …
    pub verb: String,
    /// To what.
    pub changes: Vec<LedgerChange>,
    /// Which part of how many, when one entry was too small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<(u32, u32)>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
    /// The id of the request that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The place of the same actor's entry before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// The entry as it stands in the tree, in base64.
    pub bytes: String,
}

/// Who did something.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LedgerActor {
    /// `operator`, `certificate` or `hub`.
    pub kind: String,
    /// Its name; absent when it is a pseudonym that was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What stands for its name in the entry, in hexadecimal digits, when the name does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
    /// The fingerprint of the credential it showed, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// From where; absent when that was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What stands for the address in the entry, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_pseudonym: Option<String>,
}

/// What happened to one object.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LedgerChange {
    /// `device`, `certificate`, `policy-attachment`, …
    pub kind: String,
    /// Its name.
    pub id: String,
    /// What it belongs to, as KIND/NAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The salted hash of what it was; absent when it did not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The salted hash of what it is; absent when it does not exist any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What is to be erased: from then on nobody can tell what its hashes in the ledger stood for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Erasure {
    /// The name of an operator.
    Operator(String),
    /// A network address.
    Address(String),
    /// The states of a thing, written KIND/NAME.
    Object(String),
}

/// What an erasure did.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Erased {
    /// Whether there was something to erase.
    pub erased: bool,
}

/// Whether what the hub holds is what the ledger says it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LedgerState {
    /// Whether it is.
    pub agrees: bool,
    /// How many entries were read.
    pub entries: u64,
    /// How many objects were compared.
    pub objects: u64,
    /// What differs, at most 100 lines.
    pub differences: Vec<String>,
}
