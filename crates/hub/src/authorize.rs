//! Is this caller allowed to do this to that? Always literally this question.

use std::marker::PhantomData;

use model::{ClientId, Decision, Outcome, ReasonId, Refusal, RefusalKind};
use policy::{Action, Context, Request, Resource};

use crate::{Caller, Hub, Principal, caller::Errand};

/// Something that needs permission, and what it is done to.
pub trait Act {
    /// Its name in records: a verb and a noun.
    const NAME: &'static str;
}

/// The acts that need permission.
pub mod act {
    macro_rules! acts {
        ($($(#[$doc:meta])* $name:ident $text:literal)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl super::Act for $name {
                const NAME: &'static str = $text;
            }
        )*};
    }

    acts! {
        /// Changing devices, types, groups and their attachments.
        ManageDevices "manage devices"
        /// Changing certificates.
        ManageCertificates "manage certificates"
        /// Becoming registered because a registered authority vouches.
        JoinByCa "join by a registered CA"
        /// Being provisioned by claim.
        ProvisionByClaim "be provisioned by claim"
        /// Changing provisioning templates.
        ManageTemplates "manage provisioning templates"
        /// Changing policies and their attachments.
        ManagePolicies "manage policies"
        /// Erasing from the ledger and exporting it.
        ManageLedger "manage the ledger"
        /// Reading the ledger.
        ReadLedger "read the ledger"
        /// Changing settings of the hub.
        ManageSettings "manage settings"
        /// Reading the registry.
        ReadRegistry "read the registry"
        /// Watching messages as an operator.
        WatchMessages "watch messages"
        /// Looking at and ending connections.
        ManageConnections "manage connections"
        /// Reading a shadow.
        GetShadow "get a shadow"
        /// Writing a shadow.
        UpdateShadow "update a shadow"
        /// Removing a shadow.
        DeleteShadow "delete a shadow"
        /// Publishing a message.
        Publish "publish"
        /// Reading retained messages by request.
        ReadRetained "read retained messages"
    }
}

/// It may be done, by this caller, to this target, once. Only this opens the store for writing.
#[derive(Debug)]
#[must_use = "a permit that opens nothing was asked for in vain"]
pub struct Permit<A: Act> {
    errand: Errand,
    target: String,
    act: PhantomData<A>,
}

impl<A: Act> Permit<A> {
    /// Who may.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.errand.principal
    }

    /// Who may, how it came, and what it asked with.
    pub(crate) const fn errand(&self) -> &Errand {
        &self.errand
    }

    /// To what.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl Hub {
    /// Asks for an operator's act. Devices may not do these.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Denied`] for callers who are not operators.
    pub fn authorize<A: Act>(&self, caller: &Caller, target: &str) -> Result<Permit<A>, Refusal> {
        if caller.access().unrestricted {
            return Ok(Permit {
                errand: caller.errand(),
                target: target.into(),
                act: PhantomData,
            });
        }
        Err(Refusal::new(
            RefusalKind::Denied,
            "operator.required",
            format!(
                "only an operator may {}; sign the request with an access key",
                A::NAME
            ),
        ))
    }

    /// Asks for an act that policies decide.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Denied`] with the whole decision.
    pub fn authorize_by_policy<A: Act>(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
    ) -> Result<Permit<A>, Refusal> {
        self.check(caller, action, resource, &Context::default())?;
        Ok(Permit {
            errand: caller.errand(),
            target: resource.to_string(),
            act: PhantomData,
        })
    }

    /// Lets the bearer of a certificate be registered that a registered authority signed, as
    /// `joining` has found out.
    pub(crate) fn authorize_by_ca(
        &self,
        errand: Errand,
        certificate: &registry::CertificateRecord,
    ) -> Permit<act::JoinByCa> {
        Permit {
            errand,
            target: certificate.id.to_string(),
            act: PhantomData,
        }
    }

    /// Whether policies let `caller` do `action` on `resource`. Builds no text.
    pub(crate) fn is_allowed(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        context: &Context<'_>,
    ) -> bool {
        let access = caller.access();
        access.unrestricted
            || access.policies.is_allowed(&Request {
                action,
                resource,
                facts: &access.facts,
                context: &self.context_now(context),
            })
    }

    /// As [`Self::is_allowed`], with the whole decision when it is not.
    pub(crate) fn check(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        if self.is_allowed(caller, action, resource, context) {
            return Ok(());
        }
        let decision = self.decision(caller, action, resource, context);
        Err(denied(decision))
    }

    /// The decision on `action` and `resource`, explained.
    #[must_use]
    pub fn decision(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        context: &Context<'_>,
    ) -> Decision {
        let access = caller.access();
        if access.unrestricted {
            return Decision {
                outcome: Outcome::Allowed,
                reason: ReasonId("operator.full-rights"),
                action: self.0.language.action(action).into(),
                resource: resource.to_string(),
                because: model::Because::default(),
            };
        }
        access.policies.explain(
            &Request {
                action,
                resource,
                facts: &access.facts,
                context: &self.context_now(context),
            },
            &*self.0.language,
        )
    }

    fn context_now<'a>(&self, context: &Context<'a>) -> Context<'a> {
        Context {
            now: self.now(),
            ..*context
        }
    }

    /// Whether `caller` may connect under its client id, with this will and persistence.
    pub(crate) fn check_connect(
        &self,
        caller: &Caller,
        client_id: &ClientId,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        let resource = Resource::client(client_id.as_str());
        self.check(caller, Action::Connect, resource, context)
    }
}

/// Turns a decision that does not allow something into its refusal.
pub(crate) fn denied(decision: Decision) -> Refusal {
    let mut message = decision.summary();
    if let Some(remedy) = &decision.because.remedy {
        message.push_str("; this would allow it: ");
        message.push_str(remedy);
    }
    Refusal {
        kind: RefusalKind::Denied,
        reason: decision.reason,
        message: message.into(),
        decision: Some(Box::new(decision)),
    }
}
