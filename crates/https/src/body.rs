//! Bodies: reading one within its bound, and writing answers.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use model::limits;
use serde_json::json;

/// Why a body could not be had.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum BodyError {
    /// Larger than [`limits::HTTP_BODY_BYTES`].
    TooLarge,
    /// It came too slowly, or the peer went away.
    Broken,
}

/// Reads a whole body of at most [`limits::HTTP_BODY_BYTES`]. What is too large is thrown away as
/// it comes, within [`limits::HTTP_DISCARD_BYTES`], so that the peer gets to read its refusal.
pub(crate) async fn read(headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, BodyError> {
    let reading = async {
        let declared = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|bytes| bytes > limits::HTTP_BODY_BYTES as u64) {
            discard(&mut body).await;
            return Err(BodyError::TooLarge);
        }
        let mut held = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if held.len() + data.len() > limits::HTTP_BODY_BYTES {
                drop(held);
                discard(&mut body).await;
                return Err(BodyError::TooLarge);
            }
            held.extend_from_slice(data);
        }
        Ok(held.freeze())
    };
    match tokio::time::timeout(limits::HTTP_BODY_DEADLINE, reading).await {
        Ok(result) => result,
        Err(_) => Err(BodyError::Broken),
    }
}

/// Reads and forgets, until the end, the bound or a few seconds have passed.
async fn discard(body: &mut Incoming) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let reading = async {
        let mut left = limits::HTTP_DISCARD_BYTES;
        while left > 0 && !body.is_end_stream() {
            match body.frame().await {
                Some(Ok(frame)) => {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                }
                Some(Err(_)) | None => return,
            }
        }
    };
    // Whether it ended or not, the refusal is sent next.
    let _ = tokio::time::timeout(PATIENCE, reading).await;
}

/// A JSON answer for operators: `{"reason": …, "message": …}`.
#[must_use]
pub fn reply(status: StatusCode, reason: &str, message: &str) -> Response<Body> {
    let body = json!({ "reason": reason, "message": message }).to_string();
    with_type(status, "application/json", body)
}

/// An answer of this content type.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    answer
}
