//! What is asked, and what is answered.

use std::{io, sync::atomic::Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use model::limits;
use serde_json::Value;
use tlog::{
    NoteSignature, TileId,
    note::Note,
    witness::{AddCheckpoint, Refused, accept},
};
use tracing::error;

use super::{Served, Server, lock};
use crate::{
    kept::{Declined, Role, Unable},
    tree,
};

/// The content type that tells a log which size this witness has seen.
const SIZE_TYPE: &str = "text/x.tlog.size";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const TILE_TYPE: &str = "application/octet-stream";
const JSON_TYPE: &str = "application/json";

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

impl Server {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let post = request.method() == Method::POST;
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match path.as_str() {
            "/add-checkpoint" if post => self.add_checkpoint(request.into_body()).await,
            "/add-entries" if post && self.0.role == Role::Mirror => {
                self.add_entries(request).await
            }
            "/healthz" if get => self.health(),
            "/alarms" if get => self.alarms().await,
            "/add-checkpoint" | "/healthz" | "/alarms" => wrong_method(),
            "/add-entries" if self.0.role == Role::Mirror => wrong_method(),
            other if get => self.file(other).await,
            _ => not_found(),
        }
    }

    async fn add_checkpoint(&self, body: Incoming) -> Answer {
        let body = match read(body, limits::ADD_CHECKPOINT_BYTES).await {
            Ok(body) => body,
            Err(answer) => return *answer,
        };
        let request = match AddCheckpoint::parse(&body) {
            Ok(request) => request,
            Err(error) => return said(StatusCode::BAD_REQUEST, &error),
        };
        let server = self.clone();
        // Once begun it is gone on with, though the log may hang up meanwhile.
        blocking(move || server.judge(&request)).await
    }

    fn judge(&self, request: &AddCheckpoint) -> Answer {
        let log = match self.log_of(&request.note) {
            Ok(log) => log,
            Err(answer) => return *answer,
        };
        let mut kept = log.lock();
        match kept.add_checkpoint(request, self.now()) {
            Ok(signatures) => self.signed(&signatures),
            Err(Declined::Unable(unable)) => self.unable(kept.origin(), &unable),
            Err(Declined::Refused(refused)) => {
                let past = matches!(refused, Refused::Stale { split: None, .. })
                    .then(|| kept.contradicted_by(request))
                    .flatten();
                if let Some(conflict) = refused.conflict().or(past.as_ref()) {
                    self.raise(log, &kept, conflict);
                }
                refusal(&refused)
            }
        }
    }

    /// The log that a note names, if it is one of ours.
    fn log_of(&self, note: &Note) -> Result<&Served, Box<Answer>> {
        // Without keys every log is unknown, and that is refused with its name.
        let origin = match accept(note, &[]) {
            Err(Refused::UnknownLog(origin)) => origin,
            Err(other) => return Err(Box::new(refusal(&other))),
            Ok(accepted) => accepted.checkpoint.origin,
        };
        let log = self.0.logs.get(&origin);
        log.ok_or_else(|| Box::new(refusal(&Refused::UnknownLog(origin))))
    }

    /// Answers with what was signed and written down.
    pub(super) fn signed(&self, signatures: &[NoteSignature]) -> Answer {
        self.0.ailing.store(false, Ordering::Relaxed);
        text(StatusCode::OK, lines(signatures))
    }

    fn health(&self) -> Answer {
        if self.0.ailing.load(Ordering::Relaxed) {
            let message = "what was to be signed last could not be; the log says why";
            said(StatusCode::SERVICE_UNAVAILABLE, &message)
        } else {
            text(StatusCode::OK, "ok\n")
        }
    }

    pub(super) fn unable(&self, origin: &str, unable: &Unable) -> Answer {
        self.0.ailing.store(true, Ordering::Relaxed);
        error!(origin, error = %unable, role = self.0.role.name(), "nothing is signed");
        said(StatusCode::SERVICE_UNAVAILABLE, unable)
    }

    async fn alarms(&self) -> Answer {
        let alarms = std::sync::Arc::clone(&self.0.alarms);
        blocking(move || match alarms.all() {
            Ok(all) => {
                let body = format!("{:#}\n", Value::Array(all));
                with_type(StatusCode::OK, JSON_TYPE, body)
            }
            Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, &error),
        })
        .await
    }

    /// Serves what anybody may read: the checkpoint, and a mirror's tiles.
    async fn file(&self, path: &str) -> Answer {
        let found = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let Some((hash, rest)) = found else {
            return not_found();
        };
        let Some(log) = self.0.logs.values().find(|log| log.hash == hash) else {
            return not_found();
        };
        if rest == "checkpoint" {
            let kept = std::sync::Arc::clone(&log.kept);
            return blocking(move || match lock(&kept).served() {
                Some(note) => {
                    let mut answer = text(StatusCode::OK, note.to_string());
                    let fresh = HeaderValue::from_static("no-cache");
                    answer.headers_mut().insert(header::CACHE_CONTROL, fresh);
                    answer
                }
                None => said(StatusCode::NOT_FOUND, &"nothing was signed yet"),
            })
            .await;
        }
        let tile = rest.parse::<TileId>().ok();
        let Some(tile) = tile.filter(|_| self.0.role == Role::Mirror) else {
            return not_found();
        };
        let folder = log.folder.clone();
        blocking(move || match tree::read(&folder, tile) {
            Ok(bytes) => {
                let mut answer = with_type(StatusCode::OK, TILE_TYPE, bytes);
                let lasting = HeaderValue::from_static("public, max-age=31536000, immutable");
                answer.headers_mut().insert(header::CACHE_CONTROL, lasting);
                answer
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => not_found(),
            Err(error) => {
                error!(%tile, %error, "a tile cannot be read");
                said(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &"the tile cannot be read",
                )
            }
        })
        .await
    }
}

