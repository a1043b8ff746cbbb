//! One attempt to become registered, step by step.

use model::{CertificateId, Refusal, Timestamp};

/// A way to become registered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Flow {
    /// A certificate of a registered CA is registered when it is first seen, and waits to be
    /// activated by somebody who was told.
    JustInTimeRegistration,
    /// The same, but the CA has a template, which is carried out at once.
    JustInTimeProvisioning,
    /// An operator has a template carried out.
    RegisterDevice,
    /// A device with a claim certificate asks for one of its own.
    CertificateByClaim,
    /// The same device has a template carried out for it.
    ProvisioningByClaim,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::JustInTimeRegistration,
        Self::JustInTimeProvisioning,
        Self::RegisterDevice,
        Self::CertificateByClaim,
        Self::ProvisioningByClaim,
    ];

    /// The name in listings; stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JustInTimeRegistration => "just-in-time-registration",
            Self::JustInTimeProvisioning => "just-in-time-provisioning",
            Self::RegisterDevice => "register-thing",
            Self::CertificateByClaim => "certificate-by-claim",
            Self::ProvisioningByClaim => "provisioning-by-claim",
        }
    }

    /// Its steps, in their order.
    #[must_use]
    pub const fn steps(self) -> &'static [Step] {
        match self {
            Self::JustInTimeRegistration => &[
                Step::Issuer,
                Step::ServerName,
                Step::CaActive,
                Step::AutoRegistration,
                Step::Validity,
                Step::Registered,
                Step::Announced,
            ],
            Self::JustInTimeProvisioning => &[
                Step::Issuer,
                Step::ServerName,
                Step::CaActive,
                Step::AutoRegistration,
                Step::Validity,
                Step::Template,
                Step::Parameters,
                Step::Certificate,
                Step::Device,
                Step::Policy,
                Step::Attached,
                Step::Committed,
            ],
            Self::RegisterDevice => &[
                Step::Template,
                Step::Parameters,
                Step::Certificate,
                Step::Device,
                Step::Policy,
                Step::Attached,
                Step::Committed,
            ],
            Self::CertificateByClaim => &[Step::Payload, Step::Issued, Step::Committed],
            Self::ProvisioningByClaim => &[
                Step::Payload,
                Step::Ownership,
                Step::Template,
                Step::Parameters,
                Step::Certificate,
                Step::Device,
                Step::Policy,
                Step::Attached,
                Step::Committed,
            ],
        }
    }
}

/// One step of a way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    /// A registered CA signed the certificate.
    Issuer,
    /// The client named the hub in SNI, where its CA needs that.
    ServerName,
    /// The CA is active and within its validity.
    CaActive,
    /// The CA's certificates are registered at first sight.
    AutoRegistration,
    /// The certificate is within its validity.
    Validity,
    /// The certificate is in the registry.
    Registered,
    /// Whoever subscribes was told of it.
    Announced,
    /// What was sent is what is asked for.
    Payload,
    /// The certificate was issued.
    Issued,
    /// The token is good, and the certificate it is for is the device's.
    Ownership,
    /// The template is there and was read.
    Template,
    /// Every parameter has a value, and what the template makes of them can be used.
    Parameters,
    /// The certificate has its status.
    Certificate,
    /// The device is registered, with type, attributes and groups.
    Device,
    /// The policy is there.
    Policy,
    /// Certificate, device and policy are attached to one another.
    Attached,
    /// All of it was written; before this step, nothing was.
    Committed,
}

impl Step {
    /// The name in listings; stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::ServerName => "server-name",
            Self::CaActive => "ca-active",
            Self::AutoRegistration => "auto-registration",
            Self::Validity => "validity",
            Self::Registered => "registered",
            Self::Announced => "announced",
            Self::Payload => "payload",
            Self::Issued => "issued",
            Self::Ownership => "ownership",
            Self::Template => "template",
            Self::Parameters => "parameters",
            Self::Certificate => "certificate",
            Self::Device => "device",
            Self::Policy => "policy",
            Self::Attached => "attached",
            Self::Committed => "committed",
        }
    }
}

/// A step that was taken, or tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// Which.
    pub step: Step,
    /// The stable name of the reason, when it was the last.
    pub refused: Option<&'static str>,
    /// For people: what was found, or why it goes no further.
    pub note: String,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// At the end of its steps.
    Done,
    /// At this step.
    RefusedAt(Step),
}

/// One attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Which way.
    pub flow: Flow,
    /// When it began.
    pub at: Timestamp,
    /// The certificate that is, or would be, registered.
    pub certificate: Option<CertificateId>,
    /// The CA that signed it.
    pub ca: Option<CertificateId>,
    /// The template that is carried out, by name; `None` for one without a name, too.
    pub template: Option<String>,
    /// The steps so far.
    pub steps: Vec<Taken>,
}

impl Attempt {
    /// One that begins now.
    #[must_use]
    pub const fn new(flow: Flow, at: Timestamp) -> Self {
        Self {
            flow,
            at,
            certificate: None,
            ca: None,
            template: None,
            steps: Vec::new(),
        }
    }

    /// Notes that `step` ended with `result`, of which `note` tells people; a refusal tells itself.
    ///
    /// # Errors
    ///
    /// The refusal that was given.
    pub fn take<T>(
        &mut self,
        step: Step,
        result: Result<T, Refusal>,
        note: impl FnOnce(&T) -> String,
    ) -> Result<T, Refusal> {
        let (refused, note) = match &result {
            Ok(found) => (None, note(found)),
            Err(refusal) => (Some(refusal.reason.0), refusal.message.to_string()),
        };
        self.steps.push(Taken {
            step,
            refused,
            note,
        });
        result
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.steps
            .iter()
            .find(|taken| taken.refused.is_some())
            .map_or(Outcome::Done, |taken| Outcome::RefusedAt(taken.step))
    }

    /// The stable name of the reason it was refused for.
    #[must_use]
    pub fn refused(&self) -> Option<&'static str> {
        self.steps.iter().find_map(|taken| taken.refused)
    }

    /// In one line: the steps that were taken, and where it stopped and why.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = format!("{}:", self.flow.name());
        for taken in &self.steps {
            let arrow = if line.ends_with(':') { " " } else { " -> " };
            line.push_str(arrow);
            line.push_str(taken.step.name());
            if taken.refused.is_some() {
                line.push_str(" FAILED: ");
                line.push_str(&taken.note);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_tells_which_arrow_failed_and_why() {
        let mut attempt = Attempt::new(Flow::JustInTimeRegistration, Timestamp::from_seconds(1));
        attempt
            .take(Step::Issuer, Ok(()), |()| "CA 1".into())
            .unwrap();
        assert_eq!(attempt.outcome(), Outcome::Done);
        let refusal = Refusal::malformed("a.b", "it is off");
        let refused = attempt.take(Step::CaActive, Err::<(), _>(refusal), |()| unreachable!());
        assert_eq!(refused.unwrap_err().reason.0, "a.b");
        assert_eq!(attempt.outcome(), Outcome::RefusedAt(Step::CaActive));
        assert_eq!(attempt.refused(), Some("a.b"));
        assert_eq!(
            attempt.summary(),
            "just-in-time-registration: issuer -> ca-active FAILED: it is off"
        );
    }

    #[test]
    fn names_are_distinct_and_no_way_takes_a_step_twice() {
        for flow in Flow::ALL {
            let steps = flow.steps();
            for (at, step) in steps.iter().enumerate() {
                assert!(
                    steps[..at].iter().all(|other| other.name() != step.name()),
                    "{step:?} twice in {}",
                    flow.name()
                );
            }
        }
    }
}
