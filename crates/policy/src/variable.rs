//! What a policy may ask about the caller and the request, by name.

use std::sync::Arc;

/// Something about the caller or the request that a policy can name, in a pattern (`${…}`) or as
/// the key of a condition.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Variable {
    /// The client id.
    ClientId,
    /// The address the caller connects from.
    SourceAddress,
    /// The name of the caller's device.
    DeviceName,
    /// The type of the caller's device.
    DeviceType,
    /// One attribute of the caller's device.
    DeviceAttribute(Box<str>),
    /// Whether the caller's principal belongs to its device: `true` or `false`.
    DeviceAttached,
    /// A field of the distinguished name of the certificate's subject or issuer.
    CertificateField(CertificateName, NameField, Occurrence),
    /// An alternative name of the certificate's subject or issuer.
    CertificateAlternative(CertificateName, AlternativeName, Occurrence),
    /// The certificate's serial number, in hexadecimal.
    CertificateSerialNumber,
    /// The names of the certificate fields that have values.
    CertificateAvailableKeys,
    /// What the CONNECT packet asks for: the set of `PersistentConnect` and `LastWill`.
    ConnectAttributes,
    /// The topic of the last will, as a resource (`topic/T`).
    LastWillTopic,
    /// The time of the request, as a date.
    CurrentTime,
    /// The time of the request, in seconds since the Unix epoch.
    EpochTime,
    /// The server name the caller connected to.
    Domain,
    /// A name this hub does not know; it never has a value.
    Unknown,
}

/// Whose name in a certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CertificateName {
    /// The one the certificate is for.
    Subject,
    /// The one who signed it.
    Issuer,
}

/// A field of a distinguished name, RFC 5280 §4.1.2.4 and RFC 4519.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is the X.520 attribute of that name")]
pub enum NameField {
    CommonName,
    Country,
    Organization,
    OrganizationalUnit,
    State,
    SerialNumber,
    DistinguishedNameQualifier,
    Title,
    Surname,
    GivenName,
    Initials,
    Pseudonym,
    GenerationQualifier,
}

impl NameField {
    /// Every field.
    pub const ALL: [Self; 13] = [
        Self::CommonName,
        Self::Country,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::State,
        Self::SerialNumber,
        Self::DistinguishedNameQualifier,
        Self::Title,
        Self::Surname,
        Self::GivenName,
        Self::Initials,
        Self::Pseudonym,
        Self::GenerationQualifier,
    ];

    /// Its name, such as `CommonName`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommonName => "CommonName",
            Self::Country => "Country",
            Self::Organization => "Organization",
            Self::OrganizationalUnit => "OrganizationalUnit",
            Self::State => "State",
            Self::SerialNumber => "SerialNumber",
            Self::DistinguishedNameQualifier => "DistinguishedNameQualifier",
            Self::Title => "Title",
            Self::Surname => "Surname",
            Self::GivenName => "GivenName",
            Self::Initials => "Initials",
            Self::Pseudonym => "Pseudonym",
            Self::GenerationQualifier => "GenerationQualifier",
        }
    }
}

/// A kind of alternative name, RFC 5280 §4.2.1.6.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is the GeneralName of that name")]
pub enum AlternativeName {
    Rfc822Name,
    DnsName,
    DirectoryName,
    UniformResourceIdentifier,
    IpAddress,
}

impl AlternativeName {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Rfc822Name,
        Self::DnsName,
        Self::DirectoryName,
        Self::UniformResourceIdentifier,
        Self::IpAddress,
    ];

    /// Its name, such as `DNSName`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rfc822Name => "RFC822Name",
            Self::DnsName => "DNSName",
            Self::DirectoryName => "DirectoryName",
            Self::UniformResourceIdentifier => "UniformResourceIdentifier",
            Self::IpAddress => "IPAddress",
        }
    }
}

/// Which of several values of one certificate field.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Occurrence {
    /// The one at this position, from 0.
    At(u8),
    /// All of them.
    List,
}

/// A variable as it stands in a document.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VariableUse {
    /// What it asks for.
    pub variable: Variable,
    /// Its name as the author wrote it, such as `iot:ClientId`.
    pub spelled: Arc<str>,
}
