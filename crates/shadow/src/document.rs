//! A shadow's document and what a write does to it.

use std::{fmt, time::Duration};

use model::Timestamp;
use serde_json::Value;

use crate::{ClientToken, Limits, Object, Patch, SectionPatch, Stamp, Stamps, UpdateError, number};

/// How long a deleted shadow's version is remembered, so that a shadow made anew does not repeat
/// versions its readers have seen. AWS: "up to 48 hours".
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(48 * 3600);

/// How many writes a shadow, or one section of it, has had.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `desired` or `reported`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Section {
    /// Its members; `None` when the section was never written or was cleared with `null`.
    pub state: Option<Object>,
    /// When each leaf of `state` was written.
    pub stamps: Stamps,
    /// How many writes named this section (Azure's `$version`).
    pub version: Version,
}

/// A shadow: the two sections and how often they were written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Document {
    /// What applications ask for.
    pub desired: Section,
    /// What the device says it is.
    pub reported: Section,
    /// How many writes the shadow has had (AWS's `version`); it goes on counting after a deletion.
    pub version: Version,
    /// When it was last written; `None` before the first write, when the shadow does not exist yet.
    pub written: Option<Timestamp>,
}

/// What is remembered of a deleted shadow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tombstone {
    /// The version it was deleted at.
    pub version: Version,
    /// When it was deleted.
    pub deleted: Timestamp,
}

/// The members of `desired` that `reported` lacks or has otherwise, and when they were written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delta {
    /// The members; never empty.
    pub state: Object,
    /// Their metadata, as [`Stamps::metadata`] renders it.
    pub metadata: Object,
}

/// An accepted write, with everything subscribers are told about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The write itself: an Azure twin's desired notification is this.
    pub patch: Patch,
    /// The shadow before it; `None` when the write made the shadow.
    pub previous: Option<Document>,
    /// The shadow after it.
    pub current: Document,
    /// What the device has yet to do: an AWS delta is this. `None` when nothing.
    pub delta: Option<Delta>,
    /// When it was written.
    pub at: Timestamp,
}

impl Change {
    /// What the writer called its request.
    #[must_use]
    pub const fn client_token(&self) -> Option<&ClientToken> {
        self.patch.client_token()
    }
}

impl Document {
    /// The document before the first write of a shadow, after an earlier one of that name was
    /// deleted. It has no sections and exists only once [`Document::apply`] succeeds.
    #[must_use]
    pub fn reborn(tombstone: Option<Tombstone>, now: Timestamp) -> Self {
        let version = match tombstone {
            Some(grave) if now.since(grave.deleted) < TOMBSTONE_LIFE => grave.version,
            Some(_) | None => Version::default(),
        };
        Self {
            version,
            ..Self::default()
        }
    }

    /// Merges one write and reports what changed.
    ///
    /// A `null` at any depth deletes its key, an array replaces the whole array, an absent key is
    /// left alone, an object emptied stays as an empty object. `now` stamps every leaf written,
    /// in whole seconds.
    ///
    /// # Errors
    ///
    /// [`UpdateError::VersionConflict`] when `patch` names a version other than the current one
    /// (a shadow yet to be made is also at version 0); [`UpdateError::TooLarge`] when the
    /// sections together would exceed [`Limits::document_bytes`]. The document is then unchanged.
    pub fn apply(
        &mut self,
        patch: Patch,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Change, UpdateError> {
        let existed = self.written.is_some();
        if let Some(expected) = patch.version
            && expected != self.version
            && (existed || expected != Version::default())
        {
            return Err(UpdateError::VersionConflict {
                current: self.version,
                expected,
            });
        }
        let mut next = self.clone();
        next.desired.apply(&patch.desired, now);
        next.reported.apply(&patch.reported, now);
        next.version = self.version.next();
        next.written = Some(now);
        let bytes = next.bytes();
        if bytes > limits.document_bytes {
            return Err(UpdateError::TooLarge {
                bytes,
                limit: limits.document_bytes,
            });
        }
        let previous = std::mem::replace(self, next);
        Ok(Change {
            patch,
            previous: existed.then_some(previous),
            current: self.clone(),
            delta: self.delta(),
            at: now,
        })
    }

    /// What remains once the shadow is deleted.
    ///
    /// # Errors
    ///
    /// [`UpdateError::VersionConflict`] when `expected` is not the current version.
    pub const fn delete(
        &self,
        expected: Option<Version>,
        now: Timestamp,
    ) -> Result<Tombstone, UpdateError> {
        match expected {
            Some(expected) if expected.0 != self.version.0 => Err(UpdateError::VersionConflict {
                current: self.version,
                expected,
            }),
            Some(_) | None => Ok(Tombstone {
                version: self.version,
                deleted: now,
            }),
        }
    }

    /// What the device has yet to do, when there is something.
    #[must_use]
    pub fn delta(&self) -> Option<Delta> {
        let desired = self.desired.state.as_ref()?;
        let none = Object::new();
        let state = difference(desired, self.reported.state.as_ref().unwrap_or(&none));
        if state.is_empty() {
            return None;
        }
        let metadata = self.desired.stamps.metadata(&state);
        Some(Delta { state, metadata })
    }

    /// Bytes of both sections as JSON text, which is what [`Limits::document_bytes`] bounds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        [&self.desired, &self.reported]
            .into_iter()
            .filter_map(|section| section.state.as_ref())
            .map(text_bytes)
            .sum()
    }
}

impl Section {
    fn apply(&mut self, patch: &SectionPatch, now: Timestamp) {
        match patch {
            SectionPatch::Absent => return,
            SectionPatch::Clear => {
                self.state = None;
                self.stamps = Stamps::default();
            }
            SectionPatch::Merge(members) => merge(
                self.state.get_or_insert_default(),
                &mut self.stamps,
                members,
                now.seconds(),
            ),
        }
        self.version = self.version.next();
    }
}

/// RFC 7396 §2, with times.
fn merge(state: &mut Object, stamps: &mut Stamps, patch: &Object, seconds: u64) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                state.shift_remove(key);
                stamps.remove(key);
            }
            Value::Object(members) => {
                let slot = state
                    .entry(key.as_str())
                    .or_insert_with(|| Value::Object(Object::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Object::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, stamps.within(key), members, seconds);
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                state.insert(key.clone(), value.clone());
                stamps.insert(key, Stamp::At(seconds));
            }
        }
    }
}

/// The members of `desired` that `reported` lacks or has otherwise: objects member by member,
/// arrays whole. An object whose members all agree does not appear; an empty one that `reported`
/// lacks does.
fn difference(desired: &Object, reported: &Object) -> Object {
    desired
        .iter()
        .filter_map(|(key, wanted)| {
            let differs = match (wanted, reported.get(key)) {
                (Value::Object(wanted), Some(Value::Object(had))) => {
                    let inner = difference(wanted, had);
                    if inner.is_empty() {
                        return None;
                    }
                    Value::Object(inner)
                }
                (wanted, Some(had)) if same(wanted, had) => return None,
                (wanted, Some(_) | None) => wanted.clone(),
            };
            Some((key.clone(), differs))
        })
        .collect()
}

/// Equality of values: members in any order, numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number::same(a.as_str(), b.as_str()),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn text_bytes(object: &Object) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, object).expect("text keys, and counting does not fail");
    count.0
}
