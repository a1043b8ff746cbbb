//! What a write does to a shadow, sentence by sentence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model::Timestamp;
use serde_json::{Value, json};
use shadow::{Document, Limits, Patch, TOMBSTONE_LIFE, UpdateError, Version, wire};

const BEFORE: Timestamp = Timestamp::from_seconds(100);
const NOW: Timestamp = Timestamp::from_seconds(200);

#[test]
fn a_desired_write_tells_the_device_only_what_differs() {
    check(
        r#"{"desired": {"fan": 1, "lamp": 1}, "reported": {"lamp": 1, "fan": 1}}"#,
        r#"{"desired": {"fan": 2}}"#,
        r#"{"desired": {"fan": 2, "lamp": 1}, "reported": {"lamp": 1, "fan": 1}}"#,
        Some(r#"{"fan": 2}"#),
    );
}

#[test]
fn what_the_device_never_reported_is_in_the_delta() {
    check(
        "{}",
        r#"{"desired": {"fan": 2}}"#,
        r#"{"desired": {"fan": 2}}"#,
        Some(r#"{"fan": 2}"#),
    );
}

#[test]
fn what_nobody_asked_for_is_not_in_the_delta() {
    check(
        "{}",
        r#"{"reported": {"fan": 2}}"#,
        r#"{"reported": {"fan": 2}}"#,
        None,
    );
}

#[test]
fn the_delta_holds_all_that_differs_not_only_what_was_just_written() {
    check(
        r#"{"desired": {"fan": 1}}"#,
        r#"{"reported": {"lamp": 1}}"#,
        r#"{"desired": {"fan": 1}, "reported": {"lamp": 1}}"#,
        Some(r#"{"fan": 1}"#),
    );
}

#[test]
fn a_key_deleted_from_reported_is_wanted_again() {
    check(
        r#"{"desired": {"fan": 1}, "reported": {"fan": 1}}"#,
        r#"{"reported": {"fan": null}}"#,
        r#"{"desired": {"fan": 1}, "reported": {}}"#,
        Some(r#"{"fan": 1}"#),
    );
}

#[test]
fn objects_merge_member_by_member() {
    check(
        r#"{"reported": {"color": {"r": 255, "g": 255, "b": 0}}}"#,
        r#"{"desired": {"color": {"r": 10}, "engine": "ON"}}"#,
        r#"{"reported": {"color": {"r": 255, "g": 255, "b": 0}},
            "desired": {"color": {"r": 10}, "engine": "ON"}}"#,
        Some(r#"{"color": {"r": 10}, "engine": "ON"}"#),
    );
}

#[test]
fn arrays_are_replaced_and_compared_whole() {
    check(
        r#"{"desired": {"colors": ["red", "green"]}, "reported": {"colors": ["red"]}}"#,
        r#"{"desired": {"colors": ["red", "blue"]}}"#,
        r#"{"desired": {"colors": ["red", "blue"]}, "reported": {"colors": ["red"]}}"#,
        Some(r#"{"colors": ["red", "blue"]}"#),
    );
}

#[test]
fn null_deletes_at_any_depth_and_leaves_the_empty_object() {
    check(
        r#"{"desired": {"a": {"b": {"c": 1}}}}"#,
        r#"{"desired": {"a": {"b": {"c": null, "never": null}}}}"#,
        r#"{"desired": {"a": {"b": {}}}}"#,
        Some(r#"{"a": {"b": {}}}"#),
    );
}

#[test]
fn a_new_object_is_written_without_its_nulls() {
    check(
        r#"{"reported": {"a": 1}}"#,
        r#"{"reported": {"a": {"b": null, "c": {"d": null}}}}"#,
        r#"{"reported": {"a": {"c": {}}}}"#,
        None,
    );
}

#[test]
fn a_scalar_replaces_an_object() {
    check(
        r#"{"reported": {"a": {"b": 1}}}"#,
        r#"{"reported": {"a": 2}}"#,
        r#"{"reported": {"a": 2}}"#,
        None,
    );
}

#[test]
fn an_empty_object_changes_no_member() {
    check(
        r#"{"reported": {"a": {"b": 1}}}"#,
        r#"{"reported": {"a": {}}}"#,
        r#"{"reported": {"a": {"b": 1}}}"#,
        None,
    );
}

#[test]
fn null_for_a_section_clears_it() {
    check(
        r#"{"desired": {"a": 1}, "reported": {"a": 2}}"#,
        r#"{"desired": null}"#,
        r#"{"reported": {"a": 2}}"#,
        None,
    );
}

#[test]
fn null_for_the_state_empties_the_shadow() {
    check(
        r#"{"desired": {"a": 1}, "reported": {"a": 2}}"#,
        "null",
        "{}",
        None,
    );
}

#[test]
fn an_empty_section_is_a_section() {
    check(
        "{}",
        r#"{"desired": {}, "reported": {}}"#,
        r#"{"desired": {}, "reported": {}}"#,
        None,
    );
}

#[test]
fn numbers_keep_their_spelling_and_are_compared_by_value() {
    check(
        "{}",
        r#"{"desired": {"a": 1.50, "b": 123456789012345678901234567890, "c": 1}, "reported": {"a": 1.5, "b": 123456789012345678901234567890, "c": 1.0}}"#,
        r#"{"desired": {"a": 1.50, "b": 123456789012345678901234567890, "c": 1}, "reported": {"a": 1.5, "b": 123456789012345678901234567890, "c": 1.0}}"#,
        None,
    );
}

#[test]
fn members_stay_in_the_order_they_were_written() {
    let mut document = of(r#"{"reported": {"z": 1, "a": 2, "m": 3}}"#);
    apply(&mut document, r#"{"reported": {"z": null, "b": 4}}"#);
    let kept = document.reported.state.unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["a", "m", "b"]);
}

#[test]
fn only_what_was_written_gets_a_new_time() {
    let mut document = of(r#"{"desired": {"old": 1, "list": [1], "deep": {"old": 1}}}"#);
    let change = apply(
        &mut document,
        r#"{"desired": {"new": 2, "list": [1, {"x": 2}, []], "deep": {"new": 2}}}"#,
    );
    assert_eq!(
        wire::get_accepted(&document, None, NOW)["metadata"]["desired"],
        json!({
            "old": {"timestamp": 100},
            "list": [{"timestamp": 200}, {"x": {"timestamp": 200}}, []],
            "deep": {"old": {"timestamp": 100}, "new": {"timestamp": 200}},
            "new": {"timestamp": 200},
        })
    );
    assert_eq!(
        wire::update_accepted(&change)["metadata"],
        json!({"desired": {
            "new": {"timestamp": 200},
            "list": [{"timestamp": 200}, {"x": {"timestamp": 200}}, []],
            "deep": {"new": {"timestamp": 200}},
        }})
    );
}

#[test]
fn a_write_counts_for_the_shadow_and_for_the_sections_it_names() {
    let mut document = Document::default();
    let counts = |document: &Document| {
        [
            document.version.0,
            document.desired.version.0,
            document.reported.version.0,
        ]
    };
    for (patch, expected) in [
        (r#"{"desired": {"a": 1}}"#, [1, 1, 0]),
        (r#"{"desired": {"a": 1}}"#, [2, 2, 0]),
        (r#"{"reported": {}}"#, [3, 2, 1]),
        ("{}", [4, 2, 1]),
        ("null", [5, 3, 2]),
        (r#"{"desired": null}"#, [6, 4, 2]),
    ] {
        apply(&mut document, patch);
        assert_eq!(counts(&document), expected, "after {patch}");
    }
}

#[test]
fn a_write_that_expects_another_version_changes_nothing() {
    let mut document = of(r#"{"desired": {"a": 1}}"#);
    let before = document.clone();
    for expected in [0, 2] {
        assert_eq!(
            document.apply(expecting(expected), &Limits::default(), NOW),
            Err(UpdateError::VersionConflict {
                current: Version(1),
                expected: Version(expected),
            })
        );
        assert_eq!(document, before);
    }
    assert!(
        document
            .apply(expecting(1), &Limits::default(), NOW)
            .is_ok()
    );
}

#[test]
fn a_shadow_yet_to_be_made_is_at_version_zero() {
    let mut document = Document::default();
    assert!(
        document
            .apply(expecting(1), &Limits::default(), NOW)
            .is_err()
    );
    assert!(
        document
            .apply(expecting(0), &Limits::default(), NOW)
            .is_ok()
    );
}

#[test]
fn a_shadow_made_anew_within_two_days_goes_on_counting() {
    let mut document = of(r#"{"desired": {"a": 1}}"#);
    apply(&mut document, r#"{"desired": {"a": 2}}"#);
    let grave = document.delete(None, NOW).unwrap();
    assert_eq!(grave.version, Version(2));

    let mut soon = Document::reborn(Some(grave), NOW);
    let change = apply(&mut soon, r#"{"desired": {"a": 3}}"#);
    assert_eq!(
        (soon.version, change.previous.is_none()),
        (Version(3), true)
    );

    let mut late = Document::reborn(Some(grave), NOW.after(TOMBSTONE_LIFE));
    apply(&mut late, r#"{"desired": {"a": 3}}"#);
    assert_eq!(late.version, Version(1));
}

#[test]
fn a_deletion_may_expect_a_version() {
    let document = of("{}");
    assert!(document.delete(Some(Version(2)), NOW).is_err());
    assert!(document.delete(Some(Version(1)), NOW).is_ok());
}

#[test]
fn both_sections_together_have_eight_kibibytes_without_metadata() {
    let limits = Limits::default();
    // {"a":"…"} around the text.
    let half = "x".repeat(limits.document_bytes / 2 - 8);
    let mut document = of(&format!(r#"{{"desired": {{"a": "{half}"}}}}"#));
    apply(
        &mut document,
        &format!(r#"{{"reported": {{"a": "{half}"}}}}"#),
    );
    assert_eq!(document.bytes(), limits.document_bytes);
    let before = document.clone();
    assert_eq!(
        document.apply(patch(r#"{"reported": {"b": 1}}"#), &limits, NOW),
        Err(UpdateError::TooLarge {
            bytes: limits.document_bytes + 6,
            limit: limits.document_bytes,
        })
    );
    assert_eq!(document, before);
}

/// Applies `patch_state` to a shadow at `before_state` and compares the state and the delta.
#[track_caller]
fn check(before_state: &str, patch_state: &str, after_state: &str, delta: Option<&str>) {
    let mut document = of(before_state);
    let change = apply(&mut document, patch_state);
    let mut seen = wire::get_accepted(&document, None, NOW)["state"].take();
    let seen_delta = seen.as_object_mut().unwrap().shift_remove("delta");
    assert_eq!(seen, parse(after_state), "state");
    assert_eq!(seen_delta, delta.map(parse), "delta of the shadow");
    assert_eq!(
        wire::update_delta(&change).map(|message| message["state"].clone()),
        delta.map(parse),
        "delta of the write"
    );
    assert_eq!(change.current, document);
    assert_eq!(document.version, Version(2));
}

/// A shadow at version 1 with this state.
fn of(state: &str) -> Document {
    let mut document = Document::default();
    document
        .apply(patch(state), &Limits::default(), BEFORE)
        .unwrap();
    document
}

#[track_caller]
fn apply(document: &mut Document, state: &str) -> shadow::Change {
    document
        .apply(patch(state), &Limits::default(), NOW)
        .unwrap()
}

fn patch(state: &str) -> Patch {
    Patch::parse(
        format!(r#"{{"state": {state}}}"#).as_bytes(),
        &Limits::default(),
    )
    .unwrap()
}

fn expecting(version: u64) -> Patch {
    let text = format!(r#"{{"state": {{"desired": {{"a": 9}}}}, "version": {version}}}"#);
    Patch::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
