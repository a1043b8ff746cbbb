//! The data plane's messages: publishing, and what is retained.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker::Message;
use bytes::Bytes;
use dialect::{Dialect as _, Inbound};
use model::{Refusal, TopicName, limits};
use mqtt_proto::{PublishProperties, QoS};
use serde_json::{Value, json};

use super::{
    call::{Call, Outcome, Reply, invalid},
    page::Paging,
};
use crate::{
    Aws,
    topics::{aws_topic, canonical_topic},
};

/// `Publish`: one message, by someone without an MQTT connection. Reserved topics mean what they
/// mean over MQTT.
pub(crate) async fn publish(call: &Call<'_>) -> Outcome {
    let message = Inbound {
        topic: call.label(0)?.into(),
        payload: call.body.clone(),
        qos: match call.query("qos")?.as_deref() {
            None | Some("" | "0") => QoS::AtMostOnce,
            Some("1") => QoS::AtLeastOnce,
            Some(other) => return Err(invalid(format!("qos is 0 or 1, not {other:?}")).into()),
        },
        retain: call.flag("retain")?,
        properties: properties(call)?,
        packet_id: None,
    };
    let intent = Aws.interpret(call.caller, message)?;
    call.hub.handle(call.caller, intent).await?.await?;
    Ok(Reply::json(&json!({
        "message": "OK",
        "traceId": call.request_id,
    })))
}

fn read_topic(topic: &str) -> Result<TopicName, Refusal> {
    canonical_topic(&topic.into())
        .map_err(|error| Refusal::malformed("topic.invalid", format!("{topic:?}: {error}")))
}

/// MQTT 5's properties, as headers and parameters.
fn properties(call: &Call<'_>) -> Result<PublishProperties, Refusal> {
    let payload_format = match call.header("x-amz-mqtt5-payload-format-indicator")? {
        None => None,
        Some("UTF8_DATA") => Some(true),
        Some("UNSPECIFIED_BYTES") => Some(false),
        Some(other) => {
            return Err(invalid(format!(
                "the payload format indicator is UTF8_DATA or UNSPECIFIED_BYTES, not {other:?}"
            )));
        }
    };
    if payload_format == Some(true) && std::str::from_utf8(&call.body).is_err() {
        return Err(invalid(
            "the payload is said to be UTF8_DATA and is not valid UTF-8",
        ));
    }
    let correlation_data = call
        .header("x-amz-mqtt5-correlation-data")?
        .map(|text| {
            STANDARD
                .decode(text)
                .map(Bytes::from)
                .map_err(|_| invalid("the correlation data is not base64"))
        })
        .transpose()?;
    let user_properties = call
        .header("x-amz-mqtt5-user-properties")?
        .map(user_properties)
        .transpose()?
        .unwrap_or_default();
    let response_topic = call.query("responseTopic")?;
    if let Some(topic) = &response_topic {
        read_topic(topic)?;
    }
    Ok(PublishProperties {
        payload_format,
        message_expiry_seconds: call.query_as("messageExpiry")?,
        content_type: call.query("contentType")?.map(Into::into),
        response_topic: response_topic.map(Into::into),
        correlation_data,
        user_properties: user_properties
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    })
}

/// `[{"name": "value"}, …]` in base64. The SDK for Python wraps it once more: base64 of a JSON
/// string that holds the array.
fn user_properties(header: &str) -> Result<Vec<(String, String)>, Refusal> {
    let expected =
        || invalid("user properties are base64 of a JSON array such as [{\"name\": \"value\"}]");
    let decoded = STANDARD.decode(header).map_err(|_| expected())?;
    let mut value: Value = serde_json::from_slice(&decoded).map_err(|_| expected())?;
    if let Value::String(inner) = &value {
        value = serde_json::from_str(inner).map_err(|_| expected())?;
    }
    let Value::Array(entries) = value else {
        return Err(expected());
    };
    let mut pairs = Vec::new();
    for entry in entries {
        let Value::Object(entry) = entry else {
            return Err(expected());
        };
        for (name, value) in entry {
            let Value::String(value) = value else {
                return Err(expected());
            };
            pairs.push((name, value));
        }
    }
    if pairs.len() > limits::USER_PROPERTIES {
        return Err(invalid(format!(
            "a message has at most {} user properties",
            limits::USER_PROPERTIES
        )));
    }
    Ok(pairs)
}

/// `GetRetainedMessage`.
pub(crate) fn get_retained(call: &Call<'_>) -> Outcome {
    let topic = read_topic(call.label(0)?)?;
    let message = call.hub.retained_message(call.caller, &topic)?;
    let mut body = json!({
        "topic": aws_topic(message.topic.as_str()),
        "payload": STANDARD.encode(&message.payload),
        "qos": message.qos as u8,
        "lastModifiedTime": message.published_at.millis(),
    });
    let properties = &message.properties.user_properties;
    if !properties.is_empty() {
        let list: Vec<Value> = properties
            .iter()
            .map(|(name, value)| json!({ &**name: &**value }))
            .collect();
        body["userProperties"] = json!(STANDARD.encode(json!(list).to_string()));
    }
    Ok(Reply::json(&body))
}

/// `ListRetainedMessages`.
pub(crate) fn list_retained(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let page = call.hub.retained_messages(call.caller, &wanted)?;
    let answer = Paging::Tokens.answer("retainedTopics", page, |message| summary(message));
    Ok(Reply::json(&answer))
}

fn summary(message: &Message) -> Value {
    json!({
        "topic": aws_topic(message.topic.as_str()),
        "payloadSize": message.payload.len(),
        "qos": message.qos as u8,
        "lastModifiedTime": message.published_at.millis(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_properties_are_read_wrapped_once_and_twice() {
        let array = r#"[{"a":"1"},{"a":"2"}]"#;
        let expected = vec![
            ("a".to_owned(), "1".to_owned()),
            ("a".to_owned(), "2".to_owned()),
        ];
        assert_eq!(user_properties(&STANDARD.encode(array)).unwrap(), expected);
        let twice = serde_json::to_string(array).unwrap();
        assert_eq!(user_properties(&STANDARD.encode(twice)).unwrap(), expected);
        for wrong in ["{}", "[1]", r#"[{"a":1}]"#, "\"x\"", "nonsense"] {
            assert!(user_properties(&STANDARD.encode(wrong)).is_err(), "{wrong}");
        }
        assert!(user_properties("%").is_err());
    }
}
