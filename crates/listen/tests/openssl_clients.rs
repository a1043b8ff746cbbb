//! The front door, seen by `openssl s_client`, with the certificates that fleets really have.
//!
//! Needs the `openssl` command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use listen::{Alpn, Selected, TlsVersion, reasons};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use support::{Arrived, Door};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// A certificate and its key in files.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn der(&self) -> Vec<u8> {
        let text = std::fs::read_to_string(&self.certificate).unwrap();
        x509::certificate_from_pem(&text).unwrap().der().to_vec()
    }
}

fn openssl(arguments: &[&str]) {
    let output = std::process::Command::new("openssl")
        .args(arguments)
        .output()
        .expect("the openssl command is installed");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A self-signed certificate made by openssl: `algorithm` as for `openssl genpkey`.
fn openssl_certificate(folder: &Path, algorithm: &[&str], version_1: bool) -> Files {
    let path = |name: &str| folder.join(name);
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut generate = vec!["genpkey", "-algorithm"];
    generate.extend(algorithm);
    let key_text = text(&key);
    generate.extend(["-out", &key_text]);
    openssl(&generate);
    if version_1 {
        let request = text(&path("request.pem"));
        openssl(&[
            "req",
            "-new",
            "-key",
            &key_text,
            "-subj",
            "/CN=pump-7",
            "-out",
            &request,
        ]);
        let out = text(&certificate);
        openssl(&[
            "x509", "-req", "-in", &request, "-key", &key_text, "-days", "9", "-out", &out,
        ]);
    } else {
        let out = text(&certificate);
        openssl(&[
            "req",
            "-x509",
            "-key",
            &key_text,
            "-subj",
            "/CN=pump-7",
            "-days",
            "9",
            "-out",
            &out,
        ]);
    }
    Files { certificate, key }
}

/// A self-signed certificate on P-256, made as `adjust` wants it.
fn made_certificate(folder: &Path, adjust: impl FnOnce(&mut CertificateParams)) -> Files {
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["pump-7".to_owned()]).unwrap();
    adjust(&mut params);
    let files = Files {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    let certificate = params.self_signed(&pair).unwrap();
    std::fs::write(&files.certificate, certificate.pem()).unwrap();
    std::fs::write(&files.key, pair.serialize_pem()).unwrap();
    files
}

struct Client {
    process: Child,
    root: tempfile::TempDir,
}

/// Starts `openssl s_client` against the door; it trusts the hub's root, and fails without.
fn connect(door: &Door, arguments: &[&str], files: Option<&Files>) -> Client {
    let root = tempfile::tempdir().unwrap();
    let root_file = root.path().join("root-ca.pem");
    std::fs::write(&root_file, door.authority.root_pem()).unwrap();
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-quiet", "-verify_return_error", "-CAfile"])
        .arg(root_file)
        .args(["-connect", &door.address.to_string()])
        .args(arguments);
    if let Some(files) = files {
        command.arg("-cert").arg(&files.certificate);
        command.arg("-key").arg(&files.key);
    }
    let process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the openssl command is installed");
    Client { process, root }
}

/// Sends a byte each way, so that the whole connection is known to work.
async fn talk(client: &mut Client, arrived: &mut Arrived) {
    let stdin = client.process.stdin.as_mut().unwrap();
    stdin.write_all(b"\x10?").await.unwrap();
    stdin.flush().await.unwrap();
    let mut heard = [0; 2];
    arrived.io.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"\x10?");
    arrived.io.write_all(b"!").await.unwrap();
    arrived.io.flush().await.unwrap();
    let stdout = client.process.stdout.as_mut().unwrap();
    assert_eq!(stdout.read_u8().await.unwrap(), b'!');
    assert!(client.root.path().exists());
}

