//! Resource names (ARNs): `arn:PARTITION:iot:REGION:ACCOUNT:KIND/NAME`.
//!
//! The hub answers for every partition and region, and for one account. Patterns are relieved of
//! their prefix when they are read, wildcards that reach across its colons included, so that
//! matching sees only `KIND/NAME`.

use policy::{Pattern, Prefix, ResourcePattern, Wildcards};

use super::variables::variable;

const fn in_partition(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'-'
}

const fn in_region(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

const fn in_account(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn up_to_account() -> Prefix {
    Prefix::new()
        .text("arn:aws")
        .any_of(in_partition)
        .text(":iot:")
        .some_of(in_region)
        .text(":")
}

/// The patterns over `KIND/NAME` that a whole resource pattern amounts to in this account.
pub(super) fn own(pattern: &Pattern, account: &str) -> Result<Vec<Pattern>, String> {
    let prefix = up_to_account().text(account).text(":");
    pattern.after(&prefix).map_err(|error| error.to_string())
}

/// Whether the text can be meant as a resource name: an ARN, or a wildcard in its place.
pub(super) fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") || text.starts_with('*') || text.starts_with("arn*")
}

/// What was expected instead of a text that [`is_arn`] rejects.
pub(super) fn expected(text: &str) -> String {
    format!("expected * or an ARN such as arn:aws:iot:REGION:ACCOUNT:{text}")
}

/// Reads one resource of a statement; the error says what was expected.
pub(super) fn pattern(text: &str, account: &str) -> Result<ResourcePattern, String> {
    let whole =
        Pattern::parse(text, Wildcards::On, &variable).map_err(|error| error.to_string())?;
    if !is_arn(text) {
        return Err(expected(text));
    }
    let patterns = own(&whole, account)?;
    let elsewhere = patterns
        .is_empty()
        .then(|| elsewhere(&whole, text, account));
    Ok(ResourcePattern {
        spelled: text.into(),
        patterns,
        elsewhere: elsewhere.map(Into::into),
    })
}

fn elsewhere(whole: &Pattern, text: &str, account: &str) -> String {
    let in_any_account = up_to_account().some_of(in_account).text(":");
    if whole
        .after(&in_any_account)
        .is_ok_and(|left| left.is_empty())
    {
        return "this resource is not one of AWS IoT Core".to_owned();
    }
    match text.split(':').nth(4) {
        Some(other) => {
            format!("this resource is in account {other}, this hub answers as account {account}")
        }
        None => format!("this resource is not in account {account}, as which this hub answers"),
    }
}
