//! The ledger as the hub keeps it: begun, read, proved, cosigned, and erased from.

mod begin;
mod cosign;
mod erase;
mod read;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tlog::{Policy, SignerKey};

pub use cosign::CosignError;
pub use read::{EntryQuery, LedgerFigures, LedgerStatus, NamedEntry};

use crate::Hub;

/// What the ledger is kept with.
pub struct LedgerSetup {
    /// The keys that sign checkpoints, all of one name; the first is the oldest.
    pub signers: Vec<Arc<SignerKey>>,
    /// When a checkpoint is final.
    pub policy: Policy,
    /// The policy as the operator wrote it; `None` when there is none but the ledger's own keys.
    pub policy_text: Option<String>,
    /// Whether everybody may read the checkpoint and the tiles.
    pub is_public: bool,
    /// Whether a clock that went back is right.
    pub accept_clock: bool,
    /// The backup that the folder was made from, when that has not been recorded for certain.
    pub restored: Option<Restored>,
}

/// A backup that a folder was made from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restored {
    /// Unique to this restoration.
    pub id: String,
    /// It holds the state after so many entries.
    pub size: u64,
}

impl LedgerSetup {
    /// The lines of a policy file that name the ledger's keys.
    fn log_lines(&self) -> String {
        self.signers
            .iter()
            .map(|signer| format!("log {}\n", signer.verifier()))
            .collect()
    }

    /// Whether the operator's policy names all of them itself.
    fn is_named(&self) -> bool {
        let text = self.policy_text.as_deref().unwrap_or_default();
        self.signers
            .iter()
            .all(|signer| text.contains(&signer.verifier().to_string()))
    }
}

/// What is known of the ledger once it has begun.
#[derive(Default)]
pub(crate) struct Kept {
    setup: OnceLock<LedgerSetup>,
    candidate: cosign::Candidate,
    /// What is wrong, by the witness that says so.
    alarms: Mutex<BTreeMap<String, String>>,
}

impl Hub {
    /// Records that `witness` says something is wrong, or, with `None`, that nothing is any more.
    pub fn alarm_of_witness(&self, witness: &str, alarm: Option<String>) {
        let mut alarms = self
            .0
            .ledger
            .alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match alarm {
            Some(alarm) => {
                tracing::error!(witness, alarm, "a witness raises an alarm");
                alarms.insert(witness.to_owned(), alarm);
            }
            None => {
                alarms.remove(witness);
            }
        }
    }

    fn ledger_alarms(&self) -> Vec<String> {
        let alarms = self
            .0
            .ledger
            .alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        alarms
            .iter()
            .map(|(witness, alarm)| format!("{witness}: {alarm}"))
            .collect()
    }

    fn ledger_setup(&self) -> Option<&LedgerSetup> {
        self.0.ledger.setup.get()
    }

    /// Whether the ledger has entries.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Internal`] when the store cannot be read.
    pub fn has_ledger(&self) -> Result<bool, model::Refusal> {
        self.0.store.read(|txn| Ok(txn.ledger_next()? > 0))
    }

    /// Whether everybody may read the ledger's checkpoint and tiles.
    #[must_use]
    pub fn is_ledger_public(&self) -> bool {
        self.ledger_setup().is_some_and(|setup| setup.is_public)
    }
}
