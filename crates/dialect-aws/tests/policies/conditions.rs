//! What condition operators test.

use super::*;

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
