//! How a device comes to be registered without an operator: which steps each way has, and how far
//! an attempt came.
//!
//! Pure: the hub carries out, this crate says what is to be done and what was done.

mod attempt;
pub mod cbor;
mod exercise;
mod template;

pub use attempt::{Attempt, Flow, Outcome, Step, Taken};
pub use exercise::exercise;
pub use template::{
    CertificatePlan, CertificateSource, IMPLIED_PREFIX, Kind, Override, Plan, PolicyPlan,
    PolicySource, Template, TemplateError, ThingOverrides, ThingPlan,
};
