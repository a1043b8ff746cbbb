//! The site as a peer sees it: bytes in, bytes out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::routing::get;
use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use https::{Answer, Cloud, Peer, Site, Token, serve};
use model::limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A cloud that claims `/things`, admits who says so, and answers with the body's length.
#[derive(Default)]
struct Echo {
    answered: AtomicUsize,
}

impl Cloud for Echo {
    fn claims(&self, head: &Parts, _: &Peer) -> bool {
        head.uri.path().starts_with("/things")
    }

    fn admit(&self, head: &mut Parts, _: &Peer) -> Result<(), Box<Response<Bytes>>> {
        if head.headers.contains_key("authorization") {
            return Ok(());
        }
        let mut refused = Response::new(Bytes::from_static(b"who are you"));
        *refused.status_mut() = StatusCode::FORBIDDEN;
        Err(Box::new(refused))
    }

    fn too_large(&self, _: &Parts, limit: usize) -> Response<Bytes> {
        let mut refused = Response::new(Bytes::from(format!("at most {limit}")));
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        refused
    }

    fn answer<'a>(&'a self, _: Parts, body: Bytes, _: &'a Peer) -> Answer<'a> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Response::new(Bytes::from(format!("{} bytes", body.len()))) })
    }
}

/// Sends `request` and returns the status line and the whole text of everything that came back.
async fn ask(request: Vec<u8>) -> (String, String) {
    let operators = axum::Router::new().route("/api/v1/status", get(|| async { "fine" }));
    let site = Site::new(operators, Token::new("token")).with_cloud(Arc::new(Echo::default()));
    let peer = Peer {
        address: ([127, 0, 0, 1], 1).into(),
        certificate: None,
        server_name: None,
    };
    let (client, server) = tokio::io::duplex(64 * 1024);
    let serving = serve(server, peer, Arc::new(site), std::future::pending());
    let (mut reading, mut writing) = tokio::io::split(client);
    let asking = async move {
        // The hub may close before it has read everything.
        let _ = writing.write_all(&request).await;
        writing
    };
    let hearing = async move {
        let mut text = Vec::new();
        let _ = reading.read_to_end(&mut text).await;
        String::from_utf8(text).expect("answers are text")
    };
    let (upgraded, _, text) = tokio::join!(serving, asking, hearing);
    assert!(upgraded.is_none(), "nobody asked for a WebSocket");
    let status = text.lines().next().unwrap_or_default().to_owned();
    (status, text)
}

#[track_caller]
fn check(request: impl Into<Vec<u8>>, status: &str, part: &str) {
    let request = request.into();
    let (found, text) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime starts")
        .block_on(ask(request));
    assert!(found.contains(status), "{found}");
    assert!(text.contains(part), "{text}");
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n{headers}\r\n")
}

#[test]
fn every_part_of_the_site_answers_at_its_place() {
    check(get_with("/healthz", ""), "200", "alive");
    check(get_with("/readyz", ""), "200", "ready");
    check(get_with("/metrics", ""), "200", "text/plain; version=0.0.4");
    check(get_with("/", ""), "501", "The portal is not built yet");
    check(get_with("/nothing", ""), "404", "http.unknown-path");
    check(get_with("/_sekisho/health", ""), "404", "development.off");
    check(
        get_with("/things/x", "authorization: me\r\n"),
        "200",
        "0 bytes",
    );
    check(get_with("/things/x", ""), "403", "who are you");
}

#[test]
fn operators_need_the_whole_token() {
    let path = "/api/v1/status";
    check(get_with(path, ""), "401", "operator.token");
    check(
        get_with(path, "authorization: Bearer toke\r\n"),
        "401",
        "operator.token",
    );
    check(
        get_with(path, "authorization: Bearer token\r\n"),
        "200",
        "fine",
    );
}

#[test]
fn a_head_of_more_than_16_kib_is_refused() {
    let long = format!("x-long: {}\r\n", "x".repeat(limits::UNAUTHENTICATED_BYTES));
    check(get_with("/things/x", &long), "431", "");
}

#[test]
fn a_body_of_10_mb_is_refused_and_not_kept() {
    let head = "POST /things/x HTTP/1.1\r\nhost: hub\r\nauthorization: me\r\n";
    let mut declared = format!("{head}content-length: 10000000\r\n\r\n").into_bytes();
    declared.resize(declared.len() + 10_000_000, b'x');
    check(declared, "413", "at most 1048576");
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..2000 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.resize(chunked.len() + 0x1000, b'x');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    check(chunked, "413", "at most 1048576");
}

#[test]
fn nothing_is_read_for_a_stranger() {
    let head = "POST /things/x HTTP/1.1\r\nhost: hub\r\ncontent-length: 10000000\r\n\r\n";
    check(head, "403", "who are you");
}

#[test]
fn what_is_not_http_is_refused() {
    check("\x16\x03\x01 hello\r\n\r\n", "400", "");
    check("GET /things HTTP/9\r\n\r\n", "400", "");
}
