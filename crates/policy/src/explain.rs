//! The story of a decision: the statement that made it, or the one that came nearest.

use std::fmt::Write as _;

use model::{Because, Decision, Outcome, ReasonId, limits};

use crate::{
    Action, CompiledSet, Condition, Effect, Request, Resource, ResourceKind, Statement,
    StatementIndex, Values, VariableUse, compiled::resource_matches, resource::ResourceText,
};

/// The reasons a policy decision can have.
pub mod reason {
    use model::ReasonId;

    /// A statement allows it and none denies it.
    pub const ALLOWED: ReasonId = ReasonId("policy.allowed");
    /// A statement denies it.
    pub const EXPLICIT_DENY: ReasonId = ReasonId("policy.explicit-deny");
    /// No statement allows it.
    pub const NO_STATEMENT: ReasonId = ReasonId("policy.no-statement");
    /// A statement would allow it but for a condition.
    pub const CONDITION: ReasonId = ReasonId("policy.condition");
    /// A statement would allow it but for a variable without a usable value.
    pub const VARIABLE: ReasonId = ReasonId("policy.variable");
    /// The caller has no policy at all.
    pub const NO_POLICY: ReasonId = ReasonId("policy.no-policy");
}

/// How the authors of policies spell actions and statements.
pub trait Spelling {
    /// The name of an action, such as `iot:Publish`.
    fn action(&self, action: Action) -> &'static str;

    /// A statement that allows `action` on `resource` and nothing else.
    fn statement(&self, action: Action, resource: &Resource<'_>) -> String;
}

/// What keeps a permission from matching, nearest last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Near {
    /// The resource matches; the action does not.
    OtherAction,
    /// The action matches; this many characters of the resource do, none beyond its kind.
    OtherResource(usize),
    /// The action matches; this many characters of the resource do, some beyond its kind.
    Resource(usize),
    /// Only a condition fails.
    Condition,
}

impl CompiledSet {
    /// Decides as [`Self::decide`] does and tells why.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>, spelling: &dyn Spelling) -> Decision {
        let verdict = self.decide(request);
        let story = Story {
            set: self,
            request,
            spelling,
            text: request.resource.text(),
            values: request.values(),
        };
        let (reason, because) = match verdict.statement {
            Some(index) if verdict.outcome.is_allowed() => (reason::ALLOWED, story.about(index)),
            Some(index) => (reason::EXPLICIT_DENY, story.denied(index)),
            None => story.not_allowed(),
        };
        Decision {
            outcome: verdict.outcome,
            reason,
            action: spelling.action(request.action).to_owned(),
            resource: request.resource.to_string(),
            because,
        }
    }
}

struct Story<'a> {
    set: &'a CompiledSet,
    request: &'a Request<'a>,
    spelling: &'a dyn Spelling,
    text: ResourceText,
    values: Values<'a>,
}

