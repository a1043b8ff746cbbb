//! Beginning: the ledger is what it was when the last process ended, or is begun now.

use ledger::Verb;
use model::Refusal;

use super::Restored;
use crate::{Caller, Hub, LedgerSetup};

/// The settings in which the ledger's keys and the hub's configuration stand, so that a change of
/// either is a change like any other.
const KEYS: &str = "ledger-keys";
const CONFIGURATION: &str = "hub-configuration";

impl Hub {
    /// Begins to keep the ledger, and records that the hub starts: `version` is the program's,
    /// `configuration` what the operator chose, as text. What stood in the registry before it had
    /// a ledger is adopted into it.
    ///
    /// # Errors
    ///
    /// `ledger.damaged` when its files do not give what its checkpoint says, `ledger.clock` when
    /// the clock is behind the last entry, and as every change.
    pub async fn begin_ledger(
        &self,
        setup: LedgerSetup,
        version: &str,
        configuration: &str,
    ) -> Result<(), Refusal> {
        let hub = Caller::hub().errand();
        let keys: Vec<String> = setup
            .signers
            .iter()
            .map(|signer| signer.verifier().to_string())
            .collect();
        let origin = match setup.signers.first() {
            Some(signer) => signer.verifier().name().to_owned(),
            None => return Err(Refusal::internal("the ledger has no key")),
        };
        self.0
            .store
            .ledger()
            .start(&origin, setup.signers.clone())?;
        let accept_clock = setup.accept_clock;
        let restored = setup.restored.clone();
        if self.0.ledger.setup.set(setup).is_err() {
            return Err(Refusal::internal("the ledger has begun already"));
        }
        let has_begun = self.has_ledger()?;
        if has_begun && accept_clock {
            self.accept_clock().await?;
        }
        if has_begun && let Some(restored) = restored {
            self.record_restore(restored).await?;
        }
        let (known_keys, known_configuration) = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>((txn.setting(KEYS)?, txn.setting(CONFIGURATION)?)))?;
        if !has_begun {
            let draft = self.draft(&hub, Verb::LedgerAdopt)?;
            self.record_with(draft, |txn, seed| txn.all_objects(seed), nothing)
                .await?;
        }
        let keys = keys.join("\n");
        let verb = match &known_keys {
            None => Verb::LedgerBegin,
            Some(known) if known.lines().count() > keys.lines().count() => Verb::LedgerKeyRetire,
            Some(_) => Verb::LedgerKeyAdd,
        };
        self.put_own_setting(verb, KEYS, known_keys, keys).await?;
        let configuration = configuration.to_owned();
        self.put_own_setting(
            Verb::HubConfigure,
            CONFIGURATION,
            known_configuration,
            configuration,
        )
        .await?;
        let draft = self.draft(&hub, Verb::HubStart)?.with("version", version);
        self.record_alone(draft).await?;
        self.look_at_ledger();
        Ok(())
    }

    /// Records that the folder was made from a backup, unless that was done before a crash.
    async fn record_restore(&self, restored: Restored) -> Result<(), Refusal> {
        let earlier = self.0.store.ledger().search(&store::Query {
            verb: Some(Verb::HubRestore.name().into()),
            limit: usize::MAX,
            ..store::Query::default()
        })?;
        let is_recorded = earlier
            .iter()
            .any(|(_, entry)| entry.detail.get("restore") == Some(&restored.id));
        if is_recorded {
            return Ok(());
        }
        let draft = self
            .draft(&Caller::hub().errand(), Verb::HubRestore)?
            .with("restore", restored.id)
            .with("size", restored.size.to_string());
        self.record_alone(draft).await
    }

    async fn put_own_setting(
        &self,
        verb: Verb,
        name: &'static str,
        known: Option<String>,
        value: String,
    ) -> Result<(), Refusal> {
        if known.as_deref() == Some(value.as_str()) {
            return Ok(());
        }
        let draft = self
            .draft(&Caller::hub().errand(), verb)?
            .with("value", value.replace('\n', ", "));
        self.record_with(draft, no_further, move |txn| txn.put_setting(name, &value))
            .await
    }

    /// The clock went back, and that is right.
    async fn accept_clock(&self) -> Result<(), Refusal> {
        let last = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.ledger_last_at()?))?;
        if last <= self.now() {
            return Ok(());
        }
        let draft = self.draft(&Caller::hub().errand(), Verb::LedgerClock)?;
        self.record_alone(draft).await
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every job")]
pub(super) fn nothing(_: &mut store::WriteTxn<'_>) -> Result<(), store::Failure> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every job")]
pub(super) fn no_further(
    _: &mut store::WriteTxn<'_>,
    _: &[u8; 32],
) -> Result<Vec<ledger::Change>, store::Failure> {
    Ok(Vec::new())
}
