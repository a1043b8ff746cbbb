//! The policy language of AWS IoT Core: its JSON, its resource names, its variables and operators.
//!
//! [`parse`] reads a document into a neutral [`policy::Document`]; what the language does not know
//! is refused with its place, because a statement that silently never matches is worse than none.
//! Source: AWS IoT Core Developer Guide, "AWS IoT Core policies"; IAM User Guide, "IAM JSON policy
//! element reference".

mod actions;
mod conditions;
mod device;
mod exercise;
mod json;
mod resources;
mod spelling;
mod variables;

use std::sync::Arc;

use model::limits;
use policy::{Actions, Document, Effect, ResourcePattern, Statement};

use json::Node;

pub use device::device_policy;
pub use exercise::exercise;
pub use spelling::{AwsSpelling, policy_filter, policy_topic, render_statement};
pub use variables::variable;

/// The only version of the language in which `${…}` is a variable.
const VERSION: &str = "2012-10-17";

/// Why a text is not a policy document. The author should look at the place it names.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`limits::POLICY_DOCUMENT_BYTES`].
    #[error(
        "the policy document has {bytes} bytes, more than {}",
        limits::POLICY_DOCUMENT_BYTES
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, or nested too deeply, or with a member twice.
    #[error("the policy document is not valid JSON: {problem}")]
    Json {
        /// What is wrong and at which line and column.
        problem: String,
    },
    /// JSON, but not a policy.
    #[error("{at}: {expected}")]
    Content {
        /// The place, such as `Statement[1].Resource[0]`.
        at: String,
        /// What was expected there, or what is wrong with it.
        expected: String,
    },
}

fn wrong(at: &str, expected: impl Into<String>) -> PolicyError {
    PolicyError::Content {
        at: at.to_owned(),
        expected: expected.into(),
    }
}

/// Reads a policy document for the hub that answers as `account` (12 digits) in every region.
///
/// Strict: `Version` must be `2012-10-17`, unknown members are refused, and so are `NotAction`,
/// `NotResource` and `Principal`, which device policies do not have. A resource of another account
/// or another service is kept, never matches, and explanations say so.
///
/// # Errors
///
/// [`PolicyError`] names the place and what was expected there.
pub fn parse(text: &str, account: &str) -> Result<Document, PolicyError> {
    if text.len() > limits::POLICY_DOCUMENT_BYTES {
        return Err(PolicyError::TooLarge { bytes: text.len() });
    }
    let root = json::read(text).map_err(|problem| PolicyError::Json { problem })?;
    let Node::Object(members) = &root else {
        return Err(wrong("the document", "expected an object"));
    };
    let mut version = None;
    let mut statements = None;
    for (name, value) in members {
        match name.as_str() {
            "Version" => version = Some(value),
            "Statement" => statements = Some(value),
            "Id" => {
                string(value, "Id")?;
            }
            other => {
                return Err(wrong(
                    other,
                    "unknown member; a policy has Version, Statement and Id",
                ));
            }
        }
    }
    match version {
        Some(Node::Text(text)) if text == VERSION => {}
        _ => return Err(wrong("Version", format!("expected \"{VERSION}\""))),
    }
    let bodies: Vec<(String, &Node)> = match statements {
        Some(one @ Node::Object(_)) => vec![("Statement".to_owned(), one)],
        Some(Node::Array(items)) if !items.is_empty() => items
            .iter()
            .enumerate()
            .map(|(at, item)| (format!("Statement[{at}]"), item))
            .collect(),
        _ => {
            return Err(wrong(
                "Statement",
                "expected a statement or a list of at least one",
            ));
        }
    };
    if bodies.len() > limits::POLICY_STATEMENTS {
        return Err(wrong(
            "Statement",
            format!("more than {} statements", limits::POLICY_STATEMENTS),
        ));
    }
    let statements = bodies
        .into_iter()
        .map(|(at, body)| statement(&at, body, account))
        .collect::<Result<_, _>>()?;
    Ok(Document { statements })
}

fn statement(at: &str, node: &Node, account: &str) -> Result<Statement, PolicyError> {
    let Node::Object(members) = node else {
        return Err(wrong(at, "expected an object"));
    };
    let mut sid = None;
    let mut effect = None;
    let mut actions = None;
    let mut resources = None;
    let mut conditions = Vec::new();
    for (name, value) in members {
        let at = format!("{at}.{name}");
        match name.as_str() {
            "Sid" => sid = Some(Arc::from(string(value, &at)?)),
            "Effect" => {
                effect = Some(match string(value, &at)? {
                    "Allow" => Effect::Allow,
                    "Deny" => Effect::Deny,
                    _ => return Err(wrong(&at, "expected \"Allow\" or \"Deny\"")),
                });
            }
            "Action" => {
                let mut set = Actions::NONE;
                for (at, text) in strings(value, &at)? {
                    for action in
                        actions::matching(text).map_err(|expected| wrong(&at, expected))?
                    {
                        set.insert(action);
                    }
                }
                actions = Some(set);
            }
            "Resource" => {
                resources = Some(
                    strings(value, &at)?
                        .into_iter()
                        .map(|(at, text)| {
                            resources::pattern(text, account)
                                .map_err(|expected| wrong(&at, expected))
                        })
                        .collect::<Result<Vec<ResourcePattern>, _>>()?,
                );
            }
            "Condition" => conditions = conditions::read(value, &at, account)?,
            "NotAction" | "NotResource" | "Principal" | "NotPrincipal" => {
                return Err(wrong(&at, "device policies do not have this member"));
            }
            _ => {
                return Err(wrong(
                    &at,
                    "unknown member; a statement has Sid, Effect, Action, Resource and Condition",
                ));
            }
        }
    }
    let missing = |name: &str| wrong(&format!("{at}.{name}"), "missing");
    Ok(Statement {
        sid,
        effect: effect.ok_or_else(|| missing("Effect"))?,
        actions: actions.ok_or_else(|| missing("Action"))?,
        resources: resources.ok_or_else(|| missing("Resource"))?,
        conditions,
        text: node.to_string().into(),
    })
}

fn string<'a>(node: &'a Node, at: &str) -> Result<&'a str, PolicyError> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => {
            Err(wrong(at, "expected a string"))
        }
    }
}

/// One string or a list of at least one, each with its place.
fn strings<'a>(node: &'a Node, at: &str) -> Result<Vec<(String, &'a str)>, PolicyError> {
    match node {
        Node::Text(text) => Ok(vec![(at.to_owned(), text)]),
        Node::Array(items) if items.is_empty() => Err(wrong(at, "expected at least one string")),
        Node::Array(items) if items.len() > limits::POLICY_LIST_ENTRIES => Err(wrong(
            at,
            format!("more than {} entries", limits::POLICY_LIST_ENTRIES),
        )),
        Node::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let at = format!("{at}[{index}]");
                string(item, &at).map(|text| (at.clone(), text))
            })
            .collect(),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Object(_) => {
            Err(wrong(at, "expected a string or a list of strings"))
        }
    }
}
