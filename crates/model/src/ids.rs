//! Names of things, each checked once where it enters.
//!
//! Alphabets are the union of what the clouds allow; a dialect refuses to *create* what it cannot
//! spell. Limits stand in [`crate::limits`].

use std::{fmt, str::FromStr, sync::Arc};

use crate::limits;

/// Why a text is not a name of the kind that was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidName {
    /// Empty, or longer than the limit.
    #[error("a {what} has 1 to {limit} bytes, this has {bytes}")]
    Length {
        /// The kind of name, for the message.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The most it may have.
        limit: usize,
    },
    /// A byte outside the alphabet.
    #[error("a {what} may not hold the byte at offset {at}")]
    Byte {
        /// The kind of name, for the message.
        what: &'static str,
        /// Offset of the first offending byte.
        at: usize,
    },
}

fn check(
    text: &str,
    what: &'static str,
    limit: usize,
    allowed: fn(u8) -> bool,
) -> Result<Arc<str>, InvalidName> {
    if text.is_empty() || text.len() > limit {
        return Err(InvalidName::Length {
            what,
            bytes: text.len(),
            limit,
        });
    }
    match text.bytes().position(|byte| !allowed(byte)) {
        Some(at) => Err(InvalidName::Byte { what, at }),
        None => Ok(text.into()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most bytes one may have.
            pub const MAX_BYTES: usize = $limit;

            /// Checks `text` against the length and the alphabet.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] says which of the two it breaks.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                check(text, $what, $limit, $allowed).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

const fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-')
}

const fn device(byte: u8) -> bool {
    // Azure device ids add these to AWS's alphabet.
    plain(byte)
        || matches!(
            byte,
            b'.' | b'+'
                | b'%'
                | b'#'
                | b'*'
                | b'?'
                | b'!'
                | b'('
                | b')'
                | b','
                | b'='
                | b'@'
                | b'$'
                | b'\''
        )
}

const fn policy(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}

const fn shadow(byte: u8) -> bool {
    plain(byte) || byte == b'$'
}

const fn printable(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f
}

name!(
    /// The name of a device within its hub: 1 to 128 bytes, case-sensitive; the union of the
    /// alphabets of AWS thing names and Azure device ids.
    DeviceId, "device id", limits::DEVICE_ID_BYTES, device
);
name!(
    /// The name of a module within its device.
    ModuleId, "module id", limits::DEVICE_ID_BYTES, device
);
name!(
    /// The name of a static group of devices: 1 to 128 bytes of `A-Z a-z 0-9 : _ -`.
    GroupName, "group name", limits::DEVICE_ID_BYTES, plain
);
name!(
    /// The name of a type of devices: 1 to 128 bytes of `A-Z a-z 0-9 : _ -`.
    TypeName, "type name", limits::DEVICE_ID_BYTES, plain
);
name!(
    /// The name of a policy: 1 to 128 bytes of `A-Z a-z 0-9 _ + = , . @ -`.
    PolicyName, "policy name", limits::POLICY_NAME_BYTES, policy
);
const fn template(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

name!(
    /// The name of a provisioning template: 1 to 36 bytes of `A-Z a-z 0-9 _ -`.
    TemplateName, "template name", limits::TEMPLATE_NAME_BYTES, template
);
name!(
    /// The name of a named shadow: 1 to 64 bytes of `$ A-Z a-z 0-9 : _ -`.
    ShadowName, "shadow name", limits::SHADOW_NAME_BYTES, shadow
);
name!(
    /// What an MQTT client calls itself: 1 to 256 bytes of UTF-8 without control characters.
    /// An empty client id is given a name by the hub before it becomes one of these.
    ClientId, "client id", limits::CLIENT_ID_BYTES, printable
);

/// A device, or one of its modules.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address {
    /// The device.
    pub device: DeviceId,
    /// The module within it; `None` is the device itself.
    pub module: Option<ModuleId>,
}

/// A certificate's identity: SHA-256 of its DER encoding.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CertificateId([u8; 32]);

impl CertificateId {
    /// The id of the certificate whose DER encoding has this SHA-256.
    #[must_use]
    pub const fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for CertificateId {
    type Err = InvalidName;

    /// 64 hexadecimal digits of either case, with or without a leading `0x`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "certificate id";
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        if digits.len() != 64 {
            return Err(InvalidName::Length {
                what: WHAT,
                bytes: digits.len(),
                limit: 64,
            });
        }
        let mut id = [0; 32];
        for (at, digit) in digits.iter().enumerate() {
            let Some(value) = char::from(*digit).to_digit(16) else {
                return Err(InvalidName::Byte { what: WHAT, at });
            };
            #[expect(clippy::cast_possible_truncation, reason = "a hex digit is below 16")]
            let value = value as u8;
            id[at / 2] = id[at / 2] << 4 | value;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_id_reads_what_it_prints() {
        let id = CertificateId::from_sha256([0xa7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            format!("0x{}", id.to_string().to_uppercase()).parse(),
            Ok(id)
        );
        assert!("zz".repeat(32).parse::<CertificateId>().is_err());
        assert!("".parse::<CertificateId>().is_err());
    }

    #[test]
    fn a_device_id_says_which_byte_is_wrong() {
        assert_eq!(
            DeviceId::new("pump 7"),
            Err(InvalidName::Byte {
                what: "device id",
                at: 4
            })
        );
        assert!(DeviceId::new("").is_err());
        assert!(DeviceId::new(&"x".repeat(129)).is_err());
        assert!(DeviceId::new(&"x".repeat(128)).is_ok());
    }
}
