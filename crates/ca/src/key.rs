//! Keys: the authority's behind [`Signer`], and those made for servers and devices.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use pem::{EncodeConfig, LineEnding, Pem};
use zeroize::{Zeroize, Zeroizing};

use crate::der;

/// Holds a private key and signs with it; the only way to the authority's key.
pub trait Signer: Send + Sync {
    /// The SubjectPublicKeyInfo of the key, DER.
    fn public_key_info(&self) -> &[u8];

    /// The AlgorithmIdentifier of the signatures that [`Self::sign`] makes, DER.
    fn signature_algorithm(&self) -> Vec<u8>;

    /// Signs the message, which is hashed here.
    ///
    /// # Errors
    ///
    /// [`KeyError::Sign`] when the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// What went wrong with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// The system's source of randomness or its memory failed.
    #[error("a key could not be generated")]
    Generate,
    /// Give an unencrypted PKCS#8 PEM key (`BEGIN PRIVATE KEY`) on P-256.
    #[error("the private key is not an unencrypted PKCS#8 PEM key on P-256")]
    Malformed,
    /// The key refused to sign.
    #[error("the private key could not be used to sign")]
    Sign,
}

/// A private key as PEM. Wiped when dropped; neither printed nor serialized by accident.
#[derive(Clone)]
pub struct PrivateKeyPem(Zeroizing<String>);

impl PrivateKeyPem {
    fn encode(tag: &str, der: &[u8]) -> Self {
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let block = Pem::new(tag, der);
        let text = Zeroizing::new(pem::encode_config(&block, config));
        block.into_contents().zeroize();
        Self(text)
    }

    /// The text, for the file or the one answer it is made for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A key on P-256 in memory.
pub struct P256Signer {
    key: EcdsaKeyPair,
    public_key_info: Vec<u8>,
}

impl P256Signer {
    /// Makes a new key; the PEM (PKCS#8) is for the file it will be opened from next time.
    ///
    /// # Errors
    ///
    /// [`KeyError::Generate`].
    pub fn generate() -> Result<(Self, PrivateKeyPem), KeyError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| KeyError::Generate)?;
        let document = key.to_pkcs8v1().map_err(|_| KeyError::Generate)?;
        let pem = PrivateKeyPem::encode("PRIVATE KEY", document.as_ref());
        Ok((Self::new(key)?, pem))
    }

    /// Opens a key from its PEM (PKCS#8).
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Malformed)?;
        let is_pkcs8 = block.tag() == "PRIVATE KEY";
        let document = Zeroizing::new(block.into_contents());
        if !is_pkcs8 {
            return Err(KeyError::Malformed);
        }
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &document)
            .map_err(|_| KeyError::Malformed)?;
        Self::new(key)
    }

    fn new(key: EcdsaKeyPair) -> Result<Self, KeyError> {
        let public: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(|_| KeyError::Generate)?;
        Ok(Self {
            public_key_info: public.as_ref().to_vec(),
            key,
        })
    }
}

impl Signer for P256Signer {
    fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }

    fn signature_algorithm(&self) -> Vec<u8> {
        der::sequence(&[&der::object_identifier(der::oid::ECDSA_WITH_SHA256)])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self
            .key
            .sign(&SystemRandom::new(), message)
            .map_err(|_| KeyError::Sign)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// What kind of key to make for a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceKey {
    /// RSA with 2048 bits, as AWS makes them; PKCS#1 PEM (`BEGIN RSA PRIVATE KEY`). Takes about
    /// 50 to 300 ms of one core: call it off the async threads.
    Rsa2048,
    /// ECDSA on P-256; PKCS#8 PEM (`BEGIN PRIVATE KEY`).
    P256,
}

/// A key made for a server or a device.
pub(crate) struct GeneratedKey {
    pub(crate) public_key_info: Vec<u8>,
    pub(crate) private: PrivateKeyPem,
}

impl GeneratedKey {
    pub(crate) fn new(kind: DeviceKey) -> Result<Self, KeyError> {
        match kind {
            DeviceKey::P256 => {
                let (signer, private) = P256Signer::generate()?;
                Ok(Self {
                    public_key_info: signer.public_key_info,
                    private,
                })
            }
            DeviceKey::Rsa2048 => {
                let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)
                    .map_err(|_| KeyError::Generate)?;
                let document: Pkcs8V1Der<'_> = key.as_der().map_err(|_| KeyError::Generate)?;
                let public: PublicKeyX509Der<'_> =
                    key.public_key().as_der().map_err(|_| KeyError::Generate)?;
                let pkcs1 = pkcs1_of(document.as_ref()).ok_or(KeyError::Generate)?;
                Ok(Self {
                    public_key_info: public.as_ref().to_vec(),
                    private: PrivateKeyPem::encode("RSA PRIVATE KEY", pkcs1),
                })
            }
        }
    }
}

/// The RSAPrivateKey inside a PKCS#8 PrivateKeyInfo: `SEQUENCE { version, algorithm, OCTET STRING }`
/// (RFC 5208 §5).
fn pkcs1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    let (_, fields, _) = der::split(pkcs8)?;
    let (_, _version, fields) = der::split(fields)?;
    let (_, _algorithm, fields) = der::split(fields)?;
    let (tag, key, _) = der::split(fields)?;
    (tag == der::OCTET_STRING).then_some(key)
}
