//! Which statements speak of a request: resources, actions, precedence.

use super::*;

#[test]
fn resources_match_in_every_region_and_partition_of_the_own_account() {
    for (resource, expected) in [
        ("arn:aws:iot:us-east-1:123456789012:topic/a/b", true),
        ("arn:aws:iot:eu-central-1:123456789012:topic/a/b", true),
        ("arn:aws-cn:iot:cn-north-1:123456789012:topic/a/b", true),
        (
            "arn:aws-us-gov:iot:us-gov-west-1:123456789012:topic/a/b",
            true,
        ),
        ("arn:aws:iot:us-east-1:123456789012:topic/*", true),
        ("arn:aws:iot:us-east-1:123456789012:topic/a/?", true),
        ("arn:aws:iot:us-east-1:123456789012:*", true),
        ("arn:aws:iot:us-east-1:*:topic/a/b", true),
        ("arn:aws:iot:*:123456789012:topic/a/b", true),
        ("arn:aws:iot:*:*:topic/a/b", true),
        ("arn:aws:iot:*", true),
        ("arn:aws:*", true),
        ("arn:*", true),
        ("*", true),
        ("*/b", true),
        ("*:topic/a/b", true),
        ("arn:aws:iot:us-east-1:12345678901?:topic/a/b", true),
        ("arn:aws:iot:us-east-1:999999999999:topic/a/b", false),
        ("arn:aws:s3:us-east-1:123456789012:topic/a/b", false),
        ("arn:aws:iot::123456789012:topic/a/b", false),
        ("arn:aws:iot:us-east-1::topic/a/b", false),
        ("arn:aws:iot:us-east-1:123456789012:topicfilter/a/b", false),
        ("arn:aws:iot:us-east-1:123456789012:topic/a", false),
        ("arn:aws:iot:us-east-1:123456789012:topic/a/B", false),
        ("arn:aws:iot:us-east-1:123456789012:topic/+/b", false),
        ("arn:aws:iot:us-east-1:123456789012:topic/#", false),
        ("arn:aws:iot:us-east-1:123456789012:", false),
    ] {
        let document = statement("Allow", "iot:Publish", resource, "{}");
        let decision = decide(&[&document], Action::Publish, Resource::topic("a/b"));
        assert_eq!(decision.outcome.is_allowed(), expected, "{resource}");
    }
}

#[test]
fn an_action_without_a_resource_of_its_own_needs_a_star() {
    for (resource, expected) in [
        ("*", true),
        ("arn:aws:iot:us-east-1:123456789012:*", true),
        ("arn:aws:iot:us-east-1:123456789012:topic/*", false),
    ] {
        let document = statement("Allow", "iot:ListRetainedMessages", resource, "{}");
        let decision = decide(
            &[&document],
            Action::ListRetainedMessages,
            Resource::every(),
        );
        assert_eq!(decision.outcome.is_allowed(), expected, "{resource}");
    }
}

#[test]
fn each_action_is_decided_on_its_own_kind_of_resource() {
    for (action, resource, pattern) in [
        (Action::Connect, Resource::client("pump-7"), "client/pump-7"),
        (Action::Publish, Resource::topic("a"), "topic/a"),
        (Action::Receive, Resource::topic("a"), "topic/a"),
        (Action::RetainPublish, Resource::topic("a"), "topic/a"),
        (Action::GetRetainedMessage, Resource::topic("a"), "topic/a"),
        (
            Action::Subscribe,
            Resource::filter("a/#"),
            "topicfilter/a/#",
        ),
        (
            Action::Subscribe,
            Resource::filter("$share/g/a/+"),
            "topicfilter/$share/g/a/+",
        ),
        (Action::GetShadow, Resource::shadow("d", None), "thing/d"),
        (
            Action::UpdateShadow,
            Resource::shadow("d", Some("s")),
            "thing/d/s",
        ),
        (
            Action::DeleteShadow,
            Resource::shadow("d", Some("s")),
            "thing/d/*",
        ),
        (Action::ListNamedShadows, Resource::device("d"), "thing/d"),
        (Action::UpdateJobExecution, Resource::device("d"), "thing/d"),
        (
            Action::AssumeRoleWithCertificate,
            Resource::role_alias("r"),
            "rolealias/r",
        ),
        (Action::DeleteConnection, Resource::client("c"), "client/c"),
    ] {
        let document = statement("Allow", "iot:*", &own(pattern), "{}");
        let decision = decide(&[&document], action, resource);
        assert_eq!(
            decision.outcome,
            Outcome::Allowed,
            "{action:?} on {pattern}"
        );
    }
}

#[test]
fn actions_have_wildcards_and_no_case() {
    for (written, expected) in [
        ("iot:Publish", true),
        ("IOT:PUBLISH", true),
        ("iot:publish", true),
        ("iot:*", true),
        ("*", true),
        ("*:*", true),
        ("iot:Pub*", true),
        ("iot:P?blish", true),
        ("iot:*lish", true),
        ("i*:Publish", true),
        ("iot:Subscribe", false),
        ("iot:Publis", false),
        ("iot:RetainPublish", false),
        ("greengrass:Discover", false),
        ("s3:*", false),
        ("iot:CreateThing", false),
    ] {
        let document = statement("Allow", written, "*", "{}");
        let decision = decide(&[&document], Action::Publish, Resource::topic("a"));
        assert_eq!(decision.outcome.is_allowed(), expected, "{written}");
    }
}

#[test]
fn a_denial_beats_a_permission_wherever_it_stands() {
    let allow = statement("Allow", "iot:*", "*", "{}");
    let deny = statement("Deny", "iot:Publish", &own("topic/secret/*"), "{}");
    for order in [[&*allow, &*deny], [&*deny, &*allow]] {
        let secret = decide(&order, Action::Publish, Resource::topic("secret/a"));
        assert_eq!(secret.outcome, Outcome::ExplicitlyDenied);
        assert_eq!(secret.reason.0, "policy.explicit-deny");
        let open = decide(&order, Action::Publish, Resource::topic("open/a"));
        assert_eq!(open.outcome, Outcome::Allowed);
        assert_eq!(open.reason.0, "policy.allowed");
        let other = decide(&order, Action::Receive, Resource::topic("secret/a"));
        assert_eq!(other.outcome, Outcome::Allowed);
    }
}

#[test]
fn a_statement_needs_one_action_one_resource_and_every_condition() {
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",
        "Action":["iot:Publish","iot:Receive"],
        "Resource":["{}","{}"],
        "Condition":{{"StringEquals":{{"iot:ClientId":["x","pump-7"],"iot:Connection.Thing.ThingTypeName":"pump"}},
                     "IpAddress":{{"aws:SourceIp":"10.0.0.0/8"}}}}}}}}"#,
        own("topic/a"),
        own("topic/b"),
    );
    for topic in ["a", "b"] {
        for action in [Action::Publish, Action::Receive] {
            assert!(
                decide(&[&document], action, Resource::topic(topic))
                    .outcome
                    .is_allowed()
            );
        }
    }
    assert!(
        !decide(&[&document], Action::Publish, Resource::topic("c"))
            .outcome
            .is_allowed()
    );
    let mut facts = pump();
    facts.device.as_mut().unwrap().type_name = None;
    let one_fails = decide_as(&facts, &[&document], Action::Publish, Resource::topic("a"));
    assert!(!one_fails.outcome.is_allowed());
}
