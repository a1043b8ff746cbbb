//! Messages: published by operators, and watched by them.

use axum::{Json, body::Bytes, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use bytestring::ByteString;
use dialect::Inbound;
use hub::{Hub, Watch, Watched};
use model::{Refusal, TopicFilter, TopicName};
use mqtt_proto::{PublishProperties, QoS};

use super::{
    Answer, Asked, Refused, Site,
    lines::{Lines, write as write_line},
    query, read, stream,
};

/// What `tail` is asked.
#[derive(serde::Deserialize)]
pub(super) struct Wanted {
    filter: String,
}

pub(super) async fn tail(site: Site, wanted: Asked<Wanted>) -> Result<Response, Refused> {
    let filter = filter(&site, &query(wanted)?.filter)?;
    let watch = site.hub().watch(site.operator(), filter)?;
    let tail = Tail { site, watch };
    Ok(stream(Lines::new(tail, |tail| Box::pin(tail.next()))))
}

struct Tail {
    site: Site,
    watch: Watch,
}

impl Tail {
    /// The next line, until the hub stops.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let hub: Hub = self.site.hub().clone();
        let watched = tokio::select! {
            watched = self.watch.next() => watched?,
            () = hub.stopping() => return None,
        };
        let mut line = BytesMut::new();
        write_line(&mut line, &self.show(&watched));
        Some((line.freeze(), self))
    }

    fn show(&self, watched: &Watched) -> api::Message {
        let message = &watched.message;
        let topic = self.site.setup().dialect.spell(&message.topic);
        let (text, base64) = match std::str::from_utf8(&message.payload) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&message.payload))),
        };
        api::Message {
            topic: topic.map_or_else(|| message.topic.to_string(), |topic| topic.into_owned()),
            text,
            base64,
            qos: message.qos as u8,
            retained: watched.retained,
            client_id: message.origin.client_id.as_ref().map(ToString::to_string),
            published_at: message.published_at.millis(),
            missed: watched.missed,
        }
    }
}

pub(super) async fn publish(site: Site, body: Bytes) -> Answer<api::Done> {
    let asked: api::Publication = read(&body)?;
    let malformed = |message| Refused(Refusal::malformed("request.malformed", message));
    let payload = match (asked.text, asked.base64) {
        (Some(text), None) => text.into(),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|_| malformed("the payload is not base64"))?
            .into(),
        (None, None) | (Some(_), Some(_)) => {
            return Err(malformed("give the payload as text or as base64"));
        }
    };
    let qos = match asked.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => return Err(malformed("the quality of service is 0 or 1")),
    };
    let inbound = Inbound {
        topic: ByteString::from(asked.topic),
        payload,
        qos,
        retain: asked.retain,
        properties: PublishProperties::default(),
        packet_id: None,
    };
    let intent = site.setup().dialect.interpret(site.operator(), inbound)?;
    let ack = site.hub().handle(site.operator(), intent).await?;
    ack.await?;
    Ok(Json(api::Done {}))
}

/// A filter as an operator spells it.
pub(super) fn filter(site: &Site, spelled: &str) -> Result<TopicFilter, Refused> {
    let spelled = ByteString::from(spelled);
    Ok(site.setup().dialect.filter(site.operator(), &spelled)?)
}

/// A topic as an operator spells it.
pub(super) fn topic(site: &Site, spelled: &str) -> Result<TopicName, Refused> {
    let filter = filter(site, spelled)?;
    TopicName::new(filter.as_str())
        .map_err(|error| Refused(Refusal::malformed("topic.invalid", error.to_string())))
}
