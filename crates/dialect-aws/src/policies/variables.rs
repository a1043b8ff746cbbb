//! The names of variables and condition keys.

use policy::{AlternativeName, CertificateName, NameField, Occurrence, Variable};

/// The variable or condition key of this name. Names are compared without regard to case, as in
/// IAM; the name of an attribute keeps its case.
#[must_use]
pub fn variable(name: &str) -> Variable {
    if let Some(rest) = without_prefix(name, "iot:Connection.Thing.") {
        return of_device(rest);
    }
    if let Some(rest) = without_prefix(name, "iot:Certificate.") {
        return of_certificate(rest).unwrap_or(Variable::Unknown);
    }
    for (known, variable) in [
        ("iot:ClientId", Variable::ClientId),
        ("aws:SourceIp", Variable::SourceAddress),
        ("iot:ConnectAttributes", Variable::ConnectAttributes),
        ("iot:LastWillTopic", Variable::LastWillTopic),
        ("aws:CurrentTime", Variable::CurrentTime),
        ("aws:EpochTime", Variable::EpochTime),
        ("iot:DomainName", Variable::Domain),
        ("iot:Domain", Variable::Domain),
    ] {
        if known.eq_ignore_ascii_case(name) {
            return variable;
        }
    }
    Variable::Unknown
}

fn without_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn of_device(rest: &str) -> Variable {
    if let Some(bracketed) = without_prefix(rest, "Attributes[") {
        return match bracketed.strip_suffix(']') {
            Some(name) if !name.is_empty() => Variable::DeviceAttribute(name.into()),
            _ => Variable::Unknown,
        };
    }
    for (known, variable) in [
        ("ThingName", Variable::DeviceName),
        ("ThingTypeName", Variable::DeviceType),
        ("IsAttached", Variable::DeviceAttached),
    ] {
        if known.eq_ignore_ascii_case(rest) {
            return variable;
        }
    }
    Variable::Unknown
}

fn of_certificate(rest: &str) -> Option<Variable> {
    if rest.eq_ignore_ascii_case("SerialNumber") {
        return Some(Variable::CertificateSerialNumber);
    }
    if rest.eq_ignore_ascii_case("AvailableKeys") {
        return Some(Variable::CertificateAvailableKeys);
    }
    let (whose, rest) = match without_prefix(rest, "Subject.") {
        Some(rest) => (CertificateName::Subject, rest),
        None => (CertificateName::Issuer, without_prefix(rest, "Issuer.")?),
    };
    if let Some(rest) = without_prefix(rest, "AlternativeName.") {
        let (field, occurrence) = occurrence(rest)?;
        let kind = AlternativeName::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(field))?;
        return Some(Variable::CertificateAlternative(whose, kind, occurrence));
    }
    let (field, occurrence) = occurrence(rest)?;
    let field = NameField::ALL
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(field))?;
    Some(Variable::CertificateField(whose, field, occurrence))
}

/// `Country` is the first value, `Country.1` the second, `Country.List` all of them.
fn occurrence(text: &str) -> Option<(&str, Occurrence)> {
    let Some((field, which)) = text.split_once('.') else {
        return Some((text, Occurrence::At(0)));
    };
    if which.eq_ignore_ascii_case("List") {
        return Some((field, Occurrence::List));
    }
    let digits = which.bytes().all(|byte| byte.is_ascii_digit());
    let at = which.parse().ok().filter(|_| digits)?;
    Some((field, Occurrence::At(at)))
}