/// Does what blocks on the disk. It is done to its end, whoever goes on waiting.
pub(super) async fn blocking(work: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => {
            error!(%error, "a request was not carried out");
            said(
                StatusCode::INTERNAL_SERVER_ERROR,
                &"the request was not carried out",
            )
        }
    }
}

/// Reads a whole body within its bound.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Box<Answer>> {
    let reading = async {
        let mut held = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(said(StatusCode::BAD_REQUEST, &"the body ended too early"));
            };
            if let Some(data) = frame.data_ref() {
                if held.len() + data.len() > limit {
                    let text = format!("a body here has at most {limit} bytes");
                    return Err(said(StatusCode::PAYLOAD_TOO_LARGE, &text));
                }
                held.extend_from_slice(data);
            }
        }
        Ok(held.freeze())
    };
    match tokio::time::timeout(limits::HTTP_BODY_DEADLINE, reading).await {
        Ok(outcome) => outcome.map_err(Box::new),
        Err(_) => Err(Box::new(said(
            StatusCode::REQUEST_TIMEOUT,
            &"the body came too slowly",
        ))),
    }
}

fn refusal(refused: &Refused) -> Answer {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refused {
        // C2SP tlog-witness: the size and a newline, and nothing else.
        Refused::Stale { latest, .. } => with_type(status, SIZE_TYPE, format!("{latest}\n")),
        Refused::NotACheckpoint(_)
        | Refused::UnknownLog(_)
        | Refused::NotSigned
        | Refused::OldTooLarge { .. }
        | Refused::Split(_)
        | Refused::Inconsistent { .. } => said(status, refused),
    }
}

/// Signature lines, each with its newline.
fn lines(signatures: &[NoteSignature]) -> String {
    signatures
        .iter()
        .map(|signature| format!("{signature}\n"))
        .collect()
}

fn wrong_method() -> Answer {
    said(StatusCode::METHOD_NOT_ALLOWED, &"not with this method")
}

fn not_found() -> Answer {
    said(StatusCode::NOT_FOUND, &"there is nothing here")
}

pub(super) fn said(status: StatusCode, message: &impl ToString) -> Answer {
    text(status, message.to_string() + "\n")
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, TEXT_TYPE, body)
}

pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}
