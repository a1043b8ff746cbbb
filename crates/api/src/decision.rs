//! Decisions, and the questions they answer.

use serde::{Deserialize, Serialize};

/// What a device would do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Connect under its own name.
    Connect,
    /// Publish to a topic.
    Publish,
    /// Subscribe to a filter.
    Subscribe,
    /// Receive messages of a topic.
    Receive,
}

/// Would it be allowed?
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Question {
    /// The device.
    pub device: String,
    /// What it would do.
    pub action: Action,
    /// The topic or filter; none for [`Action::Connect`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Explanation {
    /// Whether one of the device's certificates lets it.
    pub allowed: bool,
    /// For each of the device's certificates; for a device without any, one answer that says so.
    pub answers: Vec<Answer>,
}

/// What the bearer of one certificate would be answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// The certificate, as `certificate/ID`.
    pub principal: Option<String>,
    /// The answer to the question.
    pub decision: Decision,
    /// Why it could not even connect, when it could not and the question was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Decision>,
}

/// Which way a decision went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Allowed.
    Allowed,
    /// A statement forbids it.
    ExplicitlyDenied,
    /// Nothing allows it.
    NotAllowed,
}

/// A decision and what decided.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Decision {
    /// Which way it went.
    pub outcome: Outcome,
    /// The stable name of the reason.
    pub reason: String,
    /// What was asked, as policies spell it.
    pub action: String,
    /// What it was asked of, as policies spell it.
    pub resource: String,
    /// The policy whose statement decided or came nearest.
    pub policy: Option<String>,
    /// Which of its statements, from 0.
    pub statement: Option<usize>,
    /// The statement as its author wrote it.
    pub text: Option<String>,
    /// Where the nearest statement fails.
    pub miss: Option<String>,
    /// The variables the statement used.
    pub variables: Vec<Variable>,
    /// What would allow it.
    pub remedy: Option<String>,
}

/// A policy variable as it stood at the decision.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Variable {
    /// Its name as policies spell it.
    pub name: String,
    /// Its value, if it had one.
    pub value: Option<String>,
    /// Why it had none.
    pub note: Option<String>,
}
