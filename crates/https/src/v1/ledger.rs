//! The ledger: entries, proofs, and the files anybody can check.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::Path,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use http::{HeaderValue, StatusCode, header};
use hub::{EntryQuery, LedgerStatus, NamedEntry, PersonKind};
use ledger::Identity;
use model::{Refusal, Timestamp};
use tlog::{TILE_WIDTH, TileId};

use super::{
    Answer, Asked, Refused, Site,
    lines::{Lines, write as write_line},
    page, query, read, stream,
};

pub(super) async fn status(site: Site) -> Answer<api::Ledger> {
    Ok(Json(show(
        &site,
        site.hub().ledger_status(site.operator())?,
    )))
}

fn show(site: &Site, status: LedgerStatus) -> api::Ledger {
    let size = |checkpoint: &Option<std::sync::Arc<hub::SignedCheckpoint>>| {
        checkpoint
            .as_ref()
            .map_or(0, |signed| signed.checkpoint.size)
    };
    let text = |checkpoint: &Option<std::sync::Arc<hub::SignedCheckpoint>>| {
        checkpoint.as_ref().map(|signed| signed.note.to_string())
    };
    api::Ledger {
        origin: status.origin,
        size: status.size,
        signed: size(&status.signed),
        final_size: size(&status.last_final),
        checkpoint: text(&status.signed),
        final_checkpoint: text(&status.last_final),
        policy: status.policy,
        require_cosigned: site.hub().config().require_cosigned.is_some(),
        public: status.is_public,
        alarms: status.alarms,
    }
}

/// Which entries are asked for.
#[derive(serde::Deserialize)]
pub(super) struct Wanted {
    from: Option<u64>,
    after: Option<u64>,
    limit: Option<usize>,
    actor: Option<String>,
    object: Option<String>,
    device: Option<String>,
    verb: Option<String>,
    since: Option<u64>,
    until: Option<u64>,
}

pub(super) async fn entries(
    site: Site,
    wanted: Asked<Wanted>,
) -> Answer<api::Page<api::LedgerEntry>> {
    let wanted = query(wanted)?;
    let after = wanted.after.map(|after| after.saturating_add(1));
    let found = site.hub().ledger_entries(
        site.operator(),
        &EntryQuery {
            from: after.or(wanted.from).unwrap_or(0),
            limit: wanted.limit,
            actor: wanted.actor,
            object: match (wanted.object, wanted.device) {
                (Some(object), _) => Some(object),
                (None, device) => device.map(|device| format!("device/{device}")),
            },
            verb: wanted.verb,
            since: wanted.since.map(Timestamp::from_millis),
            until: wanted.until.map(Timestamp::from_millis),
        },
    )?;
    let next = found.items.last().map(|entry| entry.index.to_string());
    let more = found.next.is_some();
    let Json(mut page) = page(found, entry);
    page.next = next.filter(|_| more);
    Ok(Json(page))
}

pub(super) async fn one(site: Site, Path(index): Path<u64>) -> Answer<api::LedgerEntry> {
    Ok(Json(entry(
        site.hub().ledger_entry(site.operator(), index)?,
    )))
}

pub(super) async fn proof(site: Site, Path(index): Path<u64>) -> Result<Response, Refused> {
    let proof = site.hub().ledger_proof(site.operator(), index).await?;
    Ok(text(proof.to_string()))
}

pub(super) async fn state(site: Site) -> Answer<api::LedgerState> {
    let found = site.hub().compare_with_ledger(site.operator()).await?;
    Ok(Json(api::LedgerState {
        agrees: found.different == 0,
        entries: found.entries,
        objects: found.objects,
        differences: found.differences,
    }))
}

pub(super) async fn erase(site: Site, body: Bytes) -> Answer<api::Erased> {
    let hub = site.hub();
    let operator = site.operator();
    let erased = match read::<api::Erasure>(&body)? {
        api::Erasure::Operator(name) => {
            hub.erase_person(operator, PersonKind::Operator, &name)
                .await?
        }
        api::Erasure::Address(address) => {
            hub.erase_person(operator, PersonKind::Address, &address)
                .await?
        }
        api::Erasure::Object(subject) => hub.erase_object(operator, &subject).await?,
    };
    Ok(Json(api::Erased { erased }))
}

