//! The certificate itself (RFC 5280 §4.1).

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use model::Timestamp;

use crate::{KeyError, ServerName, Signer, der};

/// What a certificate is for; decides its extensions.
pub(crate) enum Purpose<'a> {
    /// To sign others.
    Root,
    /// To serve under these names.
    Server(&'a [ServerName]),
    /// To connect.
    Device,
}

/// All that goes into a certificate.
pub(crate) struct Certificate<'a> {
    pub(crate) purpose: Purpose<'a>,
    /// The Name, DER.
    pub(crate) subject: &'a [u8],
    /// The Name, DER.
    pub(crate) issuer: &'a [u8],
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// The SubjectPublicKeyInfo, DER.
    pub(crate) public_key_info: &'a [u8],
    pub(crate) subject_key_id: &'a [u8],
    pub(crate) authority_key_id: &'a [u8],
}

impl Certificate<'_> {
    /// Encodes and signs it, under a new random serial number.
    pub(crate) fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, KeyError> {
        let algorithm = signer.signature_algorithm();
        let body = der::sequence(&[
            &der::constructed(0xa0, &[&der::positive_integer(&[2])]), // v3
            &der::positive_integer(&serial()?),
            &algorithm,
            self.issuer,
            &der::sequence(&[&der::time(self.not_before), &der::time(self.not_after)]),
            self.subject,
            self.public_key_info,
            &der::constructed(0xa3, &[&self.extensions()]),
        ]);
        let signature = signer.sign(&body)?;
        Ok(der::sequence(&[
            &body,
            &algorithm,
            &der::bit_string(0, &signature),
        ]))
    }

    fn extensions(&self) -> Vec<u8> {
        let constraints = match self.purpose {
            Purpose::Root => der::sequence(&[&der::boolean_true()]),
            Purpose::Server(_) | Purpose::Device => der::sequence(&[]),
        };
        let usage = match self.purpose {
            // digitalSignature, keyCertSign, cRLSign
            Purpose::Root => der::bit_string(1, &[0b1000_0110]),
            // digitalSignature
            Purpose::Server(_) | Purpose::Device => der::bit_string(7, &[0b1000_0000]),
        };
        let mut extensions = vec![
            extension(der::oid::BASIC_CONSTRAINTS, true, &constraints),
            extension(der::oid::KEY_USAGE, true, &usage),
            extension(
                der::oid::SUBJECT_KEY_ID,
                false,
                &der::octet_string(self.subject_key_id),
            ),
            extension(
                der::oid::AUTHORITY_KEY_ID,
                false,
                &der::sequence(&[&der::value(0x80, self.authority_key_id)]),
            ),
        ];
        match self.purpose {
            Purpose::Root => {}
            Purpose::Device => extensions.push(extended_usage(der::oid::CLIENT_AUTH)),
            Purpose::Server(names) => {
                extensions.push(extended_usage(der::oid::SERVER_AUTH));
                let names: Vec<_> = names.iter().map(ServerName::general_name).collect();
                extensions.push(extension(
                    der::oid::SUBJECT_ALTERNATIVE_NAME,
                    false,
                    &der::value(der::SEQUENCE, &names.concat()),
                ));
            }
        }
        der::value(der::SEQUENCE, &extensions.concat())
    }
}

fn extension(oid: &[u8], critical: bool, contents: &[u8]) -> Vec<u8> {
    let critical = if critical {
        der::boolean_true()
    } else {
        Vec::new() // DEFAULT FALSE
    };
    der::sequence(&[
        &der::object_identifier(oid),
        &critical,
        &der::octet_string(contents),
    ])
}

fn extended_usage(purpose: &[u8]) -> Vec<u8> {
    extension(
        der::oid::EXTENDED_KEY_USAGE,
        false,
        &der::sequence(&[&der::object_identifier(purpose)]),
    )
}

/// The identifier of a key: the leftmost 160 bits of the SHA-256 of its bits (RFC 7093 §2, 1).
pub(crate) fn key_id(key_bits: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, key_bits).as_ref()[..20].to_vec()
}

/// 20 bytes, positive, without a leading zero: 158 random bits (RFC 5280 §4.1.2.2).
fn serial() -> Result<[u8; 20], KeyError> {
    let mut serial = [0; 20];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| KeyError::Generate)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}
