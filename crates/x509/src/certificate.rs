//! One presented certificate.

use std::{net::IpAddr, sync::Arc};

use aws_lc_rs::digest;
use model::{CertificateId, Timestamp, limits};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    time::ASN1Time,
};

use crate::{
    DistinguishedName, PublicKey, VerifyError,
    der::{CONTEXT_0, INTEGER, Reader, SEQUENCE, Signed},
    signature::verify,
};

/// Why a certificate could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// Longer than any certificate a device needs.
    #[error("the certificate is {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not an X.509 certificate in DER.
    #[error("{what} is malformed")]
    Malformed {
        /// The part that is.
        what: &'static str,
    },
}

const MALFORMED: ParseError = ParseError::Malformed {
    what: "the certificate",
};

/// The other names of a subject or an issuer (RFC 5280 §4.2.1.6), in the order of the
/// certificate. Kinds that are not listed are left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AlternativeNames {
    /// Mail addresses.
    pub rfc822: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Directory names, printed as [`DistinguishedName`] prints.
    pub directory: Vec<String>,
    /// URIs.
    pub uri: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
}

/// A certificate as it was presented: any version, any issuer, in or out of its validity.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Arc<[u8]>,
    id: CertificateId,
    serial: Box<[u8]>,
    subject: DistinguishedName,
    issuer: DistinguishedName,
    not_before: Timestamp,
    not_after: Timestamp,
    subject_names: AlternativeNames,
    issuer_names: AlternativeNames,
    key: PublicKey,
    signature_algorithm: String,
    is_ca: bool,
    subject_key_id: Option<Box<[u8]>>,
    authority_key_id: Option<Box<[u8]>>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// Reads one certificate in DER, of X.509 version 1, 2 or 3, at most [`limits::PEM_BYTES`].
    ///
    /// Extensions that cannot be read are treated as absent; nothing is judged.
    ///
    /// # Errors
    ///
    /// [`ParseError`].
    pub fn parse(der: &[u8]) -> Result<Self, ParseError> {
        if der.len() > limits::PEM_BYTES {
            return Err(ParseError::TooLarge {
                bytes: der.len(),
                limit: limits::PEM_BYTES,
            });
        }
        Signed::read(der).map_err(|_| MALFORMED)?;
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| MALFORMED)?;
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        let mut certificate = Self {
            der: der.into(),
            id: fingerprint(der),
            serial: parsed.raw_serial().into(),
            subject: DistinguishedName::from_parsed(parsed.subject()),
            issuer: DistinguishedName::from_parsed(parsed.issuer()),
            not_before: timestamp(parsed.validity().not_before),
            not_after: timestamp(parsed.validity().not_after),
            subject_names: AlternativeNames::default(),
            issuer_names: AlternativeNames::default(),
            key: PublicKey::parse(parsed.public_key().raw)?,
            signature_algorithm: signature_name(&parsed.signature_algorithm.algorithm),
            is_ca: false,
            subject_key_id: None,
            authority_key_id: None,
        };
        for extension in parsed.extensions() {
            certificate.read_extension(extension.parsed_extension());
        }
        Ok(certificate)
    }

    fn read_extension(&mut self, extension: &ParsedExtension<'_>) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum of which six variants concern us"
        )]
        match extension {
            ParsedExtension::BasicConstraints(constraints) => self.is_ca = constraints.ca,
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.into()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.into());
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_names = AlternativeNames::read(&names.general_names);
            }
            ParsedExtension::IssuerAlternativeName(names) => {
                self.issuer_names = AlternativeNames::read(&names.general_names);
            }
            _ => {}
        }
    }

    /// The certificate itself, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its identity everywhere in the hub: SHA-256 of [`Self::der`].
    #[must_use]
    pub const fn id(&self) -> CertificateId {
        self.id
    }

    /// The serial number, big-endian, as it stands in the certificate.
    #[must_use]
    pub const fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Whom it names.
    #[must_use]
    pub const fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Who signed it, by its own account.
    #[must_use]
    pub const fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Valid from, whole seconds.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Valid until, inclusive, whole seconds.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether `now` lies within its validity (RFC 5280 §4.1.2.5, both ends inclusive).
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.not_before.seconds()..=self.not_after.seconds()).contains(&now.seconds())
    }

    /// Other names of the subject.
    #[must_use]
    pub const fn subject_names(&self) -> &AlternativeNames {
        &self.subject_names
    }

    /// Other names of the issuer.
    #[must_use]
    pub const fn issuer_names(&self) -> &AlternativeNames {
        &self.issuer_names
    }

    /// Its public key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// How it is signed: `ecdsa-with-SHA256`, or the object identifier in dots if it has no
    /// usual name.
    #[must_use]
    pub fn signature_algorithm(&self) -> &str {
        &self.signature_algorithm
    }

    /// Whether it says that it may sign others. Always `false` for X.509 v1, which cannot say.
    #[must_use]
    pub const fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// The identifier of its own key, when it carries one.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// The identifier of its issuer's key, when it carries one.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// Checks that `issuer` signed this certificate: the names fit and the signature is valid.
    /// Validity, constraints and the issuer's CA flag are not looked at.
    ///
    /// # Errors
    ///
    /// See [`VerifyError`].
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), VerifyError> {
        if self.issuer.der() != issuer.subject.der() {
            return Err(VerifyError::OtherIssuer);
        }
        let signed = Signed::read(&self.der).expect("read when it was parsed");
        verify(
            issuer.key.info_der(),
            signed.algorithm,
            signed.message,
            signed.signature,
        )
    }
}

