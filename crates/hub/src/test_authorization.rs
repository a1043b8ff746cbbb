//! What policies would decide, for an operator who changes them: which apply to a principal, and
//! what they say to a list of requests, some policies added or left out.

use std::{collections::BTreeMap, sync::Arc};

use model::{CertificateId, ClientId, Decision, DeviceId, Outcome, PolicyName, Refusal, limits};
use policy::{Action, CompiledSet, Context, Facts, Request, Resource, ResourceKind};
use registry::{PolicyTarget, Principal};

use crate::{Caller, Hub, access::certificate_facts, act};

/// Requests to try against policies.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationTest {
    /// Whose policies; `None` tries only those of `add`.
    pub principal: Option<Principal>,
    /// What it would call itself, for variables and groups.
    pub client_id: Option<ClientId>,
    /// Policies to try besides its own.
    pub add: Vec<PolicyName>,
    /// Policies of its own to leave out.
    pub skip: Vec<PolicyName>,
    /// The requests; at most [`limits::AUTHORIZATION_CHECKS`].
    pub checks: Vec<AuthorizationCheck>,
}

/// One request to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthorizationCheck {
    /// What would be done.
    pub action: Action,
    /// The sort of what it would be done to.
    pub kind: ResourceKind,
    /// Its name, as the authors of policies spell it.
    pub name: String,
}

/// What policies say to one request.
#[derive(Clone, Debug)]
pub struct AuthorizationResult {
    /// The request.
    pub check: AuthorizationCheck,
    /// The decision with its story.
    pub decision: Decision,
    /// The policies with a statement that allows it.
    pub allowing: Vec<PolicyName>,
    /// The policies with a statement that denies it.
    pub denying: Vec<PolicyName>,
    /// The policies that say nothing to it.
    pub silent: Vec<PolicyName>,
    /// Variables the policies ask for that have no value in a test, as their authors spell them.
    pub missing: Vec<String>,
}

/// A policy that applies to a principal or a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EffectivePolicy {
    /// Its name.
    pub name: PolicyName,
    /// The text of the version that counts.
    pub document: String,
}

type Named = BTreeMap<PolicyName, Arc<policy::Document>>;

