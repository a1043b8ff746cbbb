//! The access keys that may sign, and how strictly signatures are taken.

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, hmac};

use super::SignatureError;

/// A secret access key. Never printed, never compared byte by byte.
pub struct SecretKey(hmac::Key);

impl SecretKey {
    /// The key whose text is `secret`, as it stands in a client's configuration.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let mut prefixed = Vec::with_capacity(4 + secret.len());
        prefixed.extend_from_slice(b"AWS4");
        prefixed.extend_from_slice(secret.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &prefixed);
        prefixed.fill(0);
        Self(key)
    }

    /// The first key of the derivation: HMAC keyed with `AWS4` and the secret.
    pub(super) fn first_key(&self) -> hmac::Key {
        self.0.clone()
    }
}

/// The access keys this hub knows, by id.
#[derive(Default)]
pub struct AccessKeys {
    keys: BTreeMap<String, Entry>,
}

struct Entry {
    secret: SecretKey,
    /// The session token that must come with a temporary key.
    token: Option<String>,
}

impl AccessKeys {
    /// Adds a long-lived key.
    #[must_use]
    pub fn with(self, id: impl Into<String>, secret: SecretKey) -> Self {
        self.insert(id.into(), secret, None)
    }

    /// Adds a temporary key, which counts only together with its session token.
    #[must_use]
    pub fn with_session(
        self,
        id: impl Into<String>,
        secret: SecretKey,
        token: impl Into<String>,
    ) -> Self {
        self.insert(id.into(), secret, Some(token.into()))
    }

    fn insert(mut self, id: String, secret: SecretKey, token: Option<String>) -> Self {
        self.keys.insert(id, Entry { secret, token });
        self
    }

    /// The secret of `id`, when `token` is the one that belongs to it.
    pub(super) fn find(&self, id: &str, token: Option<&str>) -> Result<&SecretKey, SignatureError> {
        let entry = self.keys.get(id).ok_or(match token {
            Some(_) => SignatureError::UnknownToken,
            None => SignatureError::UnknownKey,
        })?;
        match (token, &entry.token) {
            (None, None) => Ok(&entry.secret),
            (Some(given), Some(own))
                if constant_time::verify_slices_are_equal(given.as_bytes(), own.as_bytes())
                    .is_ok() =>
            {
                Ok(&entry.secret)
            }
            (Some(_), _) | (None, Some(_)) => Err(SignatureError::UnknownToken),
        }
    }
}

/// How signatures are taken.
pub enum SignaturePolicy {
    /// Every request is signed with one of these keys.
    Verify(AccessKeys),
    /// Development only, on loopback listeners: any well-formed signature is taken; its scope still
    /// tells region and service.
    AcceptAny,
}
