//! The front door, seen by clients that use rustls.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use ca::DeviceKey;
use listen::{Alpn, Permits, Selected, Stage, TlsVersion, reasons};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use support::{Door, NOW, names, shake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_device_is_known_by_the_certificate_it_presents() {
    let mut door = Door::open();
    for key in [DeviceKey::Rsa2048, DeviceKey::P256] {
        let device = door.device("pump-7", key);
        let mut config = door.client(Some(&device));
        config.alpn_protocols = vec![b"x-amzn-mqtt-ca".to_vec()];
        let stream = shake(config, door.dial().await, "localhost").await.unwrap();
        let arrived = door.arrival().await;
        assert_eq!(arrived.selected, Selected::Mqtt);
        assert_eq!(arrived.peer.alpn, Some(Alpn::AmznMqttCa));
        assert_eq!(arrived.peer.sni.as_deref(), Some("localhost"));
        assert_eq!(arrived.peer.certificate_id(), Some(device.certificate.id()));
        assert_eq!(arrived.peer.tls_version, Some(TlsVersion::Tls13));
        assert_eq!(arrived.peer.key_exchange, Some("X25519MLKEM768"));
        assert_eq!(arrived.peer.local_port, door.address.port());
        drop(stream);
    }
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_let_in_to_be_told_why_not() {
    let mut door = Door::open();
    let mut stream = shake(door.client(None), door.dial().await, "localhost")
        .await
        .unwrap();
    stream.write_all(b"\x10\x00").await.unwrap();
    let mut arrived = door.arrival().await;
    assert_eq!(arrived.selected, Selected::Mqtt);
    assert!(arrived.peer.chain.is_empty());
    let mut bytes = [0; 2];
    arrived.io.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"\x10\x00", "the first byte is still there");
    arrived.io.write_all(b"why").await.unwrap();
    arrived.io.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"why");
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_is_refused_by_name() {
    #[derive(Debug)]
    struct Thief(Arc<CertifiedKey>);
    impl ResolvesClientCert for Thief {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let mut door = Door::open();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let victim = door.device("pump-7", DeviceKey::P256);
        let thief = door.device("thief", DeviceKey::P256);
        let key = PrivateKeyDer::from_pem_slice(thief.private_key.expose().as_bytes()).unwrap();
        let stolen = CertifiedKey::new(
            vec![CertificateDer::from(victim.certificate.der().to_vec())],
            aws_lc_rs::sign::any_supported_type(&key).unwrap(),
        );
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(door.authority.root().der().to_vec().into())
            .unwrap();
        let config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Thief(Arc::new(stolen))));
        let outcome = shake(config, door.dial().await, "localhost").await;
        let failure = door.failure().await;
        assert_eq!(failure.reason, reasons::NO_POSSESSION);
        assert_eq!(failure.stage, Stage::Handshake);
        assert_eq!(failure.subject.as_deref(), Some("CN=pump-7"));
        assert_eq!(failure.sni.as_deref(), Some("localhost"));
        drop(outcome);
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_hub_is_recorded() {
    let mut door = Door::open();
    let other = Door::open();
    let mut config = other.client(None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let refused = shake(config, door.dial().await, "localhost").await;
    assert!(refused.is_err());
    let failure = door.failure().await;
    assert_eq!(failure.reason, reasons::SERVER_NOT_TRUSTED);
    assert_eq!(failure.alpn, ["mqtt"]);
    assert_eq!(failure.sni.as_deref(), Some("localhost"));
}

#[tokio::test]
async fn protocols_that_we_do_not_know_do_not_end_the_handshake() {
    let mut door = Door::open();
    let mut config = door.client(None);
    config.alpn_protocols = vec![b"h3".to_vec(), b"amqp".to_vec()];
    let mut stream = shake(config, door.dial().await, "localhost").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let arrived = door.arrival().await;
    assert_eq!(arrived.selected, Selected::Http);
    assert_eq!(arrived.peer.alpn, None);
}

#[tokio::test]
async fn a_browser_gets_http_1_1() {
    let mut door = Door::open();
    let mut config = door.client(None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = shake(config, door.dial().await, "localhost").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(door.arrival().await.selected, Selected::Http);
}

#[tokio::test]
async fn amqp_is_told_apart_and_not_served() {
    let mut door = Door::open();
    check_first_bytes(&mut door, b"AMQP\x00\x01\x00\x00", reasons::AMQP_NOT_SERVED).await;
}

#[tokio::test]
async fn an_unknown_protocol_is_closed_with_its_first_byte_recorded() {
    let mut door = Door::open();
    check_first_bytes(&mut door, b"\x00", reasons::UNKNOWN_PROTOCOL).await;
}

#[tokio::test]
async fn a_peer_that_shakes_hands_and_leaves_is_recorded() {
    let mut door = Door::open();
    check_first_bytes(&mut door, b"", reasons::CLOSED_SILENTLY).await;
}

/// Sends `bytes` after the handshake, and expects the connection to fail at the first byte.
async fn check_first_bytes(door: &mut Door, bytes: &[u8], reason: model::ReasonId) {
    let device = door.device("pump-7", DeviceKey::P256);
    let mut stream = shake(door.client(Some(&device)), door.dial().await, "localhost")
        .await
        .unwrap();
    stream.write_all(bytes).await.unwrap();
    if bytes.is_empty() {
        stream.shutdown().await.unwrap();
    }
    let failure = door.failure().await;
    assert_eq!(failure.reason, reason, "{}", failure.detail);
    assert_eq!(failure.stage, Stage::FirstByte);
    assert_eq!(failure.subject.as_deref(), Some("CN=pump-7"));
}

#[tokio::test]
async fn a_new_server_certificate_is_served_at_once() {
    let mut door = Door::open();
    let served = |stream: &tokio_rustls::client::TlsStream<_>| {
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        x509::fingerprint(&chain[0])
    };
    let mut config = door.client(None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let before = shake(config.clone(), door.dial().await, "localhost")
        .await
        .unwrap();
    let mut kept = door.arrival().await;

    let new = door.authority.issue_server(&names(), NOW).unwrap();
    let pem = x509::certificate_to_pem(new.certificate.der());
    door.identity
        .reload(&pem, new.private_key.expose())
        .unwrap();
    let after = shake(config, door.dial().await, "localhost").await.unwrap();
    assert_ne!(served(&before), served(&after));
    assert_eq!(served(&after), new.certificate.id());

    // The old connection goes on.
    kept.io.write_all(b"x").await.unwrap();
    kept.io.flush().await.unwrap();
    let mut before = before;
    assert_eq!(before.read_u8().await.unwrap(), b'x');

    // A key that does not fit leaves the old one in use.
    let other = door.authority.issue_server(&names(), NOW).unwrap();
    assert!(
        door.identity
            .reload(&pem, other.private_key.expose())
            .is_err()
    );
    assert!(
        door.identity
            .reload("", other.private_key.expose())
            .is_err()
    );
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let mut door = Door::open_with(|gate| gate.permits = Permits::new(100, 2), true);
    let mut config = door.client(None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let _first = shake(config.clone(), door.dial().await, "localhost").await;
    let first = door.arrival().await;
    let _second = shake(config.clone(), door.dial().await, "localhost").await;
    let _kept = door.arrival().await;
    let third = shake(config.clone(), door.dial().await, "localhost").await;
    assert!(third.is_err());
    let failure = door.failure().await;
    assert_eq!(failure.reason, reasons::TOO_MANY_FROM_ADDRESS);
    assert_eq!(failure.stage, Stage::Accept);

    // The permit comes back when the socket closes, not when the service ends.
    assert_eq!(door.gate.permits.held(), 2);
    drop(first.io);
    assert_eq!(door.gate.permits.held(), 1);
    shake(config, door.dial().await, "localhost").await.unwrap();
}

#[tokio::test]
async fn garbage_is_recorded_as_not_tls() {
    let mut door = Door::open();
    let mut tcp = door.dial().await;
    tcp.write_all(b"\x10\x13\x00\x04MQTT\x05\x02\x00\x3c")
        .await
        .unwrap();
    let failure = door.failure().await;
    assert_eq!(failure.reason, reasons::NOT_TLS, "{}", failure.detail);
    assert_eq!(failure.stage, Stage::ClientHello);
}

#[tokio::test]
async fn a_stranger_cannot_make_us_hold_more_than_16_kib() {
    let mut door = Door::open();
    let mut tcp = door.dial().await;
    // A ClientHello that claims 65,000 bytes, in records of 16 KiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.extend([1, 0, 0xfd, 0xe8]);
    record.resize(5 + 0x4000, 0);
    tcp.write_all(&record).await.unwrap();
    let _closed_before_the_second = tcp.write_all(&record).await;
    let failure = door.failure().await;
    assert_eq!(
        failure.reason,
        reasons::HANDSHAKE_TOO_LARGE,
        "{}",
        failure.detail
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_open_handshake_ends_at_the_deadline() {
    let mut door = Door::open();
    let begun = tokio::time::Instant::now();
    let mut tcp = door.dial().await;
    // The start of a record, and then nothing; time passes by itself when nothing else happens.
    tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let failure = door.failure().await;
    assert_eq!(failure.reason, reasons::HANDSHAKE_TIMEOUT);
    assert_eq!(failure.stage, Stage::ClientHello);
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0, "the socket is closed");
}

#[tokio::test(start_paused = true)]
async fn a_plain_peer_that_says_nothing_is_closed_at_the_deadline() {
    let mut door = Door::open_plain();
    let mut tcp = door.dial().await;
    let failure = door.failure().await;
    assert_eq!(failure.reason, reasons::HELLO_TIMEOUT);
    assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_plain_listener_tells_protocols_apart() {
    let mut door = Door::open_plain();
    let mut tcp = door.dial().await;
    tcp.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    let mut arrived = door.arrival().await;
    assert_eq!(arrived.selected, Selected::Http);
    assert!(!arrived.peer.is_tls());
    let mut bytes = [0; 4];
    arrived.io.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"POST");
}

#[tokio::test]
async fn a_plain_listener_opens_on_loopback_only() {
    let refused = listen::Listener::bind(([0, 0, 0, 0], 0).into(), listen::Security::Plain);
    assert!(matches!(
        refused.err(),
        Some(listen::BindError::PlainBeyondLoopback(_))
    ));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let door = Door::open_plain();
    let again = listen::Listener::bind(door.address, listen::Security::Plain);
    let error = again.err().unwrap().to_string();
    assert_eq!(
        error,
        format!("{} is in use by another program", door.address)
    );
}

#[tokio::test]
async fn shutdown_ends_the_listener_and_handshakes_under_way() {
    let mut door = Door::open();
    let mut half_open = door.dial().await;
    half_open.write_all(&[0x16]).await.unwrap();
    let mut config = door.client(None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let _stream = shake(config, door.dial().await, "localhost").await.unwrap();
    let _arrived = door.arrival().await;
    door.trigger.request();
    assert_eq!(door.gate.tasks.wait(Duration::from_secs(5)).await, 0);
    assert!(tokio::net::TcpStream::connect(door.address).await.is_err());
}

#[tokio::test]
async fn every_handshake_is_a_full_one() {
    let mut door = Door::open();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(door.authority.root().der().to_vec().into())
            .unwrap();
        let mut config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        for _ in 0..2 {
            // The clone shares the client's store of sessions.
            let tcp = door.dial().await;
            let mut stream = shake(config.clone(), tcp, "localhost").await.unwrap();
            let mut arrived = door.arrival().await;
            arrived.io.write_all(b"x").await.unwrap();
            arrived.io.flush().await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'x');
            assert_eq!(
                stream.get_ref().1.handshake_kind(),
                Some(rustls::HandshakeKind::Full)
            );
        }
    }
}