impl Story<'_> {
    fn about(&self, index: StatementIndex) -> Because {
        let statement = self.set.statement(index);
        let short = statement.text.len() <= limits::POLICY_STATEMENT_SHOWN_BYTES;
        Because {
            policy: Some(self.set.policy_name(index).to_string()),
            statement: Some(index.statement),
            text: short.then(|| statement.text.to_string()),
            variables: statement
                .variables()
                .into_iter()
                .map(|used| self.variable(used, statement))
                .collect(),
            ..Because::default()
        }
    }

    fn variable(&self, used: &VariableUse, statement: &Statement) -> model::Variable {
        let in_pattern = statement
            .resources
            .iter()
            .flat_map(|resource| &resource.patterns)
            .flat_map(crate::Pattern::variables)
            .any(|other| other == used);
        let (value, note) = match self.values.substitute(&used.variable) {
            Ok(value) => (Some(value.into_owned()), None),
            Err(reason) if in_pattern => (None, Some(reason.to_string())),
            Err(_) => {
                let all = self.values.all(&used.variable);
                let note = self.values.absence(&used.variable);
                let shown = (!all.is_empty()).then(|| all.join(", "));
                (shown, note.map(|reason| reason.to_string()))
            }
        };
        model::Variable {
            name: used.spelled.to_string(),
            value,
            note,
        }
    }

    fn denied(&self, index: StatementIndex) -> Because {
        let mut because = self.about(index);
        because.remedy = Some(format!(
            "remove statement {} of policy {}, or narrow it so that it does not match {}",
            index.statement,
            self.set.policy_name(index),
            self.request.resource,
        ));
        because
    }

    fn not_allowed(&self) -> (ReasonId, Because) {
        let remedy = self
            .spelling
            .statement(self.request.action, &self.request.resource);
        if self.set.is_empty() {
            let because = Because {
                miss: Some("no policy is attached to the caller".to_owned()),
                remedy: Some(remedy),
                ..Because::default()
            };
            return (reason::NO_POLICY, because);
        }
        let mut best: Option<(Near, StatementIndex, &Statement)> = None;
        for (index, statement) in self.set.statements() {
            let Some(near) = self.nearness(statement) else {
                continue;
            };
            if best.is_none_or(|(other, _, _)| near > other) {
                best = Some((near, index, statement));
            }
        }
        let Some((near, index, statement)) = best else {
            let because = Because {
                miss: Some(format!(
                    "no statement allows {} on anything",
                    self.spelling.action(self.request.action)
                )),
                remedy: Some(remedy),
                ..Because::default()
            };
            return (reason::NO_STATEMENT, because);
        };
        let mut because = self.about(index);
        because.remedy = Some(remedy);
        let reason = match near {
            Near::Condition => {
                let failing = self.failing(statement);
                because.miss = Some(self.condition_miss(failing));
                because.remedy = Some(format!(
                    "meet the condition, or remove it from statement {} of policy {}",
                    index.statement,
                    self.set.policy_name(index),
                ));
                reason::CONDITION
            }
            Near::OtherAction => {
                because.miss = Some(self.action_miss(statement));
                reason::NO_STATEMENT
            }
            Near::Resource(_) | Near::OtherResource(_) => {
                let (miss, unresolved) = self.resource_miss(statement);
                because.miss = Some(miss);
                if unresolved {
                    reason::VARIABLE
                } else {
                    reason::NO_STATEMENT
                }
            }
        };
        (reason, because)
    }

    fn nearness(&self, statement: &Statement) -> Option<Near> {
        if statement.effect != Effect::Allow {
            return None;
        }
        let resource = resource_matches(statement, &self.text, &self.values);
        if !statement.actions.contains(self.request.action) {
            return resource.then_some(Near::OtherAction);
        }
        if resource {
            return Some(Near::Condition);
        }
        let progress = statement
            .resources
            .iter()
            .flat_map(|resource| &resource.patterns)
            .map(|pattern| pattern.progress(&self.text, &self.values))
            .max()
            .unwrap_or(0);
        let kind = self.request.resource.kind().prefix().len();
        Some(if progress > kind {
            Near::Resource(progress)
        } else {
            Near::OtherResource(progress)
        })
    }

    fn failing<'s>(&self, statement: &'s Statement) -> &'s Condition {
        statement
            .conditions
            .iter()
            .find(|condition| !condition.holds(&self.values, statement.effect))
            .expect("action and resource match, so a condition failed")
    }

    fn condition_miss(&self, condition: &Condition) -> String {
        let mut miss = format!(
            "the condition {} on {} fails",
            condition.spelled, condition.key.spelled
        );
        let present = self.values.all(&condition.key.variable);
        if present.is_empty() {
            miss.push_str(": it has no value");
            if let Some(reason) = self.values.absence(&condition.key.variable) {
                let _ = write!(miss, ", {reason}");
            }
        } else {
            let _ = write!(miss, ": its value is {}", present.join(", "));
        }
        miss
    }

    fn action_miss(&self, statement: &Statement) -> String {
        let named: Vec<&str> = statement
            .actions
            .iter()
            .map(|action| self.spelling.action(action))
            .collect();
        let what = if named.is_empty() {
            "other actions".to_owned()
        } else {
            named.join(", ")
        };
        format!(
            "the resource matches, but the statement allows {what}, not {}",
            self.spelling.action(self.request.action)
        )
    }

    /// The miss, and whether a variable without a usable value is the cause.
    fn resource_miss(&self, statement: &Statement) -> (String, bool) {
        let asked = &self.request.resource;
        let nearest = statement
            .resources
            .iter()
            .flat_map(|resource| {
                resource
                    .patterns
                    .iter()
                    .map(move |pattern| (resource, pattern))
            })
            .max_by_key(|(_, pattern)| pattern.progress(&self.text, &self.values));
        let Some((_, pattern)) = nearest else {
            let Some(resource) = statement.resources.first() else {
                return ("the statement names no resource".to_owned(), false);
            };
            let miss = match &resource.elsewhere {
                Some(why) => format!("{why}: {}", resource.spelled),
                None => format!(
                    "nothing in this hub matches the resource {}",
                    resource.spelled
                ),
            };
            return (miss, false);
        };
        let mut miss = format!("resource {pattern} does not match {asked}");
        for used in pattern.variables() {
            if let Err(reason) = self.values.substitute(&used.variable) {
                let _ = write!(miss, ": ${{{}}} has no value, {reason}", used.spelled);
                return (miss, true);
            }
        }
        let kind = ResourceKind::of(pattern.leading());
        if let Some(kind) = kind.filter(|kind| *kind != asked.kind()) {
            let _ = write!(
                miss,
                ": {} is decided on {}…, the statement names {}…",
                self.spelling.action(self.request.action),
                asked.kind().prefix(),
                kind.prefix(),
            );
        } else if asked.kind() == ResourceKind::Topic
            && (pattern.has_literal('#') || pattern.has_literal('+'))
        {
            miss.push_str(": + and # stand for themselves in a policy; its wildcards are * and ?");
        } else if let Some(value) = pattern.substituted(&self.values)
            && pattern.variables().next().is_some()
        {
            let _ = write!(miss, " (with its variables: {value})");
        }
        (miss, false)
    }
}

