//! What policies may ask about a certificate.

use std::collections::BTreeMap;

use policy::{AlternativeName, NameFacts, NameField};
use x509::{AlternativeNames, Attribute, DistinguishedName};

/// A name of a certificate, its subject's or its issuer's, as policies see it.
pub(crate) fn name_facts(name: &DistinguishedName, alternatives: &AlternativeNames) -> NameFacts {
    let fields = NameField::ALL
        .into_iter()
        .map(|field| {
            let values = name.values(attribute(field)).map(str::to_owned).collect();
            (field, values)
        })
        .filter(|(_, values): &(_, Vec<String>)| !values.is_empty())
        .collect();
    let addresses = alternatives.ip.iter().map(ToString::to_string).collect();
    let alternatives: BTreeMap<_, Vec<String>> = [
        (AlternativeName::Rfc822Name, alternatives.rfc822.clone()),
        (AlternativeName::DnsName, alternatives.dns.clone()),
        (
            AlternativeName::DirectoryName,
            alternatives.directory.clone(),
        ),
        (
            AlternativeName::UniformResourceIdentifier,
            alternatives.uri.clone(),
        ),
        (AlternativeName::IpAddress, addresses),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .collect();
    NameFacts {
        fields,
        alternatives,
    }
}

const fn attribute(field: NameField) -> Attribute {
    match field {
        NameField::CommonName => Attribute::CommonName,
        NameField::Country => Attribute::Country,
        NameField::Organization => Attribute::Organization,
        NameField::OrganizationalUnit => Attribute::OrganizationalUnit,
        NameField::State => Attribute::State,
        NameField::SerialNumber => Attribute::SerialNumber,
        NameField::DistinguishedNameQualifier => Attribute::DistinguishedNameQualifier,
        NameField::Title => Attribute::Title,
        NameField::Surname => Attribute::Surname,
        NameField::GivenName => Attribute::GivenName,
        NameField::Initials => Attribute::Initials,
        NameField::Pseudonym => Attribute::Pseudonym,
        NameField::GenerationQualifier => Attribute::GenerationQualifier,
    }
}
