//! Erasing: what the ledger's hashes stand for can be forgotten; the ledger itself stays.

use ledger::{Change, Verb};
use model::Refusal;
use store::PersonKind;

use crate::{Caller, Hub, act};

impl Hub {
    /// What is erased must not stand in the database's log any longer than it must.
    async fn empty_log(&self) {
        let hub = self.clone();
        let emptied = tokio::task::spawn_blocking(move || hub.0.store.empty_log()).await;
        if !matches!(emptied, Ok(Ok(true))) {
            tracing::warn!(
                ?emptied,
                "what was erased may stand in registry.db-wal until that is written over"
            );
        }
    }

    /// Forgets what stands behind the pseudonym of an operator or an address. Whether there was
    /// something to forget; the erasure itself is an entry.
    ///
    /// # Errors
    ///
    /// `operator.required`, and as every change.
    pub async fn erase_person(
        &self,
        caller: &Caller,
        kind: PersonKind,
        value: &str,
    ) -> Result<bool, Refusal> {
        let permit = self.authorize::<act::ManageLedger>(caller, "a person")?;
        let pseudonym = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.pseudonym_of(kind, value)?))?;
        let Some(pseudonym) = pseudonym else {
            return Ok(false);
        };
        let draft = self
            .draft(permit.errand(), Verb::LedgerErase)?
            .with("pseudonym", pseudonym.to_string());
        let value = value.to_owned();
        let erase = move |txn: &mut store::WriteTxn<'_>| {
            // First, with the author's pseudonym as it is: people may erase themselves, too.
            let recorded = draft.in_any_case().record(txn, Vec::new())?;
            let erased = txn.erase_person(kind, &value)?;
            Ok::<_, store::Failure>((erased.is_some(), recorded))
        };
        let erased = self.write_recorded(permit.errand(), erase).await?;
        self.empty_log().await;
        Ok(erased)
    }

    /// Forgets the salt of the states of `subject`, written KIND/NAME: nobody can find out any more
    /// by trying what it was. What it is now gets a new salt.
    ///
    /// # Errors
    ///
    /// `operator.required`, and as every change.
    pub async fn erase_object(&self, caller: &Caller, subject: &str) -> Result<bool, Refusal> {
        let permit = self.authorize::<act::ManageLedger>(caller, subject)?;
        let draft = self
            .draft(permit.errand(), Verb::LedgerErase)?
            .with("object", subject);
        let known = {
            let subject = subject.to_owned();
            self.0
                .store
                .read(move |txn| Ok::<_, Refusal>(txn.has_salt(&subject)?))?
        };
        if !known {
            return Ok(false);
        }
        let (erased, renewed) = (subject.to_owned(), subject.to_owned());
        let again = move |txn: &mut store::WriteTxn<'_>,
                          seed: &[u8; 32]|
              -> Result<Vec<Change>, store::Failure> {
            txn.objects_of(&renewed, seed)
        };
        let erase = move |txn: &mut store::WriteTxn<'_>| txn.erase_salt(&erased);
        let erased = self.record_with(draft.in_any_case(), again, erase).await?;
        self.empty_log().await;
        Ok(erased)
    }
}