impl CompiledSet {
    /// The names of the policies with a statement of each effect that matches: those that allow
    /// and those that deny. What a test of an authorization lists.
    #[must_use]
    pub fn sides(&self, request: &Request<'_>) -> Sides<'_> {
        let text = request.resource.text();
        let values = request.values();
        let mut sides = Sides::default();
        for (index, statement) in self.statements() {
            if !statement.actions.contains(request.action)
                || !resource_matches(statement, &text, &values)
                || !statement
                    .conditions
                    .iter()
                    .all(|condition| condition.holds(&values, statement.effect))
            {
                continue;
            }
            let name = &**self.policy_name(index);
            let side = match statement.effect {
                Effect::Allow => &mut sides.allowing,
                Effect::Deny => &mut sides.denying,
            };
            if !side.contains(&name) {
                side.push(name);
            }
        }
        sides
    }
}

impl CompiledSet {
    /// The names, as their authors wrote them, of the variables that statements about the
    /// request's action ask for and that have no value here, each once.
    #[must_use]
    pub fn missing(&self, request: &Request<'_>) -> Vec<&str> {
        let values = request.values();
        let mut missing: Vec<&str> = Vec::new();
        for (_, statement) in self.statements() {
            if !statement.actions.contains(request.action) {
                continue;
            }
            for used in statement.variables() {
                let name = &*used.spelled;
                if values.absence(&used.variable).is_some() && !missing.contains(&name) {
                    missing.push(name);
                }
            }
        }
        missing
    }
}

/// The policies that speak for and against a request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sides<'a> {
    /// Policies with a matching permission.
    pub allowing: Vec<&'a str>,
    /// Policies with a matching denial.
    pub denying: Vec<&'a str>,
}

impl Sides<'_> {
    /// The decision they amount to.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        if !self.denying.is_empty() {
            Outcome::ExplicitlyDenied
        } else if self.allowing.is_empty() {
            Outcome::ImplicitlyDenied
        } else {
            Outcome::Allowed
        }
    }
}
