//! `sekisho ledger tail`, `search` and `history`: entries for people.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tlog::{Policy, Proof};

use super::{find, ledger, prove};
use crate::{
    cli::{Wanted, Where},
    client::{Go, Hub, escape},
    commands::moment,
    failure::Failure,
    folder::{self, Secrecy},
    output,
};

/// Shows the newest entries, and with `follow` those that are made from then on.
pub(super) async fn tail(hub: &Where, follow: bool, count: u64) -> Result<(), Failure> {
    let client = find(hub)?;
    let from = ledger(&client).await?.size.saturating_sub(count);
    if !follow {
        let path = format!("/ledger/entries?from={from}");
        return each(&client, &path, async |entry| tell(&entry, hub.json)).await;
    }
    let json = hub.json;
    client
        .lines(&format!("/ledger/tail?from={from}"), |text| {
            if json {
                output::line(text);
            } else {
                let entry = serde_json::from_str(text).map_err(Failure::internal)?;
                print(&entry);
            }
            Ok(Go::On)
        })
        .await
}

/// Shows the entries that are wanted, oldest first.
pub(super) async fn search(hub: &Where, wanted: &Wanted) -> Result<(), Failure> {
    let path = path(wanted)?;
    let mut count = 0_u64;
    each(&find(hub)?, &path, async |entry| {
        count += 1;
        tell(&entry, hub.json)
    })
    .await?;
    if count == 0 {
        output::note("no entry is like that");
    }
    Ok(())
}

/// Shows everything that was done to a device, and to its certificates while they were its own, and
/// writes the proof of each entry.
pub(super) async fn history(
    hub: &Where,
    device: String,
    proofs: Option<&Path>,
) -> Result<(), Failure> {
    let client = find(hub)?;
    let prover = match proofs {
        Some(folder) => Some(Prover::new(&client, folder).await?),
        None => None,
    };
    let entries = of_device(&client, &device).await?;
    for entry in entries.values() {
        tell(entry, hub.json)?;
        if let Some(prover) = &prover {
            prover.write(entry).await?;
        }
    }
    match (entries.len(), proofs) {
        (0, _) => output::note(&format!("nothing was ever done to {device}")),
        (_, None) => output::note("`sekisho ledger prove INDEX` proves a line; --proofs DIR, all"),
        (count, Some(folder)) => output::note(&format!(
            "wrote the proof of each ({count}) to {}; check one with `sekisho ledger check FILE --policy policy.txt`",
            folder.display()
        )),
    }
    Ok(())
}

/// The entries about a device and about each certificate from when it was attached to it until it
/// was detached, by their index: disabling a device, say, is done to its certificates.
async fn of_device(client: &Hub, device: &str) -> Result<BTreeMap<u64, api::LedgerEntry>, Failure> {
    let mut entries = BTreeMap::new();
    let object = format!("device/{device}");
    let wanted = |object: &str| Wanted {
        object: Some(object.to_owned()),
        ..Wanted::default()
    };
    each(client, &path(&wanted(&object))?, async |entry| {
        entries.insert(entry.index, entry);
        Ok(())
    })
    .await?;
    for (certificate, from, to) in attached(&object, entries.values()) {
        let path = format!("{}&from={from}", path(&wanted(&certificate))?);
        each(client, &path, async |entry| {
            if to.is_none_or(|to| entry.index <= to) {
                entries.insert(entry.index, entry);
            }
            Ok(())
        })
        .await?;
    }
    Ok(entries)
}

