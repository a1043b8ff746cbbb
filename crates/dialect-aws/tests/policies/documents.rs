//! What is a policy document, and what holds of every one.

use super::*;

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
