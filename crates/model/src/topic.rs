//! Topic names and topic filters, MQTT 5.0 §4.7.
//!
//! Both are validated UTF-8 over shared bytes: cloning one copies no text.

use std::{fmt, str::FromStr};

use bytestring::ByteString;

use crate::limits;

/// Separates the levels of topics and filters. MQTT 5.0 §4.7.1.1.
pub const FILTER_SEPARATOR: char = '/';

/// Why a text is not a topic name or not a topic filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTopic {
    /// MQTT 5.0 §4.7.3: at least one character.
    #[error("a topic has at least one character")]
    Empty,
    /// Longer than [`limits::TOPIC_BYTES`].
    #[error("a topic has at most {} bytes, this has {bytes}", limits::TOPIC_BYTES)]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// More levels than [`limits::TOPIC_LEVELS`].
    #[error("a topic has at most {} levels", limits::TOPIC_LEVELS)]
    TooManyLevels,
    /// MQTT 5.0 §4.7.3: no null character.
    #[error("a topic may not hold a null character")]
    Null,
    /// MQTT 5.0 §4.7.1: `+` and `#` stand only in filters.
    #[error("a topic name may not hold the wildcards + and #")]
    Wildcard,
    /// MQTT 5.0 §4.7.1: a wildcard fills its level, and `#` is the last one.
    #[error("a wildcard must fill its level, and # must be the last")]
    MisplacedWildcard,
    /// MQTT 5.0 §4.8.2: `$share/{group}/{filter}`, the group without `/`, `+` and `#`.
    #[error("a shared subscription is $share/GROUP/FILTER")]
    Share,
}

/// A topic that messages are published to: no wildcards.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicName(ByteString);

/// What a subscription asks for: may hold `+` and `#`, and may be shared.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicFilter(ByteString);

/// A filter taken apart: `$share/{group}/{filter}` or a plain filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedFilter<'a> {
    /// The share name; `None` for a plain subscription.
    pub group: Option<&'a str>,
    /// What topics are matched against.
    pub filter: &'a str,
}

impl TopicName {
    /// Checks `text` as a topic name.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] names the rule it breaks.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, InvalidTopic> {
        let text = text.into();
        check_text(&text)?;
        if text.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
            return Err(InvalidTopic::Wildcard);
        }
        Ok(Self(text))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic as shared bytes.
    #[must_use]
    pub const fn as_byte_string(&self) -> &ByteString {
        &self.0
    }

    /// Whether the topic is one of the hub's own (`$…`). This is one byte's test.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl TopicFilter {
    /// Checks `text` as a topic filter, shared or plain.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] names the rule it breaks.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, InvalidTopic> {
        let text = text.into();
        check_text(&text)?;
        let parts = split_share(&text)?;
        let mut levels = parts.filter.split(FILTER_SEPARATOR).peekable();
        while let Some(level) = levels.next() {
            let well_placed = match level {
                "#" => levels.peek().is_none(),
                "+" => true,
                text => !text.bytes().any(|byte| matches!(byte, b'+' | b'#')),
            };
            if !well_placed {
                return Err(InvalidTopic::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    /// The filter as text, share prefix included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter as shared bytes.
    #[must_use]
    pub const fn as_byte_string(&self) -> &ByteString {
        &self.0
    }

    /// The share group and the filter within it.
    #[must_use]
    pub fn parts(&self) -> SharedFilter<'_> {
        split_share(&self.0).expect("checked when this filter was made")
    }

    /// Whether the filter holds a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }
}

/// The levels of a topic or filter, first to last.
pub type Levels<'a> = std::str::Split<'a, char>;

/// Whether `topic` matches `filter` (without share prefix), MQTT 5.0 §4.7.1 and §4.7.2.
///
/// `a/#` matches `a`; a wildcard at the first level does not match a topic that begins with `$`.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut topic_levels = topic.split(FILTER_SEPARATOR);
    for level in filter.split(FILTER_SEPARATOR) {
        if level == "#" {
            return true;
        }
        match topic_levels.next() {
            Some(name) if level == "+" || level == name => {}
            Some(_) | None => return false,
        }
    }
    topic_levels.next().is_none()
}

fn check_text(text: &str) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if text.len() > limits::TOPIC_BYTES {
        return Err(InvalidTopic::TooLong { bytes: text.len() });
    }
    let mut levels = 1;
    for byte in text.bytes() {
        match byte {
            0 => return Err(InvalidTopic::Null),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > limits::TOPIC_LEVELS {
        return Err(InvalidTopic::TooManyLevels);
    }
    Ok(())
}

fn split_share(text: &str) -> Result<SharedFilter<'_>, InvalidTopic> {
    let Some(rest) = text.strip_prefix("$share/") else {
        if text == "$share" {
            return Err(InvalidTopic::Share);
        }
        return Ok(SharedFilter {
            group: None,
            filter: text,
        });
    };
    match rest.split_once(FILTER_SEPARATOR) {
        Some((group, filter))
            if !group.is_empty()
                && !filter.is_empty()
                && !group.bytes().any(|byte| matches!(byte, b'+' | b'#')) =>
        {
            Ok(SharedFilter {
                group: Some(group),
                filter,
            })
        }
        Some(_) | None => Err(InvalidTopic::Share),
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        Self::new(text)
    }
}

impl FromStr for TopicFilter {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        Self::new(text)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_specification_tells() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for bad in [
            "a+",
            "a/b#",
            "#/a",
            "a/#/b",
            "+a/b",
            "$share/g",
            "$share//a",
            "$share/g+/a",
            "$share/g/",
            "",
        ] {
            assert!(TopicFilter::new(bad).is_err(), "{bad}");
        }
        for good in ["+", "#", "/", "a/+/b/#", "$share/g/#", "$share/g/a", "a b"] {
            assert!(TopicFilter::new(good).is_ok(), "{good}");
        }
        assert_eq!(TopicName::new("a/+"), Err(InvalidTopic::Wildcard));
        assert_eq!(TopicName::new("a\0"), Err(InvalidTopic::Null));
        assert_eq!(
            TopicName::new("/".repeat(limits::TOPIC_LEVELS)),
            Err(InvalidTopic::TooManyLevels)
        );
    }
}