/// What was attached to an object, from and to which entry.
fn attached<'a>(
    object: &str,
    entries: impl Iterator<Item = &'a api::LedgerEntry>,
) -> Vec<(String, u64, Option<u64>)> {
    let mut spans: Vec<(String, u64, Option<u64>)> = Vec::new();
    for entry in entries {
        for change in &entry.changes {
            if change.kind != "attachment" || change.of.as_deref() != Some(object) {
                continue;
            }
            let open = spans
                .iter_mut()
                .find(|(id, _, to)| *id == change.id && to.is_none());
            match (open, &change.after) {
                (Some(span), None) => span.2 = Some(entry.index),
                (None, Some(_)) => spans.push((change.id.clone(), entry.index, None)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
    spans
}

/// Writes proofs that it has checked itself.
struct Prover<'a> {
    client: &'a Hub,
    policy: Policy,
    folder: &'a Path,
}

impl<'a> Prover<'a> {
    async fn new(client: &'a Hub, folder: &'a Path) -> Result<Self, Failure> {
        let policy = ledger(client).await?.policy;
        fs::create_dir_all(folder).map_err(|error| {
            Failure::usage(format!("cannot create {}: {error}", folder.display()))
        })?;
        Ok(Self {
            client,
            policy: Policy::parse(policy.as_bytes()).map_err(Failure::internal)?,
            folder,
        })
    }

    async fn write(&self, entry: &api::LedgerEntry) -> Result<(), Failure> {
        let index = entry.index;
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::Refused(format!(
                "the hub's proof of entry {index} is wrong: {error}"
            ))
        };
        let text = self.client.text(&prove::path(index)).await?;
        let proof = Proof::parse(text.as_bytes()).map_err(|error| wrong(&error))?;
        let bytes = STANDARD.decode(&entry.bytes).map_err(Failure::internal)?;
        if proof.index != index {
            return Err(wrong(&format!("it is of entry {}", proof.index)));
        }
        proof
            .check(&bytes, &self.policy)
            .map_err(|error| wrong(&error))?;
        let file = self.folder.join(format!("{index}.tlog-proof"));
        folder::write(&file, &text, Secrecy::Public)
    }
}

/// Passes every entry that a query finds, part by part.
async fn each(
    client: &Hub,
    path: &str,
    mut show: impl AsyncFnMut(api::LedgerEntry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut page: api::Page<api::LedgerEntry> = client.get(path).await?;
    loop {
        for entry in page.items {
            show(entry).await?;
        }
        let Some(after) = page.next else {
            return Ok(());
        };
        let mark = if path.contains('?') { '&' } else { '?' };
        let next = format!("{path}{mark}after={}", escape(&after));
        page = client.get(&next).await?;
    }
}

fn path(wanted: &Wanted) -> Result<String, Failure> {
    let moment = |text: &Option<String>| {
        let text = text.as_deref();
        text.map(moment::point)
            .transpose()
            .map(|millis| millis.map(|millis| millis.to_string()))
    };
    let query: Vec<_> = [
        ("actor", wanted.actor.clone()),
        ("device", wanted.device.clone()),
        ("object", wanted.object.clone()),
        ("verb", wanted.verb.clone()),
        ("since", moment(&wanted.since)?),
        ("until", moment(&wanted.until)?),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(format!("{name}={}", escape(&value?))))
    .collect();
    Ok(match query.as_slice() {
        [] => "/ledger/entries".to_owned(),
        query => format!("/ledger/entries?{}", query.join("&")),
    })
}

/// A line of JSON, or one for people.
fn tell(entry: &api::LedgerEntry, json: bool) -> Result<(), Failure> {
    if json {
        output::line(&serde_json::to_string(entry).map_err(Failure::internal)?);
    } else {
        print(entry);
    }
    Ok(())
}

/// `INDEX  TIME  VERB  OBJECTS  by ACTOR from ADDRESS  (detail)`. The whole of a digest is in the
/// JSON.
pub(super) fn print(entry: &api::LedgerEntry) {
    output::line(&line(entry));
}

fn line(entry: &api::LedgerEntry) -> String {
    let actor = &entry.actor;
    let name = actor.name.clone().or_else(|| {
        let pseudonym = actor.pseudonym.as_deref()?;
        Some(shortened(pseudonym))
    });
    let who = match name {
        Some(name) if name == actor.kind => name,
        Some(name) => format!("{}/{}", actor.kind, brief(&name)),
        None => actor.kind.clone(),
    };
    let from = match (&actor.address, &actor.address_pseudonym) {
        (Some(address), _) => format!(" from {address}"),
        (None, Some(pseudonym)) => format!(" from {}", shortened(pseudonym)),
        (None, None) => String::new(),
    };
    let objects: Vec<_> = entry.changes.iter().map(object).collect();
    let part = match entry.part {
        Some((number, of)) => format!("  part {number} of {of}"),
        None => String::new(),
    };
    let detail = match detail(&entry.detail) {
        detail if detail.is_empty() => detail,
        detail => format!("  ({detail})"),
    };
    let (index, at, verb) = (entry.index, moment::show(entry.at), &entry.verb);
    let objects = match objects.join(", ") {
        objects if objects.is_empty() => objects,
        objects => format!("  {objects}"),
    };
    format!("{index:>7}  {at}  {verb}{objects}  by {who}{from}{part}{detail}")
}

fn object(change: &api::LedgerChange) -> String {
    match &change.of {
        Some(of) => format!("{} {} of {}", change.kind, brief(&change.id), brief(of)),
        None => format!("{}/{}", change.kind, brief(&change.id)),
    }
}

/// A name without the most of a digest at its end, as that of a certificate is.
fn brief(name: &str) -> String {
    let (before, last) = match name.rsplit_once('/') {
        Some((before, last)) => (format!("{before}/"), last),
        None => (String::new(), name),
    };
    let is_digest = last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        format!("{before}{}", shortened(last))
    } else {
        name.to_owned()
    }
}

fn detail(detail: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = detail
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    pairs.join(", ")
}

/// Enough of a digest to tell it from others.
fn shortened(digest: &str) -> String {
    digest.chars().take(12).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line() {
        let mut entry = api::LedgerEntry {
            index: 17,
            at: 1_700_000_000_000,
            actor: api::LedgerActor {
                kind: "operator".into(),
                name: Some("alice".into()),
                pseudonym: Some("ab".repeat(32)),
                credential: None,
                address: Some("192.0.2.1".into()),
                address_pseudonym: None,
            },
            verb: "policy.attach".into(),
            changes: vec![
                api::LedgerChange {
                    kind: "attachment".into(),
                    id: "pumps".into(),
                    of: Some(format!("certificate/{}", "12".repeat(32))),
                    before: None,
                    after: None,
                },
                api::LedgerChange {
                    kind: "device".into(),
                    id: "pump-1".into(),
                    of: None,
                    before: None,
                    after: None,
                },
            ],
            part: Some((1, 2)),
            detail: BTreeMap::from([("why".into(), "asked".into())]),
            request: None,
            previous: None,
            bytes: String::new(),
        };
        assert_eq!(
            line(&entry),
            "     17  2023-11-14T22:13:20Z  policy.attach  attachment pumps of certificate/121212121212…, \
             device/pump-1  by operator/alice from 192.0.2.1  part 1 of 2  (why: asked)"
        );
        entry.actor.name = None;
        entry.actor.address = None;
        entry.changes.clear();
        entry.part = None;
        entry.detail.clear();
        assert_eq!(
            line(&entry),
            "     17  2023-11-14T22:13:20Z  policy.attach  by operator/abababababab…"
        );
    }

    #[test]
    fn a_certificate_is_a_devices_from_its_attachment_to_its_detachment() {
        let entry = |index, id: &str, of: &str, after: Option<&str>| api::LedgerEntry {
            index,
            at: 0,
            actor: api::LedgerActor {
                kind: "hub".into(),
                name: None,
                pseudonym: None,
                credential: None,
                address: None,
                address_pseudonym: None,
            },
            verb: "device.attach".into(),
            changes: vec![api::LedgerChange {
                kind: "attachment".into(),
                id: id.into(),
                of: Some(of.into()),
                before: None,
                after: after.map(str::to_owned),
            }],
            part: None,
            detail: BTreeMap::new(),
            request: None,
            previous: None,
            bytes: String::new(),
        };
        let entries = [
            entry(1, "certificate/a", "device/d", Some("00")),
            entry(2, "certificate/b", "device/d", Some("00")),
            entry(3, "certificate/c", "device/other", Some("00")),
            entry(4, "certificate/a", "device/d", None),
            entry(6, "certificate/a", "device/d", Some("00")),
        ];
        let span = |id: &str, from, to| (id.to_owned(), from, to);
        assert_eq!(
            attached("device/d", entries.iter()),
            [
                span("certificate/a", 1, Some(4)),
                span("certificate/b", 2, None),
                span("certificate/a", 6, None),
            ]
        );
    }

    #[test]
    fn what_is_wanted_is_a_query() {
        assert_eq!(path(&Wanted::default()).unwrap(), "/ledger/entries");
        let wanted = Wanted {
            actor: Some("operator/a b".into()),
            since: Some("1970-01-01T00:00:01Z".into()),
            ..Wanted::default()
        };
        assert_eq!(
            path(&wanted).unwrap(),
            "/ledger/entries?actor=operator%2Fa%20b&since=1000"
        );
    }
}
