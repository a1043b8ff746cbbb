//! Certificates and requests that openssl made, read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use model::Timestamp;
use proptest::{collection::vec, prelude::*};
use x509::{
    Attribute, Certificate, KeyKind, PemError, Request, RequestError, VerifyError,
    certificate_from_pem, certificate_to_pem,
};

const EVERY_ATTRIBUTE: &str = include_str!("certificates/every-attribute.pem");
const VERSION_1: &str = include_str!("certificates/version-1.pem");
const REQUEST: &str = include_str!("certificates/request.pem");
const TAMPERED_REQUEST: &str = include_str!("certificates/tampered-request.pem");
const WEAK_REQUEST: &str = include_str!("certificates/weak-request.pem");

#[test]
fn every_attribute_of_a_subject_is_read() {
    let certificate = certificate_from_pem(EVERY_ATTRIBUTE).unwrap();
    for (attribute, values) in [
        (Attribute::CommonName, &["pump-7, é"][..]),
        (Attribute::Country, &["JP"]),
        (Attribute::Organization, &["Usui Works"]),
        (Attribute::OrganizationalUnit, &["Pumps", "Valves"]),
        (Attribute::State, &["Gunma"]),
        (Attribute::Locality, &["Annaka"]),
        (Attribute::SerialNumber, &["A-1"]),
        (Attribute::DistinguishedNameQualifier, &["q"]),
        (Attribute::Title, &["Dr"]),
        (Attribute::Surname, &["Yamada"]),
        (Attribute::GivenName, &["Hana"]),
        (Attribute::Initials, &["HY"]),
        (Attribute::Pseudonym, &["hy"]),
        (Attribute::GenerationQualifier, &["III"]),
    ] {
        let found: Vec<_> = certificate.subject().values(attribute).collect();
        assert_eq!(found, values, "{attribute:?}");
        let found: Vec<_> = certificate.issuer().values(attribute).collect();
        assert_eq!(found, values, "{attribute:?}");
    }
    assert!(
        certificate
            .subject()
            .to_string()
            .ends_with("generationQualifier=III")
    );
}

#[test]
fn alternative_names_are_read() {
    let certificate = certificate_from_pem(EVERY_ATTRIBUTE).unwrap();
    let names = certificate.subject_names();
    assert_eq!(names.rfc822, ["a@example.com"]);
    assert_eq!(names.dns, ["pump-7.example"]);
    assert_eq!(names.uri, ["urn:pump:7"]);
    assert_eq!(names.directory, ["CN=other"]);
    let ip: Vec<_> = names.ip.iter().map(ToString::to_string).collect();
    assert_eq!(ip, ["192.0.2.7", "2001:db8::7"]);
    assert_eq!(certificate.issuer_names().dns, ["issuer.example"]);
}

#[test]
fn the_rest_of_a_certificate_is_read() {
    let certificate = certificate_from_pem(EVERY_ATTRIBUTE).unwrap();
    assert_eq!(certificate.serial(), [0, 0x80, 0xaa]);
    assert_eq!(certificate.key().kind(), KeyKind::P256);
    assert_eq!(certificate.signature_algorithm(), "ecdsa-with-SHA256");
    assert!(!certificate.is_ca());
    assert_eq!(certificate.subject_key_id().map(<[u8]>::len), Some(20));
    assert!(certificate.is_valid_at(certificate.not_before()));
    assert!(certificate.is_valid_at(certificate.not_after()));
    assert!(!certificate.is_valid_at(Timestamp::from_seconds(0)));
    assert_eq!(certificate_to_pem(certificate.der()), EVERY_ATTRIBUTE);
    assert_eq!(certificate.verify_signed_by(&certificate), Ok(()));
}

