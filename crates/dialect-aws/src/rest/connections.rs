//! Connections of devices, seen and ended from outside.

use hub::{ConnectionInfo, Page, act};
use model::{ClientId, Refusal};
use serde_json::{Value, json};

use super::{
    call::{Call, Outcome, Reply},
    page::Paging,
};
use crate::topics::aws_filter;

/// `GetConnection`.
pub(crate) fn get(call: &Call<'_>) -> Outcome {
    let info = find(call)?;
    Ok(Reply::json(&describe(
        &info,
        call.flag("includeSocketInformation")?,
    )))
}

/// What is told of a connection.
pub(crate) fn describe(info: &ConnectionInfo, with_socket: bool) -> Value {
    let mut body = json!({
        "clientId": info.client_id.as_str(),
        "connected": info.connected,
        "cleanSession": info.clean_start,
    });
    if info.connected {
        body["keepAliveDuration"] = json!(info.keep_alive_seconds);
        body["sessionExpiry"] = json!(info.session_expiry.as_secs());
    }
    if let Some(since) = info.connected_at {
        body["connectedSince"] = json!(since.millis());
    }
    if let (true, Some(address)) = (with_socket, info.address) {
        body["sourceIp"] = json!(address.ip().to_string());
        body["sourcePort"] = json!(address.port());
    }
    body
}

/// `ListSubscriptions`.
pub(crate) fn list_subscriptions(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let mut subscriptions = find(call)?.subscriptions;
    subscriptions.sort_by(|(a, _), (b, _)| a.cmp(b));
    let page = Page::cut(subscriptions, &wanted, |(filter, _)| filter.to_string())?;
    let answer = Paging::Tokens.answer(
        "subscriptions",
        page,
        |(filter, qos)| json!({ "topicFilter": aws_filter(filter.as_str()), "qos": *qos as u8 }),
    );
    Ok(Reply::json(&answer))
}

/// `DeleteConnection`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    let client_id: ClientId = call.name(0)?;
    let send_will = !call.flag("preventWillMessage")?;
    let end_session = call.flag("cleanSession")?;
    let ended = call
        .hub
        .disconnect_client(call.caller, &client_id, send_will, end_session)
        .await?;
    if !ended {
        return Err(unknown(&client_id).into());
    }
    Ok(Reply::empty())
}

fn permitted(call: &Call<'_>) -> Result<ClientId, Refusal> {
    let client_id: ClientId = call.name(0)?;
    let _ = call
        .hub
        .authorize::<act::ManageConnections>(call.caller, client_id.as_str())?;
    Ok(client_id)
}

fn find(call: &Call<'_>) -> Result<ConnectionInfo, Refusal> {
    let client_id = permitted(call)?;
    call.hub
        .connection_info(&client_id)
        .ok_or_else(|| unknown(&client_id))
}

fn unknown(client_id: &ClientId) -> Refusal {
    Refusal::not_found(
        "connection.unknown",
        format!("no client {client_id} is connected and none is remembered"),
    )
}

/// `GetThingConnectivityData`: the connection of the client that is named as the thing is. Why an
/// earlier connection ended stands in the timeline, not here.
pub(crate) fn connectivity(call: &Call<'_>) -> Outcome {
    let body: Connectivity = call.json()?;
    let device = call.hub.device(call.caller, &call.name(0)?)?;
    let info = ClientId::new(device.id.as_str())
        .ok()
        .and_then(|client_id| call.hub.connection_info(&client_id))
        .filter(|info| info.connected);
    let mut answer = match &info {
        Some(info) => describe(info, body.include_socket_information),
        None => json!({ "connected": false, "disconnectReason": "UNKNOWN" }),
    };
    if let Some(since) = info.and_then(|info| info.connected_at) {
        answer["timestamp"] = json!(since.fractional_seconds());
    }
    answer["thingName"] = json!(device.id.as_str());
    Ok(Reply::json(&answer))
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Connectivity {
    include_socket_information: bool,
}
