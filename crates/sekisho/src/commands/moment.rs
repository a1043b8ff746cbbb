//! Moments and durations as people write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::failure::Failure;

/// Reads `90s`, `15m`, `1h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{text:?} is not a duration; write 90s, 15m, 1h or 7d"
        ))
    };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

/// The moment so long ago, in milliseconds since the epoch. As the hub's clock may be ahead of
/// this machine's, only as good as the two agree.
#[expect(
    clippy::disallowed_methods,
    reason = "a command's clock is the machine's"
)]
pub(super) fn ago(duration: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.saturating_sub(duration).as_millis()).unwrap_or(u64::MAX)
}

/// Reads a moment: how long ago it was, or itself as RFC 3339 writes it. In milliseconds since the
/// epoch.
pub(super) fn point(text: &str) -> Result<u64, Failure> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        let millis = at.unix_timestamp_nanos() / 1_000_000;
        return u64::try_from(millis)
            .map_err(|_| Failure::usage(format!("{text:?} is before 1970")));
    }
    duration(text).map(ago).map_err(|_| {
        Failure::usage(format!(
            "{text:?} is not a moment; write 90s, 15m, 1h or 7d ago, or 2026-11-22T02:00:00Z"
        ))
    })
}

/// A moment for people: UTC, to the second.
pub(super) fn show(millis: u64) -> String {
    i64::try_from(millis / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{millis} ms"))
}

/// A length of time for people: its two largest units.
pub(super) fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("1h", 3600),
            ("7d", 604_800),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_secs(seconds),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "5",
            "-1s",
            "+1s",
            "1.5h",
            "1w",
            "h1",
            "5é",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_some_time_ago() {
        assert_eq!(
            point("2023-11-14T22:13:20.999Z").unwrap(),
            1_700_000_000_999
        );
        assert_eq!(
            point("2023-11-14T23:13:20+01:00").unwrap(),
            1_700_000_000_000
        );
        assert!(point("1h").unwrap() > 1_700_000_000_000);
        for text in ["", "yesterday", "1969-12-31T23:59:59Z", "2023-11-14"] {
            assert!(point(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(show(0), "1970-01-01T00:00:00Z");
        assert_eq!(show(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(show(u64::MAX), format!("{} ms", u64::MAX));
    }

    #[test]
    fn lengths_have_two_units() {
        for (seconds, text) in [(5, "5s"), (65, "1m 5s"), (3660, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(length(seconds), text);
        }
    }
}
