//! Shadows, by request. A change is announced by messages as if it had come by one.

use model::{Address, Refusal, ShadowName};
use serde_json::json;

use super::{
    call::{Call, Outcome, Reply},
    page::Paging,
    things::{optional, thing_name},
};

fn address(call: &Call<'_>) -> Result<Address, Refusal> {
    Ok(Address {
        device: thing_name(call.label(0)?)?,
        module: None,
    })
}

fn name(call: &Call<'_>) -> Result<Option<ShadowName>, Refusal> {
    optional(call.query("name")?.as_deref())
}

/// `GetThingShadow`.
pub(crate) fn get(call: &Call<'_>) -> Outcome {
    let body = call
        .hub
        .get_shadow(call.caller, &address(call)?, name(call)?.as_ref())?;
    Ok(Reply::json(&body))
}

/// `UpdateThingShadow`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let (address, name) = (address(call)?, name(call)?);
    let body = call
        .hub
        .update_shadow(call.caller, &address, name.as_ref(), &call.body)
        .await?;
    Ok(Reply::json(&body))
}

/// `DeleteThingShadow`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    let (address, name) = (address(call)?, name(call)?);
    let body = call
        .hub
        .delete_shadow(call.caller, &address, name.as_ref())
        .await?;
    Ok(Reply::json(&body))
}

/// `ListNamedShadowsForThing`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let wanted = Paging::SizeAndTokens.request(call)?;
    let after = optional(wanted.token.as_deref())?;
    let limit = wanted.limit.unwrap_or(100).clamp(1, 100);
    let found = call
        .hub
        .list_shadows(call.caller, &address(call)?, after.as_ref(), limit)?;
    let page = hub::Page {
        items: found.names,
        next: found.next.map(|name| name.to_string()),
    };
    let mut body = Paging::SizeAndTokens.answer("results", page, |name| json!(name.as_str()));
    body["timestamp"] = json!(call.hub.now().seconds());
    Ok(Reply::json(&body))
}
