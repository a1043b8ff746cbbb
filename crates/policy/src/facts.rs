//! What is known about the caller and the request when a policy is evaluated.

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use model::{Timestamp, limits};
use smallvec::SmallVec;

use crate::{AlternativeName, CertificateName, NameField, Occurrence, Variable, date::format_date};

/// What is known about a caller for as long as it is connected. Make it again when its device or
/// its principal changes.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    client_id: Option<Arc<str>>,
    source: Option<(IpAddr, Box<str>)>,
    /// The caller's device, when the dialect's rule says that it speaks for one.
    pub device: Option<DeviceFacts>,
    /// The certificate it authenticated with.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// The server name it connected to.
    pub domain: Option<Arc<str>>,
}

/// What is known about the caller's device.
#[derive(Clone, Debug, Default)]
pub struct DeviceFacts {
    /// Its name.
    pub name: String,
    /// Its type, when it has one.
    pub type_name: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What policies can see of a certificate.
#[derive(Clone, Debug, Default)]
pub struct CertificateFacts {
    /// Whom it is for.
    pub subject: NameFacts,
    /// Who signed it.
    pub issuer: NameFacts,
    /// Its serial number, in hexadecimal.
    pub serial_number: String,
}

/// The names of a certificate's subject or issuer, each with its values in the certificate's
/// order. Only the first [`limits::POLICY_CERTIFICATE_VALUES`] of each are seen.
#[derive(Clone, Debug, Default)]
pub struct NameFacts {
    /// Fields of the distinguished name.
    pub fields: BTreeMap<NameField, Vec<String>>,
    /// Alternative names.
    pub alternatives: BTreeMap<AlternativeName, Vec<String>>,
}

/// What is known about one request beyond the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// When it is asked.
    pub now: Timestamp,
    /// CONNECT only: whether it asks for a session that outlives the connection.
    pub persistent_connect: bool,
    /// CONNECT only: the topic of the last will, spelled as the policy's authors spell topics.
    pub last_will_topic: Option<&'a str>,
}

/// Why a variable is not substituted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unresolved {
    /// The hub knows no such variable.
    Unknown,
    /// The caller has no client id.
    NoClientId,
    /// The caller's address is not known.
    NoAddress,
    /// The caller speaks for no device.
    NoDevice,
    /// The device has no type, or no such attribute.
    NotOnDevice,
    /// The caller presented no certificate.
    NoCertificate,
    /// The certificate has no such field.
    NotInCertificate,
    /// The request says nothing about it.
    NotInRequest,
    /// Several values, of which none is meant.
    Several,
    /// Longer than [`limits::POLICY_VALUE_CHARS`].
    TooLong,
    /// Holds one of `* $ + ? #`, which could widen what the pattern matches.
    Wildcard,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "this hub knows no variable of that name",
            Self::NoClientId => "the caller has no client id",
            Self::NoAddress => "the caller's address is not known",
            Self::NoDevice => {
                "the caller speaks for no device: its client id is not the name of a device that \
                 its certificate is attached to"
            }
            Self::NotOnDevice => "the device does not have it",
            Self::NoCertificate => "the caller presented no certificate",
            Self::NotInCertificate => "the certificate does not have it",
            Self::NotInRequest => "the request does not have it",
            Self::Several => "it has several values; name one of them",
            Self::TooLong => "its value is over 1024 characters and is not substituted",
            Self::Wildcard => "its value holds one of * $ + ? # and is not substituted",
        })
    }
}

impl Facts {
    /// A caller with a client id, when it has one, and an address, when it is known.
    #[must_use]
    pub fn new(client_id: Option<&str>, source: Option<IpAddr>) -> Self {
        Self {
            client_id: client_id.map(Into::into),
            source: source.map(|address| {
                let address = address.to_canonical();
                (address, address.to_string().into())
            }),
            ..Self::default()
        }
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The address the caller connects from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.source.as_ref().map(|(address, _)| *address)
    }
}

impl CertificateFacts {
    const fn name(&self, whose: CertificateName) -> &NameFacts {
        match whose {
            CertificateName::Subject => &self.subject,
            CertificateName::Issuer => &self.issuer,
        }
    }

    /// The names of the fields that have values, such as `Subject.CommonName`.
    fn available_keys(&self) -> impl Iterator<Item = String> {
        [("Subject", &self.subject), ("Issuer", &self.issuer)]
            .into_iter()
            .flat_map(|(whose, name)| {
                let fields = name.fields.iter().filter(|(_, values)| !values.is_empty());
                let alternatives = name
                    .alternatives
                    .iter()
                    .filter(|(_, values)| !values.is_empty());
                fields
                    .map(move |(field, _)| format!("{whose}.{}", field.name()))
                    .chain(
                        alternatives.map(move |(kind, _)| {
                            format!("{whose}.AlternativeName.{}", kind.name())
                        }),
                    )
            })
    }
}

/// The values of variables during one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    facts: &'a Facts,
    context: &'a Context<'a>,
    connecting: bool,
}

type Many<'a> = SmallVec<[Cow<'a, str>; 3]>;

impl<'a> Values<'a> {
    /// `connecting` is whether the request is a CONNECT, so that its attributes are known.
    #[must_use]
    pub const fn new(facts: &'a Facts, context: &'a Context<'a>, connecting: bool) -> Self {
        Self {
            facts,
            context,
            connecting,
        }
    }

