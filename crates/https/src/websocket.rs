//! MQTT over WebSocket, at [`PATH`]: the handshake, and the byte stream behind it.
//!
//! The handshake's shape is judged here, who may open it by a [`Door`], which the program mounts.
//! Behind it a [`WebSocket`] is a byte stream like any other, on which the MQTT service speaks;
//! HTTP and its buffers are gone by then.
//!
//! Browsers are served like anybody else. Whether their `Origin` matters is the door's to say: it
//! does not where the URL alone opens it.
//!
//! Source: RFC 6455 §4; MQTT 5.0 §6.

mod frames;
mod stream;

use aws_lc_rs::digest;
use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{self, HeaderName},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use listen::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::{frames::exercise, stream::WebSocket};
use crate::{Peer, body::reply};

/// Where the handshake is made, as AWS's clients do.
pub const PATH: &str = "/mqtt";

/// The handshake's only version. RFC 6455 §4.1.
const VERSION: &str = "13";

/// Appended to the key. RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes that a key may decode to. RFC 6455 §4.1 says 16; the first Python SDK sends 128.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

/// Decides who may open a WebSocket.
pub trait Door: Send + Sync {
    /// Judges a handshake of the right shape by its head. What it learns it leaves in the head's
    /// extensions, which come out of [`crate::serve`] with the stream.
    ///
    /// # Errors
    ///
    /// The answer to send instead.
    fn admit(&self, head: &mut Parts, peer: &Peer) -> Result<(), Box<Response<Bytes>>>;
}

/// What is spoken in the frames. MQTT 5.0 §6; AWS's first SDKs ask for the older name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subprotocol {
    /// `mqtt`.
    Mqtt,
    /// `mqttv3.1`.
    MqttV31,
}

impl Subprotocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttV31 => "mqttv3.1",
        }
    }

    /// The first one that the client offers and we know.
    fn choose(headers: &HeaderMap) -> Option<Self> {
        words(headers, &header::SEC_WEBSOCKET_PROTOCOL).find_map(|word| {
            [Self::Mqtt, Self::MqttV31]
                .into_iter()
                .find(|known| known.as_str().eq_ignore_ascii_case(word))
        })
    }
}

/// A handshake that was answered with 101, in the extensions of that answer.
#[derive(Clone)]
pub(crate) struct Accepted {
    subprotocol: Subprotocol,
    learned: Extensions,
    upgrade: OnUpgrade,
}

/// A connection whose HTTP has ended with a WebSocket handshake.
pub struct Upgraded<S> {
    io: S,
    early: Bytes,
    subprotocol: Subprotocol,
    /// What the [`Door`] left in the extensions of the handshake's head.
    pub learned: Extensions,
}

impl<S> Upgraded<S> {
    /// The byte stream. It closes with "going away" once `shutdown` is requested.
    #[must_use]
    pub fn into_stream(self, shutdown: Shutdown) -> WebSocket<S> {
        WebSocket::new(self.io, self.early, self.subprotocol, shutdown)
    }
}

impl Accepted {
    /// Takes the stream over from HTTP, which must have ended.
    pub(crate) async fn take_over<S>(self) -> Result<Upgraded<S>, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgraded = self.upgrade.await?;
        let parts = upgraded
            .downcast::<TokioIo<S>>()
            .expect("the stream is the one that HTTP was given");
        Ok(Upgraded {
            io: parts.io.into_inner(),
            early: parts.read_buf,
            subprotocol: self.subprotocol,
            learned: self.learned,
        })
    }
}

/// Answers a request at [`PATH`].
pub(crate) fn shake(door: &dyn Door, mut head: Parts, peer: &Peer) -> Response<Body> {
    let (accept, subprotocol) = match check(&head) {
        Ok(checked) => checked,
        Err(refused) => return *refused,
    };
    if let Err(refused) = door.admit(&mut head, peer) {
        return refused.map(Body::from);
    }
    let Some(upgrade) = head.extensions.remove::<OnUpgrade>() else {
        return *refuse(
            StatusCode::BAD_REQUEST,
            "websocket.request",
            "this connection cannot become a WebSocket",
        );
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(subprotocol.as_str()),
    );
    answer.extensions_mut().insert(Accepted {
        subprotocol,
        learned: head.extensions,
        upgrade,
    });
    answer
}

