//! Distinguished names, as policies and people ask about them.

use std::fmt;

use x509_parser::{asn1_rs::Tag, x509::X509Name};

/// The attributes of a name that policies may ask for. Source: AWS IoT Developer Guide, "X.509
/// certificate policy variables".
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Attribute {
    /// `CN`
    CommonName,
    /// `C`
    Country,
    /// `O`
    Organization,
    /// `OU`
    OrganizationalUnit,
    /// `ST`
    State,
    /// `L`; not offered to policies, shown to people.
    Locality,
    /// `serialNumber`
    SerialNumber,
    /// `dnQualifier`
    DistinguishedNameQualifier,
    /// `title`
    Title,
    /// `SN`
    Surname,
    /// `GN`
    GivenName,
    /// `initials`
    Initials,
    /// `pseudonym`
    Pseudonym,
    /// `generationQualifier`
    GenerationQualifier,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::CommonName,
        Self::Country,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::State,
        Self::Locality,
        Self::SerialNumber,
        Self::DistinguishedNameQualifier,
        Self::Title,
        Self::Surname,
        Self::GivenName,
        Self::Initials,
        Self::Pseudonym,
        Self::GenerationQualifier,
    ];

    /// The last arc of its object identifier, `2.5.4.N`. Source: X.520.
    #[must_use]
    pub const fn arc(self) -> u8 {
        match self {
            Self::CommonName => 3,
            Self::Surname => 4,
            Self::SerialNumber => 5,
            Self::Country => 6,
            Self::Locality => 7,
            Self::State => 8,
            Self::Organization => 10,
            Self::OrganizationalUnit => 11,
            Self::Title => 12,
            Self::GivenName => 42,
            Self::Initials => 43,
            Self::GenerationQualifier => 44,
            Self::DistinguishedNameQualifier => 46,
            Self::Pseudonym => 65,
        }
    }

    /// Its usual abbreviation, as `openssl x509 -subject` prints it.
    #[must_use]
    pub const fn abbreviation(self) -> &'static str {
        match self {
            Self::CommonName => "CN",
            Self::Country => "C",
            Self::Organization => "O",
            Self::OrganizationalUnit => "OU",
            Self::State => "ST",
            Self::Locality => "L",
            Self::SerialNumber => "serialNumber",
            Self::DistinguishedNameQualifier => "dnQualifier",
            Self::Title => "title",
            Self::Surname => "SN",
            Self::GivenName => "GN",
            Self::Initials => "initials",
            Self::Pseudonym => "pseudonym",
            Self::GenerationQualifier => "generationQualifier",
        }
    }
}

/// A distinguished name: a subject or an issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistinguishedName {
    der: Box<[u8]>,
    attributes: Vec<(Attribute, String)>,
}

impl DistinguishedName {
    pub(crate) fn from_parsed(name: &X509Name<'_>) -> Self {
        let attributes = name
            .iter_attributes()
            .filter_map(|attribute| {
                // 2.5.4 and one arc, in the encoding of object identifiers.
                let &[0x55, 0x04, arc] = attribute.attr_type().as_bytes() else {
                    return None;
                };
                let known = Attribute::ALL
                    .into_iter()
                    .find(|known| known.arc() == arc)?;
                let value = attribute.attr_value();
                Some((known, text(value.tag(), value.data)?))
            })
            .collect();
        Self {
            der: name.as_raw().into(),
            attributes,
        }
    }

    /// All values of one attribute, in the order of the certificate.
    pub fn values(&self, attribute: Attribute) -> impl Iterator<Item = &str> {
        self.attributes
            .iter()
            .filter(move |(found, _)| *found == attribute)
            .map(|(_, value)| value.as_str())
    }

    /// The first common name.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.values(Attribute::CommonName).next()
    }

    /// The known attributes with their values, in the order of the certificate.
    #[must_use]
    pub fn attributes(&self) -> &[(Attribute, String)] {
        &self.attributes
    }

    /// The name as it stands in the certificate, DER.
    #[must_use]
    pub const fn der(&self) -> &[u8] {
        &self.der
    }
}

impl fmt::Display for DistinguishedName {
    /// `CN=pump-7, O=Example`: the known attributes in their order; control characters escaped,
    /// so that a name cannot forge a line of a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (attribute, value)) in self.attributes.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}=", attribute.abbreviation())?;
            for character in value.chars() {
                if character.is_control() || character == ',' {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
        }
        Ok(())
    }
}

/// A DirectoryString as text; `None` when it is not a string or breaks its own encoding.
fn text(tag: Tag, data: &[u8]) -> Option<String> {
    if tag == Tag::BmpString {
        let units = data
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return data
            .len()
            .is_multiple_of(2)
            .then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())
            .flatten();
    }
    if tag == Tag::T61String {
        // In practice Latin-1; nobody ever used the escape sequences of T.61 in a certificate.
        return Some(data.iter().map(|byte| char::from(*byte)).collect());
    }
    let is_text = [
        Tag::Utf8String,
        Tag::PrintableString,
        Tag::Ia5String,
        Tag::NumericString,
        Tag::VisibleString,
    ];
    is_text
        .contains(&tag)
        .then(|| String::from_utf8(data.to_vec()).ok())
        .flatten()
}
