//! `golden/policy-matrix.txt`: who may do what to what, printed from the evaluator, so that a
//! change of the rules shows as a difference that anyone can read.
//!
//! `cargo test -p dialect-aws --test policy_matrix -- --ignored` writes the file again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, sync::Arc};

use dialect_aws::policies::{AwsSpelling, parse};
use policy::{
    Action, Context, DeviceFacts, Facts, Request, Resource, ResourceKind, Spelling as _, compile,
};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../golden/policy-matrix.txt"
);

#[test]
fn the_policy_matrix_is_as_committed() {
    let committed = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(
        committed,
        matrix(),
        "write it again: cargo test -p dialect-aws --test policy_matrix -- --ignored"
    );
}

#[test]
#[ignore = "writes golden/policy-matrix.txt"]
fn update_the_policy_matrix() {
    std::fs::write(FILE, matrix()).unwrap();
}

const OWN: &str = r#"{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}"},
{"Effect":"Allow","Action":["iot:Publish","iot:Receive","iot:RetainPublish"],"Resource":["arn:aws:iot:us-east-1:123456789012:topic/dt/${iot:Connection.Thing.ThingName}/*","arn:aws:iot:us-east-1:123456789012:topic/$aws/things/${iot:Connection.Thing.ThingName}/*"]},
{"Effect":"Allow","Action":"iot:Subscribe","Resource":["arn:aws:iot:us-east-1:123456789012:topicfilter/dt/${iot:Connection.Thing.ThingName}/*","arn:aws:iot:us-east-1:123456789012:topicfilter/$aws/things/${iot:Connection.Thing.ThingName}/*"]},
{"Effect":"Allow","Action":["iot:GetThingShadow","iot:UpdateThingShadow","iot:*JobExecution*"],"Resource":["arn:aws:iot:us-east-1:123456789012:thing/${iot:Connection.Thing.ThingName}","arn:aws:iot:us-east-1:123456789012:thing/${iot:Connection.Thing.ThingName}/*"]}]}"#;

const ALL: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;

const NO_OTHERS: &str = r#"{"Version":"2012-10-17","Statement":[
{"Effect":"Deny","Action":["iot:Publish","iot:Receive"],"Resource":"*/valve-1/*"},
{"Effect":"Deny","Action":"iot:Connect","Resource":"*","Condition":{"StringNotEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}}]}"#;

const AT_HOME: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"arn:aws:iot:*:123456789012:*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}}}"#;

const ELSEWHERE: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"arn:aws:iot:us-east-1:999999999999:*"}}"#;

fn matrix() -> String {
    let device = || {
        let mut facts = Facts::new(Some("pump-7"), Some([10, 1, 2, 3].into()));
        facts.device = Some(DeviceFacts {
            name: "pump-7".into(),
            ..DeviceFacts::default()
        });
        facts
    };
    let mut text = String::from(
        "# Who may do what to what, by the policies that apply. Printed from the evaluator; see\n\
         # crates/dialect-aws/tests/policy_matrix.rs. Operators are not subject to policies.\n",
    );
    for (who, policies, facts) in [
        ("device pump-7 without a policy", &[][..], device()),
        (
            "device pump-7, policy for what is its own",
            &[OWN],
            device(),
        ),
        (
            "certificate without a device, policy for what is its device's own",
            &[OWN],
            Facts::new(Some("pump-7"), Some([10, 1, 2, 3].into())),
        ),
        ("device pump-7, everything allowed", &[ALL], device()),
        (
            "device pump-7, everything allowed, others' denied",
            &[ALL, NO_OTHERS],
            device(),
        ),
        (
            "certificate without a device, everything allowed, others' denied",
            &[ALL, NO_OTHERS],
            Facts::new(Some("pump-7"), Some([10, 1, 2, 3].into())),
        ),
        (
            "device pump-7, everything allowed from 10.0.0.0/8 without a last will",
            &[AT_HOME],
            device(),
        ),
        (
            "caller from elsewhere, everything allowed from 10.0.0.0/8 without a last will",
            &[AT_HOME],
            Facts::new(Some("pump-7"), Some([192, 0, 2, 1].into())),
        ),
        (
            "device pump-7, everything allowed in another account",
            &[ELSEWHERE],
            device(),
        ),
    ] {
        write!(text, "\n## {who}\n").unwrap();
        section(&mut text, policies, &facts);
    }
    text
}

fn section(text: &mut String, policies: &[&str], facts: &Facts) {
    let parsed: Vec<_> = policies
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let document = parse(text, "123456789012").unwrap();
            (format!("policy {at}").into(), Arc::new(document))
        })
        .collect();
    let set = compile(&parsed);
    let spelling = AwsSpelling {
        account: "123456789012".into(),
        region: "us-east-1".into(),
    };
    let context = Context::default();
    for action in Action::ALL {
        for resource in resources(action) {
            let request = Request {
                action,
                resource,
                facts,
                context: &context,
            };
            let decision = set.explain(&request, &spelling);
            writeln!(
                text,
                "{:<34} {:<48} {:<8} {}",
                spelling.action(action),
                resource.to_string(),
                if decision.outcome.is_allowed() {
                    "allowed"
                } else {
                    "-"
                },
                decision.reason,
            )
            .unwrap();
        }
    }
}

/// The resources that each action is shown on: the caller's own and others'.
fn resources(action: Action) -> Vec<Resource<'static>> {
    let kind = match action {
        Action::Connect
        | Action::DeleteConnection
        | Action::GetConnection
        | Action::ListSubscriptions
        | Action::SendDirectMessage => ResourceKind::Client,
        Action::Publish | Action::Receive | Action::RetainPublish | Action::GetRetainedMessage => {
            ResourceKind::Topic
        }
        Action::Subscribe => ResourceKind::TopicFilter,
        Action::GetShadow
        | Action::UpdateShadow
        | Action::DeleteShadow
        | Action::ListNamedShadows
        | Action::DescribeJobExecution
        | Action::GetPendingJobExecutions
        | Action::UpdateJobExecution
        | Action::StartNextPendingJobExecution => ResourceKind::Device,
        Action::AssumeRoleWithCertificate => ResourceKind::RoleAlias,
        Action::ListRetainedMessages => ResourceKind::Every,
    };
    match kind {
        ResourceKind::Client => vec![Resource::client("pump-7"), Resource::client("valve-1")],
        ResourceKind::Topic => [
            "dt/pump-7/t",
            "dt/valve-1/t",
            "dt/pump-70/t",
            "$aws/things/pump-7/shadow/update",
            "$aws/things/valve-1/shadow/update",
            "$aws/events/presence/connected/pump-7",
        ]
        .map(Resource::topic)
        .into(),
        ResourceKind::TopicFilter => [
            "dt/pump-7/#",
            "dt/+/t",
            "#",
            "$aws/things/pump-7/shadow/#",
            "$aws/things/+/shadow/#",
            "$share/group/dt/pump-7/#",
        ]
        .map(Resource::filter)
        .into(),
        ResourceKind::Device => vec![
            Resource::device("pump-7"),
            Resource::shadow("pump-7", Some("config")),
            Resource::device("valve-1"),
        ],
        ResourceKind::RoleAlias => vec![Resource::role_alias("camera")],
        ResourceKind::Every => vec![Resource::every()],
    }
}
