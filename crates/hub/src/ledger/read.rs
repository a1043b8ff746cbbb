//! Reading: entries, proofs, and how the ledger is.

use std::{sync::Arc, time::Duration};

use ledger::{Digest, Entry, Identity, Verb};
use model::{Refusal, Timestamp, limits};
use store::{Comparison, PersonKind, SignedCheckpoint};
use tlog::{TileId, proof::Proof};

use crate::{Caller, Hub, Page, act};

/// How long a proof waits for a checkpoint that covers its entry.
const CHECKPOINT_SOON: Duration = Duration::from_secs(3);

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct EntryQuery {
    /// From this index on.
    pub from: u64,
    /// At most so many; by default [`limits::PAGE_RESULTS`].
    pub limit: Option<usize>,
    /// Whose: `operator/NAME`, `certificate/ID` or `hub`.
    pub actor: Option<String>,
    /// About what: KIND/NAME.
    pub object: Option<String>,
    /// With which verb.
    pub verb: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// An entry with the names its pseudonyms stand for, as far as they were not erased.
#[derive(Clone, Debug)]
pub struct NamedEntry {
    /// Its place.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Its bytes in the tree.
    pub bytes: Vec<u8>,
    /// The actor's name.
    pub actor: Option<String>,
    /// The actor's address.
    pub address: Option<String>,
}

/// How the ledger is.
#[derive(Clone, Debug)]
pub struct LedgerStatus {
    /// Its name in checkpoints.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The newest signed checkpoint.
    pub signed: Option<Arc<SignedCheckpoint>>,
    /// The newest final one.
    pub last_final: Option<Arc<SignedCheckpoint>>,
    /// The policy by which anybody can check.
    pub policy: String,
    /// Whether everybody may read the checkpoint and the tiles.
    pub is_public: bool,
    /// What is wrong, for people.
    pub alarms: Vec<String>,
}

/// The ledger in figures: how many entries there are, and how far the checkpoints go.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LedgerFigures {
    /// Entries.
    pub recorded: u64,
    /// Entries that the newest signed checkpoint covers.
    pub signed: u64,
    /// Entries that the newest final checkpoint covers.
    pub last_final: u64,
    /// Alarms that stand.
    pub alarms: u64,
}

impl Hub {
    /// The ledger in figures.
    #[must_use]
    pub fn ledger_figures(&self) -> LedgerFigures {
        let kept = self.0.store.ledger();
        let size = |signed: Option<Arc<SignedCheckpoint>>| {
            signed.map_or(0, |signed| signed.checkpoint.size)
        };
        let alarms = self.ledger_alarms().len() + usize::from(kept.trouble().is_some());
        LedgerFigures {
            recorded: kept.recorded(),
            signed: size(kept.latest()),
            last_final: size(self.last_final()),
            alarms: alarms as u64,
        }
    }

    /// How the ledger is.
    ///
    /// # Errors
    ///
    /// `operator.required`; `ledger.not-begun`.
    pub fn ledger_status(&self, caller: &Caller) -> Result<LedgerStatus, Refusal> {
        let _permit = self.authorize::<act::ReadLedger>(caller, "the ledger")?;
        let setup = self.ledger_setup().ok_or_else(not_begun)?;
        let kept = self.0.store.ledger();
        let log = setup.signers.first().ok_or_else(not_begun)?.verifier();
        let policy = match &setup.policy_text {
            Some(text) if setup.is_named() => text.clone(),
            Some(text) => format!("{}{text}", setup.log_lines()),
            None => format!("{}quorum none\n", setup.log_lines()),
        };
        Ok(LedgerStatus {
            origin: log.name().to_owned(),
            size: kept.recorded(),
            signed: kept.latest(),
            last_final: self.last_final(),
            policy,
            is_public: setup.is_public,
            alarms: self
                .ledger_alarms()
                .into_iter()
                .chain(kept.trouble())
                .collect(),
        })
    }

