//! Dates in conditions: the W3C profile of ISO 8601, or seconds since the Unix epoch.

use model::Timestamp;

/// Reads `2026`, `2026-11`, `2026-11-21`, `2026-11-21T10:00Z`, `2026-11-21T10:00:00.5+09:00` or seconds since the
/// Unix epoch. A date before 1970 becomes the epoch. `None` when it is neither.
///
/// Source: <https://www.w3.org/TR/NOTE-datetime>, which the policy language of AWS refers to.
#[must_use]
pub fn parse_date(text: &str) -> Option<Timestamp> {
    // Four digits are a year, as the profile says; any other count is seconds.
    if !matches!(text.len(), 0 | 4)
        && text.len() <= 12
        && text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return text.parse().ok().map(Timestamp::from_seconds);
    }
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    let mut part = || match rest.is_empty() {
        true => Some(1),
        false => byte(&mut rest, b'-').and_then(|()| digits(&mut rest, 2)),
    };
    let (month, day) = (part()?, part()?);
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let mut millis = days_from_epoch(year, month, day) * 86_400_000;
    if rest.is_empty() {
        return Some(clamped(millis));
    }
    byte(&mut rest, b'T').or_else(|| byte(&mut rest, b't'))?;
    let hour = digits(&mut rest, 2)?;
    byte(&mut rest, b':')?;
    let minute = digits(&mut rest, 2)?;
    let mut second = 0;
    if byte(&mut rest, b':').is_some() {
        second = digits(&mut rest, 2)?;
        if byte(&mut rest, b'.').is_some() {
            millis += fraction(&mut rest)?;
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    millis += ((hour * 60 + minute) * 60 + second) * 1000;
    if byte(&mut rest, b'Z')
        .or_else(|| byte(&mut rest, b'z'))
        .is_none()
    {
        let sign = match rest.split_first()? {
            (b'+', _) => 1,
            (b'-', _) => -1,
            _ => return None,
        };
        rest = &rest[1..];
        let hours = digits(&mut rest, 2)?;
        byte(&mut rest, b':');
        let minutes = digits(&mut rest, 2)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        millis -= sign * (hours * 60 + minutes) * 60_000;
    }
    rest.is_empty().then(|| clamped(millis))
}

/// Writes a time as `2026-11-21T10:00:00Z`, whole seconds.
#[must_use]
pub fn format_date(time: Timestamp) -> String {
    let seconds = time.seconds();
    let days = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn clamped(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    let mut value = 0;
    for digit in head {
        value = value * 10 + i64::from(char::from(*digit).to_digit(10)?);
    }
    *rest = tail;
    Some(value)
}

fn byte(rest: &mut &[u8], wanted: u8) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    (*first == wanted).then(|| *rest = tail)
}

/// The digits after a decimal point as milliseconds; digits beyond the third are dropped.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let mut millis = 0;
    for at in 0..3 {
        let digit = if at < count {
            i64::from(rest[at] - b'0')
        } else {
            0
        };
        millis = millis * 10 + digit;
    }
    *rest = &rest[count..];
    Some(millis)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before 1 January of `year`, counted from 1 January of year 0.
const fn days_before_year(year: i64) -> i64 {
    if year == 0 {
        return 0;
    }
    let past = year - 1;
    365 * year + past / 4 - past / 100 + past / 400 + 1
}

const fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let mut days = days_before_year(year) - days_before_year(1970) + day - 1;
    let mut before = 1;
    while before < month {
        days += days_in_month(year, before);
        before += 1;
    }
    days
}

const fn date_of(days: i64) -> (i64, i64, i64) {
    // 146,097 days are 400 years; one correction at most remains after the estimate.
    let mut year = 1970 + days * 400 / 146_097;
    while days_from_epoch(year + 1, 1, 1) <= days {
        year += 1;
    }
    while days_from_epoch(year, 1, 1) > days {
        year -= 1;
    }
    let mut month = 1;
    while month < 12 && days_from_epoch(year, month + 1, 1) <= days {
        month += 1;
    }
    (year, month, days - days_from_epoch(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_precision() {
        for (text, millis) in [
            ("1970-01-01", 0),
            ("1970", 0),
            ("2000-03", 951_868_800_000),
            ("2000-03-01", 951_868_800_000),
            ("2026-11-21", 1_795_219_200_000),
            ("2026-11-21T10:00Z", 1_795_255_200_000),
            ("2026-11-21T10:00:00Z", 1_795_255_200_000),
            ("2026-11-21T10:00:00.25Z", 1_795_255_200_250),
            ("2026-11-21T19:00:00+09:00", 1_795_255_200_000),
            ("2026-11-21T05:00:00-0500", 1_795_255_200_000),
            ("1795255200", 1_795_255_200_000),
            ("0", 0),
            ("1950-01-01", 0),
        ] {
            assert_eq!(
                parse_date(text),
                Some(Timestamp::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-",
            "2026-13-01",
            "2026-02-29",
            "2026-11-21T25:00Z",
            "2026-11-21T10:00",
            "2026-11-21T10:00:00.Z",
            "2026-11-21 10:00:00Z",
            "2026-11-21T10:00:00Zz",
            "soon",
            "-5",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_that_is_written_is_read_again() {
        for day in 0..200_000u64 {
            let time = Timestamp::from_seconds(day * 86_400 + day % 86_400);
            assert_eq!(parse_date(&format_date(time)), Some(time));
        }
    }
}
