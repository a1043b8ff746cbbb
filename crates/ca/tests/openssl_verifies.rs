//! What the authority makes, judged by `openssl verify`, which must be installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use ca::{Authority, DeviceKey, Subject};
use model::Timestamp;
use x509::{Attribute, Request};

/// openssl judges by the machine's clock, so the certificates are made for all of it.
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
/// 2049-12-31T23:59:59Z
const END: Timestamp = Timestamp::from_seconds(2_524_607_999);

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the openssl command is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn every_certificate_we_issue_is_valid_to_the_letter() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let (authority, _) = Authority::create(NOW).unwrap();
    write("root.pem", &authority.root_pem());

    let check = |purpose: &str, certificate: &x509::Certificate| {
        write("leaf.pem", &x509::certificate_to_pem(certificate.der()));
        let mut arguments = vec!["verify", "-x509_strict", "-attime", "1700000060"];
        arguments.extend(["-purpose", purpose, "-CAfile", "root.pem", "leaf.pem"]);
        openssl(folder.path(), &arguments);
        openssl(
            folder.path(),
            &["x509", "-in", "leaf.pem", "-noout", "-text"],
        )
    };

    let names = ["localhost", "127.0.0.1", "::1"].map(|name| name.parse().unwrap());
    let server = authority.issue_server(&names, NOW).unwrap();
    let text = check("sslserver", &server.certificate);
    assert!(text.contains("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"));

    for key in [DeviceKey::Rsa2048, DeviceKey::P256] {
        let subject = Subject::new(&[
            (Attribute::CommonName, "AWS IoT Certificate"),
            (Attribute::Country, "JP"),
        ]);
        let device = authority.issue_device(&subject, key, NOW, END).unwrap();
        let text = check("sslclient", &device.certificate);
        assert!(
            text.contains("Not After : Dec 31 23:59:59 2049 GMT"),
            "{text}"
        );
        assert!(text.contains("TLS Web Client Authentication"), "{text}");

        // The keys we hand out belong to the certificate.
        write("device.key", device.private_key.expose());
        write("device.pub", &device.public_key_pem);
        let of_private = openssl(folder.path(), &["pkey", "-in", "device.key", "-pubout"]);
        assert_eq!(of_private, device.public_key_pem);
        let of_certificate = openssl(
            folder.path(),
            &["x509", "-in", "leaf.pem", "-noout", "-pubkey"],
        );
        assert_eq!(of_certificate, device.public_key_pem);
    }
}

#[test]
fn a_request_keeps_its_subject_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in [
        &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    ] {
        let generate = [&["genpkey", "-out", "key.pem", "-algorithm"], algorithm].concat();
        openssl(folder.path(), &generate);
        let subject = "/O=Usui/OU=Pumps/OU=Valves/CN=pump-7/emailAddress=a@example.com";
        let make = [
            "req",
            "-new",
            "-key",
            "key.pem",
            "-subj",
            subject,
            "-out",
            "request.pem",
        ];
        openssl(folder.path(), &make);
        let text = fs::read_to_string(folder.path().join("request.pem")).unwrap();
        let request = Request::from_pem(&text).unwrap();

        let (authority, _) = Authority::create(NOW).unwrap();
        let certificate = authority.issue_for_request(&request, NOW, END).unwrap();
        assert_eq!(certificate.subject().der(), request.subject().der());
        assert_eq!(certificate.key(), request.key());
        let units: Vec<_> = certificate
            .subject()
            .values(Attribute::OrganizationalUnit)
            .collect();
        assert_eq!(units, ["Pumps", "Valves"]);
        certificate.verify_signed_by(authority.root()).unwrap();
    }
}
