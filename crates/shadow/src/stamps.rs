//! When each leaf of a section was last written.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Object;

/// The times of an object's members, by key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamps(BTreeMap<String, Stamp>);

/// The time of one member: an object has one per member, anything else one for the whole.
///
/// An array is replaced whole, so one time serves all its elements however they are nested.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stamp {
    /// When the value was written, in whole seconds since the Unix epoch.
    At(u64),
    /// The value is an object; its members have times of their own.
    Within(Stamps),
}

/// Kept text is not the times of a section.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the times of a section: each is whole seconds or an object of such")]
pub struct InvalidStamps;

impl Stamps {
    pub(crate) fn insert(&mut self, key: &str, stamp: Stamp) {
        self.0.insert(key.to_owned(), stamp);
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The times within the member `key`, made empty when it was no object.
    pub(crate) fn within(&mut self, key: &str) -> &mut Self {
        let stamp = self
            .0
            .entry(key.to_owned())
            .or_insert_with(|| Stamp::Within(Self::default()));
        if let Stamp::At(_) = stamp {
            *stamp = Stamp::Within(Self::default());
        }
        match stamp {
            Stamp::Within(stamps) => stamps,
            Stamp::At(_) => unreachable!("replaced above"),
        }
    }

    /// The service's `metadata` for `state`: `{"timestamp": seconds}` in place of each scalar, an
    /// array of such in place of each array.
    ///
    /// `state` may be a part of the section that these times belong to; what has no time here is
    /// left out.
    #[must_use]
    pub fn metadata(&self, state: &Object) -> Object {
        state
            .iter()
            .filter_map(|(key, value)| {
                let shown = match (self.0.get(key)?, value) {
                    (Stamp::Within(stamps), Value::Object(members)) => {
                        Value::Object(stamps.metadata(members))
                    }
                    (Stamp::At(seconds), value) => leaf(value, *seconds),
                    (Stamp::Within(_), _) => return None,
                };
                Some((key.clone(), shown))
            })
            .collect()
    }

    /// The compact form that is kept: seconds in place of each leaf.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let members = self.0.iter().map(|(key, stamp)| {
            let value = match stamp {
                Stamp::At(seconds) => Value::from(*seconds),
                Stamp::Within(stamps) => stamps.to_json(),
            };
            (key.clone(), value)
        });
        Value::Object(members.collect())
    }

    /// Reads [`Stamps::to_json`] back.
    ///
    /// # Errors
    ///
    /// [`InvalidStamps`] when `value` has another shape.
    pub fn from_json(value: &Value) -> Result<Self, InvalidStamps> {
        let members = value.as_object().ok_or(InvalidStamps)?;
        let stamps = members.iter().map(|(key, value)| {
            let stamp = match value.as_u64() {
                Some(seconds) => Stamp::At(seconds),
                None => Stamp::Within(Self::from_json(value)?),
            };
            Ok((key.clone(), stamp))
        });
        stamps.collect::<Result<_, _>>().map(Self)
    }
}

/// `{"timestamp": seconds}` for a scalar; arrays and the objects in them keep their shape.
fn leaf(value: &Value, seconds: u64) -> Value {
    match value {
        Value::Array(elements) => elements
            .iter()
            .map(|element| leaf(element, seconds))
            .collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), leaf(member, seconds)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::json!({ "timestamp": seconds })
        }
    }
}
