//! `sekisho tail` and `sekisho publish`

use super::{devices::done, find};
use crate::{
    cli::Where,
    client::{Go, escape},
    failure::Failure,
    output,
};

pub(super) async fn tail(hub: &Where, filter: &str, count: Option<u64>) -> Result<(), Failure> {
    if count == Some(0) {
        return Ok(());
    }
    let path = format!("/tail?filter={}", escape(filter));
    let (json, mut seen, mut missed) = (hub.json, 0, 0);
    find(hub)?
        .lines(&path, |text| {
            let line = if json {
                text.to_owned()
            } else {
                let message: api::Message =
                    serde_json::from_str(text).map_err(Failure::internal)?;
                if message.missed > missed {
                    missed = message.missed;
                    output::note(&format!("{missed} messages missed so far"));
                }
                show(message)
            };
            output::line(&line);
            seen += 1;
            Ok(if count == Some(seen) {
                Go::Stop
            } else {
                Go::On
            })
        })
        .await
}

fn show(message: api::Message) -> String {
    let payload = match (message.text, message.base64) {
        (Some(text), _) => text,
        (None, Some(base64)) => format!("base64:{base64}"),
        (None, None) => String::new(),
    };
    let retained = if message.retained { " (retained)" } else { "" };
    format!("{}{retained}  {payload}", message.topic)
}

pub(super) async fn publish(
    hub: &Where,
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
) -> Result<(), Failure> {
    let text = format!("published to {topic}");
    let publication = api::Publication {
        topic,
        text: Some(payload),
        base64: None,
        qos,
        retain,
    };
    let _: api::Done = find(hub)?.post("/publish", &publication).await?;
    done(hub, &text)
}
