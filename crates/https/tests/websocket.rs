//! A connection from its handshake to the bytes behind it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use https::{Door, Peer, Site, Token, Upgraded, serve};
use listen::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

/// Admits who comes with `?key=right`, and remembers it.
struct Keyhole;

#[derive(Clone, Debug, PartialEq)]
struct Key(&'static str);

impl Door for Keyhole {
    fn admit(&self, head: &mut Parts, _: &Peer) -> Result<(), Box<Response<Bytes>>> {
        if head.uri.query() == Some("key=right") {
            head.extensions.insert(Key("right"));
            return Ok(());
        }
        let mut refused = Response::new(Bytes::from_static(b"the key is wrong"));
        *refused.status_mut() = StatusCode::FORBIDDEN;
        Err(Box::new(refused))
    }
}

const HANDSHAKE: &str = "host: hub\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    sec-websocket-protocol: mqttv3.1\r\n\r\n";

/// Two frames: `hel`, `lo`, masked with zeros.
const HELLO: &[u8] = b"\x82\x83\0\0\0\0hel\x82\x82\0\0\0\0lo";

/// Sends `request` and answers what HTTP left behind, and the client's end.
async fn ask(request: &[u8]) -> (Option<Upgraded<DuplexStream>>, DuplexStream) {
    let site =
        Site::new(axum::Router::new(), Token::new("token")).with_websocket(Arc::new(Keyhole));
    let peer = Peer {
        address: ([127, 0, 0, 1], 1).into(),
        certificate: None,
        server_name: None,
    };
    let (mut client, server) = duplex(64 * 1024);
    client
        .write_all(request)
        .await
        .expect("there is room in the pipe");
    let stop = std::future::pending();
    let upgraded = serve(server, peer, Arc::new(site), stop).await;
    (upgraded, client)
}

/// The head of the answer.
async fn head(client: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(client.read_u8().await.expect("the head is whole"));
    }
    String::from_utf8(text).expect("heads are text")
}

#[tokio::test]
async fn what_came_with_the_handshake_and_after_it_is_one_stream_of_bytes() {
    let request = [
        b"GET /mqtt?key=right HTTP/1.1\r\n",
        HANDSHAKE.as_bytes(),
        &HELLO[..10],
    ]
    .concat();
    let (upgraded, mut client) = ask(&request).await;
    let head = head(&mut client).await;
    // AWS's first Python SDK looks for exactly these words.
    for words in [
        "HTTP/1.1 101 Switching Protocols\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "\r\nsec-websocket-protocol: mqttv3.1\r\n",
    ] {
        assert!(head.contains(words), "{head}");
    }
    assert!(head.len() <= 1024);
    let upgraded = upgraded.expect("the handshake was answered with 101");
    assert_eq!(upgraded.learned.get(), Some(&Key("right")));
    let (_trigger, shutdown) = Shutdown::new();
    let mut stream = upgraded.into_stream(shutdown);
    client.write_all(&HELLO[10..]).await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    stream.write_all(b"\xd0\x00").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x82\x02\xd0\x00");
}

#[tokio::test]
async fn whoever_is_refused_stays_with_http() {
    for (start, status) in [
        ("GET /mqtt?key=wrong", "403 Forbidden"),
        ("POST /mqtt?key=right", "405 Method Not Allowed"),
        ("GET /mqtt/?key=right", "404 Not Found"),
        ("GET /elsewhere?key=right", "404 Not Found"),
    ] {
        let request = format!(
            "{start} HTTP/1.1\r\n{HANDSHAKE}GET /healthz HTTP/1.1\r\nhost: hub\r\n\
             connection: close\r\n\r\n"
        );
        let (upgraded, mut client) = ask(request.as_bytes()).await;
        assert!(upgraded.is_none(), "{start}");
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{text}"
        );
        assert!(text.ends_with("alive\n"), "{text}");
    }
}
