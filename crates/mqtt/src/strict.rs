//! What AWS IoT Core allows a client besides what MQTT does: spellings, and a share of its time.
//!
//! Source: AWS IoT Core endpoints and quotas, "AWS IoT Core message broker and protocol limits".

use std::time::Duration;

use model::{Refusal, RefusalKind, Timestamp};

/// Bytes of a topic or filter.
const TOPIC_BYTES: usize = 256;
/// Slashes in a topic or filter.
const SLASHES: usize = 7;
/// Bytes of a client id.
const CLIENT_ID_BYTES: usize = 128;
/// Messages of one connection per second.
const MESSAGES_PER_SECOND: u64 = 100;
/// Bytes of the topics and payloads of one connection per second.
const BYTES_PER_SECOND: u64 = 512 * 1024;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Checks the topic of a message or a will, as the client spells it.
///
/// # Errors
///
/// [`RefusalKind::Malformed`] when it is too long or too deep, [`RefusalKind::Unsupported`] when
/// the message is to be retained on a reserved topic.
pub(crate) fn check_topic(spelled: &str, retain: bool) -> Result<(), Refusal> {
    check_size(without_rule(spelled))?;
    if retain && spelled.starts_with('$') {
        return Err(Refusal::new(
            RefusalKind::Unsupported,
            "retained.reserved",
            "messages on topics that begin with $ are not retained here; publish without the \
             RETAIN flag",
        ));
    }
    Ok(())
}

/// Checks a filter, as the client spells it. The slashes of `$share/<name>/` do not count.
///
/// # Errors
///
/// [`RefusalKind::Malformed`] when it is too long or too deep.
pub(crate) fn check_filter(spelled: &str) -> Result<(), Refusal> {
    let filter = spelled
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'))
        .map_or(spelled, |(_, filter)| filter);
    check_size(filter)
}

/// Checks what a client calls itself.
///
/// # Errors
///
/// [`RefusalKind::Malformed`] when it is too long or begins with `$`.
pub(crate) fn check_client_id(spelled: &str) -> Result<(), Refusal> {
    if spelled.len() > CLIENT_ID_BYTES || spelled.starts_with('$') {
        return Err(Refusal::malformed(
            "mqtt.client-id",
            format!("a client id has at most {CLIENT_ID_BYTES} bytes here and no leading $"),
        ));
    }
    Ok(())
}

/// A topic for a rule, `$<cloud>/rules/<rule>/…`, without these three levels: they are free.
fn without_rule(topic: &str) -> &str {
    let mut levels = topic.splitn(4, '/');
    match (levels.next(), levels.next(), levels.next(), levels.next()) {
        (Some(root), Some("rules"), Some(_), Some(rest)) if root.starts_with('$') => rest,
        _ => topic,
    }
}

fn check_size(text: &str) -> Result<(), Refusal> {
    if text.len() > TOPIC_BYTES {
        return Err(Refusal::malformed(
            "topic.too-long",
            format!(
                "a topic has at most {TOPIC_BYTES} bytes here, this one has {}",
                text.len()
            ),
        ));
    }
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    if slashes > SLASHES {
        return Err(Refusal::malformed(
            "topic.too-deep",
            format!("a topic has at most {SLASHES} slashes here, this one has {slashes}"),
        ));
    }
    Ok(())
}

/// What one connection may still publish. A second's worth may come at once; whoever sends more is
/// listened to more slowly and loses nothing.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    messages: Meter,
    bytes: Meter,
    /// How long to wait before more is read.
    pub(crate) pause: Duration,
    /// Whether the timeline tells that there was a pause.
    pub(crate) is_told: bool,
}

impl Allowance {
    /// Counts one message, and answers how long to wait before the next is read; also in `pause`.
    pub(crate) fn spend(&mut self, bytes: usize, now: Timestamp) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let now = now.millis().saturating_mul(1000);
        let messages = self
            .messages
            .spend(MICROS_PER_SECOND / MESSAGES_PER_SECOND, now);
        let bytes = self.bytes.spend(
            bytes.saturating_mul(MICROS_PER_SECOND) / BYTES_PER_SECOND,
            now,
        );
        self.pause = Duration::from_micros(messages.max(bytes));
        self.pause
    }
}