    /// The newest final checkpoint: cosigned as the policy asks, or signed, where it asks for
    /// nothing.
    #[must_use]
    pub fn last_final(&self) -> Option<Arc<SignedCheckpoint>> {
        let setup = self.ledger_setup()?;
        let kept = self.0.store.ledger();
        let is_final = |kept: &Arc<SignedCheckpoint>| {
            let standing = setup.policy.is_final(&kept.note);
            standing.is_ok_and(|standing| standing.is_final())
        };
        kept.latest()
            .filter(is_final)
            .or_else(|| kept.cosigned().filter(is_final))
    }

    /// A tile, or a bundle of entries; `None` when the ledger does not reach so far. Whoever asks
    /// for it may read the ledger.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Internal`] when its file cannot be read.
    pub fn ledger_tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.0.store.ledger().tile(tile)?)
    }

    /// The entry at `index`.
    ///
    /// # Errors
    ///
    /// `ledger.no-entry`.
    pub fn ledger_entry(&self, caller: &Caller, index: u64) -> Result<NamedEntry, Refusal> {
        let _permit = self.authorize::<act::ReadLedger>(caller, "an entry")?;
        let entry = self.0.store.ledger().entry(index)?;
        let entry = entry.ok_or_else(|| no_entry(index))?;
        self.named(vec![(index, entry)])?
            .pop()
            .ok_or_else(|| no_entry(index))
    }

    /// Entries, oldest first.
    ///
    /// # Errors
    ///
    /// `operator.required`, `page.limit`, and [`model::RefusalKind::Malformed`] for an actor that is
    /// not written as one.
    pub fn ledger_entries(
        &self,
        caller: &Caller,
        query: &EntryQuery,
    ) -> Result<Page<NamedEntry>, Refusal> {
        let _permit = self.authorize::<act::ReadLedger>(caller, "entries")?;
        let limit = query.limit.unwrap_or(limits::PAGE_RESULTS);
        if limit == 0 {
            return Err(Refusal::malformed(
                "page.limit",
                format!("a page holds 1 to {} results", limits::PAGE_RESULTS),
            ));
        }
        let limit = limit.min(limits::PAGE_RESULTS);
        let actor = match &query.actor {
            Some(actor) => match self.spelled_actor(actor)? {
                Some(actor) => Some(actor),
                None => {
                    return Ok(Page {
                        items: Vec::new(),
                        next: None,
                    });
                }
            },
            None => None,
        };
        let found = self.0.store.ledger().search(&store::Query {
            actor,
            subject: query.object.clone(),
            verb: query.verb.clone(),
            since: query.since,
            until: query.until,
            after_index: query.from.checked_sub(1),
            limit: limit + 1,
        })?;
        Ok(Page::of(self.named(found)?, limit, |named| {
            named.index.to_string()
        }))
    }

    /// Waits until the ledger has more than `size` entries that can be read.
    pub async fn ledger_beyond(&self, size: u64) {
        self.0.store.ledger().changed(size).await;
    }

    /// A proof of the entry at `index` against the newest final checkpoint, with the entry as its
    /// `extra`. Waits a little for a checkpoint that covers it.
    ///
    /// # Errors
    ///
    /// `ledger.no-entry`, `ledger.not-final`.
    pub async fn ledger_proof(&self, caller: &Caller, index: u64) -> Result<Proof, Refusal> {
        let _permit = self.authorize::<act::ReadLedger>(caller, "a proof")?;
        let kept = self.0.store.ledger();
        let entry = kept.entry_bytes(index)?.ok_or_else(|| no_entry(index))?;
        let covering = async {
            loop {
                if let Some(checkpoint) = self.last_final()
                    && checkpoint.checkpoint.size > index
                {
                    return checkpoint;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let checkpoint = tokio::time::timeout(CHECKPOINT_SOON, covering)
            .await
            .map_err(|_| {
                Refusal::new(
                    model::RefusalKind::Unavailable,
                    "ledger.not-final",
                    format!("entry {index} is recorded and not final yet; ask again"),
                )
            })?;
        Ok(Proof {
            extra: Some(entry),
            index,
            hashes: kept.prove_inclusion(index, checkpoint.checkpoint.size)?,
            note: checkpoint.note.clone(),
        })
    }

    /// Compares everything the hub holds with what the ledger says it is.
    ///
    /// # Errors
    ///
    /// `operator.required`; [`model::RefusalKind::Internal`] when something cannot be read.
    pub async fn compare_with_ledger(&self, caller: &Caller) -> Result<Comparison, Refusal> {
        let _permit = self.authorize::<act::ReadLedger>(caller, "the ledger")?;
        let hub = self.clone();
        let compared = tokio::task::spawn_blocking(move || hub.0.store.compare_with_ledger());
        match compared.await {
            Ok(compared) => Ok(compared?),
            Err(_) => Err(Refusal::internal("the comparison broke off")),
        }
    }

    /// Records that the ledger is being exported.
    ///
    /// # Errors
    ///
    /// `operator.required`, and as every change.
    pub async fn record_export(&self, caller: &Caller) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageLedger>(caller, "an export")?;
        let draft = self.draft(permit.errand(), Verb::LedgerExport)?;
        self.record_alone(draft).await
    }

    /// Records that a backup is being made.
    ///
    /// # Errors
    ///
    /// `operator.required`, and as every change.
    pub async fn record_backup(&self, caller: &Caller) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageLedger>(caller, "a backup")?;
        let draft = self.draft(permit.errand(), Verb::HubBackup)?;
        self.record_alone(draft).await
    }

    /// How an actor is written in entries; `None` when nobody of that name ever did anything, or
    /// it was erased.
    fn spelled_actor(&self, actor: &str) -> Result<Option<String>, Refusal> {
        let malformed = || {
            Refusal::malformed(
                "ledger.actor",
                "write an actor as operator/NAME, certificate/ID or hub",
            )
        };
        let (kind, name) = match actor.split_once('/') {
            Some(parts) => parts,
            None if actor == "hub" => return Ok(Some("hub/hub".into())),
            None => return Err(malformed()),
        };
        match kind {
            // The pseudonym itself finds the entries of somebody who was erased.
            "operator" if name.parse::<Digest>().is_err() => {
                let pseudonym = self
                    .0
                    .store
                    .read(|txn| Ok::<_, Refusal>(txn.pseudonym_of(PersonKind::Operator, name)?))?;
                Ok(pseudonym.map(|pseudonym| format!("operator/{pseudonym}")))
            }
            "operator" | "certificate" | "hub" => Ok(Some(actor.to_owned())),
            _ => Err(malformed()),
        }
    }

    fn named(&self, entries: Vec<(u64, Entry)>) -> Result<Vec<NamedEntry>, Refusal> {
        self.0.store.read(|txn| {
            entries
                .into_iter()
                .map(|(index, entry)| {
                    let actor = match &entry.actor.id {
                        Identity::Plain(name) => Some(name.clone()),
                        Identity::Pseudonym(pseudonym) => txn.person(pseudonym)?,
                    };
                    let address = match &entry.actor.address {
                        Some(pseudonym) => txn.person(pseudonym)?,
                        None => None,
                    };
                    Ok(NamedEntry {
                        index,
                        bytes: entry.encode().map_err(|error| {
                            tracing::error!(index, %error, "an entry is too large to be one");
                            Refusal::internal("an entry of the ledger is unreadable")
                        })?,
                        entry,
                        actor,
                        address,
                    })
                })
                .collect()
        })
    }
}

fn not_begun() -> Refusal {
    Refusal::new(
        model::RefusalKind::Unavailable,
        "ledger.not-begun",
        "the ledger has not begun yet; try again",
    )
}

fn no_entry(index: u64) -> Refusal {
    Refusal::not_found(
        "ledger.no-entry",
        format!("the ledger has no entry {index}"),
    )
}
