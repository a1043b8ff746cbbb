//! How devices tried to become registered.

use serde::{Deserialize, Serialize};

/// One attempt to become registered without an operator.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Attempt {
    /// Counts all attempts, from 1.
    pub number: u64,
    /// When it began.
    pub at: u64,
    /// Which way: `just-in-time-registration`, …
    pub flow: String,
    /// Who, as it calls itself; may be empty.
    pub client_id: String,
    /// The certificate it was about.
    pub certificate: Option<String>,
    /// The CA that signed that certificate.
    pub ca: Option<String>,
    /// The provisioning template that was carried out.
    pub template: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// The stable name of the reason it failed for; absent when it came to its end.
    pub refused: Option<String>,
    /// The steps that were taken, in their order; the last one failed if `refused` is there.
    pub steps: Vec<AttemptStep>,
    /// The steps that were not reached.
    pub not_reached: Vec<String>,
}

/// One step of an attempt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AttemptStep {
    /// Which.
    pub step: String,
    /// The stable name of the reason it failed for; absent when it did not.
    pub reason: Option<String>,
    /// For people: what was found, or why it goes no further.
    pub note: String,
}
