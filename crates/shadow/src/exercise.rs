//! What holds of every shadow whatever is written to it, for properties and fuzz targets.

use model::Timestamp;

use crate::{Document, Limits, Patch, Request, Stamps, wire};

/// Applies `bytes`, one request per line, to a shadow, and checks after each write what must hold.
///
/// # Errors
///
/// The property that does not hold, as text.
pub fn patches(bytes: &[u8]) -> Result<(), String> {
    let limits = Limits::default();
    let mut document = Document::default();
    for (second, request) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let now = Timestamp::from_seconds(second);
        let token = Request::token_of(request, &limits);
        let Ok(patch) = Patch::parse(request, &limits) else {
            continue;
        };
        hold(
            "the token reads alike",
            token.as_ref() == patch.client_token(),
        )?;
        let before = document.clone();
        let Ok(change) = document.apply(patch.clone(), &limits, now) else {
            hold("a refused write changes nothing", document == before)?;
            continue;
        };
        hold("versions count by one", {
            document.version == before.version.next()
        })?;
        hold("the limit is kept", {
            document.bytes() <= limits.document_bytes
        })?;
        for message in [
            wire::update_accepted(&change),
            wire::update_documents(&change),
            wire::get_accepted(&document, token.as_ref(), now),
        ] {
            let text = message.to_string();
            let read: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            hold("what is told can be read", read.as_ref() == Some(&message))?;
        }
        for section in [&document.desired, &document.reported] {
            let kept = Stamps::from_json(&section.stamps.to_json());
            hold("times can be kept", kept.as_ref() == Ok(&section.stamps))?;
        }
        hold("a repeated write changes no state", {
            let mut again = document.clone();
            let repeated = Patch {
                version: None,
                ..patch
            };
            again.apply(repeated, &limits, now).is_ok()
                && again.desired.state == document.desired.state
                && again.reported.state == document.reported.state
        })?;
        if let Some(delta) = change.delta {
            let mut caught_up = document.clone();
            let report = serde_json::json!({ "state": { "reported": delta.state } }).to_string();
            // A report may be larger than there is room for.
            let accepted = Patch::parse(report.as_bytes(), &limits)
                .is_ok_and(|report| caught_up.apply(report, &limits, now).is_ok());
            hold("a device that reports its delta has none left", {
                !accepted || caught_up.delta().is_none()
            })?;
        }
    }
    Ok(())
}

fn hold(property: &str, holds: bool) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("it does not hold that {property}"))
    }
}