/// A token bucket that holds a second's worth, kept as the moment at which it is full again.
#[derive(Debug, Default)]
struct Meter {
    full_at_micros: u64,
}

impl Meter {
    /// Takes what costs so many microseconds, and answers for how many it was taken too early.
    fn spend(&mut self, cost: u64, now: u64) -> u64 {
        self.full_at_micros = self.full_at_micros.max(now).saturating_add(cost);
        self.full_at_micros
            .saturating_sub(now.saturating_add(MICROS_PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[track_caller]
    fn check(outcome: Result<(), Refusal>, reason: Option<&str>) {
        assert_eq!(outcome.err().map(|refusal| refusal.reason.0), reason);
    }

    #[test]
    fn topics_have_256_bytes_and_7_slashes_behind_the_levels_that_are_free() {
        let long = "x".repeat(256);
        check(check_topic(&long, false), None);
        check(
            check_topic(&format!("{long}x"), false),
            Some("topic.too-long"),
        );
        check(check_topic("1/2/3/4/5/6/7/8", false), None);
        check(
            check_topic("1/2/3/4/5/6/7/8/", false),
            Some("topic.too-deep"),
        );
        check(check_topic("$c/rules/r/1/2/3/4/5/6/7/8", false), None);
        check(
            check_topic("$c/rules/r/1/2/3/4/5/6/7/8/9", false),
            Some("topic.too-deep"),
        );
        check(check_topic(&format!("$c/rules/r/{long}"), false), None);
        check(
            check_topic("c/rules/r/1/2/3/4/5/6/7/8", false),
            Some("topic.too-deep"),
        );
    }

    #[test]
    fn filters_have_the_same_bounds_behind_the_share() {
        let group = "g".repeat(128);
        check(
            check_filter(&format!("$share/{group}/1/2/3/4/5/6/7/#")),
            None,
        );
        check(
            check_filter(&format!("$share/{group}/1/2/3/4/5/6/7/8/#")),
            Some("topic.too-deep"),
        );
        check(check_filter(&"x".repeat(257)), Some("topic.too-long"));
    }

    #[test]
    fn nothing_is_retained_on_reserved_topics() {
        check(check_topic("$c/x", true), Some("retained.reserved"));
        check(check_topic("$c/x", false), None);
        check(check_topic("c/$x", true), None);
    }

    #[test]
    fn client_ids_have_128_bytes_and_no_leading_dollar() {
        check(check_client_id(&"x".repeat(128)), None);
        check(check_client_id(&"x".repeat(129)), Some("mqtt.client-id"));
        check(check_client_id("$x"), Some("mqtt.client-id"));
        check(check_client_id("x$"), None);
    }

    #[test]
    fn a_hundred_messages_come_at_once_and_then_one_every_ten_milliseconds() {
        let mut allowance = Allowance::default();
        for _ in 0..100 {
            assert_eq!(allowance.spend(1, NOW), Duration::ZERO);
        }
        let wait = allowance.spend(1, NOW);
        assert_eq!(wait, Duration::from_millis(10));
        let next = NOW.after(wait);
        assert_eq!(allowance.spend(1, next), Duration::from_millis(10));
        let rested = next.after(Duration::from_secs(60));
        for _ in 0..100 {
            assert_eq!(allowance.spend(1, rested), Duration::ZERO);
        }
        assert_ne!(allowance.spend(1, rested), Duration::ZERO);
    }

    #[test]
    fn half_a_mebibyte_comes_at_once_and_then_as_much_a_second() {
        let mut allowance = Allowance::default();
        for _ in 0..4 {
            assert_eq!(allowance.spend(128 * 1024, NOW), Duration::ZERO);
        }
        let wait = allowance.spend(128 * 1024, NOW);
        assert_eq!(wait, Duration::from_millis(250));
    }
}
