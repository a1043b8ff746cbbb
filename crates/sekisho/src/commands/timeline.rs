//! `sekisho timeline` and `sekisho trace`

use super::{find, moment};
use crate::{
    cli::Where,
    client::{Go, escape},
    failure::Failure,
    output,
};

pub(super) async fn of_device(hub: &Where, device: &str, since: &str) -> Result<(), Failure> {
    let since = moment::ago(moment::duration(since)?);
    let path = format!("/devices/{}/timeline?since={since}", escape(device));
    let page: api::Page<api::Entry> = find(hub)?.get(&path).await?;
    if hub.json {
        return output::json(&page.items);
    }
    for entry in &page.items {
        print(entry, None);
    }
    if page.items.is_empty() {
        output::note("nothing happened in that time");
    }
    Ok(())
}

pub(super) async fn trace(hub: &Where, failed: bool, follow: bool) -> Result<(), Failure> {
    let path = format!("/trace?failed={failed}&follow={follow}");
    let json = hub.json;
    find(hub)?
        .lines(&path, |text| {
            if json {
                output::line(text);
                return Ok(Go::On);
            }
            let line: api::TraceLine = serde_json::from_str(text).map_err(Failure::internal)?;
            let client = line.client_id.as_deref().unwrap_or("-");
            print(&line.entry, Some(client));
            Ok(Go::On)
        })
        .await
}

fn print(entry: &api::Entry, client: Option<&str>) {
    let at = moment::show(entry.at);
    let client = client.map_or_else(String::new, |client| format!("{client}  "));
    let from = entry
        .address
        .as_ref()
        .map_or_else(String::new, |address| format!(" from {address}"));
    // The message tells the decision, too; the whole of it is in the JSON.
    let text = format!(
        "{at}  {client}{}{from}: {} ({})",
        entry.kind, entry.message, entry.reason
    );
    output::line(&text);
}
