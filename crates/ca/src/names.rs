//! The names that go into certificates.

use std::{fmt, net::IpAddr, str::FromStr};

use x509::Attribute;

use crate::der;

/// A name under which clients reach the hub: a DNS name or an IP address.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ServerName {
    /// A DNS name in lower case, perhaps with a leading `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// The text is neither a DNS name nor an IP address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither a DNS name nor an IP address")]
pub struct InvalidServerName(pub String);

impl FromStr for ServerName {
    type Err = InvalidServerName;

    /// An IP address, or 1 to 253 bytes of labels of 1 to 63 bytes `A-Z a-z 0-9 _ -`
    /// (RFC 1123 §2.1, with the underscore that containers use).
    fn from_str(text: &str) -> Result<Self, InvalidServerName> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        // All digits in the last label would be read as a mistyped address.
        let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() <= 253
            && name.split('.').all(is_label)
            && !name.rsplit('.').next().is_some_and(numeric)
        {
            Ok(Self::Dns(text.to_ascii_lowercase()))
        } else {
            Err(InvalidServerName(text.to_owned()))
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

impl ServerName {
    /// As a GeneralName (RFC 5280 §4.2.1.6).
    pub(crate) fn general_name(&self) -> Vec<u8> {
        match self {
            Self::Dns(name) => der::value(0x82, name.as_bytes()),
            Self::Ip(IpAddr::V4(address)) => der::value(0x87, &address.octets()),
            Self::Ip(IpAddr::V6(address)) => der::value(0x87, &address.octets()),
        }
    }
}

/// A subject to be written into a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    der: Vec<u8>,
}

impl Subject {
    /// A name of these attributes, in this order.
    #[must_use]
    pub fn new(attributes: &[(Attribute, &str)]) -> Self {
        let parts: Vec<_> = attributes
            .iter()
            .map(|(attribute, value)| {
                let oid = [der::oid::ATTRIBUTE, &[attribute.arc()]].concat();
                let value = match attribute {
                    // X.520 allows nothing but PrintableString for these three.
                    Attribute::Country
                    | Attribute::SerialNumber
                    | Attribute::DistinguishedNameQualifier => der::printable_string(value),
                    Attribute::CommonName
                    | Attribute::Organization
                    | Attribute::OrganizationalUnit
                    | Attribute::State
                    | Attribute::Locality
                    | Attribute::Title
                    | Attribute::Surname
                    | Attribute::GivenName
                    | Attribute::Initials
                    | Attribute::Pseudonym
                    | Attribute::GenerationQualifier => der::utf8_string(value),
                };
                der::set(&[&der::sequence(&[&der::object_identifier(&oid), &value])])
            })
            .collect();
        Self {
            der: der::value(der::SEQUENCE, &parts.concat()),
        }
    }

    /// A name of one common name.
    #[must_use]
    pub fn common_name(name: &str) -> Self {
        Self::new(&[(Attribute::CommonName, name)])
    }

    pub(crate) fn from_der(der: &[u8]) -> Self {
        Self { der: der.into() }
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_a_dns_name_or_an_address() {
        check("localhost", true);
        check("Hub.Example.COM", true);
        check("*.iot.example.com", true);
        check("my_container", true);
        check("127.0.0.1", true);
        check("::1", true);
        check("", false);
        check("a..b", false);
        check("-a", false);
        check("300.1.1.1", false);
        check("host:8883", false);
        check("über.example", false);
        check(&"a".repeat(64), false);
    }

    #[track_caller]
    fn check(text: &str, valid: bool) {
        assert_eq!(text.parse::<ServerName>().is_ok(), valid, "{text:?}");
    }
}
