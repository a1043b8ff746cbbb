//! The way into the store: what is written carries its entry in the ledger, in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ledger::{Actor, ActorKind, Change, DEVICES, Digest, Entry, Identity, Verb};
use model::{CertificateId, Refusal, RefusalKind, limits};
use store::{Failure, PersonKind, Recorded, WriteTxn};

use crate::{Act, Hub, Permit, Principal, caller::Errand, clock::Clock};

impl Hub {
    /// Runs `job` in the store's next transaction, for whoever holds the permit, with the entry in
    /// the ledger that says so, and returns once both are on disk. A job that changes nothing that
    /// is recorded makes no entry.
    ///
    /// # Errors
    ///
    /// What `job` returns; [`RefusalKind::Unavailable`] when nothing can be written, neither state
    /// nor ledger, and, where changes must be cosigned, when the witnesses did not in time.
    pub async fn transact<A, T, E>(
        &self,
        permit: Permit<A>,
        verb: Verb,
        job: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        A: Act,
        T: Send + 'static,
        E: From<Failure> + Into<Refusal> + Send + 'static,
    {
        tracing::debug!(
            act = A::NAME,
            verb = verb.name(),
            principal = %permit.principal(),
            target = permit.target(),
            "transaction"
        );
        let draft = self.draft(permit.errand(), verb)?;
        self.record_with(draft, |_, _| Ok(Vec::new()), job).await
    }

    /// Runs `job` with the entry `draft`; `further` are changes that the database cannot tell.
    pub(crate) async fn record_with<T, E>(
        &self,
        draft: Draft,
        further: impl FnOnce(&mut WriteTxn<'_>, &[u8; 32]) -> Result<Vec<Change>, Failure>
        + Send
        + 'static,
        job: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: From<Failure> + Into<Refusal> + Send + 'static,
    {
        let errand = draft.errand.clone();
        let job = move |txn: &mut WriteTxn<'_>| {
            let done = job(txn)?;
            let mut changes = txn.changes(&draft.seed)?;
            changes.extend(further(txn, &draft.seed)?);
            let recorded = draft.record(txn, changes)?;
            Ok::<_, E>((done, recorded))
        };
        self.write_recorded(&errand, job).await
    }

    /// Makes the entry `draft`, which changes no object.
    pub(crate) async fn record_alone(&self, draft: Draft) -> Result<(), Refusal> {
        let errand = draft.errand.clone();
        let job = move |txn: &mut WriteTxn<'_>| {
            let recorded = draft.in_any_case().record(txn, Vec::new())?;
            Ok::<_, Failure>(((), recorded))
        };
        self.write_recorded(&errand, job).await
    }

    /// Runs `job`, which says what it has recorded.
    pub(crate) async fn write_recorded<T, E>(
        &self,
        errand: &Errand,
        job: impl FnOnce(&mut WriteTxn<'_>) -> Result<(T, Option<Recorded>), E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: From<Failure> + Into<Refusal> + Send + 'static,
    {
        // What the hub records of itself waits for nobody: it starts before it can be cosigned.
        let waits = errand.principal != Principal::Hub;
        if waits {
            self.check_cosigned()?;
        }
        let (done, recorded) = self.0.store.write(job).await.map_err(Into::into)?;
        if let Some(Recorded { first, last }) = recorded {
            errand.receipt.put(first);
            if waits {
                self.until_cosigned(last).await?;
            }
        }
        Ok(done)
    }

    /// An entry that `verb` was done on `errand`.
    pub(crate) fn draft(&self, errand: &Errand, verb: Verb) -> Result<Draft, Refusal> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| {
            tracing::error!(%error, "the machine has no randomness");
            Refusal::internal("the machine has no randomness")
        })?;
        Ok(Draft {
            errand: errand.clone(),
            verb,
            detail: BTreeMap::new(),
            even_unchanged: false,
            seed,
            clock: Arc::clone(&self.0.clock),
        })
    }
}

/// An entry in the making: who does what, before the database has told what it changed.
pub(crate) struct Draft {
    errand: Errand,
    verb: Verb,
    detail: BTreeMap<String, String>,
    even_unchanged: bool,
    seed: [u8; 32],
    clock: Arc<dyn Clock>,
}

impl Draft {
    /// Says more about it.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.detail.insert(name.into(), value.into());
        self
    }

