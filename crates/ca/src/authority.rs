//! The authority: a root certificate and the key behind it.

use std::{sync::Arc, time::Duration};

use model::Timestamp;
use x509::{Certificate, PemError, PublicKey, Request};

use crate::{
    DeviceKey, KeyError, P256Signer, PrivateKeyPem, ServerName, Signer, Subject,
    encode::{self, Purpose, key_id},
    key::GeneratedKey,
};

/// The root's subject and issuer.
const ROOT_NAME: &str = "Sekisho Root CA";
/// How long a root is valid: 25 years.
const ROOT_LIFETIME: Duration = Duration::from_secs(25 * 365 * 24 * 3600);
/// How long a server certificate is valid: 825 days, the most that Apple's clients accept.
const SERVER_LIFETIME: Duration = Duration::from_secs(825 * 24 * 3600);
/// How long before its end a server certificate is replaced.
const SERVER_RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far before its making a certificate is valid, for peers whose clock is slow.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Why a root could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The certificate's file is damaged.
    #[error("the root certificate cannot be read: {0}")]
    Certificate(#[from] PemError),
    /// The key's file is damaged.
    #[error("the root key cannot be read: {0}")]
    Key(#[from] KeyError),
    /// Certificate and key come from different folders.
    #[error("the root key does not belong to the root certificate")]
    Mismatch,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The authority's or the subject's key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A server certificate needs a name to serve under.
    #[error("a server certificate needs at least one name")]
    NoName,
    /// `not_after` is not after `not_before`.
    #[error("the certificate would never be valid")]
    NeverValid,
}

/// A certificate for the hub's own listeners, with its key.
pub struct ServerIdentity {
    /// The certificate, to be served without the root.
    pub certificate: Certificate,
    /// Its key, PKCS#8 PEM.
    pub private_key: PrivateKeyPem,
}

/// A certificate for a device, with the key that was made for it.
pub struct DeviceIdentity {
    /// The certificate.
    pub certificate: Certificate,
    /// The public key, PEM (`BEGIN PUBLIC KEY`).
    pub public_key_pem: String,
    /// The private key, PEM; see [`DeviceKey`]. Nobody else has it.
    pub private_key: PrivateKeyPem,
}

/// The hub's certificate authority.
pub struct Authority {
    root: Certificate,
    key_id: Vec<u8>,
    signer: Arc<dyn Signer>,
}

impl Authority {
    /// Makes a new root on P-256, valid for 25 years. The PEM is the key's, for the file that
    /// [`Self::open`] is given next time.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the system has no randomness.
    pub fn create(now: Timestamp) -> Result<(Self, PrivateKeyPem), KeyError> {
        let (signer, private_key) = P256Signer::generate()?;
        let subject = Subject::common_name(ROOT_NAME);
        let key = public_key(signer.public_key_info());
        let key_id = key_id(key.bits());
        let der = encode::Certificate {
            purpose: Purpose::Root,
            subject: subject.der(),
            issuer: subject.der(),
            not_before: now.before(BACKDATE),
            not_after: now.after(ROOT_LIFETIME),
            public_key_info: key.info_der(),
            subject_key_id: &key_id,
            authority_key_id: &key_id,
        }
        .sign(&signer)?;
        let authority = Self {
            root: parse(&der),
            key_id,
            signer: Arc::new(signer),
        };
        Ok((authority, private_key))
    }

    /// Opens a root from its certificate and its key, both PEM.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(certificate_pem: &str, key_pem: &str) -> Result<Self, OpenError> {
        let root = x509::certificate_from_pem(certificate_pem)?;
        Self::with_signer(root, Arc::new(P256Signer::from_pem(key_pem)?))
    }

    /// An authority whose key lives elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError::Mismatch`] when the key is not the certificate's.
    pub fn with_signer(root: Certificate, signer: Arc<dyn Signer>) -> Result<Self, OpenError> {
        if root.key().info_der() != signer.public_key_info() {
            return Err(OpenError::Mismatch);
        }
        let key_id = root
            .subject_key_id()
            .map_or_else(|| key_id(root.key().bits()), <[u8]>::to_vec);
        Ok(Self {
            root,
            key_id,
            signer,
        })
    }

    /// The root certificate, which clients must trust.
    #[must_use]
    pub const fn root(&self) -> &Certificate {
        &self.root
    }

    /// The root certificate as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        x509::certificate_to_pem(self.root.der())
    }

    /// Issues a certificate on P-256 under which the hub serves for 825 days.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn issue_server(
        &self,
        names: &[ServerName],
        now: Timestamp,
    ) -> Result<ServerIdentity, IssueError> {
        let first = names.first().ok_or(IssueError::NoName)?.to_string();
        // X.520 allows 64 characters in a common name; clients look at the other names anyway.
        let subject = Subject::common_name(first.get(..64).unwrap_or(&first));
        let key = GeneratedKey::new(DeviceKey::P256)?;
        let certificate = self.issue(
            Purpose::Server(names),
            &subject,
            &public_key(&key.public_key_info),
            now.before(BACKDATE),
            now.after(SERVER_LIFETIME),
        )?;
        Ok(ServerIdentity {
            certificate,
            private_key: key.private,
        })
    }

    /// Whether the hub should replace the server certificate it has: it ends within 30 days, is
    /// not yet valid, is not from this root, or serves under other names.
    #[must_use]
    pub fn server_renewal_due(
        &self,
        current: &Certificate,
        names: &[ServerName],
        now: Timestamp,
    ) -> bool {
        let served = current.subject_names();
        let mut served: Vec<_> = served
            .dns
            .iter()
            .map(|name| ServerName::Dns(name.clone()))
            .chain(served.ip.iter().copied().map(ServerName::Ip))
            .collect();
        let mut wanted = names.to_vec();
        for list in [&mut served, &mut wanted] {
            list.sort();
            list.dedup();
        }
        served != wanted
            || !current.is_valid_at(now)
            || current.not_after() < now.after(SERVER_RENEWAL)
            || current.verify_signed_by(&self.root).is_err()
    }

    /// Makes a key for a device and certifies it.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn issue_device(
        &self,
        subject: &Subject,
        key: DeviceKey,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<DeviceIdentity, IssueError> {
        let generated = GeneratedKey::new(key)?;
        let key = public_key(&generated.public_key_info);
        let certificate = self.issue(Purpose::Device, subject, &key, not_before, not_after)?;
        Ok(DeviceIdentity {
            certificate,
            public_key_pem: x509::public_key_to_pem(&key),
            private_key: generated.private,
        })
    }

    /// Certifies the key of a request, under the subject that the request names, byte by byte.
    /// Extensions that the request asks for are not granted.
    ///
    /// # Errors
    ///
    /// See [`IssueError`].
    pub fn issue_for_request(
        &self,
        request: &Request,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Certificate, IssueError> {
        let subject = Subject::from_der(request.subject().der());
        self.issue(
            Purpose::Device,
            &subject,
            request.key(),
            not_before,
            not_after,
        )
    }

    fn issue(
        &self,
        purpose: Purpose<'_>,
        subject: &Subject,
        key: &PublicKey,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Certificate, IssueError> {
        if not_after.seconds() <= not_before.seconds() {
            return Err(IssueError::NeverValid);
        }
        let der = encode::Certificate {
            purpose,
            subject: subject.der(),
            issuer: self.root.subject().der(),
            not_before,
            not_after,
            public_key_info: key.info_der(),
            subject_key_id: &key_id(key.bits()),
            authority_key_id: &self.key_id,
        }
        .sign(&*self.signer)?;
        Ok(parse(&der))
    }
}

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).expect("what we encode, we read")
}

