//! A decision and the reason for it: one record that `explain`, the timeline, MQTT 5 reason
//! strings and REST errors all read.

use crate::ReasonId;

/// Which way a decision went.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Allowed.
    Allowed,
    /// A statement forbids it.
    ExplicitlyDenied,
    /// Nothing allows it.
    ImplicitlyDenied,
}

impl Outcome {
    /// Whether it may be done.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed)
    }
}

/// A decision, made once, told in many places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// Which way it went.
    pub outcome: Outcome,
    /// The stable name of the reason.
    pub reason: ReasonId,
    /// What was asked: the action as its author spells it, such as `iot:Publish`.
    pub action: String,
    /// What it was asked of, such as `topic/a/b`.
    pub resource: String,
    /// What decided.
    pub because: Because,
}

/// What decided: the statement that matched, or the one that came nearest, and its variables.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Because {
    /// The policy the statement stands in.
    pub policy: Option<String>,
    /// Its position in the policy, from 0.
    pub statement: Option<usize>,
    /// The statement as its author wrote it (JSON), when short enough to show.
    pub text: Option<String>,
    /// Where the nearest statement fails: `the resource topic/a/* does not match topic/b/c`.
    pub miss: Option<String>,
    /// The variables the statement used, with their values or why they have none.
    pub variables: Vec<Variable>,
    /// The smallest change that would allow it, as a statement (JSON) or an instruction.
    pub remedy: Option<String>,
}

/// A policy variable as it stood at the decision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Variable {
    /// Its name as its author spells it, such as `iot:ClientId`.
    pub name: String,
    /// Its value; `None` when it has none here or may not be substituted.
    pub value: Option<String>,
    /// Why it has no value, when it has none.
    pub note: Option<String>,
}

impl Decision {
    /// One line for a reason string or a log: outcome, statement and miss.
    #[must_use]
    pub fn summary(&self) -> String {
        let verdict = match self.outcome {
            Outcome::Allowed => "allowed",
            Outcome::ExplicitlyDenied => "explicitly denied",
            Outcome::ImplicitlyDenied => "not allowed",
        };
        let mut line = format!("{} on {} {verdict}", self.action, self.resource);
        if let Some(policy) = &self.because.policy {
            line.push_str(&format!(" by policy {policy}"));
            if let Some(statement) = self.because.statement {
                line.push_str(&format!(" statement {statement}"));
            }
        }
        if let Some(miss) = &self.because.miss {
            line.push_str(": ");
            line.push_str(miss);
        }
        line
    }
}
