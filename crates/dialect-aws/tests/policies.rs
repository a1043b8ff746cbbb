//! AWS policy documents decide and explain as their authors expect.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc};

use dialect_aws::policies::{
    AwsSpelling, PolicyError, exercise, parse, policy_filter, policy_topic,
};
use model::{Decision, Outcome, Timestamp};
use policy::{
    Action, AlternativeName, CertificateFacts, Context, DeviceFacts, Facts, NameFacts, NameField,
    Request, Resource, compile,
};
use proptest::prelude::*;

const ACCOUNT: &str = "123456789012";

// --- resources -------------------------------------------------------------------------------

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

// --- actions ---------------------------------------------------------------------------------

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

// --- precedence ------------------------------------------------------------------------------

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

// --- variables -------------------------------------------------------------------------------

#[test]
fn every_variable_has_its_value() {
    for (variable, value) in [
        ("iot:ClientId", "pump-7"),
        ("IOT:clientid", "pump-7"),
        ("aws:SourceIp", "10.1.2.3"),
        ("iot:Connection.Thing.ThingName", "pump-7"),
        ("iot:Connection.Thing.ThingTypeName", "pump"),
        ("iot:Connection.Thing.Attributes[site]", "kyoto"),
        ("iot:Connection.Thing.IsAttached", "true"),
        ("iot:Certificate.Subject.CommonName", "pump"),
        ("iot:Certificate.Subject.Organization", "first"),
        ("iot:Certificate.Subject.Organization.1", "second"),
        ("iot:Certificate.Subject.Country.List", "JP"),
        ("iot:Certificate.Issuer.CommonName", "the root"),
        (
            "iot:Certificate.Subject.AlternativeName.DNSName",
            "pump.example",
        ),
        (
            "iot:Certificate.Subject.AlternativeName.DNSName.1",
            "pump7.example",
        ),
        ("iot:Certificate.SerialNumber", "0a1b"),
        ("aws:CurrentTime", "2026-11-21T10:00:00Z"),
        ("aws:EpochTime", "1795255200"),
        ("iot:DomainName", "hub.example"),
    ] {
        let document = statement(
            "Allow",
            "iot:Publish",
            &own(&format!("topic/${{{variable}}}/*")),
            "{}",
        );
        let topic = format!("{value}/t");
        let decision = decide(&[&document], Action::Publish, Resource::topic(&topic));
        assert!(decision.outcome.is_allowed(), "{variable}: {decision:?}");
        assert_eq!(
            decision.because.variables[0].value.as_deref(),
            Some(value),
            "{variable}"
        );
        let other = decide(&[&document], Action::Publish, Resource::topic("other/t"));
        assert!(!other.outcome.is_allowed(), "{variable}");
    }
}

#[test]
fn a_variable_without_a_usable_value_matches_nothing_and_says_why() {
    for (variable, note) in [
        (
            "iot:Connection.Thing.Attributes[none]",
            "the device does not have it",
        ),
        (
            "iot:Connection.Thing.Attributes[Site]",
            "the device does not have it",
        ),
        (
            "iot:Connection.Thing.Attributes[wild]",
            "its value holds one of * $ + ? # and is not substituted",
        ),
        (
            "iot:Certificate.Subject.Organization.2",
            "the certificate does not have it",
        ),
        (
            "iot:Certificate.Subject.Organization.List",
            "it has several values; name one of them",
        ),
        (
            "iot:Certificate.Subject.Title",
            "the certificate does not have it",
        ),
        (
            "iot:Certificate.AvailableKeys",
            "it has several values; name one of them",
        ),
        ("iot:LastWillTopic", "the request does not have it"),
        ("iot:NoSuchThing", "this hub knows no variable of that name"),
        (
            "iot:Certificate.Subject.CommonName.+1",
            "this hub knows no variable of that name",
        ),
    ] {
        let document = statement(
            "Allow",
            "iot:Publish",
            &own(&format!("topic/${{{variable}}}")),
            "{}",
        );
        for topic in ["a", "", "*", "${}", "second"] {
            let decision = decide(&[&document], Action::Publish, Resource::topic(topic));
            assert!(!decision.outcome.is_allowed(), "{variable}");
            assert_eq!(decision.reason.0, "policy.variable", "{variable}");
            assert_eq!(decision.because.variables[0].value, None);
            assert_eq!(
                decision.because.variables[0].note.as_deref(),
                Some(note),
                "{variable}"
            );
        }
    }
}

