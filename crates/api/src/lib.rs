//! Wire types of REST v1, shared by the hub and its command line.
//!
//! Every time is in milliseconds since the Unix epoch. Lists come in [`Page`]s. What is refused is
//! answered with an [`Error`]. Fields may be added; a reader ignores those it does not know.

mod certificates;
mod decision;
mod devices;
mod ledger;
mod messages;
mod policies;
mod provisioning;
mod routes;
mod status;
mod timeline;

use serde::{Deserialize, Serialize};

pub use certificates::{Certificate, CertificateStatus};
pub use decision::{Action, Answer, Decision, Explanation, Outcome, Question, Variable};
pub use devices::{Connection, Device, DeviceDetails, IssuedDevice, NewDevice, Subscription};
pub use ledger::{Erased, Erasure, Ledger, LedgerActor, LedgerChange, LedgerEntry, LedgerState};
pub use messages::{Message, Publication};
pub use policies::{NewPolicy, Policy, PolicyDetails, PolicyTarget};
pub use provisioning::{Attempt, AttemptStep};
pub use routes::{ROUTES, Route, openapi};
pub use status::{Health, Status};
pub use timeline::{Entry, TraceLine};

/// Why something was not done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Error {
    /// For people: what was wrong and what to do.
    pub message: String,
    /// The stable name of the reason, such as `device.not-found`.
    pub reason: String,
}

/// Part of a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Page<T> {
    /// The results.
    pub items: Vec<T>,
    /// What to give as `after` for the next part; absent when this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An answer that says nothing but that it was done.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {}