/// Presents the certificate over both versions of TLS.
async fn check_presented(files: &Files) {
    let mut door = Door::open();
    for (argument, version) in [
        ("-tls1_2", TlsVersion::Tls12),
        ("-tls1_3", TlsVersion::Tls13),
    ] {
        let arguments = [argument, "-alpn", "x-amzn-mqtt-ca"];
        let mut client = connect(&door, &arguments, Some(files));
        let mut arrived = door.arrival().await;
        assert_eq!(arrived.peer.tls_version, Some(version));
        assert_eq!(arrived.peer.alpn, Some(Alpn::AmznMqttCa));
        let [leaf] = arrived.peer.chain.as_slice() else {
            panic!("one certificate was presented");
        };
        assert_eq!(**leaf, *files.der());
        talk(&mut client, &mut arrived).await;
    }
}

#[tokio::test]
async fn an_x509_v1_certificate_is_presented_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let files = openssl_certificate(folder.path(), &["RSA"], true);
    // Version 1 has no version field: the serial number comes first.
    let der = files.der();
    let tbs = &der[4..];
    assert_eq!(
        (tbs[0], tbs[4]),
        (0x30, 0x02),
        "openssl made a v1 certificate"
    );
    check_presented(&files).await;
}

#[tokio::test]
async fn a_leaf_with_the_ca_flag_is_presented_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let files = made_certificate(folder.path(), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    check_presented(&files).await;
}

#[tokio::test]
async fn an_expired_certificate_is_presented_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let files = made_certificate(folder.path(), |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    check_presented(&files).await;
}

#[tokio::test]
async fn keys_of_every_kind_prove_possession() {
    for algorithm in [
        &["RSA", "-pkeyopt", "rsa_keygen_bits:3072"][..],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
        &["ED25519"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = openssl_certificate(folder.path(), algorithm, false);
        check_presented(&files).await;
    }
}

#[tokio::test]
async fn a_short_rsa_key_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let files = openssl_certificate(
        folder.path(),
        &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        false,
    );
    let mut door = Door::open();
    for version in ["-tls1_2", "-tls1_3"] {
        let lenient = [version, "-cipher", "DEFAULT:@SECLEVEL=0"];
        let _client = connect(&door, &lenient, Some(&files));
        let failure = door.failure().await;
        assert_eq!(
            failure.reason,
            reasons::CERTIFICATE_KEY,
            "{}",
            failure.detail
        );
        assert_eq!(failure.subject.as_deref(), Some("CN=pump-7"));
    }
}

#[tokio::test]
async fn an_old_version_of_tls_has_nothing_in_common_with_us() {
    let mut door = Door::open();
    let _client = connect(&door, &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"], None);
    let failure = door.failure().await;
    assert_eq!(
        failure.reason,
        reasons::NOTHING_IN_COMMON,
        "{}",
        failure.detail
    );
}

#[tokio::test]
async fn an_address_as_server_name_is_served() {
    check_server_name(&["-servername", "127.0.0.1"], None).await;
}

#[tokio::test]
async fn no_server_name_is_served() {
    check_server_name(&["-noservername"], None).await;
}

#[tokio::test]
async fn a_server_name_is_kept() {
    check_server_name(&["-servername", "Hub.Example"], Some("hub.example")).await;
}

async fn check_server_name(arguments: &[&str], expected: Option<&str>) {
    let mut door = Door::open();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [&[version], arguments].concat();
        let mut client = connect(&door, &arguments, None);
        let stdin = client.process.stdin.as_mut().unwrap();
        stdin.write_all(b"\x10").await.unwrap();
        let arrived = door.arrival().await;
        assert_eq!(arrived.selected, Selected::Mqtt);
        assert_eq!(arrived.peer.sni.as_deref(), expected);
    }
}

#[tokio::test]
async fn a_protocol_that_we_do_not_know_falls_back_to_the_first_byte() {
    let mut door = Door::open();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = connect(&door, &[version, "-alpn", "h3,coap"], None);
        let stdin = client.process.stdin.as_mut().unwrap();
        stdin.write_all(b"GET /").await.unwrap();
        let arrived = door.arrival().await;
        assert_eq!(arrived.selected, Selected::Http);
        assert_eq!(arrived.peer.alpn, None);
    }
}
