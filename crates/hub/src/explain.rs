//! Would a device be allowed to, and why not: the same decisions as on the wire, asked beforehand.

use std::net::IpAddr;

use model::{
    Because, CertificateId, ClientId, Decision, DeviceId, Outcome, ReasonId, Refusal, TopicFilter,
    TopicName,
};
use policy::{Action, Context, Facts, Request, Resource};
use registry::Principal;

use crate::{Caller, Hub, access::certificate_facts, act};

/// What a device would try. Topics and filters are in canonical spelling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// Connect with its own name as the client id, without a last will, starting clean.
    Connect,
    /// Publish to a topic, without the retain flag.
    Publish(TopicName),
    /// Subscribe to a filter.
    Subscribe(TopicFilter),
    /// Receive what others publish to a topic.
    Receive(TopicName),
}

/// What one of a device's principals would be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The principal; `None` when the device has none.
    pub principal: Option<Principal>,
    /// The answer to the question.
    pub decision: Decision,
    /// Why it could not even connect, when the question was another one and it could not.
    pub connect: Option<Decision>,
}

impl Hub {
    /// Answers a question about `device` as it would be answered on the wire, once for each
    /// principal attached to it: the certificate's standing first, then all policies that apply.
    /// The address it would come from is that of its live connection, when it has one.
    ///
    /// # Errors
    ///
    /// `operator.required`; `device.unknown`; [`model::RefusalKind::Internal`] when the registry
    /// cannot be read.
    pub fn explain(
        &self,
        caller: &Caller,
        device: &DeviceId,
        question: &Question,
    ) -> Result<Vec<Explanation>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, &format!("device/{device}"))?;
        let attachments = self.0.store.read(|txn| {
            if txn.device(device)?.is_none() {
                return Err(Refusal::not_found(
                    "device.unknown",
                    format!("there is no device {device}; register it first"),
                ));
            }
            Ok(txn.principals_of_device(device)?)
        })?;
        if attachments.is_empty() {
            let refusal = Refusal::new(
                model::RefusalKind::Unauthenticated,
                "device.no-certificate",
                format!(
                    "no certificate is attached to device {device}; issue one and attach it to the device"
                ),
            );
            return Ok(vec![Explanation {
                principal: None,
                decision: self.refused(device, question, &refusal),
                connect: None,
            }]);
        }
        attachments
            .into_iter()
            .map(|attachment| self.explain_as(attachment.principal, device, question))
            .collect()
    }

    fn explain_as(
        &self,
        principal: Principal,
        device: &DeviceId,
        question: &Question,
    ) -> Result<Explanation, Refusal> {
        let access = match &principal {
            Principal::Certificate(id) => self.access_of(*id, device),
            Principal::Identity(name) => Err(Refusal::new(
                model::RefusalKind::Unsupported,
                "principal.unsupported",
                format!(
                    "{name} is an identity from elsewhere, and devices connect with certificates; attach a certificate"
                ),
            )),
        };
        let access = match access {
            Ok(access) => access,
            Err(refusal) if refusal.kind == model::RefusalKind::Internal => return Err(refusal),
            Err(refusal) => {
                return Ok(Explanation {
                    decision: self.refused(device, question, &refusal),
                    principal: Some(principal),
                    connect: None,
                });
            }
        };
        let connect = (*question != Question::Connect)
            .then(|| self.answer(&access, device, &Question::Connect))
            .filter(|decision| !decision.outcome.is_allowed());
        Ok(Explanation {
            principal: Some(principal),
            decision: self.answer(&access, device, question),
            connect,
        })
    }

    /// What the registry would say to the bearer of a certificate that connects as `device`.
    fn access_of(&self, id: CertificateId, device: &DeviceId) -> Result<crate::Access, Refusal> {
        let unknown = || {
            Refusal::new(
                model::RefusalKind::Unauthenticated,
                "certificate.unknown",
                format!("certificate {id} is not registered; register it again or detach it"),
            )
        };
        let record = self.0.store.read(|txn| txn.certificate(&id))?;
        let record = record.ok_or_else(unknown)?;
        let certificate = x509::certificate_from_pem(&record.pem).map_err(|error| {
            tracing::error!(%id, %error, "a stored certificate cannot be read");
            Refusal::internal("a stored certificate cannot be read")
        })?;
        self.check_standing(&certificate)?;
        let client_id = client_id(device)?;
        let address = self.live_address(&client_id);
        let mut facts = Facts::new(Some(client_id.as_str()), address);
        facts.certificate = Some(certificate_facts(&certificate).into());
        self.fill_access(id, Some(&client_id), facts)
    }

    fn live_address(&self, client_id: &ClientId) -> Option<IpAddr> {
        let info = self.connection_info(client_id)?;
        info.address.map(|address| address.ip())
    }

    fn answer(&self, access: &crate::Access, device: &DeviceId, question: &Question) -> Decision {
        let context = Context {
            now: self.now(),
            ..Context::default()
        };
        let language = &*self.0.language;
        self.with_resource(device, question, |action, resource| {
            let request = Request {
                action,
                resource,
                facts: &access.facts,
                context: &context,
            };
            access.policies.explain(&request, language)
        })
    }

    /// A refusal from before the policies, as the decision it amounts to.
    fn refused(&self, device: &DeviceId, question: &Question, refusal: &Refusal) -> Decision {
        // These messages say what was wrong, and after a semicolon what to do.
        let (miss, remedy) = match refusal.message.split_once("; ") {
            Some((miss, remedy)) => (miss, Some(remedy)),
            None => (&*refusal.message, None),
        };
        self.with_resource(device, question, |action, resource| Decision {
            outcome: Outcome::ImplicitlyDenied,
            reason: ReasonId(refusal.reason.0),
            action: self.0.language.action(action).to_owned(),
            resource: resource.to_string(),
            because: Because {
                miss: Some(miss.to_owned()),
                remedy: remedy.map(str::to_owned),
                ..Because::default()
            },
        })
    }

    fn with_resource<T>(
        &self,
        device: &DeviceId,
        question: &Question,
        then: impl FnOnce(Action, Resource<'_>) -> T,
    ) -> T {
        let language = &*self.0.language;
        match question {
            Question::Connect => then(Action::Connect, Resource::client(device.as_str())),
            Question::Publish(topic) => {
                let spelled = language.topic(topic.as_str());
                then(Action::Publish, Resource::topic(&spelled))
            }
            Question::Subscribe(filter) => {
                let spelled = language.filter(filter.as_str());
                then(Action::Subscribe, Resource::filter(&spelled))
            }
            Question::Receive(topic) => {
                let spelled = language.topic(topic.as_str());
                then(Action::Receive, Resource::topic(&spelled))
            }
        }
    }
}

fn client_id(device: &DeviceId) -> Result<ClientId, Refusal> {
    ClientId::new(device.as_str())
        .map_err(|_| Refusal::internal("the name of a device is always a client id"))
}
