//! Attributes of devices and groups: short texts by name.

use std::collections::BTreeMap;

use model::{Refusal, limits};

/// Attributes by name, each checked: names are 1 to 128 bytes of `A-Z a-z 0-9 _ . , @ / : # -`,
/// values up to 800 bytes of the same and `= [ ]`.
///
/// Source: AWS IoT API, `AttributeName` and `AttributeValue`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes(BTreeMap<String, String>);

/// What a writer wants of the attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttributeChange {
    /// These instead of the present ones.
    Replace(BTreeMap<String, String>),
    /// These in addition; an empty value removes its attribute.
    Merge(BTreeMap<String, String>),
}

impl Attributes {
    /// The attributes by name.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Attributes that were checked when they were stored.
    #[must_use]
    pub const fn from_stored(attributes: BTreeMap<String, String>) -> Self {
        Self(attributes)
    }

    /// Checks and makes `change`.
    ///
    /// # Errors
    ///
    /// `attribute.name`, `attribute.value`, `attribute.too-many`. Nothing is changed then.
    pub fn apply(&mut self, change: AttributeChange) -> Result<(), Refusal> {
        let mut next = match &change {
            AttributeChange::Replace(_) => BTreeMap::new(),
            AttributeChange::Merge(_) => self.0.clone(),
        };
        let (AttributeChange::Replace(given) | AttributeChange::Merge(given)) = change;
        for (name, value) in given {
            check_name(&name)?;
            check_value(&name, &value)?;
            if value.is_empty() {
                next.remove(&name);
            } else {
                next.insert(name, value);
            }
        }
        if next.len() > limits::ATTRIBUTES {
            return Err(Refusal::malformed(
                "attribute.too-many",
                format!(
                    "at most {} attributes are kept, this would be {}",
                    limits::ATTRIBUTES,
                    next.len()
                ),
            ));
        }
        self.0 = next;
        Ok(())
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'.' | b',' | b'@' | b'/' | b':' | b'#' | b'-')
}

const fn is_value_byte(byte: u8) -> bool {
    is_name_byte(byte) || matches!(byte, b'=' | b'[' | b']')
}

pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty()
        || name.len() > limits::ATTRIBUTE_NAME_BYTES
        || !name.bytes().all(is_name_byte)
    {
        return Err(Refusal::malformed(
            "attribute.name",
            format!(
                "the attribute name {name:?} does not have 1 to {} characters of A-Z a-z 0-9 \
                 _ . , @ / : # -",
                limits::ATTRIBUTE_NAME_BYTES
            ),
        ));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > limits::ATTRIBUTE_VALUE_BYTES || !value.bytes().all(is_value_byte) {
        return Err(Refusal::malformed(
            "attribute.value",
            format!(
                "the value of attribute {name:?} does not have up to {} characters of A-Z a-z \
                 0-9 _ . , @ / : # = [ ] -",
                limits::ATTRIBUTE_VALUE_BYTES
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> BTreeMap<String, String> {
        let pairs = text
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn merging_adds_replaces_and_removes() {
        for (before, change, after) in [
            (
                "a=1 b=2",
                AttributeChange::Merge(map("b=3 c=4")),
                "a=1 b=3 c=4",
            ),
            ("a=1 b=2", AttributeChange::Merge(map("a=")), "b=2"),
            ("a=1 b=2", AttributeChange::Replace(map("c=4")), "c=4"),
            ("a=1 b=2", AttributeChange::Replace(map("")), ""),
            ("a=1", AttributeChange::Replace(map("b=")), ""),
        ] {
            let mut attributes = Attributes::from_stored(map(before));
            attributes.apply(change).unwrap();
            assert_eq!(attributes.as_map(), &map(after));
        }
    }

    #[test]
    fn bad_attributes_change_nothing() {
        let many: BTreeMap<_, _> = (0..=limits::ATTRIBUTES)
            .map(|n| (n.to_string(), "x".to_owned()))
            .collect();
        let one = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        for (change, reason) in [
            (one("a b", "1"), "attribute.name"),
            (one("", "1"), "attribute.name"),
            (one(&"n".repeat(129), "1"), "attribute.name"),
            (one("a", "ü"), "attribute.value"),
            (one("a", &"v".repeat(801)), "attribute.value"),
            (many, "attribute.too-many"),
        ] {
            let mut attributes = Attributes::from_stored(map("a=1"));
            let refusal = attributes
                .apply(AttributeChange::Merge(change))
                .unwrap_err();
            assert_eq!(refusal.reason.0, reason);
            assert_eq!(attributes.as_map(), &map("a=1"));
        }
    }
}