#[test]
fn only_five_values_of_a_certificate_field_are_seen() {
    let mut facts = pump();
    let certificate = Arc::make_mut(facts.certificate.as_mut().unwrap());
    let many = (0..7).map(|at| format!("o{at}")).collect();
    certificate
        .subject
        .fields
        .insert(NameField::Organization, many);
    for (at, expected) in [(4, true), (5, false)] {
        let pattern = own(&format!(
            "topic/${{iot:Certificate.Subject.Organization.{at}}}"
        ));
        let document = statement("Allow", "iot:Publish", &pattern, "{}");
        let topic = format!("o{at}");
        let decision = decide_as(
            &facts,
            &[&document],
            Action::Publish,
            Resource::topic(&topic),
        );
        assert_eq!(decision.outcome.is_allowed(), expected, "value {at}");
    }
}

#[test]
fn a_caller_without_a_device_has_no_device_variables() {
    let facts = Facts::new(Some("pump-7"), None);
    for (condition, expected) in [
        (
            r#"{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}"#,
            false,
        ),
        (
            r#"{"Bool":{"iot:Connection.Thing.IsAttached":"false"}}"#,
            true,
        ),
        (
            r#"{"Null":{"iot:Connection.Thing.ThingName":"true"}}"#,
            true,
        ),
        (
            r#"{"StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}"#,
            false,
        ),
    ] {
        let document = statement("Allow", "iot:Connect", "*", condition);
        let client = Resource::client("pump-7");
        let decision = decide_as(&facts, &[&document], Action::Connect, client);
        assert_eq!(decision.outcome.is_allowed(), expected, "{condition}");
    }
}

// --- conditions ------------------------------------------------------------------------------