impl Hub {
    /// Tries requests against the policies that apply to a principal. A certificate's status does
    /// not matter here, only its policies do.
    ///
    /// # Errors
    ///
    /// `operator.required`; `certificate.unknown`; `policy.unknown` for a policy to add;
    /// `authorization.too-many-checks`; [`model::RefusalKind::Internal`] when the registry cannot
    /// be read.
    pub fn test_authorization(
        &self,
        caller: &Caller,
        test: AuthorizationTest,
    ) -> Result<Vec<AuthorizationResult>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "policies")?;
        if test.checks.len() > limits::AUTHORIZATION_CHECKS {
            return Err(Refusal::new(
                model::RefusalKind::TooMany,
                "authorization.too-many-checks",
                format!(
                    "at most {} requests are tried at once; send the others separately",
                    limits::AUTHORIZATION_CHECKS
                ),
            ));
        }
        let (facts, mut named) = self.under_test(&test)?;
        named.retain(|name, _| !test.skip.contains(name));
        for name in &test.add {
            named.insert(name.clone(), self.document_of(name)?);
        }
        let policies: Vec<_> = named
            .iter()
            .map(|(name, document)| (Arc::from(name.as_str()), Arc::clone(document)))
            .collect();
        let set = policy::compile(&policies);
        test.checks
            .into_iter()
            .map(|check| self.try_one(check, &set, &named, &facts))
            .collect()
    }

    fn try_one(
        &self,
        check: AuthorizationCheck,
        set: &CompiledSet,
        named: &Named,
        facts: &Facts,
    ) -> Result<AuthorizationResult, Refusal> {
        let context = Context {
            now: self.now(),
            ..Context::default()
        };
        let request = Request {
            action: check.action,
            resource: Resource::of_kind(check.kind, &check.name),
            facts,
            context: &context,
        };
        let sides = set.sides(&request);
        let pick = |wanted: &dyn Fn(&&str) -> bool| -> Vec<PolicyName> {
            let names = named.keys();
            names
                .filter(|name| wanted(&name.as_str()))
                .cloned()
                .collect()
        };
        let decision = set.explain(&request, &*self.0.language);
        let missing = set.missing(&request).into_iter().map(str::to_owned);
        Ok(AuthorizationResult {
            allowing: pick(&|name| sides.allowing.contains(name)),
            denying: pick(&|name| sides.denying.contains(name)),
            silent: pick(&|name| !sides.allowing.contains(name) && !sides.denying.contains(name)),
            missing: missing.collect(),
            decision,
            check,
        })
    }

    /// What is known of the tested principal, and the policies that apply to it.
    fn under_test(&self, test: &AuthorizationTest) -> Result<(Facts, Named), Refusal> {
        let mut facts = Facts::new(test.client_id.as_ref().map(ClientId::as_str), None);
        match &test.principal {
            None => Ok((facts, Named::new())),
            Some(Principal::Certificate(id)) => {
                let record = self.0.store.read(|txn| txn.certificate(id))?;
                let record = record.ok_or_else(|| unknown_certificate(*id))?;
                let certificate = x509::certificate_from_pem(&record.pem).map_err(|error| {
                    tracing::error!(%id, %error, "a stored certificate cannot be read");
                    Refusal::internal("a stored certificate cannot be read")
                })?;
                facts.certificate = Some(certificate_facts(&certificate).into());
                let access = self.fill_access(*id, test.client_id.as_ref(), facts)?;
                let named = access.policies.policies().iter().map(|(name, document)| {
                    let name = PolicyName::new(name)
                        .map_err(|_| Refusal::internal("a stored policy has no name"))?;
                    Ok((name, Arc::clone(document)))
                });
                let named = named.collect::<Result<_, Refusal>>()?;
                Ok((access.facts, named))
            }
            Some(identity @ Principal::Identity(_)) => {
                let target = identity.clone().into();
                let names = self.0.store.read(|txn| txn.policies_of_target(&target))?;
                let named = names
                    .into_iter()
                    .map(|name| Ok((name.clone(), self.document_of(&name)?)))
                    .collect::<Result<_, Refusal>>()?;
                Ok((facts, named))
            }
        }
    }

    fn document_of(&self, name: &PolicyName) -> Result<Arc<policy::Document>, Refusal> {
        let text = self.0.store.read(|txn| txn.policy_document(name))?;
        let text = text.ok_or_else(|| {
            Refusal::not_found("policy.unknown", format!("there is no policy {name}"))
        })?;
        self.parsed(&text)
    }

    /// The policies attached to `principal` and to the groups of `device` and those above, by
    /// name, each once, with their texts.
    ///
    /// # Errors
    ///
    /// `operator.required`; `certificate.unknown`; `device.unknown`;
    /// [`model::RefusalKind::Internal`] when the registry cannot be read.
    pub fn effective_policies(
        &self,
        caller: &Caller,
        principal: Option<&Principal>,
        device: Option<&DeviceId>,
    ) -> Result<Vec<EffectivePolicy>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "policies")?;
        self.0.store.read(|txn| {
            let mut targets: Vec<PolicyTarget> = Vec::new();
            if let Some(principal) = principal {
                if let Principal::Certificate(id) = principal
                    && txn.certificate(id)?.is_none()
                {
                    return Err(unknown_certificate(*id));
                }
                targets.push(principal.clone().into());
            }
            if let Some(device) = device {
                if txn.device(device)?.is_none() {
                    return Err(Refusal::not_found(
                        "device.unknown",
                        format!("there is no device {device}; register it first"),
                    ));
                }
                let groups = txn.groups_above_device(device)?;
                targets.extend(groups.into_iter().map(PolicyTarget::Group));
            }
            let mut found = BTreeMap::new();
            for target in &targets {
                for name in txn.policies_of_target(target)? {
                    if let Some(document) = txn.policy_document(&name)? {
                        found.insert(name, document);
                    }
                }
            }
            Ok(found
                .into_iter()
                .map(|(name, document)| EffectivePolicy { name, document })
                .collect())
        })
    }
}

impl AuthorizationResult {
    /// Which way it goes.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.decision.outcome
    }
}

fn unknown_certificate(id: CertificateId) -> Refusal {
    Refusal::not_found(
        "certificate.unknown",
        format!("there is no certificate {id}; register it first"),
    )
}
