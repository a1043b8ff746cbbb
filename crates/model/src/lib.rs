//! The vocabulary every layer speaks: identifiers, topics, time, limits, decisions and refusals.
//!
//! Nothing here belongs to one cloud, one protocol or one database. A value of these types has
//! been checked once, where it entered, and cannot be wrong afterwards.

mod decision;
mod ids;
pub mod limits;
mod refusal;
mod time;
mod topic;

pub use decision::{Because, Decision, Outcome, Variable};
pub use ids::{
    Address, CertificateId, ClientId, DeviceId, GroupName, InvalidName, ModuleId, PolicyName,
    ShadowName, TemplateName, TypeName,
};
pub use refusal::{ReasonId, Refusal, RefusalKind};
pub use time::Timestamp;
pub use topic::{
    FILTER_SEPARATOR, InvalidTopic, Levels, SharedFilter, TopicFilter, TopicName, matches,
};
