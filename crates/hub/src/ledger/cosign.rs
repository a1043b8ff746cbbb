//! Cosigning: which checkpoint the witnesses are asked for, and when it is final.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::Timestamp;
use store::{LedgerError, SignedCheckpoint};
use tlog::{Checkpoint, Hash, NoteSignature};

use crate::Hub;

/// How long the witnesses are asked for one checkpoint before they are asked for a newer one: they
/// make a quorum only when they are asked for the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whose turn it is.
const TURN: Duration = Duration::from_millis(100);

/// The checkpoint that the witnesses are asked for, and what they have answered.
#[derive(Default)]
pub(crate) struct Candidate(Mutex<Option<Asked>>);

struct Asked {
    checkpoint: Arc<SignedCheckpoint>,
    since: Timestamp,
    is_final: bool,
    cosignatures: Vec<NoteSignature>,
}

/// A cosignature was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CosignError {
    /// It is of a checkpoint that was asked for earlier: the next one may count.
    #[error("the checkpoint is not the one that is asked for now")]
    Superseded,
    /// Nobody keeps a ledger here.
    #[error("the ledger has not begun")]
    NotBegun,
}

impl Hub {
    /// The checkpoint that witnesses are to cosign now.
    #[must_use]
    pub fn checkpoint_to_cosign(&self) -> Option<Arc<SignedCheckpoint>> {
        let latest = self.0.store.ledger().latest()?;
        let now = self.now();
        let mut candidate = self.0.ledger.candidate.lock();
        let is_old = |asked: &Asked| asked.is_final || now.since(asked.since) >= PATIENCE;
        let is_behind = |asked: &Asked| asked.checkpoint.checkpoint.size < latest.checkpoint.size;
        if candidate
            .as_ref()
            .is_none_or(|asked| is_behind(asked) && is_old(asked))
        {
            *candidate = Some(Asked {
                checkpoint: latest,
                since: now,
                is_final: false,
                cosignatures: Vec::new(),
            });
        }
        candidate
            .as_ref()
            .map(|asked| Arc::clone(&asked.checkpoint))
    }

    /// Takes cosignatures of `checkpoint`, which have been verified. The checkpoint is final as
    /// soon as the policy says so.
    ///
    /// # Errors
    ///
    /// [`CosignError`] when they come too late.
    pub fn add_cosignatures(
        &self,
        checkpoint: &Checkpoint,
        cosignatures: Vec<NoteSignature>,
    ) -> Result<(), CosignError> {
        let setup = self.ledger_setup().ok_or(CosignError::NotBegun)?;
        let mut candidate = self.0.ledger.candidate.lock();
        let asked = candidate
            .as_mut()
            .filter(|asked| asked.checkpoint.checkpoint == *checkpoint)
            .ok_or(CosignError::Superseded)?;
        for cosignature in cosignatures {
            if !asked.cosignatures.contains(&cosignature) {
                asked.cosignatures.push(cosignature);
            }
        }
        let mut note = asked.checkpoint.note.clone();
        note.signatures.extend(asked.cosignatures.iter().cloned());
        let is_final = setup
            .policy
            .is_final(&note)
            .is_ok_and(|standing| standing.is_final());
        if is_final {
            asked.is_final = true;
            let all = asked.cosignatures.clone();
            // Kept before anybody is told: a crash must not take back what was final.
            match self.0.store.ledger().add_cosignatures(checkpoint, all) {
                Ok(()) => self.0.cosigning.reached(checkpoint.size),
                Err(error) => tracing::error!(%error, "a cosigned checkpoint could not be kept"),
            }
        }
        Ok(())
    }

    /// Looks how far the ledger is and how far it is final, so that it is known since when the
    /// witnesses are awaited.
    pub(crate) fn look_at_ledger(&self) {
        if let Some(last) = self.last_final() {
            self.0.cosigning.reached(last.checkpoint.size);
        }
        if let Some(latest) = self.0.store.ledger().latest() {
            self.0.cosigning.look(latest.checkpoint.size, self.now());
        }
    }
}

impl Candidate {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What those who cosign are shown of the tree.
impl Hub {
    /// Waits until the witnesses are to be asked for a checkpoint of more than `size` entries, or,
    /// with `None`, for any.
    pub async fn to_cosign_beyond(&self, size: Option<u64>) {
        loop {
            let candidate = self.checkpoint_to_cosign();
            let candidate = candidate.map(|signed| signed.checkpoint.size);
            match (candidate, size) {
                (Some(_), None) => return,
                (Some(candidate), Some(size)) if candidate > size => return,
                (Some(_) | None, _) => {}
            }
            self.0.store.ledger().changed(size.unwrap_or(0)).await;
            // There is a newer checkpoint, whose turn comes when the one before is final, or late.
            let turn = self
                .0
                .cosigning
                .past(candidate.unwrap_or(0).saturating_sub(1));
            let _ = tokio::time::timeout(TURN, turn).await;
        }
    }

    /// The proof that the tree of `old` entries is the beginning of the one of `new`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when it cannot be made.
    pub fn ledger_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        self.0.store.ledger().prove_consistency(old, new)
    }

    /// The proof that the subtree of `start..end` belongs to the tree of `size` entries.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when it cannot be made.
    pub fn ledger_subtree(
        &self,
        start: u64,
        end: u64,
        size: u64,
    ) -> Result<Vec<Hash>, LedgerError> {
        self.0.store.ledger().prove_subtree(start, end, size)
    }

    /// The bytes of the entries `from..to`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when they cannot be read.
    pub fn ledger_bytes(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        let count = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let entries = self.0.store.ledger().entries(from, count)?;
        Ok(entries
            .iter()
            .map(|(_, entry)| {
                entry
                    .encode()
                    .expect("an entry that was read has one encoding, the one it was read from")
            })
            .collect())
    }
}
