//! The messages of the shadow service, as JSON.
//!
//! The canonical topic space follows AWS's shape, and so does what is said on it. Times are whole
//! seconds since the Unix epoch. Source: AWS IoT Core Developer Guide, "Response state documents"
//! and "Error response document".

use model::{Refusal, RefusalKind, Timestamp};
use serde_json::{Value, json};

use crate::{
    Change, ClientToken, Delta, Document, Object, Section, SectionPatch, Tombstone, Version, error,
};

/// The answer to a read: the whole shadow, with its delta when there is one.
#[must_use]
pub fn get_accepted(
    document: &Document,
    client_token: Option<&ClientToken>,
    now: Timestamp,
) -> Value {
    let (mut state, mut metadata) = sections(document);
    if let Some(delta) = document.delta() {
        state.insert("delta".to_owned(), Value::Object(delta.state));
        metadata.insert("delta".to_owned(), Value::Object(delta.metadata));
    }
    envelope(
        [
            ("state", Value::Object(state)),
            ("metadata", Value::Object(metadata)),
            ("version", document.version.0.into()),
        ],
        now,
        client_token,
    )
}

/// The answer to a write: the sections it named, as it wrote them, with their times.
#[must_use]
pub fn update_accepted(change: &Change) -> Value {
    let (state, metadata) = if change.patch.clears_state {
        (Value::Null, Value::Null)
    } else {
        let (mut state, mut metadata) = (Object::new(), Object::new());
        for (name, patch, section) in [
            ("desired", &change.patch.desired, &change.current.desired),
            ("reported", &change.patch.reported, &change.current.reported),
        ] {
            let (sent, times) = match patch {
                SectionPatch::Absent => continue,
                SectionPatch::Clear => (Value::Null, Value::Null),
                SectionPatch::Merge(members) => (
                    Value::Object(members.clone()),
                    Value::Object(section.stamps.metadata(members)),
                ),
            };
            state.insert(name.to_owned(), sent);
            metadata.insert(name.to_owned(), times);
        }
        (Value::Object(state), Value::Object(metadata))
    };
    envelope(
        [
            ("state", state),
            ("metadata", metadata),
            ("version", change.current.version.0.into()),
        ],
        change.at,
        change.client_token(),
    )
}

/// What the device has yet to do after a write; `None` when `desired` and `reported` agree.
///
/// All of it is told after every accepted write, whichever section that named.
#[must_use]
pub fn update_delta(change: &Change) -> Option<Value> {
    let Delta { state, metadata } = change.delta.clone()?;
    let mut message = Object::new();
    message.insert("version".to_owned(), change.current.version.0.into());
    message.insert("timestamp".to_owned(), change.at.seconds().into());
    message.insert("state".to_owned(), Value::Object(state));
    message.insert("metadata".to_owned(), Value::Object(metadata));
    Some(with_token(message, change.client_token()))
}

/// The shadow before and after a write, without deltas. `previous` is `null` when the write made
/// the shadow.
#[must_use]
pub fn update_documents(change: &Change) -> Value {
    envelope(
        [
            (
                "previous",
                change.previous.as_ref().map_or(Value::Null, snapshot),
            ),
            ("current", snapshot(&change.current)),
        ],
        change.at,
        change.client_token(),
    )
}

/// The answer to a deletion.
#[must_use]
pub fn delete_accepted(tombstone: &Tombstone, client_token: Option<&ClientToken>) -> Value {
    let Version(version) = tombstone.version;
    envelope(
        [("version", version.into())],
        tombstone.deleted,
        client_token,
    )
}

/// The answer to a request that is refused.
///
/// The service leaves `timestamp` out of the refusal of what does not exist.
#[must_use]
pub fn rejected(refusal: &Refusal, client_token: Option<&ClientToken>, now: Timestamp) -> Value {
    let mut message = Object::new();
    message.insert("code".to_owned(), error::code(refusal).into());
    message.insert("message".to_owned(), text(refusal).into());
    if refusal.kind != RefusalKind::NotFound {
        message.insert("timestamp".to_owned(), now.seconds().into());
    }
    with_token(message, client_token)
}

/// What the service says where our message would tell more than its clients know to read.
fn text(refusal: &Refusal) -> &str {
    match refusal.kind {
        RefusalKind::Unauthenticated => "Unauthorized",
        RefusalKind::Denied => "Forbidden",
        RefusalKind::Internal => "Internal service failure",
        RefusalKind::Malformed
        | RefusalKind::NotFound
        | RefusalKind::AlreadyExists
        | RefusalKind::Conflict
        | RefusalKind::TooLarge
        | RefusalKind::TooMany
        | RefusalKind::Unsupported
        | RefusalKind::Expired
        | RefusalKind::Unavailable => &refusal.message,
    }
}

fn snapshot(document: &Document) -> Value {
    let (state, metadata) = sections(document);
    json!({ "state": state, "metadata": metadata, "version": document.version.0 })
}

/// The sections that exist and their metadata.
fn sections(document: &Document) -> (Object, Object) {
    let (mut state, mut metadata) = (Object::new(), Object::new());
    for (name, section) in [
        ("desired", &document.desired),
        ("reported", &document.reported),
    ] {
        let Section {
            state: Some(members),
            stamps,
            ..
        } = section
        else {
            continue;
        };
        state.insert(name.to_owned(), Value::Object(members.clone()));
        metadata.insert(name.to_owned(), Value::Object(stamps.metadata(members)));
    }
    (state, metadata)
}

fn envelope<const N: usize>(
    members: [(&str, Value); N],
    at: Timestamp,
    client_token: Option<&ClientToken>,
) -> Value {
    let mut message: Object = members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    message.insert("timestamp".to_owned(), at.seconds().into());
    with_token(message, client_token)
}

fn with_token(mut message: Object, client_token: Option<&ClientToken>) -> Value {
    if let Some(token) = client_token {
        message.insert("clientToken".to_owned(), token.as_str().into());
    }
    Value::Object(message)
}