#[test]
fn version_1_is_read_and_signs_itself() {
    let certificate = certificate_from_pem(VERSION_1).unwrap();
    assert_eq!(certificate.subject().common_name(), Some("v1"));
    assert!(!certificate.is_ca());
    assert_eq!(certificate.verify_signed_by(&certificate), Ok(()));
    assert_eq!(
        x509::public_key_info(certificate.der()),
        Ok(certificate.key().info_der())
    );
    let other = certificate_from_pem(EVERY_ATTRIBUTE).unwrap();
    assert_eq!(
        certificate.verify_signed_by(&other),
        Err(VerifyError::OtherIssuer)
    );
}

#[test]
fn a_changed_certificate_is_no_longer_signed() {
    let certificate = certificate_from_pem(VERSION_1).unwrap();
    let mut der = certificate.der().to_vec();
    let serial = 4 + 4 + 2; // Behind the headers of the certificate, its body, its serial number.
    der[serial] ^= 1;
    let changed = Certificate::parse(&der).unwrap();
    assert_ne!(changed.id(), certificate.id());
    assert_eq!(
        changed.verify_signed_by(&certificate),
        Err(VerifyError::BadSignature)
    );
}

#[test]
fn exactly_one_certificate_is_asked_for() {
    let check = |text: &str, found: &str| {
        assert_eq!(
            certificate_from_pem(text),
            Err(PemError::Contents {
                expected: "exactly one certificate",
                found: found.to_owned(),
            })
        );
    };
    check("", "no PEM block");
    check("hello", "no PEM block");
    check(&[VERSION_1, VERSION_1].concat(), "2 PEM blocks");
    check(REQUEST, "a PEM block \"CERTIFICATE REQUEST\"");
    let chain = [VERSION_1, EVERY_ATTRIBUTE].concat();
    assert_eq!(x509::certificates_from_pem(&chain).unwrap().len(), 2);
    let long = " ".repeat(model::limits::PEM_BYTES + 1);
    assert!(matches!(
        certificate_from_pem(&long),
        Err(PemError::TooLarge { .. })
    ));
}

#[test]
fn a_request_proves_that_it_holds_its_key() {
    let request = Request::from_pem(REQUEST).unwrap();
    assert_eq!(request.subject().common_name(), Some("pump-7, é"));
    assert_eq!(request.key().kind(), KeyKind::P256);
    assert_eq!(
        Request::from_pem(TAMPERED_REQUEST),
        Err(RequestError::Possession(VerifyError::BadSignature))
    );
    assert_eq!(
        Request::from_pem(WEAK_REQUEST),
        Err(RequestError::Key(KeyKind::Rsa { bits: 1024 }))
    );
    assert!(matches!(
        Request::from_pem(VERSION_1),
        Err(RequestError::Pem(PemError::Contents { .. }))
    ));
    let long = " ".repeat(model::limits::CSR_BYTES + 1);
    assert!(matches!(
        Request::from_pem(&long),
        Err(RequestError::Pem(PemError::TooLarge { .. }))
    ));
}

fn der_of(pem: &str) -> Vec<u8> {
    pem::parse(pem).expect("a fixture").into_contents()
}

fn read_everything(bytes: &[u8]) {
    let _read_or_refused = Request::from_der(bytes);
    let _read_or_refused = x509::public_key_info(bytes);
    if let Ok(certificate) = Certificate::parse(bytes) {
        let _printed = certificate.subject().to_string();
        let _verified = certificate.verify_signed_by(&certificate);
        // The handshake proves the key that one reader finds, the registry shows what the other
        // finds. What only one of them reads never gets past the handshake; what both read must
        // be the same key.
        if let Ok(info) = x509::public_key_info(bytes) {
            assert_eq!(info, certificate.key().info_der(), "both readers agree");
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_is_presented_makes_us_panic(
        which in 0..3_usize,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = der_of([EVERY_ATTRIBUTE, VERSION_1, REQUEST][which]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_everything(&bytes);
    }

    #[test]
    fn noise_does_not_make_us_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
        let _read_or_refused = certificate_from_pem(&String::from_utf8_lossy(&bytes));
    }
}
