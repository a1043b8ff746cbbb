//! A policy document as a value.

use std::sync::Arc;

use model::limits;

use crate::{Actions, Condition, Pattern, VariableUse};

/// A policy document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Its statements, in the author's order.
    pub statements: Vec<Statement>,
}

/// What a statement does to the requests it matches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Effect {
    /// Permits them, unless another statement denies.
    Allow,
    /// Denies them, whatever else permits.
    Deny,
}

/// One statement: it matches a request when one of its actions, one of its resources and all of
/// its conditions do.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The author's name for it.
    pub sid: Option<Arc<str>>,
    /// What it does.
    pub effect: Effect,
    /// What it is about.
    pub actions: Actions,
    /// What it is about.
    pub resources: Vec<ResourcePattern>,
    /// What else must hold.
    pub conditions: Vec<Condition>,
    /// The statement as its author wrote it, as compact text.
    pub text: Arc<str>,
}

/// One resource of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourcePattern {
    /// As its author wrote it.
    pub spelled: Arc<str>,
    /// Patterns over a resource's text, of which one must match; the most telling first. Empty
    /// when nothing in this hub can match.
    pub patterns: Vec<Pattern>,
    /// Why nothing in this hub can match, when the dialect knows: `this resource belongs to …`.
    pub elsewhere: Option<Arc<str>>,
}

impl Statement {
    /// The variables that its resources and conditions name, each once, in order; at most the
    /// first [`limits::POLICY_VARIABLES_SHOWN`].
    #[must_use]
    pub fn variables(&self) -> Vec<&VariableUse> {
        let in_resources = self
            .resources
            .iter()
            .flat_map(|resource| resource.patterns.iter().take(1))
            .flat_map(Pattern::variables);
        let in_conditions = self.conditions.iter().flat_map(Condition::variables);
        let mut found: Vec<&VariableUse> = Vec::new();
        for used in in_resources.chain(in_conditions) {
            if found.len() == limits::POLICY_VARIABLES_SHOWN {
                break;
            }
            if !found.contains(&used) {
                found.push(used);
            }
        }
        found
    }
}
