//! Tags: what operators note on resources, for people and bills; the hub draws no conclusions.

use std::{collections::BTreeMap, fmt};

use model::{GroupName, PolicyName, Refusal, RefusalKind, TypeName, limits};

/// What can be tagged.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Resource {
    /// A static group.
    Group(GroupName),
    /// A type of devices.
    Type(TypeName),
    /// A policy.
    Policy(PolicyName),
}

impl fmt::Display for Resource {
    /// As tags are stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Type(name) => write!(f, "type/{name}"),
            Self::Policy(name) => write!(f, "policy/{name}"),
        }
    }
}

/// The tags of a resource, by key: keys of 1 to 128 and values of up to 256 bytes.
///
/// Source: AWS IoT API, `TagKey` and `TagValue`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tags(BTreeMap<String, String>);

/// What a writer wants of the tags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TagChange {
    /// Adds these, replacing those of the same key.
    Set(BTreeMap<String, String>),
    /// Removes those with these keys; absent ones are no error.
    Remove(Vec<String>),
}

impl Tags {
    /// The tags by key.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Tags that were checked when they were stored.
    #[must_use]
    pub const fn from_stored(tags: BTreeMap<String, String>) -> Self {
        Self(tags)
    }

    /// Checks and makes `change`.
    ///
    /// # Errors
    ///
    /// `tag.key`, `tag.value`, `tag.too-many`. Nothing is changed then.
    pub fn apply(&mut self, change: TagChange) -> Result<(), Refusal> {
        let mut next = self.0.clone();
        match change {
            TagChange::Set(tags) => {
                for (key, value) in tags {
                    check(&key, &value)?;
                    next.insert(key, value);
                }
            }
            TagChange::Remove(keys) => {
                for key in keys {
                    next.remove(&key);
                }
            }
        }
        if next.len() > limits::TAGS {
            return Err(Refusal::new(
                RefusalKind::TooMany,
                "tag.too-many",
                format!("a resource has at most {} tags", limits::TAGS),
            ));
        }
        self.0 = next;
        Ok(())
    }
}

fn check(key: &str, value: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > limits::TAG_KEY_BYTES {
        return Err(Refusal::malformed(
            "tag.key",
            format!(
                "the key of a tag has 1 to {} bytes, this has {}",
                limits::TAG_KEY_BYTES,
                key.len()
            ),
        ));
    }
    if value.len() > limits::TAG_VALUE_BYTES {
        return Err(Refusal::malformed(
            "tag.value",
            format!(
                "the value of a tag has at most {} bytes, this has {}",
                limits::TAG_VALUE_BYTES,
                value.len()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_set_replaced_and_removed() {
        let set = |key: &str, value: &str| TagChange::Set([(key.into(), value.into())].into());
        let mut tags = Tags::default();
        tags.apply(set("team", "a")).unwrap();
        tags.apply(set("team", "b")).unwrap();
        assert_eq!(tags.as_map()["team"], "b");
        for (change, reason) in [
            (set("", "x"), "tag.key"),
            (set(&"k".repeat(129), "x"), "tag.key"),
            (set("k", &"v".repeat(257)), "tag.value"),
            (
                TagChange::Set((0..50).map(|n| (n.to_string(), "x".into())).collect()),
                "tag.too-many",
            ),
        ] {
            assert_eq!(tags.apply(change).unwrap_err().reason.0, reason);
        }
        tags.apply(TagChange::Remove(vec!["team".into(), "other".into()]))
            .unwrap();
        assert!(tags.as_map().is_empty());
    }
}
