//! The canonical request: the one text that client and hub both compute.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Everything but RFC 3986's unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The same, but the path's separators stay.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The canonical query: every pair that `keep` wants (asked by its decoded name), encoded once,
/// sorted by encoded name, then by encoded value.
pub(super) fn query(raw: &str, keep: impl Fn(&str) -> bool) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&decoded, QUERY).to_string()
    };
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .filter(|(name, _)| keep(name))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// The canonical request. `path` is the raw path on the wire; it is encoded once more here.
/// `host` stands in for the `host` header when given.
pub(super) fn request(
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    signed_headers: &[String],
    host: Option<&str>,
    payload_sha256: &str,
) -> Vec<u8> {
    let path = if path.is_empty() { "/" } else { path };
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(method.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(percent_encode(path.as_bytes(), PATH).to_string().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(query.as_bytes());
    text.push(b'\n');
    for name in signed_headers {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        match host {
            Some(host) if name == "host" => text.extend_from_slice(host.as_bytes()),
            Some(_) | None => {
                for (index, value) in headers.get_all(name).iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    trim_all(value.as_bytes(), &mut text);
                }
            }
        }
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.join(";").as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload_sha256.as_bytes());
    text
}

/// Writes `value` without outer spaces and with runs of spaces made one.
fn trim_all(value: &[u8], text: &mut Vec<u8>) {
    let words = value
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
}