impl AlternativeNames {
    fn read(names: &[GeneralName<'_>]) -> Self {
        let mut read = Self::default();
        for name in names {
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "a foreign enum of which five variants concern us"
            )]
            match name {
                GeneralName::RFC822Name(name) => read.rfc822.push((*name).to_owned()),
                GeneralName::DNSName(name) => read.dns.push((*name).to_owned()),
                GeneralName::URI(name) => read.uri.push((*name).to_owned()),
                GeneralName::DirectoryName(name) => read
                    .directory
                    .push(DistinguishedName::from_parsed(name).to_string()),
                GeneralName::IPAddress(octets) => {
                    if let Ok(octets) = <[u8; 4]>::try_from(*octets) {
                        read.ip.push(octets.into());
                    } else if let Ok(octets) = <[u8; 16]>::try_from(*octets) {
                        read.ip.push(octets.into());
                    }
                }
                _ => {}
            }
        }
        read
    }
}

/// Finds the SubjectPublicKeyInfo of a certificate without reading the rest; for the handshake,
/// where only possession of the key is at stake.
///
/// # Errors
///
/// [`ParseError::Malformed`].
pub fn public_key_info(certificate: &[u8]) -> Result<&[u8], ParseError> {
    let signed = Signed::read(certificate).map_err(|_| MALFORMED)?;
    let mut fields = Reader::new(signed.body);
    let mut next = |tag| fields_expect(&mut fields, tag);
    next(CONTEXT_0)?; // version, absent in v1
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        // serial, algorithm, issuer, validity, subject
        next(tag)?.ok_or(MALFORMED)?;
    }
    next(SEQUENCE)?.ok_or(MALFORMED)
}

/// Reads the next value when it has this tag.
fn fields_expect<'a>(fields: &mut Reader<'a>, tag: u8) -> Result<Option<&'a [u8]>, ParseError> {
    if fields.peek() != Some(tag) {
        return Ok(None);
    }
    let value = fields.any().map_err(|_| MALFORMED)?;
    Ok(Some(value.whole))
}

/// The identity of the certificate with this DER encoding: its SHA-256.
#[must_use]
pub fn fingerprint(der: &[u8]) -> CertificateId {
    let digest = digest::digest(&digest::SHA256, der);
    let bytes = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
    CertificateId::from_sha256(bytes)
}

/// Times before 1970 are the epoch; nothing the hub does distinguishes them.
fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_seconds(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn signature_name(oid: &x509_parser::der_parser::Oid<'_>) -> String {
    let dotted = oid.to_id_string();
    let name = match dotted.as_str() {
        "1.2.840.113549.1.1.5" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "ED25519",
        _ => return dotted,
    };
    name.to_owned()
}
