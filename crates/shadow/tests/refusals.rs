//! What is not a shadow request, and what its sender is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model::{Refusal, RefusalKind, Timestamp};
use serde_json::json;
use shadow::{ClientToken, Limits, Patch, Request, wire};

#[test]
fn each_bad_request_is_refused_in_the_services_own_words() {
    let sixty_five = "t".repeat(65);
    let token = format!(r#"{{"state": {{}}, "clientToken": "{sixty_five}"}}"#);
    for (request, code, message) in [
        ("", 400, "Invalid JSON"),
        ("{", 400, "Invalid JSON"),
        ("[]", 400, "Invalid JSON"),
        ("null", 400, "Invalid JSON"),
        (r#"{"state": {}} x"#, 400, "Invalid JSON"),
        (r#"{"state": {"desired": {"a": 01}}}"#, 400, "Invalid JSON"),
        (
            r#"{"state": {"desired": {"a": "\ud800"}}}"#,
            400,
            "Invalid JSON",
        ),
        ("{}", 400, "Missing required node: state"),
        (r#"{"desired": {}}"#, 400, "Missing required node: state"),
        (r#"{"state": []}"#, 400, "State node must be an object"),
        (r#"{"state": "on"}"#, 400, "State node must be an object"),
        (
            r#"{"state": {"desired": 1}}"#,
            400,
            "Desired node must be an object",
        ),
        (
            r#"{"state": {"reported": []}}"#,
            400,
            "Reported node must be an object",
        ),
        (
            r#"{"state": {"fan": 1}}"#,
            400,
            "State contains an invalid node",
        ),
        (
            r#"{"state": {"desired": {"a": [1, null]}}}"#,
            400,
            "State contains an invalid node",
        ),
        (
            r#"{"state": {"desired": {"a": [{"b": null}]}}}"#,
            400,
            "State contains an invalid node",
        ),
        (r#"{"state": {}, "version": "1"}"#, 400, "Invalid version"),
        (r#"{"state": {}, "version": -1}"#, 400, "Invalid version"),
        (r#"{"state": {}, "version": 1.5}"#, 400, "Invalid version"),
        (
            r#"{"state": {}, "clientToken": 1}"#,
            400,
            "Invalid clientToken",
        ),
        (&token, 400, "Invalid clientToken"),
    ] {
        check(request.as_bytes(), code, message);
    }
    check(
        b"{\"state\": \"\xff\"}",
        415,
        "Unsupported documented encoding; supported encoding is UTF-8",
    );
}

#[test]
fn keys_that_the_parser_takes_for_itself_are_refused() {
    for object in [
        r#"{"a": 1, "$serde_json::private::Number": "x"}"#,
        r#"[{"a": 1, "$serde_json::private::RawValue": "x"}]"#,
    ] {
        check(
            format!(r#"{{"state": {{"desired": {{"o": {object}}}}}}}"#).as_bytes(),
            400,
            "State contains an invalid node",
        );
    }
    check(
        br#"{"state": {"desired": {"$serde_json::private::Number": "1"}}}"#,
        400,
        "Desired node must be an object",
    );
}

#[test]
fn a_section_has_at_most_six_levels() {
    let message = "JSON contains too many levels of nesting; maximum is 6";
    let deep = |levels: usize, open: &str, close: &str| {
        let (inner, outer) = (open.repeat(levels - 1), close.repeat(levels - 1));
        format!(r#"{{"state": {{"desired": {{"a": {inner}1{outer}}}}}}}"#)
    };
    for (open, close) in [(r#"{"a": "#, "}"), ("[", "]")] {
        assert!(Patch::parse(deep(6, open, close).as_bytes(), &Limits::default()).is_ok());
        check(deep(7, open, close).as_bytes(), 400, message);
        check(deep(3000, open, close).as_bytes(), 400, message);
    }
    check("[".repeat(30_000).as_bytes(), 400, message);
    let quoted = format!(
        r#"{{"state": {{"desired": {{"a": "\"{}"}}}}}}"#,
        "[{".repeat(50)
    );
    assert!(Patch::parse(quoted.as_bytes(), &Limits::default()).is_ok());
}

#[test]
fn a_huge_request_is_refused_before_it_is_read() {
    check(
        &vec![b' '; 10_000_000],
        413,
        "The payload exceeds the maximum size allowed",
    );
}

#[test]
fn a_read_needs_no_body_and_may_bring_a_token() {
    let limits = Limits::default();
    assert_eq!(Request::parse(b"", &limits), Ok(Request::default()));
    assert_eq!(
        Request::parse(br#"{"clientToken": "t"}"#, &limits),
        Ok(Request {
            client_token: Some(ClientToken::new("t").unwrap()),
            version: None,
        })
    );
    assert!(Request::parse(b"x", &limits).is_err());
}

#[test]
fn a_refused_request_gets_its_token_back_when_it_has_one() {
    let limits = Limits::default();
    let token = |text: &str| Request::token_of(text.as_bytes(), &limits);
    assert_eq!(
        token(r#"{"clientToken": "t"}"#),
        Some(ClientToken::new("t").unwrap())
    );
    assert_eq!(token(r#"{"clientToken": 1}"#), None);
    assert_eq!(token("{"), None);
}

#[test]
fn the_missing_shadow_is_named_after_its_device() {
    let device = "T".parse().unwrap();
    let name = "S".parse().unwrap();
    let token = ClientToken::new("t").unwrap();
    let now = Timestamp::from_seconds(7);
    for (name, message) in [
        (None, "No shadow exists with name: 'T'"),
        (Some(&name), "No shadow exists with name: 'T~S'"),
    ] {
        assert_eq!(
            wire::rejected(&shadow::no_such_shadow(&device, name), Some(&token), now),
            json!({"code": 404, "message": message, "clientToken": "t"})
        );
    }
}

#[test]
fn a_denial_and_a_fault_say_no_more_than_the_service_would() {
    for (kind, code, message) in [
        (RefusalKind::Unauthenticated, 401, "Unauthorized"),
        (RefusalKind::Denied, 403, "Forbidden"),
        (RefusalKind::Internal, 500, "Internal service failure"),
    ] {
        let refusal = Refusal::new(kind, "test.reason", "told to operators only");
        assert_eq!(
            wire::rejected(&refusal, None, Timestamp::from_seconds(7)),
            json!({"code": code, "message": message, "timestamp": 7})
        );
    }
}

#[track_caller]
fn check(request: &[u8], code: u16, message: &str) {
    let error = Patch::parse(request, &Limits::default()).unwrap_err();
    let told = wire::rejected(&error.into(), None, Timestamp::from_seconds(7));
    assert_eq!(
        told,
        json!({"code": code, "message": message, "timestamp": 7})
    );
}
