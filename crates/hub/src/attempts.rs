//! The record of every attempt to become registered: which step failed, and why.

use model::{CertificateId, ClientId, ReasonId, Refusal, Timestamp};
use provisioning::{Attempt, Outcome};
use serde_json::{Value, json};
use store::KeptAttempt;

use crate::{
    Caller, Hub, Page, PageRequest, PeerFacts, act,
    timeline::{Kind, Subject},
};

/// An attempt as it was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// Counts all attempts, from 1.
    pub number: u64,
    /// When it began.
    pub at: Timestamp,
    /// Which way: the name of a [`provisioning::Flow`].
    pub flow: String,
    /// Who, as it calls itself; may be empty.
    pub subject: String,
    /// The certificate it was about.
    pub certificate: Option<String>,
    /// The stable reason id, when it was refused.
    pub refused: Option<String>,
    /// The rest, as a JSON object: `ca`, `address`, `steps`, `not_reached`.
    pub detail: Value,
}

/// Which attempts are wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AttemptQuery {
    /// Only those about this certificate.
    pub certificate: Option<CertificateId>,
    /// Only those that were refused.
    pub only_refused: bool,
}

impl Hub {
    /// Keeps `attempt`, and tells of it in the timeline of the client, if there is one.
    pub(crate) fn record_attempt(
        &self,
        attempt: &Attempt,
        client_id: Option<&ClientId>,
        peer: Option<&PeerFacts>,
    ) {
        let (kind, reason) = match attempt.refused() {
            None => (Kind::Provisioned, "provisioning.done"),
            Some(reason) => (Kind::ProvisioningRefused, reason),
        };
        // An operator's attempt is nobody's timeline.
        if client_id.is_some() {
            let subject = Subject {
                client_id: client_id.cloned(),
                principal: attempt.certificate.map(|id| format!("certificate/{id}")),
                address: peer.map(|peer| peer.address),
            };
            self.record(kind, subject, ReasonId(reason), attempt.summary(), None);
        }
        self.0.store.note_attempt(KeptAttempt {
            number: 0,
            at: attempt.at,
            flow: attempt.flow.name().into(),
            subject: client_id.map_or_else(String::new, ToString::to_string),
            certificate: attempt.certificate.map(|id| id.to_string()),
            refused: attempt.refused().map(Into::into),
            detail: detail(attempt, peer).to_string(),
        });
    }

    /// The attempts to become registered, newest first.
    ///
    /// # Errors
    ///
    /// `operator.required`, `page.token`, `page.limit`.
    pub fn attempts(
        &self,
        caller: &Caller,
        query: &AttemptQuery,
        page: &PageRequest,
    ) -> Result<Page<AttemptRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "provisioning attempts")?;
        let limit = page.limit()?;
        let before = page.after()?.map(|key| number(&key)).transpose()?;
        let certificate = query.certificate.map(|id| id.to_string());
        let found = self.0.store.read(|txn| {
            let certificate = certificate.as_deref();
            Ok::<_, Refusal>(txn.attempts(certificate, query.only_refused, before, limit + 1)?)
        })?;
        let found = found.into_iter().map(AttemptRecord::from).collect();
        Ok(Page::of(found, limit, |attempt: &AttemptRecord| {
            attempt.number.to_string()
        }))
    }
}

fn number(key: &str) -> Result<u64, Refusal> {
    key.parse().map_err(|_| {
        Refusal::malformed(
            "page.token",
            "the token is not one this list has handed out; begin again without one",
        )
    })
}

/// The attempt but for what has a column of its own.
fn detail(attempt: &Attempt, peer: Option<&PeerFacts>) -> Value {
    let steps: Vec<Value> = attempt
        .steps
        .iter()
        .map(|taken| {
            json!({
                "step": taken.step.name(),
                "reason": taken.refused,
                "note": taken.note,
            })
        })
        .collect();
    let not_reached: Vec<&str> = match attempt.outcome() {
        Outcome::Done => Vec::new(),
        Outcome::RefusedAt(_) => attempt
            .flow
            .steps()
            .iter()
            .filter(|step| attempt.steps.iter().all(|taken| taken.step != **step))
            .map(|step| step.name())
            .collect(),
    };
    json!({
        "template": attempt.template,
        "ca": attempt.ca.map(|id| id.to_string()),
        "address": peer.map(|peer| peer.address.to_string()),
        "steps": steps,
        "not_reached": not_reached,
    })
}

impl From<KeptAttempt> for AttemptRecord {
    fn from(kept: KeptAttempt) -> Self {
        Self {
            number: kept.number,
            at: kept.at,
            flow: kept.flow,
            subject: kept.subject,
            certificate: kept.certificate,
            refused: kept.refused,
            detail: serde_json::from_str(&kept.detail).unwrap_or(Value::Null),
        }
    }
}
