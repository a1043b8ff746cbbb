//! Amazon resource names: how AWS spells what the hub's records are about.
//!
//! A name the hub gives out carries the region of the request and the hub's account. A name that is
//! handed in is read by its kind and its last part; clients of several regions share one hub.

use model::Refusal;
use registry::{PolicyTarget, Principal};

use super::call::{invalid, parse};

/// Where a resource name says it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) region: String,
    /// 12 digits.
    pub(crate) account: String,
}

/// What a resource name is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    CaCertificate,
    Certificate,
    Policy,
    ProvisioningTemplate,
    Thing,
    ThingGroup,
    ThingType,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::CaCertificate,
        Self::Certificate,
        Self::Policy,
        Self::ProvisioningTemplate,
        Self::Thing,
        Self::ThingGroup,
        Self::ThingType,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::CaCertificate => "cacert",
            Self::Certificate => "cert",
            Self::Policy => "policy",
            Self::ProvisioningTemplate => "provisioningtemplate",
            Self::Thing => "thing",
            Self::ThingGroup => "thinggroup",
            Self::ThingType => "thingtype",
        }
    }
}

impl Place {
    /// The resource name of `name`.
    pub(crate) fn arn(&self, kind: Kind, name: impl std::fmt::Display) -> String {
        let Self { region, account } = self;
        format!("arn:aws:iot:{region}:{account}:{}/{name}", kind.word())
    }
}

/// The kind and the name in `arn:PARTITION:iot:REGION:ACCOUNT:KIND/NAME`.
pub(crate) fn read(arn: &str) -> Result<(Kind, &str), Refusal> {
    let unknown = || {
        invalid(format!(
            "{arn:?} is not the ARN of something this hub keeps"
        ))
    };
    let mut parts = arn.splitn(6, ':');
    let (Some("arn"), Some(_), Some("iot"), Some(_), Some(_), Some(resource)) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err(unknown());
    };
    let (word, name) = resource.split_once('/').ok_or_else(unknown)?;
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.word() == word)
        .ok_or_else(unknown)?;
    Ok((kind, name))
}

/// The name in an ARN of this kind.
pub(crate) fn read_kind(arn: &str, kind: Kind) -> Result<&str, Refusal> {
    match read(arn)? {
        (found, name) if found == kind => Ok(name),
        _ => Err(invalid(format!(
            "{arn:?} is not the ARN of a {}",
            kind.word()
        ))),
    }
}

/// The principal that an ARN or an identity's name stands for.
pub(crate) fn read_principal(text: &str) -> Result<Principal, Refusal> {
    match read_target(text)? {
        PolicyTarget::Certificate(id) => Ok(Principal::Certificate(id)),
        PolicyTarget::Identity(name) => Ok(Principal::Identity(name)),
        PolicyTarget::Group(_) => Err(invalid(format!("{text:?} is a group, not a principal"))),
    }
}

/// What a policy is attached to: a certificate, a group, or an identity from elsewhere
/// (`region:uuid`).
pub(crate) fn read_target(text: &str) -> Result<PolicyTarget, Refusal> {
    if !text.starts_with("arn:") {
        let is_identity = text
            .split_once(':')
            .is_some_and(|(region, id)| !region.is_empty() && id.len() == 36 && text.len() <= 256);
        if is_identity {
            return Ok(PolicyTarget::Identity(text.to_owned()));
        }
        return Err(invalid(format!(
            "{text:?} is neither the ARN of a certificate or thing group nor an identity"
        )));
    }
    match read(text)? {
        (Kind::Certificate, id) => Ok(PolicyTarget::Certificate(parse(id)?)),
        (Kind::ThingGroup, name) => Ok(PolicyTarget::Group(parse(name)?)),
        (
            Kind::CaCertificate
            | Kind::Policy
            | Kind::ProvisioningTemplate
            | Kind::Thing
            | Kind::ThingType,
            _,
        ) => Err(invalid(format!(
            "{text:?} is neither a certificate nor a thing group"
        ))),
    }
}

/// How a principal is named.
pub(crate) fn principal_arn(place: &Place, principal: &Principal) -> String {
    target_arn(place, &principal.clone().into())
}

/// How what a policy is attached to is named.
pub(crate) fn target_arn(place: &Place, target: &PolicyTarget) -> String {
    match target {
        PolicyTarget::Certificate(id) => place.arn(Kind::Certificate, id),
        PolicyTarget::Group(name) => place.arn(Kind::ThingGroup, name),
        PolicyTarget::Identity(name) => name.clone(),
    }
}

#[test]
fn what_is_given_out_is_read_back() {
    let place = Place {
        region: "eu-central-1".into(),
        account: "000000000000".into(),
    };
    for kind in Kind::ALL {
        let arn = place.arn(kind, "a:b");
        assert_eq!(read(&arn).unwrap(), (kind, "a:b"), "{arn}");
    }
    for wrong in [
        "",
        "arn:aws:iot:r:a:thing",
        "arn:aws:s3:r:a:thing/x",
        "arn:aws:iot:r:a:job/x",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
