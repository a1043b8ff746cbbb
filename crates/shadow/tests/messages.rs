//! The service's messages, letter for letter.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model::Timestamp;
use serde_json::Value;
use shadow::{ClientToken, Document, Limits, Patch, wire};

#[test]
fn a_first_write_is_told_like_this() {
    let change = write(
        &mut Document::default(),
        r#"{"state":{"desired":{"fan":2}},"clientToken":"t"}"#,
        10,
    );
    is(
        &wire::update_accepted(&change),
        r#"{"state":{"desired":{"fan":2}},"metadata":{"desired":{"fan":{"timestamp":10}}},"version":1,"timestamp":10,"clientToken":"t"}"#,
    );
    is(
        &wire::update_delta(&change).unwrap(),
        r#"{"version":1,"timestamp":10,"state":{"fan":2},"metadata":{"fan":{"timestamp":10}},"clientToken":"t"}"#,
    );
    is(
        &wire::update_documents(&change),
        r#"{"previous":null,"current":{"state":{"desired":{"fan":2}},"metadata":{"desired":{"fan":{"timestamp":10}}},"version":1},"timestamp":10,"clientToken":"t"}"#,
    );
}

#[test]
fn a_device_that_catches_up_is_told_like_this() {
    let mut document = Document::default();
    write(
        &mut document,
        r#"{"state":{"desired":{"fan":2,"on":true}}}"#,
        10,
    );
    let change = write(
        &mut document,
        r#"{"state":{"reported":{"fan":2}},"version":1}"#,
        20,
    );
    is(
        &wire::update_accepted(&change),
        r#"{"state":{"reported":{"fan":2}},"metadata":{"reported":{"fan":{"timestamp":20}}},"version":2,"timestamp":20}"#,
    );
    is(
        &wire::update_delta(&change).unwrap(),
        r#"{"version":2,"timestamp":20,"state":{"on":true},"metadata":{"on":{"timestamp":10}}}"#,
    );
    is(
        &wire::update_documents(&change),
        r#"{"previous":{"state":{"desired":{"fan":2,"on":true}},"metadata":{"desired":{"fan":{"timestamp":10},"on":{"timestamp":10}}},"version":1},"current":{"state":{"desired":{"fan":2,"on":true},"reported":{"fan":2}},"metadata":{"desired":{"fan":{"timestamp":10},"on":{"timestamp":10}},"reported":{"fan":{"timestamp":20}}},"version":2},"timestamp":20}"#,
    );
    let token = ClientToken::new("t").unwrap();
    is(
        &wire::get_accepted(&document, Some(&token), Timestamp::from_seconds(30)),
        r#"{"state":{"desired":{"fan":2,"on":true},"reported":{"fan":2},"delta":{"on":true}},"metadata":{"desired":{"fan":{"timestamp":10},"on":{"timestamp":10}},"reported":{"fan":{"timestamp":20}},"delta":{"on":{"timestamp":10}}},"version":2,"timestamp":30,"clientToken":"t"}"#,
    );
    let change = write(
        &mut document,
        r#"{"state":{"desired":null,"reported":{"fan":null}}}"#,
        40,
    );
    assert_eq!(wire::update_delta(&change), None);
    is(
        &wire::update_accepted(&change),
        r#"{"state":{"desired":null,"reported":{"fan":null}},"metadata":{"desired":null,"reported":{}},"version":3,"timestamp":40}"#,
    );
    let grave = document.delete(None, Timestamp::from_seconds(50)).unwrap();
    is(
        &wire::delete_accepted(&grave, None),
        r#"{"version":3,"timestamp":50}"#,
    );
}

#[track_caller]
fn write(document: &mut Document, request: &str, seconds: u64) -> shadow::Change {
    let limits = Limits::default();
    let patch = Patch::parse(request.as_bytes(), &limits).unwrap();
    document
        .apply(patch, &limits, Timestamp::from_seconds(seconds))
        .unwrap()
}

#[track_caller]
fn is(message: &Value, expected: &str) {
    assert_eq!(message.to_string(), expected);
}