#[test]
fn every_operator_tests_what_its_name_says() {
    for (condition, expected) in [
        // Strings.
        (r#""StringEquals":{"iot:ClientId":"pump-7"}"#, true),
        (r#""StringEquals":{"iot:ClientId":"PUMP-7"}"#, false),
        (r#""StringEquals":{"iot:ClientId":"pump-*"}"#, false),
        (r#""StringEquals":{"iot:ClientId":["a","pump-7"]}"#, true),
        (r#""StringEquals":{"iot:ClientId":[]}"#, false),
        (
            r#""StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}"#,
            true,
        ),
        (
            r#""StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingTypeName}"}"#,
            false,
        ),
        (r#""StringNotEquals":{"iot:ClientId":"pump-8"}"#, true),
        (
            r#""StringNotEquals":{"iot:ClientId":["pump-8","pump-7"]}"#,
            false,
        ),
        (
            r#""StringEqualsIgnoreCase":{"iot:ClientId":"PUMP-7"}"#,
            true,
        ),
        (
            r#""StringEqualsIgnoreCase":{"iot:ClientId":"PUMP-8"}"#,
            false,
        ),
        (
            r#""StringNotEqualsIgnoreCase":{"iot:ClientId":"PUMP-7"}"#,
            false,
        ),
        (r#""StringLike":{"iot:ClientId":"pump-?"}"#, true),
        (r#""StringLike":{"iot:ClientId":"pump*"}"#, true),
        (r#""StringLike":{"iot:ClientId":"valve*"}"#, false),
        (
            r#""StringLike":{"iot:ClientId":"${iot:Connection.Thing.ThingTypeName}-*"}"#,
            true,
        ),
        (r#""StringNotLike":{"iot:ClientId":"pump*"}"#, false),
        (r#""StringNotLike":{"iot:ClientId":"valve*"}"#, true),
        // Numbers.
        (
            r#""NumericEquals":{"iot:Connection.Thing.Attributes[floor]":"3"}"#,
            true,
        ),
        (
            r#""NumericEquals":{"iot:Connection.Thing.Attributes[floor]":3.0}"#,
            true,
        ),
        (
            r#""NumericEquals":{"iot:Connection.Thing.Attributes[floor]":"3e0"}"#,
            true,
        ),
        (
            r#""NumericNotEquals":{"iot:Connection.Thing.Attributes[floor]":"3"}"#,
            false,
        ),
        (
            r#""NumericLessThan":{"iot:Connection.Thing.Attributes[floor]":"3"}"#,
            false,
        ),
        (
            r#""NumericLessThan":{"iot:Connection.Thing.Attributes[floor]":"3.5"}"#,
            true,
        ),
        (
            r#""NumericLessThanEquals":{"iot:Connection.Thing.Attributes[floor]":"3"}"#,
            true,
        ),
        (
            r#""NumericGreaterThan":{"iot:Connection.Thing.Attributes[floor]":"-4"}"#,
            true,
        ),
        (
            r#""NumericGreaterThan":{"iot:Connection.Thing.Attributes[floor]":"3"}"#,
            false,
        ),
        (
            r#""NumericGreaterThanEquals":{"iot:Connection.Thing.Attributes[floor]":"3"}"#,
            true,
        ),
        (
            r#""NumericEquals":{"iot:Connection.Thing.Attributes[site]":"3"}"#,
            false,
        ),
        (
            r#""NumericEquals":{"iot:Connection.Thing.Attributes[floor]":"${iot:Connection.Thing.Attributes[floor]}"}"#,
            true,
        ),
        // Dates; it is 2026-11-21T10:00:00Z.
        (
            r#""DateEquals":{"aws:CurrentTime":"2026-11-21T10:00:00Z"}"#,
            true,
        ),
        (
            r#""DateEquals":{"aws:CurrentTime":"2026-11-21T19:00:00+09:00"}"#,
            true,
        ),
        (
            r#""DateNotEquals":{"aws:CurrentTime":"2026-11-21T10:00:00Z"}"#,
            false,
        ),
        (r#""DateLessThan":{"aws:CurrentTime":"2026-11-22"}"#, true),
        (
            r#""DateLessThan":{"aws:CurrentTime":"2026-11-21T10:00:00Z"}"#,
            false,
        ),
        (
            r#""DateLessThanEquals":{"aws:CurrentTime":"2026-11-21T10:00:00Z"}"#,
            true,
        ),
        (
            r#""DateGreaterThan":{"aws:CurrentTime":"2026-11-21"}"#,
            true,
        ),
        (r#""DateGreaterThan":{"aws:EpochTime":"1795255199"}"#, true),
        (
            r#""DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-21T10:00:01Z"}"#,
            false,
        ),
        (r#""NumericLessThan":{"aws:EpochTime":"1795255201"}"#, true),
        // Truth.
        (r#""Bool":{"iot:Connection.Thing.IsAttached":"true"}"#, true),
        (r#""Bool":{"iot:Connection.Thing.IsAttached":true}"#, true),
        (
            r#""Bool":{"iot:Connection.Thing.IsAttached":["false"]}"#,
            false,
        ),
        // Addresses; it is 10.1.2.3.
        (r#""IpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#, true),
        (
            r#""IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.2.3"]}"#,
            true,
        ),
        (r#""IpAddress":{"aws:SourceIp":"2001:db8::/32"}"#, false),
        (r#""NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#, false),
        (r#""NotIpAddress":{"aws:SourceIp":"192.168.0.0/16"}"#, true),
        (
            r#""IpAddress":{"aws:SourceIp":"${iot:Connection.Thing.Attributes[address]}"}"#,
            true,
        ),
        // Resource names.
        (
            r#""ArnEquals":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:123456789012:topic/will/pump-7"}"#,
            true,
        ),
        (
            r#""ArnEquals":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:123456789012:topic/will/*"}"#,
            true,
        ),
        (
            r#""ArnLike":{"iot:LastWillTopic":"arn:aws:iot:*:*:topic/will/${iot:ClientId}"}"#,
            true,
        ),
        (
            r#""ArnLike":{"iot:LastWillTopic":"arn:aws:iot:*:*:topic/other/*"}"#,
            false,
        ),
        (
            r#""ArnEquals":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:999999999999:topic/will/pump-7"}"#,
            false,
        ),
        (
            r#""ArnNotEquals":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:123456789012:topic/will/pump-7"}"#,
            false,
        ),
        (
            r#""ArnNotLike":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:123456789012:topic/other/*"}"#,
            true,
        ),
        (
            r#""StringEquals":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:123456789012:topic/will/pump-7"}"#,
            true,
        ),
        (
            r#""StringLike":{"iot:LastWillTopic":"arn:aws:iot:*:123456789012:topic/will/*"}"#,
            true,
        ),
        // Absence.
        (r#""Null":{"iot:ClientId":"false"}"#, true),
        (r#""Null":{"iot:ClientId":"true"}"#, false),
        (
            r#""Null":{"iot:Connection.Thing.Attributes[none]":"true"}"#,
            true,
        ),
        (r#""Null":{"aws:NoSuchKey":true}"#, true),
        // Absent keys.
        (r#""StringEquals":{"aws:NoSuchKey":"x"}"#, false),
        (r#""StringNotEquals":{"aws:NoSuchKey":"x"}"#, true),
        (r#""StringEqualsIfExists":{"aws:NoSuchKey":"x"}"#, true),
        (r#""StringEqualsIfExists":{"iot:ClientId":"x"}"#, false),
        (
            r#""NumericLessThanIfExists":{"iot:Connection.Thing.Attributes[none]":"3"}"#,
            true,
        ),
        (
            r#""NotIpAddressIfExists":{"aws:SourceIp":"10.0.0.0/8"}"#,
            false,
        ),
        (r#""BoolIfExists":{"aws:SecureTransport":"true"}"#, true),
        // Sets; the CONNECT asks for a persistent session and a last will.
        (
            r#""ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect","LastWill"]}"#,
            true,
        ),
        (
            r#""ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}"#,
            false,
        ),
        (
            r#""ForAllValues:StringEquals":{"iot:ConnectAttributes":[]}"#,
            false,
        ),
        (
            r#""ForAnyValue:StringEquals":{"iot:ConnectAttributes":["LastWill"]}"#,
            true,
        ),
        (
            r#""ForAnyValue:StringEquals":{"iot:ConnectAttributes":["Other"]}"#,
            false,
        ),
        (
            r#""ForAnyValue:StringNotEquals":{"iot:ConnectAttributes":["LastWill"]}"#,
            true,
        ),
        (
            r#""ForAllValues:StringNotEquals":{"iot:ConnectAttributes":["LastWill"]}"#,
            false,
        ),
        (
            r#""ForAllValues:StringEquals":{"aws:NoSuchKey":["x"]}"#,
            true,
        ),
        (
            r#""ForAnyValue:StringEquals":{"aws:NoSuchKey":["x"]}"#,
            false,
        ),
        (
            r#""ForAnyValue:StringNotEquals":{"aws:NoSuchKey":["x"]}"#,
            false,
        ),
        (
            r#""ForAnyValue:StringEquals":{"iot:Certificate.Subject.Organization.List":"second"}"#,
            true,
        ),
        (
            r#""ForAllValues:StringLike":{"iot:Certificate.Subject.Organization.List":["f*","s*"]}"#,
            true,
        ),
        (
            r#""ForAnyValue:StringEquals":{"iot:Certificate.AvailableKeys":"Subject.CommonName"}"#,
            true,
        ),
        (
            r#""StringEquals":{"iot:ConnectAttributes":"LastWill"}"#,
            true,
        ),
    ] {
        let document = statement("Allow", "iot:Connect", "*", &format!("{{{condition}}}"));
        let decision = decide(&[&document], Action::Connect, Resource::client("pump-7"));
        assert_eq!(
            decision.outcome.is_allowed(),
            expected,
            "{condition}: {decision:?}"
        );
        if !expected {
            assert_eq!(decision.reason.0, "policy.condition", "{condition}");
        }
        // A condition means the same in a denial, unless a value is hidden.
        let denial = statement("Deny", "iot:Connect", "*", &format!("{{{condition}}}"));
        let decision = decide(&[&denial], Action::Connect, Resource::client("pump-7"));
        assert_eq!(
            decision.outcome == Outcome::ExplicitlyDenied,
            expected,
            "Deny {condition}"
        );
    }
}

#[test]
fn a_hidden_value_never_opens_a_door() {
    let condition =
        r#"{"StringNotEquals":{"iot:ClientId":"${iot:Connection.Thing.Attributes[wild]}"}}"#;
    for (effect, outcome) in [
        ("Allow", Outcome::ImplicitlyDenied),
        ("Deny", Outcome::ExplicitlyDenied),
    ] {
        let document = statement(effect, "iot:Connect", "*", condition);
        let decision = decide(&[&document], Action::Connect, Resource::client("pump-7"));
        assert_eq!(decision.outcome, outcome);
    }
}

#[test]
fn connect_attributes_belong_to_connect_alone() {
    let condition = r#"{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}"#;
    let document = statement("Deny", "iot:*", "*", condition);
    let allow = statement("Allow", "iot:*", "*", "{}");
    let policies = [&*document, &*allow];
    assert!(
        !decide(&policies, Action::Connect, Resource::client("pump-7"))
            .outcome
            .is_allowed()
    );
    assert!(
        decide(&policies, Action::Publish, Resource::topic("a"))
            .outcome
            .is_allowed()
    );
}

#[test]
fn only_policies_that_ask_for_the_time_depend_on_it() {
    for (condition, expected) in [
        (r#"{"DateLessThan":{"aws:CurrentTime":"2030-01-01"}}"#, true),
        (r#"{"NumericLessThan":{"aws:EpochTime":"1"}}"#, true),
        (r#"{"StringEquals":{"iot:ClientId":"a"}}"#, false),
    ] {
        let document = parse(&statement("Allow", "iot:*", "*", condition), ACCOUNT).unwrap();
        let set = compile(&[("p".into(), document.into())]);
        assert_eq!(set.depends_on_time(), expected, "{condition}");
    }
}

// --- explanations ----------------------------------------------------------------------------

#[test]
fn the_nearest_miss_is_told_with_the_change_that_would_allow_it() {
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Action":"iot:Connect","Resource":"{}"}},
        {{"Effect":"Allow","Action":"iot:Publish","Resource":["{}","{}"]}}]}}"#,
        own("client/${iot:ClientId}"),
        own("topic/other/*"),
        own("topic/sensors/${iot:ClientId}/*"),
    );
    let decision = decide(
        &[&document],
        Action::Publish,
        Resource::topic("sensor/pump-7/t"),
    );
    assert_eq!(decision.outcome, Outcome::ImplicitlyDenied);
    assert_eq!(decision.reason.0, "policy.no-statement");
    assert_eq!(decision.action, "iot:Publish");
    assert_eq!(decision.resource, "topic/sensor/pump-7/t");
    let because = &decision.because;
    assert_eq!(because.policy.as_deref(), Some("p0"));
    assert_eq!(because.statement, Some(1));
    assert_eq!(
        because.miss.as_deref(),
        Some(
            "resource topic/sensors/${iot:ClientId}/* does not match topic/sensor/pump-7/t \
             (with its variables: topic/sensors/pump-7/*)"
        )
    );
    assert_eq!(
        because.remedy.as_deref(),
        Some(
            r#"{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:us-east-1:123456789012:topic/sensor/pump-7/t"}"#
        )
    );
    assert!(
        because
            .text
            .as_deref()
            .unwrap()
            .starts_with(r#"{"Effect":"Allow","Action":"iot:Publish","#)
    );
}

#[test]
fn each_kind_of_miss_has_its_own_words() {
    for (policy, action, resource, reason, miss) in [
        (
            statement("Allow", "iot:Publish", &own("topic/a"), "{}"),
            Action::Receive,
            Resource::topic("a"),
            "policy.no-statement",
            "the resource matches, but the statement allows iot:Publish, not iot:Receive",
        ),
        (
            statement("Allow", "iot:Subscribe", &own("topic/a/#"), "{}"),
            Action::Subscribe,
            Resource::filter("a/#"),
            "policy.no-statement",
            "resource topic/a/# does not match topicfilter/a/#: iot:Subscribe is decided on \
             topicfilter/…, the statement names topic/…",
        ),
        (
            statement("Allow", "iot:Publish", &own("topic/a/#"), "{}"),
            Action::Publish,
            Resource::topic("a/b"),
            "policy.no-statement",
            "resource topic/a/# does not match topic/a/b: + and # stand for themselves in a \
             policy; its wildcards are * and ?",
        ),
        (
            statement(
                "Allow",
                "iot:Publish",
                "arn:aws:iot:us-east-1:999999999999:topic/a",
                "{}",
            ),
            Action::Publish,
            Resource::topic("a"),
            "policy.no-statement",
            "this resource is in account 999999999999, this hub answers as account 123456789012: \
             arn:aws:iot:us-east-1:999999999999:topic/a",
        ),
        (
            statement("Allow", "iot:Publish", "arn:aws:s3:::bucket", "{}"),
            Action::Publish,
            Resource::topic("a"),
            "policy.no-statement",
            "this resource is not one of AWS IoT Core: arn:aws:s3:::bucket",
        ),
        (
            statement(
                "Allow",
                "iot:Publish",
                &own("topic/${iot:Connection.Thing.Attributes[none]}"),
                "{}",
            ),
            Action::Publish,
            Resource::topic("a"),
            "policy.variable",
            "resource topic/${iot:Connection.Thing.Attributes[none]} does not match topic/a: \
             ${iot:Connection.Thing.Attributes[none]} has no value, the device does not have it",
        ),
        (
            statement(
                "Allow",
                "iot:Publish",
                "*",
                r#"{"IpAddress":{"aws:SourceIp":"192.168.0.0/16"}}"#,
            ),
            Action::Publish,
            Resource::topic("a"),
            "policy.condition",
            "the condition IpAddress on aws:SourceIp fails: its value is 10.1.2.3",
        ),
        (
            statement(
                "Allow",
                "iot:Publish",
                "*",
                r#"{"StringEquals":{"aws:PrincipalTag/team":"x"}}"#,
            ),
            Action::Publish,
            Resource::topic("a"),
            "policy.condition",
            "the condition StringEquals on aws:PrincipalTag/team fails: it has no value, this hub \
             knows no variable of that name",
        ),
        (
            statement("Allow", "iot:Connect", &own("client/a"), "{}"),
            Action::Publish,
            Resource::topic("a"),
            "policy.no-statement",
            "no statement allows iot:Publish on anything",
        ),
    ] {
        let decision = decide(&[&policy], action, resource);
        assert_eq!(decision.because.miss.as_deref(), Some(miss));
        assert_eq!(decision.reason.0, reason);
        assert!(decision.because.remedy.is_some());
    }
}

#[test]
fn what_an_explanation_proposes_allows_exactly_what_was_asked() {
    for (action, resource) in [
        (
            Action::Publish,
            Resource::topic("a/*/b?/${iot:ClientId}/$aws/\"q\""),
        ),
        (Action::Subscribe, Resource::filter("a/+/#")),
        (Action::Connect, Resource::client("c*")),
        (Action::GetShadow, Resource::shadow("d", Some("s"))),
        (Action::ListRetainedMessages, Resource::every()),
    ] {
        let denied = decide(&[], action, resource);
        assert_eq!(denied.reason.0, "policy.no-policy");
        let remedy = denied.because.remedy.unwrap();
        let document = format!(r#"{{"Version":"2012-10-17","Statement":{remedy}}}"#);
        assert!(
            decide(&[&document], action, resource).outcome.is_allowed(),
            "{remedy}"
        );
        let other = decide(
            &[&document],
            action,
            Resource::topic("a/x/bx/pump-7/$aws/\"q\""),
        );
        assert_eq!(
            other.outcome.is_allowed(),
            resource == Resource::every(),
            "{remedy}"
        );
    }
}

#[test]
fn a_condition_that_alone_fails_is_nearer_than_another_resource() {
    let near = statement(
        "Allow",
        "iot:Publish",
        "*",
        r#"{"StringEquals":{"iot:ClientId":"x"}}"#,
    );
    let far = statement("Allow", "iot:Publish", &own("topic/long/way/b"), "{}");
    let decision = decide(
        &[&far, &near],
        Action::Publish,
        Resource::topic("long/way/a"),
    );
    assert_eq!(decision.because.policy.as_deref(), Some("p1"));
    assert_eq!(decision.reason.0, "policy.condition");
}

#[test]
fn a_denial_says_which_statement_to_change() {
    let deny = statement("Deny", "iot:Publish", &own("topic/a*"), "{}");
    let decision = decide(&[&deny], Action::Publish, Resource::topic("ab"));
    assert_eq!(
        decision.because.remedy.as_deref(),
        Some("remove statement 0 of policy p0, or narrow it so that it does not match topic/ab")
    );
    assert_eq!(
        decision.summary(),
        "iot:Publish on topic/ab explicitly denied by policy p0 statement 0"
    );
}

// --- parsing ---------------------------------------------------------------------------------

#[test]
fn what_is_not_a_policy_is_refused_with_its_place() {
    let whole =
        |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
    for (text, message) in [
        ("[]".to_owned(), "the document: expected an object"),
        ("{}".to_owned(), r#"Version: expected "2012-10-17""#),
        (
            r#"{"Version":"2008-10-17","Statement":[]}"#.to_owned(),
            r#"Version: expected "2012-10-17""#,
        ),
        (
            r#"{"Version":"2012-10-17"}"#.to_owned(),
            "Statement: expected a statement or a list of at least one",
        ),
        (
            r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(),
            "Statement: expected a statement or a list of at least one",
        ),
        (
            r#"{"Version":"2012-10-17","Statements":[]}"#.to_owned(),
            "Statements: unknown member; a policy has Version, Statement and Id",
        ),
        (whole("1"), "Statement[0]: expected an object"),
        (
            whole(r#"{"Effect":"Allow","Action":"*"}"#),
            "Statement[0].Resource: missing",
        ),
        (
            whole(r#"{"Effect":"Allow","Resource":"*"}"#),
            "Statement[0].Action: missing",
        ),
        (
            whole(r#"{"Action":"*","Resource":"*"}"#),
            "Statement[0].Effect: missing",
        ),
        (
            whole(r#"{"Effect":"allow","Action":"*","Resource":"*"}"#),
            r#"Statement[0].Effect: expected "Allow" or "Deny""#,
        ),
        (
            whole(r#"{"Effect":"Allow","NotAction":"*","Resource":"*"}"#),
            "Statement[0].NotAction: device policies do not have this member",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":"*","NotResource":"*"}"#),
            "Statement[0].NotResource: device policies do not have this member",
        ),
        (
            whole(r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#),
            "Statement[0].Principal: device policies do not have this member",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":"*","Resource":"*","When":1}"#),
            "Statement[0].When: unknown member; a statement has Sid, Effect, Action, Resource and Condition",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":"Publish","Resource":"*"}"#),
            "Statement[0].Action: expected an action such as iot:Publish, iot:* or *",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#),
            "Statement[0].Action: expected at least one string",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":["iot:Publish",1],"Resource":"*"}"#),
            "Statement[0].Action[1]: expected a string",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":{},"Resource":"*"}"#),
            "Statement[0].Action: expected a string or a list of strings",
        ),
        (
            whole(r#"{"Effect":"Allow","Action":"*","Resource":["*","topic/a"]}"#),
            "Statement[0].Resource[1]: expected * or an ARN such as arn:aws:iot:REGION:ACCOUNT:topic/a",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId"}"#,
            ),
            "Statement[0].Resource: the ${ at byte 41 has no closing }",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringMatches":{"a":"b"}}}"#,
            ),
            "Statement[0].Condition.StringMatches: this operator is not known",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NullIfExists":{"a":"true"}}}"#,
            ),
            "Statement[0].Condition.NullIfExists: this operator is not known",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","10.0.0"]}}}"#,
            ),
            "Statement[0].Condition.IpAddress.aws:SourceIp[1]: expected an address or a range such as 10.0.0.0/8",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericEquals":{"k":"three"}}}"#,
            ),
            "Statement[0].Condition.NumericEquals.k: expected a decimal number",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"k":"soon"}}}"#,
            ),
            "Statement[0].Condition.DateLessThan.k: expected a date such as 2026-11-21T10:00:00Z, or seconds since 1970",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"k":"yes"}}}"#,
            ),
            "Statement[0].Condition.Bool.k: expected true or false",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnEquals":{"iot:LastWillTopic":"will"}}}"#,
            ),
            "Statement[0].Condition.ArnEquals.iot:LastWillTopic: expected * or an ARN such as arn:aws:iot:REGION:ACCOUNT:will",
        ),
        (
            whole(
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"k":null}}}"#,
            ),
            "Statement[0].Condition.StringEquals.k: expected a string, a number, true or false",
        ),
        (
            r#"{"Version":"2012-10-17","Version":"2012-10-17"}"#.to_owned(),
            "the policy document is not valid JSON: the member Version stands twice at line 1 column 47",
        ),
        (
            "{".to_owned(),
            "the policy document is not valid JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "{} x".to_owned(),
            "the policy document is not valid JSON: trailing characters at line 1 column 4",
        ),
        (
            format!("{}{}", "[".repeat(2000), "]".repeat(2000)),
            "the policy document is not valid JSON: nested over 10 levels at line 1 column 11",
        ),
        (
            " ".repeat(404_601),
            "the policy document has 404601 bytes, more than 404600",
        ),
    ] {
        let error = parse(&text, ACCOUNT).unwrap_err();
        assert_eq!(
            error.to_string(),
            message,
            "{}",
            &text[..text.len().min(200)]
        );
    }
}

#[test]
fn a_statement_is_kept_as_its_author_wrote_it() {
    let text = r#"{ "Statement" : { "Sid" : "é1", "Resource": "*", "Action" : [ "iot:Connect" ],
        "Effect":"Allow", "Condition": {"NumericLessThan": {"k": 1.50}} }, "Version":"2012-10-17", "Id": "x" }"#;
    let document = parse(text, ACCOUNT).unwrap();
    assert_eq!(
        &*document.statements[0].text,
        r#"{"Sid":"é1","Resource":"*","Action":["iot:Connect"],"Effect":"Allow","Condition":{"NumericLessThan":{"k":1.50}}}"#
    );
    assert_eq!(document.statements[0].sid.as_deref(), Some("é1"));
}

#[test]
fn reserved_topics_are_decided_on_in_the_authors_spelling() {
    for (canonical, spelled) in [
        (
            "$hub/devices/pump-7/shadow/update",
            "$aws/things/pump-7/shadow/update",
        ),
        (
            "$hub/events/presence/connected/pump-7",
            "$aws/events/presence/connected/pump-7",
        ),
        ("a/b", "a/b"),
        ("$hub", "$aws"),
        ("$hubbub/a", "$hubbub/a"),
    ] {
        assert_eq!(policy_topic(canonical), spelled);
        assert_eq!(policy_filter(canonical), spelled);
    }
    assert_eq!(
        policy_filter("$share/g/$hub/devices/+/shadow/#"),
        "$share/g/$aws/things/+/shadow/#"
    );
    assert_eq!(policy_filter("$share/g/a"), "$share/g/a");
}

// --- properties ------------------------------------------------------------------------------

#[test]
fn the_fuzzer_s_documents_hold_what_every_document_must() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpora/policy_document"
    );
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        exercise(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count >= 3, "the corpus is committed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn documents_of_any_patterns_hold_what_every_document_must(
        effect in "Allow|Deny",
        action in r"iot:[A-Z*?][a-z*?]{0,6}|\*",
        resource in r"arn:(aws|\*):iot:[a-z*]{1,4}:(123456789012|\*|\?+):([a-z*?/]|\$\{iot:ClientId\}|\$\{\?\}){0,12}",
    ) {
        let text = statement(&effect, &action, &resource, "{}");
        prop_assert!(parse(&text, ACCOUNT).is_ok(), "{}", text);
        prop_assert_eq!(exercise(text.as_bytes()), Ok(()));
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,200}") {
        let _: Result<_, PolicyError> = parse(&text, ACCOUNT);
    }

    #[test]
    fn no_client_id_reaches_a_topic_outside_its_own_level(
        client in "[a*?$+#/{}]{1,6}",
        topic in "[a*?$+#/{}]{1,12}",
    ) {
        let document = statement("Allow", "iot:Publish", &own("topic/home/${iot:ClientId}"), "{}");
        let facts = Facts::new(Some(&client), None);
        let topic = format!("home/{topic}");
        let decision = decide_as(&facts, &[&document], Action::Publish, Resource::topic(&topic));
        if decision.outcome.is_allowed() {
            prop_assert_eq!(topic, format!("home/{client}"));
            prop_assert!(!client.contains(['*', '?', '$', '+', '#']));
        }
    }
}

// --- helpers ---------------------------------------------------------------------------------

fn own(suffix: &str) -> String {
    format!("arn:aws:iot:us-east-1:{ACCOUNT}:{suffix}")
}

fn statement(effect: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}","Condition":{condition}}}]}}"#
    )
}

/// A pump with everything a policy can see.
fn pump() -> Facts {
    let mut facts = Facts::new(Some("pump-7"), Some("10.1.2.3".parse().unwrap()));
    facts.device = Some(DeviceFacts {
        name: "pump-7".into(),
        type_name: Some("pump".into()),
        attributes: [
            ("site", "kyoto"),
            ("floor", "3"),
            ("wild", "a*"),
            ("address", "10.1.2.3"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    });
    let values = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    facts.certificate = Some(Arc::new(CertificateFacts {
        subject: NameFacts {
            fields: BTreeMap::from([
                (NameField::CommonName, values(&["pump"])),
                (NameField::Organization, values(&["first", "second"])),
                (NameField::Country, values(&["JP"])),
            ]),
            alternatives: BTreeMap::from([(
                AlternativeName::DnsName,
                values(&["pump.example", "pump7.example"]),
            )]),
        },
        issuer: NameFacts {
            fields: BTreeMap::from([(NameField::CommonName, values(&["the root"]))]),
            alternatives: BTreeMap::new(),
        },
        serial_number: "0a1b".into(),
    }));
    facts.domain = Some("hub.example".into());
    facts
}

#[track_caller]
fn decide(policies: &[&str], action: Action, resource: Resource<'_>) -> Decision {
    decide_as(&pump(), policies, action, resource)
}

/// Decides both ways, which must agree, and gives the story.
#[track_caller]
fn decide_as(facts: &Facts, policies: &[&str], action: Action, resource: Resource<'_>) -> Decision {
    let named: Vec<_> = policies
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let document = parse(text, ACCOUNT).unwrap_or_else(|error| panic!("{error}: {text}"));
            (format!("p{at}").into(), Arc::new(document))
        })
        .collect();
    let set = compile(&named);
    let context = Context {
        now: Timestamp::from_seconds(1_795_255_200),
        persistent_connect: true,
        last_will_topic: Some("will/pump-7"),
    };
    let request = Request {
        action,
        resource,
        facts,
        context: &context,
    };
    let spelling = AwsSpelling {
        account: ACCOUNT.into(),
        region: "us-east-1".into(),
    };
    let decision = set.explain(&request, &spelling);
    assert_eq!(set.decide(&request).outcome, decision.outcome);
    assert_eq!(set.sides(&request).outcome(), decision.outcome);
    decision
}
