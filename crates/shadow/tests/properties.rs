//! What holds of every shadow and every write.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shadow::{Change, Document, Limits, Patch, Stamps, exercise, wire};

const NOW: Timestamp = Timestamp::from_seconds(200);

/// JSON of few keys, so that writes meet; `null` as a member, never within an array.
fn section() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        "[ab\"\\\\\u{e9}]{0,2}".prop_map(Value::from),
    ];
    let plain = scalar.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            members(inner),
        ]
    });
    let value = prop_oneof![3 => plain, 1 => Just(Value::Null)];
    members(value.prop_recursive(2, 12, 3, members))
}

fn members(inner: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop::collection::vec(("[abc]", inner), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
        .boxed()
}

fn state() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        4 => section().prop_map(Some),
        1 => Just(Some(Value::Null)),
        2 => Just(None),
    ];
    (part.clone(), part).prop_map(|(desired, reported)| {
        let mut state = Map::new();
        state.extend(desired.map(|section| ("desired".to_owned(), section)));
        state.extend(reported.map(|section| ("reported".to_owned(), section)));
        Value::Object(state)
    })
}

fn apply(document: &mut Document, state: &Value) -> Change {
    let limits = Limits {
        depth: 12,
        ..Limits::default()
    };
    let request = json!({ "state": state }).to_string();
    let patch = Patch::parse(request.as_bytes(), &limits).unwrap();
    document.apply(patch, &limits, NOW).unwrap()
}

/// RFC 7396 §2, as the standard writes it.
fn merge_patch(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut target = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key);
        } else {
            let merged = merge_patch(target.get(key).unwrap_or(&Value::Null), value);
            target.insert(key.clone(), merged);
        }
    }
    Value::Object(target)
}

/// Whether every member of `wanted` is in `had`, arrays compared whole.
fn satisfied(wanted: &Value, had: Option<&Value>) -> bool {
    match (wanted, had) {
        (Value::Object(wanted), Some(Value::Object(had))) => wanted
            .iter()
            .all(|(key, value)| satisfied(value, had.get(key))),
        (wanted, had) => had == Some(wanted),
    }
}

/// The same shape with a time for every leaf and nothing else.
fn covers(state: &Value, metadata: &Value) -> bool {
    match (state, metadata) {
        (Value::Object(state), Value::Object(metadata)) => {
            state.len() == metadata.len()
                && state
                    .iter()
                    .all(|(key, value)| metadata.get(key).is_some_and(|m| covers(value, m)))
        }
        (Value::Array(state), Value::Array(metadata)) => {
            state.len() == metadata.len() && state.iter().zip(metadata).all(|(s, m)| covers(s, m))
        }
        (_, metadata) => *metadata == json!({"timestamp": 200}),
    }
}

proptest! {
    #[test]
    fn a_write_merges_as_the_standard_says(states in prop::collection::vec(state(), 1..5)) {
        let mut document = Document::default();
        let mut expected = json!({});
        for state in &states {
            apply(&mut document, state);
            expected = merge_patch(&expected, state);
        }
        let mut seen = wire::get_accepted(&document, None, NOW);
        let sections = seen["state"].as_object_mut().unwrap();
        sections.shift_remove("delta");
        prop_assert_eq!(Value::Object(sections.clone()), expected);
        prop_assert_eq!(document.version.0, states.len() as u64);
    }

    #[test]
    fn the_delta_is_empty_when_the_device_has_all_that_is_desired(
        states in prop::collection::vec(state(), 1..4)
    ) {
        let mut document = Document::default();
        for state in &states {
            let change = apply(&mut document, state);
            let all = wire::get_accepted(&document, None, NOW)["state"].take();
            let content = all.get("desired").is_none_or(|desired| {
                satisfied(desired, Some(all.get("reported").unwrap_or(&json!({}))))
            });
            prop_assert_eq!(document.delta().is_none(), content);
            prop_assert_eq!(change.delta, document.delta());
        }
    }

    #[test]
    fn a_device_that_reports_its_delta_has_none_left(states in prop::collection::vec(state(), 1..4)) {
        let mut document = Document::default();
        for state in &states {
            apply(&mut document, state);
        }
        if let Some(delta) = document.delta() {
            apply(&mut document, &json!({"reported": delta.state}));
        }
        prop_assert_eq!(document.delta(), None);
    }

    #[test]
    fn a_write_repeated_changes_only_versions(first in state(), second in state()) {
        let mut document = Document::default();
        apply(&mut document, &first);
        apply(&mut document, &second);
        let once = document.clone();
        apply(&mut document, &second);
        prop_assert_eq!(&document.desired.state, &once.desired.state);
        prop_assert_eq!(&document.reported.state, &once.reported.state);
        prop_assert_eq!(&document.desired.stamps, &once.desired.stamps);
    }

    #[test]
    fn every_leaf_has_a_time_and_times_survive_keeping(states in prop::collection::vec(state(), 1..4)) {
        let mut document = Document::default();
        for state in &states {
            apply(&mut document, state);
        }
        let all = wire::get_accepted(&document, None, NOW);
        prop_assert!(covers(&all["state"], &all["metadata"]), "{}", all);
        for section in [&document.desired, &document.reported] {
            let kept: Value = serde_json::from_str(&section.stamps.to_json().to_string()).unwrap();
            prop_assert_eq!(&Stamps::from_json(&kept).unwrap(), &section.stamps);
        }
    }

    #[test]
    fn what_is_accepted_is_what_was_sent(state in state()) {
        let change = apply(&mut Document::default(), &state);
        prop_assert_eq!(&wire::update_accepted(&change)["state"], &state);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(exercise::patches(&bytes), Ok(()));
    }

    #[test]
    fn no_text_of_json_signs_makes_it_panic(text in "[\\[\\]{}:,\"\\\\0-9eE.nultrsadi \u{e9}-]{0,200}") {
        prop_assert_eq!(exercise::patches(text.as_bytes()), Ok(()));
    }

    #[test]
    fn what_must_hold_holds_of_every_sequence_of_writes(states in prop::collection::vec(state(), 1..5)) {
        let requests: Vec<String> = states
            .iter()
            .map(|state| json!({"state": state, "clientToken": "t"}).to_string())
            .collect();
        prop_assert_eq!(exercise::patches(requests.join("\n").as_bytes()), Ok(()));
    }
}
