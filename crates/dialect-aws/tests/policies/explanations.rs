//! What a decision says of itself.

use super::*;

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
