//! What the hub says, as AWS policies spell it: topics, actions and the statements that explanations
//! propose.

use std::borrow::Cow;

use hub::InvalidPolicy;
use policy::{Action, Document, Resource, ResourceKind, Spelling};

use super::{PolicyError, actions};
use crate::topics;

/// The topic that policies decide on for a topic of the hub: `$hub/devices/X/…` is
/// `$aws/things/X/…`, any other `$hub/…` is `$aws/…`.
#[must_use]
pub fn policy_topic(canonical: &str) -> Cow<'_, str> {
    topics::aws_topic(canonical)
}

/// The filter that policies decide on for a filter of the hub; in a shared subscription the prefix
/// stays and the filter behind it is translated.
#[must_use]
pub fn policy_filter(canonical: &str) -> Cow<'_, str> {
    topics::aws_filter(canonical)
}

/// How this hub's account and region appear in the statements it proposes.
#[derive(Clone, Debug)]
pub struct AwsSpelling {
    /// The account, 12 digits.
    pub account: String,
    /// The region to write, such as `us-east-1`; statements match in every region all the same.
    pub region: String,
}

impl Spelling for AwsSpelling {
    fn action(&self, action: Action) -> &'static str {
        actions::name(action)
    }

    fn statement(&self, action: Action, resource: &Resource<'_>) -> String {
        render_statement(action, resource, &self.region, &self.account)
    }
}

impl hub::PolicyLanguage for AwsSpelling {
    fn parse(&self, text: &str) -> Result<Document, InvalidPolicy> {
        super::parse(text, &self.account).map_err(|error| match error {
            PolicyError::Content { at, expected } => InvalidPolicy {
                at,
                message: expected,
            },
            PolicyError::TooLarge { .. } | PolicyError::Json { .. } => InvalidPolicy {
                at: "the document".to_owned(),
                message: error.to_string(),
            },
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        policy_topic(canonical)
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        policy_filter(canonical)
    }

    fn resource_name(&self, resource: &str) -> String {
        format!("arn:aws:iot:{}:{}:{resource}", self.region, self.account)
    }
}

/// A statement, as compact JSON, that allows `action` on `resource` and nothing else.
#[must_use]
pub fn render_statement(
    action: Action,
    resource: &Resource<'_>,
    region: &str,
    account: &str,
) -> String {
    let resource = if resource.kind() == ResourceKind::Every {
        "*".to_owned()
    } else {
        format!(
            "arn:aws:iot:{region}:{account}:{}",
            escaped(&resource.to_string())
        )
    };
    serde_json::json!({
        "Effect": "Allow",
        "Action": actions::name(action),
        "Resource": resource,
    })
    .to_string()
}

/// The pattern that matches exactly `text`.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '*' => pattern.push_str("${*}"),
            '?' => pattern.push_str("${?}"),
            // `$aws/…` reads better than `${$}aws/…`; only `${` would be taken for a variable.
            '$' if rest.peek() == Some(&'{') => pattern.push_str("${$}"),
            other => pattern.push(other),
        }
    }
    pattern
}
