//! Presigned URLs: the signature in the query, as WebSocket clients send it.
//!
//! The SDKs differ in what they sign, so the verifier takes the host with and without its port, and
//! the session token inside or outside the canonical query. What they agree on is checked.

use std::time::Duration;

use http::request::Parts;
use model::Timestamp;
use percent_encoding::percent_decode_str;

use super::{
    ALGORITHM, CLOCK_SKEW, Scope, SignatureError, SignaturePolicy, canonical, is_signed,
    read_names, read_scope, read_signature, read_stamp, sha256_hex, string_to_sign,
};

/// Longest a presigned URL may live. AWS: seven days.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether the request carries a signature in its query.
#[must_use]
pub fn is_presigned(head: &Parts) -> bool {
    parameter(head, "X-Amz-Signature").is_some()
}

/// Checks the presigned URL of `head`, whose body is empty.
///
/// # Errors
///
/// What [`super::Claim::verify`] tells; [`SignatureError::Expired`] when `X-Amz-Expires` has passed.
/// Without it, as the second SDKs sign, the URL counts for [`CLOCK_SKEW`].
pub fn verify(
    head: &Parts,
    keys: &SignaturePolicy,
    now: Timestamp,
) -> Result<Scope, SignatureError> {
    let wanted = |name: &'static str, what: &'static str| {
        parameter(head, name).ok_or(SignatureError::Incomplete { what })
    };
    let algorithm = parameter(head, "X-Amz-Algorithm").ok_or(SignatureError::Missing)?;
    if algorithm != ALGORITHM {
        return Err(SignatureError::Missing);
    }
    let scope = read_scope(&wanted("X-Amz-Credential", "X-Amz-Credential")?)?;
    let stamp = wanted("X-Amz-Date", "X-Amz-Date")?;
    let signed_headers = read_names(&wanted("X-Amz-SignedHeaders", "X-Amz-SignedHeaders")?)?;
    let signature = read_signature(&wanted("X-Amz-Signature", "X-Amz-Signature")?)?;
    let keys = match keys {
        SignaturePolicy::AcceptAny => return Ok(scope),
        SignaturePolicy::Verify(keys) => keys,
    };
    if !signed_headers.iter().any(|name| name == "host") {
        return Err(SignatureError::HeaderNotSigned {
            name: "host".into(),
        });
    }
    let signed_at = read_stamp(&stamp)?;
    if !stamp.starts_with(&scope.date) {
        return Err(SignatureError::Incomplete {
            what: "a Credential of the same day as X-Amz-Date",
        });
    }
    if signed_at.since(now) > CLOCK_SKEW {
        return Err(SignatureError::ClockSkew { signed_at, now });
    }
    match parameter(head, "X-Amz-Expires") {
        None if now.since(signed_at) > CLOCK_SKEW => {
            return Err(SignatureError::ClockSkew { signed_at, now });
        }
        None => {}
        Some(text) => {
            let lifetime = read_lifetime(&text)?;
            if now.since(signed_at) > lifetime {
                let expired_at = signed_at.after(lifetime);
                return Err(SignatureError::Expired { expired_at, now });
            }
        }
    }
    let token = parameter(head, "X-Amz-Security-Token");
    let secret = keys.find(&scope.key_id, token.as_deref())?;

    let payload = sha256_hex(b"");
    let sent_host = super::text(&head.headers, "host").unwrap_or_default();
    let bare_host = without_port(sent_host);
    let raw = head.uri.query().unwrap_or_default();
    let mut first = None;
    for token_is_signed in [false, true] {
        let query = canonical::query(raw, |name| {
            name != "X-Amz-Signature" && (token_is_signed || name != "X-Amz-Security-Token")
        });
        for host in [sent_host, bare_host] {
            let text = canonical::request(
                head.method.as_str(),
                head.uri.path(),
                &query,
                &head.headers,
                &signed_headers,
                Some(host),
                &payload,
            );
            let to_sign = string_to_sign(&scope, &stamp, &text);
            if is_signed(secret, &scope, to_sign.as_bytes(), &signature) {
                return Ok(scope);
            }
            first.get_or_insert_with(|| SignatureError::Mismatch {
                canonical: String::from_utf8_lossy(&text).into_owned(),
                to_sign,
            });
        }
    }
    Err(first.expect("the loops above run at least once"))
}

fn read_lifetime(text: &str) -> Result<Duration, SignatureError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .map(Duration::from_secs)
        .filter(|lifetime| *lifetime <= LONGEST)
        .ok_or(SignatureError::Incomplete {
            what: "an X-Amz-Expires of at most 604800 seconds",
        })
}

/// The first query parameter of this name, decoded.
fn parameter(head: &Parts, name: &str) -> Option<String> {
    head.uri.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name)
            .then(|| percent_decode_str(value).decode_utf8().ok())
            .flatten()
            .map(|value| value.into_owned())
    })
}

/// The host without `:port`; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// For the fuzzer: whatever stands in a URL is read without harm, and nobody gets in who cannot
/// sign.
///
/// # Errors
///
/// Says what was taken or misread.
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let target = [b"/mqtt?", bytes].concat();
    let request = http::Request::builder()
        .uri(target.as_slice())
        .header("host", "hub.example:8443")
        .header("connection", "Upgrade");
    // What is no URL never gets here.
    let Ok(request) = request.body(()) else {
        return Ok(());
    };
    let (head, ()) = request.into_parts();
    let now = Timestamp::from_seconds(1_795_316_242);
    let keys = super::AccessKeys::default()
        .with("AKIDSEKISHO0000000001", super::SecretKey::new("nobody's"))
        .with_session(
            "ASIASEKISHO0000000002",
            super::SecretKey::new("nobody's"),
            "t",
        );
    if let Ok(scope) = verify(&head, &SignaturePolicy::Verify(keys), now) {
        return Err(format!("taken without a secret: {scope:?}"));
    }
    let read = verify(&head, &SignaturePolicy::AcceptAny, now);
    if read.is_ok() && !is_presigned(&head) {
        return Err("read what is not signed".into());
    }
    if let Ok(scope) = read {
        let parts = [&scope.key_id, &scope.date, &scope.region];
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("an empty part: {scope:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
