//! The names of actions.

use policy::{Action, Context, Facts, Pattern, Values, Variable, Wildcards};

/// The name of an action.
pub(super) const fn name(action: Action) -> &'static str {
    match action {
        Action::Connect => "iot:Connect",
        Action::Publish => "iot:Publish",
        Action::Receive => "iot:Receive",
        Action::RetainPublish => "iot:RetainPublish",
        Action::Subscribe => "iot:Subscribe",
        Action::GetRetainedMessage => "iot:GetRetainedMessage",
        Action::ListRetainedMessages => "iot:ListRetainedMessages",
        Action::GetShadow => "iot:GetThingShadow",
        Action::UpdateShadow => "iot:UpdateThingShadow",
        Action::DeleteShadow => "iot:DeleteThingShadow",
        Action::ListNamedShadows => "iot:ListNamedShadowsForThing",
        Action::DescribeJobExecution => "iot:DescribeJobExecution",
        Action::GetPendingJobExecutions => "iot:GetPendingJobExecutions",
        Action::UpdateJobExecution => "iot:UpdateJobExecution",
        Action::StartNextPendingJobExecution => "iot:StartNextPendingJobExecution",
        Action::AssumeRoleWithCertificate => "iot:AssumeRoleWithCertificate",
        Action::DeleteConnection => "iot:DeleteConnection",
        Action::GetConnection => "iot:GetConnection",
        Action::ListSubscriptions => "iot:ListSubscriptions",
        Action::SendDirectMessage => "iot:SendDirectMessage",
    }
}

/// The actions that `text` names, wildcards and any case allowed. A well-formed name that policies
/// of this hub never decide, such as `greengrass:Discover`, names none; the error says what was
/// expected.
pub(super) fn matching(text: &str) -> Result<Vec<Action>, String> {
    const EXPECTED: &str = "expected an action such as iot:Publish, iot:* or *";
    let in_alphabet = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'*' | b'?' | b'-'));
    let in_shape = match text.split_once(':') {
        Some((service, action)) => {
            !service.is_empty() && !action.is_empty() && !action.contains(':')
        }
        None => !text.is_empty() && text.bytes().all(|byte| byte == b'*'),
    };
    if !in_alphabet || !in_shape {
        return Err(EXPECTED.to_owned());
    }
    let pattern = Pattern::parse(&text.to_ascii_lowercase(), Wildcards::On, &|_| {
        Variable::Unknown
    })
    .map_err(|error| error.to_string())?;
    let (facts, context) = (Facts::default(), Context::default());
    let values = Values::new(&facts, &context, false);
    Ok(Action::ALL
        .into_iter()
        .filter(|action| pattern.matches(&name(*action).to_ascii_lowercase(), &values))
        .collect())
}
