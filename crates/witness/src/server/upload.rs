//! `add-entries`: entries come in packages, and each is proven, saved and forgotten before the
//! next is read (C2SP `tlog-mirror`).

use std::{pin::Pin, sync::Arc};

use bytes::{Buf as _, BytesMut};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use model::limits;
use tlog::mirror::{AddEntries, MirrorInfo, Package, Span};
use tokio::time::Sleep;

use super::{
    Server,
    answer::{Answer, blocking, said, with_type},
    lock,
};
use crate::kept::{Kept, Pending, Unsaved, Upload};

const INFO_TYPE: &str = "text/x.tlog.mirror-info";

/// Bytes of the longest head.
const HEAD_BYTES: usize = 2 + limits::KEY_NAME_BYTES + 8 + 8 + 2 + limits::MIRROR_TICKET_BYTES;

impl Server {
    pub(super) async fn add_entries(&self, request: Request<Incoming>) -> Answer {
        if let Some(answer) = refuse_encoding(&request) {
            return answer;
        }
        let waiting = tokio::time::timeout(limits::MIRROR_UPLOAD_PAUSE, self.0.uploads.acquire());
        let Ok(Ok(_permit)) = waiting.await else {
            let message = "too many uploads are being read; try again";
            return said(StatusCode::SERVICE_UNAVAILABLE, &message);
        };
        let mut body = Body {
            incoming: request.into_body(),
            held: BytesMut::new(),
            deadline: Box::pin(tokio::time::sleep(limits::MIRROR_UPLOAD_DEADLINE)),
        };
        let head = loop {
            match AddEntries::parse(&body.held) {
                Ok(Some((head, took))) => {
                    body.held.advance(took);
                    break head;
                }
                Ok(None) if body.more(HEAD_BYTES).await => {}
                Ok(None) => return said(StatusCode::BAD_REQUEST, &"the body ends in its head"),
                Err(error) => return said(StatusCode::BAD_REQUEST, &error),
            }
        };
        let Some(log) = self.0.logs.get(&head.origin) else {
            let message = format!("this mirror does not know the log {}", head.origin);
            return said(StatusCode::NOT_FOUND, &message);
        };
        let kept = Arc::clone(&log.kept);
        let begun = {
            let (kept, head) = (Arc::clone(&kept), head.clone());
            tokio::task::spawn_blocking(move || lock(&kept).begin(&head))
        };
        let target = match begun.await {
            Ok(Ok(target)) => target,
            Ok(Err(info)) => return told(StatusCode::CONFLICT, &info),
            Err(_) => {
                return said(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &"the upload was not begun",
                );
            }
        };
        match self.packages(&kept, &head, &target, &mut body).await {
            Ok(Progress::All) => {
                let server = self.clone();
                blocking(move || server.finish(&kept, &target)).await
            }
            Ok(Progress::Some) => {
                blocking(move || {
                    let info = lock(&kept).info(Some(target.checkpoint.size));
                    told(StatusCode::ACCEPTED, &info)
                })
                .await
            }
            Ok(Progress::None) => said(
                StatusCode::BAD_REQUEST,
                &"the body ends before its first package does",
            ),
            Err(answer) => *answer,
        }
    }

    /// Reads and saves packages until the last, or until the body ends.
    async fn packages(
        &self,
        kept: &Arc<std::sync::Mutex<Kept>>,
        head: &AddEntries,
        target: &Pending,
        body: &mut Body,
    ) -> Result<Progress, Box<Answer>> {
        let mut progress = Progress::None;
        for span in head.spans() {
            let package = loop {
                match Package::parse(&body.held, span) {
                    Ok(Some((package, took))) => {
                        body.held.advance(took);
                        break package;
                    }
                    Ok(None) if body.more(limits::MIRROR_PACKAGE_BYTES).await => {}
                    Ok(None) => return Ok(progress),
                    Err(error) => {
                        let answer = said(StatusCode::UNPROCESSABLE_ENTITY, &error);
                        return Err(Box::new(answer));
                    }
                }
            };
            self.save(kept, target, span, package).await?;
            progress = Progress::Some;
        }
        Ok(Progress::All)
    }

    async fn save(
        &self,
        kept: &Arc<std::sync::Mutex<Kept>>,
        target: &Pending,
        span: Span,
        package: Package,
    ) -> Result<(), Box<Answer>> {
        let (server, kept, target) = (self.clone(), Arc::clone(kept), target.clone());
        let saving = tokio::task::spawn_blocking(move || {
            let mut kept = lock(&kept);
            kept.save(&target, span, &package).map_err(|unsaved| {
                Box::new(match unsaved {
                    Unsaved::Unproven(..) => said(StatusCode::UNPROCESSABLE_ENTITY, &unsaved),
                    Unsaved::Gap => told(StatusCode::CONFLICT, &kept.info(None)),
                    Unsaved::Unable(unable) => server.unable(kept.origin(), &unable),
                })
            })
        });
        match saving.await {
            Ok(outcome) => outcome,
            Err(_) => {
                let message = "the entries were not saved";
                Err(Box::new(said(StatusCode::INTERNAL_SERVER_ERROR, &message)))
            }
        }
    }

    fn finish(&self, kept: &std::sync::Mutex<Kept>, target: &Pending) -> Answer {
        let mut kept = lock(kept);
        match kept.finish(target, self.now()) {
            Ok(Upload::Signed(signatures)) => self.signed(&signatures),
            Ok(Upload::Again(info)) => told(StatusCode::CONFLICT, &info),
            Err(unable) => self.unable(kept.origin(), &unable),
        }
    }
}

/// How many packages were saved.
enum Progress {
    None,
    Some,
    All,
}

/// A body as it comes.
struct Body {
    incoming: Incoming,
    held: BytesMut,
    /// Whoever sends slowly must not keep others from sending.
    deadline: Pin<Box<Sleep>>,
}

impl Body {
    /// Waits for more, while less than `limit` bytes are held. False when there is no more, or it
    /// does not come.
    async fn more(&mut self, limit: usize) -> bool {
        if self.held.len() >= limit {
            return false;
        }
        let frame = tokio::time::timeout(limits::MIRROR_UPLOAD_PAUSE, self.incoming.frame());
        let frame = tokio::select! {
            frame = frame => frame,
            () = &mut self.deadline => return false,
        };
        let Ok(Some(Ok(frame))) = frame else {
            return false;
        };
        if let Some(data) = frame.data_ref() {
            self.held.extend_from_slice(data);
        }
        true
    }
}

/// Compressed bodies are not read yet, and that is said in the way of HTTP.
fn refuse_encoding(request: &Request<Incoming>) -> Option<Answer> {
    let encoding = request.headers().get(header::CONTENT_ENCODING)?;
    if encoding == "identity" {
        return None;
    }
    let message = "this mirror does not read compressed bodies yet; send it as it is";
    let mut answer = said(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message);
    let identity = HeaderValue::from_static("identity");
    answer
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, identity);
    Some(answer)
}

fn told(status: StatusCode, info: &MirrorInfo) -> Answer {
    with_type(status, INFO_TYPE, info.to_string())
}