    /// Is recorded though no object changes.
    pub(crate) const fn in_any_case(mut self) -> Self {
        self.even_unchanged = true;
        self
    }

    pub(crate) fn record(
        mut self,
        txn: &mut WriteTxn<'_>,
        changes: Vec<Change>,
    ) -> Result<Option<Recorded>, Failure> {
        if changes.is_empty() && !self.even_unchanged {
            return Ok(None);
        }
        if let Some(devices) = devices_of_certificates(txn, &changes)? {
            self.detail.insert(DEVICES.into(), devices);
        }
        let Errand {
            principal,
            address,
            request_id,
            ..
        } = &self.errand;
        let (kind, id, credential) = match principal {
            Principal::Certificate(id) => {
                let fingerprint = Digest(*id.as_bytes());
                let id = Identity::Plain(id.to_string());
                (ActorKind::Certificate, id, Some(fingerprint))
            }
            Principal::Operator(name) => {
                let pseudonym = txn.pseudonym(PersonKind::Operator, name, &self.seed)?;
                // Operators are known by the name of their key so far.
                let credential = txn.pseudonym(PersonKind::Credential, name, &self.seed)?;
                let id = Identity::Pseudonym(pseudonym);
                (ActorKind::Operator, id, Some(credential))
            }
            Principal::Hub => (ActorKind::Hub, Identity::Plain("hub".into()), None),
        };
        let address = match address {
            Some(address) => {
                Some(txn.pseudonym(PersonKind::Address, &address.to_string(), &self.seed)?)
            }
            None => None,
        };
        // Here, not where the request came in: entries stand in the order of the transactions.
        let at = self.clock.now();
        txn.record(Entry {
            at,
            actor: Actor {
                kind,
                id,
                credential,
                address,
            },
            verb: self.verb.name().into(),
            changes,
            part: None,
            detail: self.detail,
            request: request_id.as_deref().map(str::to_owned),
            previous: None,
        })
        .map(Some)
    }
}

/// The devices whose certificates were changed: such an entry is part of their history, too.
fn devices_of_certificates(
    txn: &WriteTxn<'_>,
    changes: &[Change],
) -> Result<Option<String>, Failure> {
    let mut devices = BTreeSet::new();
    let mut certificates = BTreeSet::new();
    for change in changes {
        let object = &change.object;
        let named = match (object.kind.as_str(), &object.of) {
            ("certificate", None) => Some(object.id.as_str()),
            (_, Some(of)) => of.strip_prefix("certificate/"),
            (_, None) => None,
        };
        if let Some(Ok(certificate)) = named.map(str::parse::<CertificateId>)
            && certificates.insert(certificate)
        {
            let attached = txn.devices_of_principal(&registry::Principal::Certificate(certificate));
            devices.extend(attached?.into_iter().map(|attachment| attachment.device));
        }
    }
    let mut names = String::new();
    for device in devices {
        // As many as the detail has room for: certificates of so many devices are a mistake.
        if names.len() + 1 + device.as_str().len() <= limits::LEDGER_DETAIL_VALUE_BYTES {
            if !names.is_empty() {
                names.push(' ');
            }
            names.push_str(device.as_str());
        }
    }
    Ok((!names.is_empty()).then_some(names))
}

impl Hub {
    /// Where every change must be cosigned: refuses when the witnesses have been silent for long,
    /// so that nothing is done that might stay unproved.
    fn check_cosigned(&self) -> Result<(), Refusal> {
        let Some(required) = self.0.config.require_cosigned else {
            return Ok(());
        };
        let Some(since) = self.0.cosigning.waiting_since() else {
            return Ok(());
        };
        if self.now().since(since) < required {
            return Ok(());
        }
        Err(not_cosigned(
            "nothing was done: the witnesses have not cosigned the ledger for too long; \
             see `sekisho status`",
        ))
    }

    /// Where every change must be cosigned: waits until the entry at `index` is.
    async fn until_cosigned(&self, index: u64) -> Result<(), Refusal> {
        let Some(required) = self.0.config.require_cosigned else {
            return Ok(());
        };
        let done = self.0.cosigning.past(index);
        tokio::time::timeout(required, done).await.map_err(|_| {
            not_cosigned(format!(
                "done and recorded as entry {index}, which the witnesses have not cosigned yet"
            ))
        })
    }
}

fn not_cosigned(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalKind::Unavailable, "ledger.not-cosigned", message)
}
