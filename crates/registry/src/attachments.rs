//! What holds what: certificates and devices, policies and their targets.

use std::{fmt, str::FromStr};

use model::{CertificateId, DeviceId, GroupName, Refusal, RefusalKind, limits};

/// Who a device can be attached to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Principal {
    /// A certificate.
    Certificate(CertificateId),
    /// An identity from elsewhere, by the name its provider gives it: 1 to 256 bytes.
    Identity(String),
}

/// What a policy can be attached to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PolicyTarget {
    /// A certificate.
    Certificate(CertificateId),
    /// A group: counts for the certificates of its devices and of the groups below it.
    Group(GroupName),
    /// An identity from elsewhere, by the name its provider gives it: 1 to 256 bytes.
    Identity(String),
}

/// How tightly a principal holds a device.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AttachmentKind {
    /// The principal is of this device and no other: it is this device whatever its client id.
    Exclusive,
    /// The principal may be of several devices: it is the one whose name is its client id.
    #[default]
    NonExclusive,
}

/// A principal and a device that belong together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// The device.
    pub device: DeviceId,
    /// The principal.
    pub principal: Principal,
    /// How tightly.
    pub kind: AttachmentKind,
}

impl Attachment {
    /// Whether it may be made beside the principal's and the device's present ones. Making one that
    /// is there already changes its kind.
    ///
    /// # Errors
    ///
    /// `attachment.exclusive` when the principal would not be exclusive to one device any more;
    /// `attachment.too-many`.
    pub fn check(&self, of_principal: &[Self], of_device: &[Self]) -> Result<(), Refusal> {
        let others = |present: &[Self]| {
            let other =
                |held: &&Self| (&held.device, &held.principal) != (&self.device, &self.principal);
            present.iter().filter(other).count()
        };
        let (elsewhere, beside) = (others(of_principal), others(of_device));
        let exclusive_elsewhere = of_principal
            .iter()
            .find(|held| held.kind == AttachmentKind::Exclusive && held.device != self.device);
        if let Some(held) = exclusive_elsewhere {
            return Err(Refusal::malformed(
                "attachment.exclusive",
                format!(
                    "the principal is exclusively attached to device {}; detach it there first",
                    held.device
                ),
            ));
        }
        if self.kind == AttachmentKind::Exclusive && elsewhere > 0 {
            return Err(Refusal::malformed(
                "attachment.exclusive",
                format!(
                    "the principal is attached to {elsewhere} other device(s), so it cannot be \
                     exclusive to {}",
                    self.device
                ),
            ));
        }
        if elsewhere.max(beside) >= limits::ATTACHMENTS {
            return Err(Refusal::new(
                RefusalKind::TooMany,
                "attachment.too-many",
                format!(
                    "at most {} principals and devices are attached to one another",
                    limits::ATTACHMENTS
                ),
            ));
        }
        Ok(())
    }
}

/// How principals and targets are stored: `certificate/…`, `group/…`, `identity/…`.
const CERTIFICATE: &str = "certificate/";
const GROUP: &str = "group/";
const IDENTITY: &str = "identity/";

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(id) => write!(f, "{CERTIFICATE}{id}"),
            Self::Identity(name) => write!(f, "{IDENTITY}{name}"),
        }
    }
}

impl FromStr for Principal {
    type Err = Refusal;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text.parse()? {
            PolicyTarget::Certificate(id) => Ok(Self::Certificate(id)),
            PolicyTarget::Identity(name) => Ok(Self::Identity(name)),
            PolicyTarget::Group(_) => Err(not_a_target(text)),
        }
    }
}

impl fmt::Display for PolicyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(id) => write!(f, "{CERTIFICATE}{id}"),
            Self::Group(name) => write!(f, "{GROUP}{name}"),
            Self::Identity(name) => write!(f, "{IDENTITY}{name}"),
        }
    }
}

impl FromStr for PolicyTarget {
    type Err = Refusal;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let bad = |_| not_a_target(text);
        if let Some(id) = text.strip_prefix(CERTIFICATE) {
            Ok(Self::Certificate(id.parse().map_err(bad)?))
        } else if let Some(name) = text.strip_prefix(GROUP) {
            Ok(Self::Group(name.parse().map_err(bad)?))
        } else if let Some(name) = text.strip_prefix(IDENTITY)
            && (1..=256).contains(&name.len())
        {
            Ok(Self::Identity(name.into()))
        } else {
            Err(not_a_target(text))
        }
    }
}

impl From<Principal> for PolicyTarget {
    fn from(principal: Principal) -> Self {
        match principal {
            Principal::Certificate(id) => Self::Certificate(id),
            Principal::Identity(name) => Self::Identity(name),
        }
    }
}

fn not_a_target(text: &str) -> Refusal {
    Refusal::malformed(
        "attachment.target",
        format!("{text:?} is not the name of something a policy or device can be attached to"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(device: &str, principal: u8, kind: AttachmentKind) -> Attachment {
        Attachment {
            device: DeviceId::new(device).unwrap(),
            principal: Principal::Certificate(CertificateId::from_sha256([principal; 32])),
            kind,
        }
    }

    #[test]
    fn an_exclusive_principal_has_one_device() {
        use AttachmentKind::{Exclusive, NonExclusive};
        for (present, wanted, allowed) in [
            (vec![], ("a", Exclusive), true),
            (vec![("a", NonExclusive)], ("b", NonExclusive), true),
            (vec![("a", NonExclusive)], ("b", Exclusive), false),
            (vec![("a", Exclusive)], ("b", NonExclusive), false),
            (vec![("a", Exclusive)], ("a", NonExclusive), true),
            (vec![("a", NonExclusive)], ("a", Exclusive), true),
        ] {
            let held: Vec<_> = present
                .iter()
                .map(|&(device, kind)| attachment(device, 1, kind))
                .collect();
            let made = attachment(wanted.0, 1, wanted.1).check(&held, &[]);
            assert_eq!(made.is_ok(), allowed, "{present:?} {wanted:?}");
        }
    }

    #[test]
    fn a_target_reads_what_it_prints() {
        for target in [
            PolicyTarget::Certificate(CertificateId::from_sha256([7; 32])),
            PolicyTarget::Group(GroupName::new("g").unwrap()),
            PolicyTarget::Identity("eu:1".into()),
        ] {
            assert_eq!(target.to_string().parse::<PolicyTarget>().unwrap(), target);
        }
        for bad in ["", "group/", "identity/", "certificate/12", "g"] {
            assert!(bad.parse::<PolicyTarget>().is_err(), "{bad}");
        }
        assert!("group/g".parse::<Principal>().is_err());
    }
}
