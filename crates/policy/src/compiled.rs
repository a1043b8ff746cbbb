//! Everything that applies to one caller, arranged for quick decisions.

use std::sync::Arc;

use model::Outcome;

use crate::{
    Action, Context, Document, Effect, Facts, Resource, Statement, Values, resource::ResourceText,
};

/// What is asked, by whom and of what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the caller wants to do.
    pub action: Action,
    /// What it wants to do it to.
    pub resource: Resource<'a>,
    /// Who it is.
    pub facts: &'a Facts,
    /// The rest of the request.
    pub context: &'a Context<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn values(&self) -> Values<'a> {
        Values::new(self.facts, self.context, self.action == Action::Connect)
    }
}

/// A statement within a [`CompiledSet`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StatementIndex {
    /// Position of its policy among those compiled.
    pub policy: usize,
    /// Position in its policy.
    pub statement: usize,
}

/// A decision without its story.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Which way it went.
    pub outcome: Outcome,
    /// The statement that decided; none when nothing allowed it.
    pub statement: Option<StatementIndex>,
}

/// All policies that apply to one caller.
#[derive(Clone, Debug, Default)]
pub struct CompiledSet {
    policies: Vec<(Arc<str>, Arc<Document>)>,
    /// By action: the statements about it, denials first.
    about: [Vec<StatementIndex>; Action::ALL.len()],
    timed: bool,
}

/// Arranges the policies that apply to a caller; each comes with the name that explanations give
/// it. The order does not change any decision.
#[must_use]
pub fn compile(policies: &[(Arc<str>, Arc<Document>)]) -> CompiledSet {
    let mut set = CompiledSet {
        policies: policies.to_vec(),
        ..CompiledSet::default()
    };
    for effect in [Effect::Deny, Effect::Allow] {
        for (policy, (_, document)) in policies.iter().enumerate() {
            for (statement, body) in document.statements.iter().enumerate() {
                if body.effect != effect {
                    continue;
                }
                for action in body.actions.iter() {
                    set.about[action as usize].push(StatementIndex { policy, statement });
                }
                set.timed |= body
                    .conditions
                    .iter()
                    .any(crate::Condition::depends_on_time);
            }
        }
    }
    set
}

impl CompiledSet {
    /// Decides without building text; allocates only for resources over 256 bytes and for
    /// conditions on the time. An explicit denial beats a permission.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Verdict {
        let about = &self.about[request.action as usize];
        if !about.is_empty() {
            let text = request.resource.text();
            let values = request.values();
            for index in about {
                let statement = self.statement(*index);
                if matches(statement, &text, &values) {
                    return Verdict {
                        outcome: match statement.effect {
                            Effect::Allow => Outcome::Allowed,
                            Effect::Deny => Outcome::ExplicitlyDenied,
                        },
                        statement: Some(*index),
                    };
                }
            }
        }
        Verdict {
            outcome: Outcome::ImplicitlyDenied,
            statement: None,
        }
    }

    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self, request: &Request<'_>) -> bool {
        self.decide(request).outcome.is_allowed()
    }

    /// Whether a decision may change with the time alone, so that it must not be remembered.
    #[must_use]
    pub const fn depends_on_time(&self) -> bool {
        self.timed
    }

    /// Whether no policy applies at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies by name, in the order they were compiled in.
    #[must_use]
    pub fn policies(&self) -> &[(Arc<str>, Arc<Document>)] {
        &self.policies
    }

    /// The name of the policy a statement stands in.
    #[must_use]
    pub fn policy_name(&self, index: StatementIndex) -> &Arc<str> {
        &self.policies[index.policy].0
    }

    /// The statement at `index`, which this set gave.
    #[must_use]
    pub fn statement(&self, index: StatementIndex) -> &Statement {
        &self.policies[index.policy].1.statements[index.statement]
    }

    /// Every statement, policy by policy.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (StatementIndex, &Statement)> {
        self.policies
            .iter()
            .enumerate()
            .flat_map(|(policy, (_, document))| {
                let statements = document.statements.iter().enumerate();
                statements
                    .map(move |(statement, body)| (StatementIndex { policy, statement }, body))
            })
    }
}

pub(crate) fn resource_matches(
    statement: &Statement,
    text: &ResourceText,
    values: &Values<'_>,
) -> bool {
    statement
        .resources
        .iter()
        .flat_map(|resource| &resource.patterns)
        .any(|pattern| pattern.matches_bytes(text, values))
}

fn matches(statement: &Statement, text: &ResourceText, values: &Values<'_>) -> bool {
    resource_matches(statement, text, values)
        && statement
            .conditions
            .iter()
            .all(|condition| condition.holds(values, statement.effect))
}