pub(super) async fn export(site: Site) -> Answer<api::Ledger> {
    site.hub().record_export(site.operator()).await?;
    status(site).await
}

pub(super) async fn backup(site: Site) -> Answer<api::Done> {
    site.hub().record_backup(site.operator()).await?;
    Ok(Json(api::Done {}))
}

/// From where entries are followed.
#[derive(serde::Deserialize)]
pub(super) struct From {
    from: Option<u64>,
}

pub(super) async fn tail(site: Site, from: Asked<From>) -> Result<Response, Refused> {
    let status = site.hub().ledger_status(site.operator())?;
    let next = query(from)?.from.unwrap_or(status.size);
    let tail = Tail { site, next };
    Ok(stream(Lines::new(tail, |tail| Box::pin(tail.next()))))
}

struct Tail {
    site: Site,
    next: u64,
}

impl Tail {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let hub = self.site.hub().clone();
        loop {
            let wanted = EntryQuery {
                from: self.next,
                ..EntryQuery::default()
            };
            // A ledger that cannot be read any more ends the stream; the log says why.
            let found = hub.ledger_entries(self.site.operator(), &wanted).ok()?;
            if let Some(last) = found.items.last() {
                self.next = last.index + 1;
                let mut lines = BytesMut::new();
                for found in found.items {
                    write_line(&mut lines, &entry(found));
                }
                return Some((lines.freeze(), self));
            }
            tokio::select! {
                () = hub.ledger_beyond(self.next) => {}
                () = hub.stopping() => return None,
            }
        }
    }
}

/// `/ledger/checkpoint`: the newest final checkpoint.
pub(super) async fn checkpoint(site: Site) -> Result<Response, Refused> {
    let last = site.hub().last_final().ok_or_else(|| {
        Refusal::not_found(
            "ledger.no-checkpoint",
            "no checkpoint of the ledger is final yet; ask again",
        )
    })?;
    let mut answer = text(last.note.to_string());
    cache(&mut answer, "no-cache");
    Ok(answer)
}

/// `/ledger/tile/…`: hashes and entries, at their paths of C2SP tlog-tiles.
pub(super) async fn tile(site: Site, Path(path): Path<String>) -> Result<Response, Refused> {
    let unknown = || {
        Refusal::not_found(
            "ledger.no-tile",
            "the ledger has no such tile: it is not written as C2SP tlog-tiles asks, or the ledger \
             does not reach so far",
        )
    };
    let id: TileId = format!("tile/{path}").parse().map_err(|_| unknown())?;
    let bytes = site.hub().ledger_tile(id)?.ok_or_else(unknown)?;
    let mut answer = crate::body::with_type(
        StatusCode::OK,
        "application/octet-stream",
        Body::from(bytes),
    );
    if u64::from(id.width) == TILE_WIDTH {
        cache(&mut answer, "private, max-age=31536000, immutable");
    }
    Ok(answer)
}

fn cache(answer: &mut Response, how: &'static str) {
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(how));
}

fn text(text: String) -> Response {
    crate::body::with_type(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        Body::from(text),
    )
}

fn entry(named: NamedEntry) -> api::LedgerEntry {
    let NamedEntry {
        index,
        entry,
        bytes,
        actor,
        address,
    } = named;
    let pseudonym = match entry.actor.id {
        Identity::Plain(_) => None,
        Identity::Pseudonym(pseudonym) => Some(pseudonym.to_string()),
    };
    api::LedgerEntry {
        index,
        at: entry.at.millis(),
        actor: api::LedgerActor {
            kind: entry.actor.kind.name().to_owned(),
            name: actor,
            pseudonym,
            credential: entry.actor.credential.map(|digest| digest.to_string()),
            address,
            address_pseudonym: entry.actor.address.map(|digest| digest.to_string()),
        },
        verb: entry.verb,
        changes: entry
            .changes
            .into_iter()
            .map(|change| api::LedgerChange {
                kind: change.object.kind,
                id: change.object.id,
                of: change.object.of,
                before: change.before.map(|digest| digest.to_string()),
                after: change.after.map(|digest| digest.to_string()),
            })
            .collect(),
        part: entry.part,
        detail: entry.detail,
        request: entry.request,
        previous: entry.previous,
        bytes: STANDARD.encode(bytes),
    }
}