    /// The value to put in the place of `variable` in a pattern.
    ///
    /// # Errors
    ///
    /// [`Unresolved`] when it has none, or when substituting it is not safe.
    pub fn substitute(&self, variable: &Variable) -> Result<Cow<'a, str>, Unresolved> {
        let value = self.single(variable)?;
        if value
            .bytes()
            .any(|byte| matches!(byte, b'*' | b'$' | b'+' | b'?' | b'#'))
        {
            return Err(Unresolved::Wildcard);
        }
        if value.len() > limits::POLICY_VALUE_CHARS
            && value.chars().count() > limits::POLICY_VALUE_CHARS
        {
            return Err(Unresolved::TooLong);
        }
        Ok(value)
    }

    fn single(&self, variable: &Variable) -> Result<Cow<'a, str>, Unresolved> {
        let facts = self.facts;
        let device = || facts.device.as_ref().ok_or(Unresolved::NoDevice);
        let text = match variable {
            Variable::ClientId => facts.client_id().ok_or(Unresolved::NoClientId)?,
            Variable::SourceAddress => {
                let (_, text) = facts.source.as_ref().ok_or(Unresolved::NoAddress)?;
                text
            }
            Variable::DeviceName => &device()?.name,
            Variable::DeviceType => device()?
                .type_name
                .as_deref()
                .ok_or(Unresolved::NotOnDevice)?,
            Variable::DeviceAttribute(name) => device()?
                .attributes
                .get(&**name)
                .ok_or(Unresolved::NotOnDevice)?,
            Variable::DeviceAttached => {
                if facts.device.is_some() {
                    "true"
                } else {
                    "false"
                }
            }
            Variable::CertificateField(_, _, occurrence)
            | Variable::CertificateAlternative(_, _, occurrence) => {
                let values = self.certificate_values(variable)?;
                match (occurrence, values) {
                    (Occurrence::At(at), values) => values
                        .get(usize::from(*at))
                        .ok_or(Unresolved::NotInCertificate)?,
                    (Occurrence::List, [only]) => only,
                    (Occurrence::List, []) => return Err(Unresolved::NotInCertificate),
                    (Occurrence::List, _) => return Err(Unresolved::Several),
                }
            }
            Variable::CertificateSerialNumber => {
                &facts
                    .certificate
                    .as_ref()
                    .ok_or(Unresolved::NoCertificate)?
                    .serial_number
            }
            Variable::CertificateAvailableKeys | Variable::ConnectAttributes => {
                return Err(Unresolved::Several);
            }
            Variable::LastWillTopic => {
                let topic = self.context.last_will_topic.filter(|_| self.connecting);
                let topic = topic.ok_or(Unresolved::NotInRequest)?;
                return Ok(Cow::Owned(format!("topic/{topic}")));
            }
            Variable::CurrentTime => return Ok(Cow::Owned(format_date(self.context.now))),
            Variable::EpochTime => {
                return Ok(Cow::Owned(self.context.now.seconds().to_string()));
            }
            Variable::Domain => facts.domain.as_deref().ok_or(Unresolved::NotInRequest)?,
            Variable::Unknown => return Err(Unresolved::Unknown),
        };
        Ok(Cow::Borrowed(text))
    }

    /// All values of `variable` as the key of a condition; none when it is absent. Unlike in a
    /// pattern, any text may be a value here: it is compared, never substituted.
    #[must_use]
    pub fn all(&self, variable: &Variable) -> SmallVec<[Cow<'a, str>; 3]> {
        let mut values = Many::new();
        match variable {
            Variable::CertificateField(_, _, Occurrence::List)
            | Variable::CertificateAlternative(_, _, Occurrence::List) => {
                if let Ok(list) = self.certificate_values(variable) {
                    values.extend(list.iter().map(|value| Cow::Borrowed(value.as_str())));
                }
            }
            Variable::CertificateAvailableKeys => {
                if let Some(certificate) = &self.facts.certificate {
                    values.extend(certificate.available_keys().map(Cow::Owned));
                }
            }
            Variable::ConnectAttributes => {
                if self.connecting && self.context.persistent_connect {
                    values.push(Cow::Borrowed("PersistentConnect"));
                }
                if self.connecting && self.context.last_will_topic.is_some() {
                    values.push(Cow::Borrowed("LastWill"));
                }
            }
            Variable::ClientId
            | Variable::SourceAddress
            | Variable::DeviceName
            | Variable::DeviceType
            | Variable::DeviceAttribute(_)
            | Variable::DeviceAttached
            | Variable::CertificateField(_, _, Occurrence::At(_))
            | Variable::CertificateAlternative(_, _, Occurrence::At(_))
            | Variable::CertificateSerialNumber
            | Variable::LastWillTopic
            | Variable::CurrentTime
            | Variable::EpochTime
            | Variable::Domain
            | Variable::Unknown => values.extend(self.single(variable)),
        }
        values
    }

    /// Why [`Self::all`] is empty for `variable`, when it is.
    #[must_use]
    pub fn absence(&self, variable: &Variable) -> Option<Unresolved> {
        if !self.all(variable).is_empty() {
            return None;
        }
        match self.single(variable) {
            Err(Unresolved::Several) => Some(Unresolved::NotInRequest),
            Err(reason) => Some(reason),
            Ok(_) => None,
        }
    }

    fn certificate_values(&self, variable: &Variable) -> Result<&'a [String], Unresolved> {
        let certificate = self.facts.certificate.as_deref();
        let certificate = certificate.ok_or(Unresolved::NoCertificate)?;
        let values = if let Variable::CertificateField(whose, field, _) = variable {
            certificate.name(*whose).fields.get(field)
        } else if let Variable::CertificateAlternative(whose, kind, _) = variable {
            certificate.name(*whose).alternatives.get(kind)
        } else {
            None
        };
        let values = values.ok_or(Unresolved::NotInCertificate)?;
        let seen = values.len().min(limits::POLICY_CERTIFICATE_VALUES);
        Ok(&values[..seen])
    }
}