/// Checks the shape of a handshake. RFC 6455 §4.2.1, in the order in which it is read.
fn check(head: &Parts) -> Result<(HeaderValue, Subprotocol), Box<Response<Body>>> {
    let headers = &head.headers;
    if head.method != Method::GET {
        let mut answer = refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "http.wrong-method",
            "a WebSocket handshake is a GET",
        );
        let allowed = HeaderValue::from_static("GET");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return Err(answer);
    }
    if head.version != Version::HTTP_11 || has_body(headers) {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "websocket.request",
            "a WebSocket handshake is an HTTP/1.1 request without a body",
        ));
    }
    let asks = |name, wanted: &str| words(headers, &name).any(|w| w.eq_ignore_ascii_case(wanted));
    if !asks(header::UPGRADE, "websocket") || !asks(header::CONNECTION, "upgrade") {
        let mut answer = refuse(
            StatusCode::UPGRADE_REQUIRED,
            "websocket.upgrade",
            "MQTT over WebSocket is served here: send `Connection: Upgrade` and \
             `Upgrade: websocket`",
        );
        let headers = answer.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        return Err(answer);
    }
    let version = only(headers, &header::SEC_WEBSOCKET_VERSION);
    if version != Some(VERSION) {
        let mut answer = refuse(
            StatusCode::UPGRADE_REQUIRED,
            "websocket.version",
            "the only WebSocket version served here is 13",
        );
        let served = HeaderValue::from_static(VERSION);
        let headers = answer.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_VERSION, served);
        return Err(answer);
    }
    let accept = only(headers, &header::SEC_WEBSOCKET_KEY).and_then(accept);
    let accept = accept.ok_or_else(|| {
        refuse(
            StatusCode::BAD_REQUEST,
            "websocket.key",
            "Sec-WebSocket-Key must be 16 random bytes in base64",
        )
    })?;
    let subprotocol = Subprotocol::choose(headers).ok_or_else(|| {
        refuse(
            StatusCode::BAD_REQUEST,
            "websocket.subprotocol",
            "offer the subprotocol mqtt in Sec-WebSocket-Protocol",
        )
    })?;
    Ok((accept, subprotocol))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
}

/// What proves that the key was read. RFC 6455 §4.2.2, item 5.4.
fn accept(key: &str) -> Option<HeaderValue> {
    let decoded = BASE64_STANDARD.decode(key).ok()?;
    if !KEY_BYTES.contains(&decoded.len()) {
        return None;
    }
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash.finish())).ok()
}

/// The value of a header that must stand once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (_, _) => None,
    }
}

/// The entries of a header that is a list.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn refuse(status: StatusCode, reason: &str, message: &str) -> Box<Response<Body>> {
    Box::new(reply(status, reason, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_proved_as_in_the_rfc() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ==").unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let long = BASE64_STANDARD.encode([7; 128]);
        assert!(accept(&long).is_some(), "the first Python SDK's");
        for key in [
            "",
            "AAAA",
            "not base64 at all, but long enough",
            &long.repeat(2),
        ] {
            assert!(accept(key).is_none(), "{key}");
        }
    }

    #[test]
    fn a_handshake_is_refused_with_the_status_that_says_what_is_wrong() {
        const GOOD: [(&str, &str); 5] = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "soap, mqttv3.1, mqtt"),
        ];
        let head = |method: &str, change: (&'static str, &'static str)| {
            let mut request = http::Request::builder().method(method).uri(PATH);
            for (name, value) in GOOD {
                let value = if name == change.0 { change.1 } else { value };
                if !value.is_empty() {
                    request = request.header(name, value);
                }
            }
            if change.0 == "content-length" {
                request = request.header(change.0, change.1);
            }
            request.body(()).unwrap().into_parts().0
        };
        let (_, subprotocol) = check(&head("GET", ("", ""))).unwrap();
        assert_eq!(subprotocol, Subprotocol::MqttV31);
        for (method, change, status) in [
            ("POST", ("", ""), 405),
            ("GET", ("connection", "keep-alive"), 426),
            ("GET", ("upgrade", ""), 426),
            ("GET", ("upgrade", "h2c"), 426),
            ("GET", ("sec-websocket-version", ""), 426),
            ("GET", ("sec-websocket-version", "8"), 426),
            ("GET", ("sec-websocket-key", ""), 400),
            ("GET", ("sec-websocket-key", "short"), 400),
            ("GET", ("sec-websocket-protocol", ""), 400),
            ("GET", ("sec-websocket-protocol", "soap"), 400),
            ("GET", ("content-length", "5"), 400),
        ] {
            let answer = check(&head(method, change)).unwrap_err();
            assert_eq!(answer.status(), status, "{method} {change:?}");
        }
        let mut old = head("GET", ("", ""));
        old.version = Version::HTTP_10;
        assert_eq!(check(&old).unwrap_err().status(), 400);
    }
}