fn public_key(info: &[u8]) -> PublicKey {
    PublicKey::parse(info).expect("a key that was just made or read")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);
    /// 2049-12-31T23:59:59Z, as AWS certificates end.
    const END: Timestamp = Timestamp::from_seconds(2_524_607_999);

    #[test]
    fn a_root_opens_again_from_its_files() {
        let (authority, key) = Authority::create(NOW).unwrap();
        assert!(authority.root().is_ca());
        assert_eq!(authority.root().subject().to_string(), "CN=Sekisho Root CA");
        assert!(authority.root().is_valid_at(NOW.after(20 * 365 * DAY)));
        authority.root().verify_signed_by(authority.root()).unwrap();

        let again = Authority::open(&authority.root_pem(), key.expose()).unwrap();
        assert_eq!(again.root().id(), authority.root().id());
        let (_, other) = Authority::create(NOW).unwrap();
        assert!(matches!(
            Authority::open(&authority.root_pem(), other.expose()),
            Err(OpenError::Mismatch)
        ));
    }

    #[test]
    fn a_server_certificate_is_replaced_before_it_ends_or_when_names_change() {
        let (authority, _) = Authority::create(NOW).unwrap();
        let names = ["localhost", "127.0.0.1", "::1"].map(|name| name.parse().unwrap());
        let server = authority.issue_server(&names, NOW).unwrap().certificate;
        assert_eq!(server.subject_names().dns, ["localhost"]);
        assert_eq!(server.subject_names().ip.len(), 2);
        server.verify_signed_by(authority.root()).unwrap();

        let due = |names: &[ServerName], now| authority.server_renewal_due(&server, names, now);
        let mut reordered = names.clone();
        reordered.reverse();
        assert!(!due(&names, NOW));
        assert!(!due(&reordered, NOW.after(794 * DAY)));
        assert!(due(&names, NOW.after(796 * DAY)));
        assert!(due(&names[..2], NOW));
        let (other, _) = Authority::create(NOW).unwrap();
        assert!(other.server_renewal_due(&server, &names, NOW));
    }

    #[test]
    fn a_device_gets_the_keys_that_aws_would_give() {
        let (authority, _) = Authority::create(NOW).unwrap();
        let subject = Subject::common_name("AWS IoT Certificate");
        let device = authority
            .issue_device(&subject, DeviceKey::Rsa2048, NOW, END)
            .unwrap();
        let certificate = &device.certificate;
        certificate.verify_signed_by(authority.root()).unwrap();
        assert_eq!(certificate.not_after(), END);
        assert!(!certificate.is_ca());
        assert_eq!(certificate.key().kind(), x509::KeyKind::Rsa { bits: 2048 });
        assert_eq!(
            certificate.authority_key_id(),
            authority.root().subject_key_id()
        );
        let private = device.private_key.expose();
        assert!(private.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(
            device
                .public_key_pem
                .starts_with("-----BEGIN PUBLIC KEY-----\n")
        );
        let inner = pem::parse(private).unwrap().into_contents();
        aws_lc_rs::rsa::KeyPair::from_der(&inner).unwrap();
    }

    #[test]
    fn a_certificate_that_would_never_be_valid_is_not_issued() {
        let (authority, _) = Authority::create(NOW).unwrap();
        let issued = authority.issue_device(&Subject::common_name("x"), DeviceKey::P256, END, NOW);
        assert!(matches!(issued, Err(IssueError::NeverValid)));
    }
}
