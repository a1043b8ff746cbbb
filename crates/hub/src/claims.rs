//! Fleet provisioning by claim: devices that share a certificate with few rights ask for one of
//! their own, and a template makes the rest.
//!
//! A device asks by messages, in two steps: first for a certificate (with or without a key), which
//! comes with a token that proves that it is the device's, then, with the token, for the template
//! to be carried out. Requests are not given to subscribers and answers go to the connection that
//! asked and nobody else, for they hold keys and tokens. The token is worth an hour, counts once,
//! and only from the principal that was given it; the certificate of a token that has expired is
//! forgotten.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::digest;
use broker::{Message, Origin};
use ledger::Verb;
use model::{Refusal, RefusalKind, TemplateName, Timestamp, TopicName, limits};
use mqtt_proto::{PublishProperties, QoS};
use policy::{Action, Resource};
use provisioning::{Attempt, Flow, Step, cbor};
use registry::{CertificateRecord, CertificateStatus, PolicyTarget, TemplateKind};
use serde_json::{Value, json};
use store::{OwnershipToken, ReadTxn, WriteTxn};

use crate::{
    Ack, Caller, Changed, Connection, Hub, IssuedCertificate, Permit, PublishRequest, act,
    certificates::{find_certificate, identity_for, identity_until, new_record},
    from_template::{Bearer, Shared, implied, lock, take},
    joining::check_enabled,
    policies::attach,
    provision::create_missing,
    templates::{find_template, in_force, parse},
    timeline::Kind,
};

/// How long a device has from its certificate to its provisioning. AWS: 1 hour.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// How long a claim that an operator makes for one installation is worth something. AWS: 5 minutes.
const CLAIM_LIFE: Duration = Duration::from_mins(5);

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// CBOR, with the same members.
    Cbor,
}

/// What a device with a claim asks for. The payload is that of the message that asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClaimRequest {
    /// A key and a certificate, with this common name.
    Create {
        /// The certificate's subject.
        common_name: &'static str,
    },
    /// A certificate for a key of its own.
    CreateFromRequest,
    /// That this template be carried out.
    Provision(TemplateName),
}

impl Connection {
    /// Answers what a device with a claim asks for, by a message to it alone.
    pub(crate) async fn answer_claim(
        &mut self,
        message: &PublishRequest,
        asked: &ClaimRequest,
        encoding: Encoding,
    ) -> Result<Ack, Refusal> {
        let (hub, caller) = (self.hub().clone(), Arc::clone(self.caller()));
        if let Err(refusal) = hub.check_publish(&caller, message) {
            hub.record_refused(Kind::PublishRefused, &caller, &refusal);
            return Err(refusal);
        }
        let answered = hub.claim(&caller, message, asked, encoding).await;
        let (tail, payload) = match answered {
            Ok(payload) => ("accepted", payload),
            Err(refusal) => {
                hub.record_refused(Kind::RequestRefused, &caller, &refusal);
                ("rejected", rejected(&refusal))
            }
        };
        let topic = TopicName::new(format!("{}/{tail}", message.topic));
        let topic =
            topic.map_err(|error| Refusal::malformed("topic.invalid", error.to_string()))?;
        let payload = match encoding {
            Encoding::Json => payload.to_string().into(),
            Encoding::Cbor => cbor::write(&payload).into(),
        };
        self.reply(Message::new(
            topic,
            payload,
            QoS::AtMostOnce,
            false,
            PublishProperties::default(),
            Origin::default(),
            hub.now(),
        ));
        Ok(Ack::default())
    }
}

impl Hub {
    async fn claim(
        &self,
        caller: &Caller,
        message: &PublishRequest,
        asked: &ClaimRequest,
        encoding: Encoding,
    ) -> Result<Value, Refusal> {
        let body = || read(&message.payload, encoding);
        let spelled = self.0.language.topic(message.topic.as_str());
        let permit: Permit<act::ProvisionByClaim> =
            self.authorize_by_policy(caller, Action::Publish, Resource::topic(&spelled))?;
        let flow = match asked {
            ClaimRequest::Create { .. } | ClaimRequest::CreateFromRequest => {
                Flow::CertificateByClaim
            }
            ClaimRequest::Provision(_) => Flow::ProvisioningByClaim,
        };
        let attempt: Shared = Arc::new(Mutex::new(Attempt::new(flow, self.now())));
        let answered = match asked {
            ClaimRequest::Create { common_name } => {
                self.create_for_claim(permit, &attempt, caller, common_name)
                    .await
            }
            ClaimRequest::CreateFromRequest => {
                self.certify_for_claim(permit, &attempt, caller, body())
                    .await
            }
            ClaimRequest::Provision(template) => {
                lock(&attempt).template = Some(template.to_string());
                self.provision_claimed(permit, &attempt, caller, template, body())
                    .await
            }
        };
        let done = lock(&attempt).clone();
        self.record_attempt(&done, caller.client_id(), caller.peer());
        answered
    }

    async fn create_for_claim(
        &self,
        permit: Permit<act::ProvisionByClaim>,
        attempt: &Shared,
        caller: &Caller,
        common_name: &str,
    ) -> Result<Value, Refusal> {
        let now = self.now();
        // Before a key is made for nothing; asked again in the transaction.
        let room = self.0.store.read(|txn| check_room(txn, now));
        let identity = match room {
            Ok(()) => identity_for(self, common_name, ca::DeviceKey::Rsa2048, now).await,
            Err(refusal) => Err(refusal),
        };
        let identity = take(attempt, Step::Issued, identity, |identity| {
            format!("certificate {} with a key", identity.certificate.id())
        })?;
        let waiting = CertificateStatus::PendingActivation;
        let record = new_record(&identity.certificate, waiting, now);
        let mut answer = self.keep_claimed(permit, attempt, caller, record).await?;
        answer["privateKey"] = json!(identity.private_key.expose());
        Ok(answer)
    }

    async fn certify_for_claim(
        &self,
        permit: Permit<act::ProvisionByClaim>,
        attempt: &Shared,
        caller: &Caller,
        body: Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let request = body.and_then(|body| text(&body, "certificateSigningRequest"));
        let request = take(attempt, Step::Payload, request, |_| {
            "a signing request".into()
        })?;
        let record = self.certify(&request, CertificateStatus::PendingActivation);
        let record = take(attempt, Step::Issued, record, |record| {
            format!("certificate {}", record.id)
        })?;
        self.keep_claimed(permit, attempt, caller, record).await
    }

    /// Registers a certificate that waits, and gives the token for it.
    async fn keep_claimed(
        &self,
        permit: Permit<act::ProvisionByClaim>,
        attempt: &Shared,
        caller: &Caller,
        record: CertificateRecord,
    ) -> Result<Value, Refusal> {
        let now = self.now();
        lock(attempt).certificate = Some(record.id);
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the machine has no randomness");
            Refusal::internal("the machine has no randomness")
        })?;
        let token = hex::encode(random);
        let kept = OwnershipToken {
            fingerprint: fingerprint(&token),
            certificate: record.id,
            principal: caller.principal().to_string(),
            expires_at: now.after(TOKEN_LIFE),
        };
        let answer = json!({
            "certificateId": record.id.to_string(),
            "certificatePem": record.pem,
            "certificateOwnershipToken": token,
        });
        let id = record.id;
        let stored = self
            .transact(permit, Verb::CertificateCreate, move |txn| {
                forget_expired(txn, now)?;
                check_room(txn, now)?;
                txn.put_certificate(&record)?;
                Ok::<_, Refusal>(txn.put_ownership_token(&kept)?)
            })
            .await;
        take(attempt, Step::Committed, stored, |()| {
            "registered as PENDING_ACTIVATION, with a token for it".into()
        })?;
        self.registry_changed(&Changed::Certificate(id));
        Ok(answer)
    }

    async fn provision_claimed(
        &self,
        permit: Permit<act::ProvisionByClaim>,
        attempt: &Shared,
        caller: &Caller,
        name: &TemplateName,
        body: Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let now = self.now();
        let body = body.and_then(|body| {
            let token = text(&body, "certificateOwnershipToken")?;
            Ok((token, parameters(&body)?))
        });
        let (token, given) = take(attempt, Step::Payload, body, |(_, given)| {
            format!("a token and {} parameters", given.len())
        })?;
        let fingerprint = fingerprint(&token);
        let principal = caller.principal().to_string();
        let owned = self
            .0
            .store
            .read(|txn| owned(txn, &fingerprint, &principal, now));
        let owned = take(attempt, Step::Ownership, owned, |record| {
            format!("the token is for certificate {}", record.id)
        })?;
        lock(attempt).certificate = Some(owned.id);
        let template = self.0.store.read(|txn| in_force(txn, name));
        let template = template.and_then(|(template, version)| {
            check_enabled(&template)?;
            if template.kind != TemplateKind::Fleet {
                return Err(other_type(name));
            }
            parse(&version.body, template.kind)
        });
        let template = take(attempt, Step::Template, template, |_| {
            format!("template {name} was read")
        })?;
        let certificate = x509::certificate_from_pem(&owned.pem).map_err(|error| {
            tracing::error!(%error, "a stored certificate cannot be read");
            Refusal::internal("a stored certificate cannot be read")
        })?;
        let bearer = Bearer::Only(owned.id);
        let implied = implied(&certificate);
        let prepared = self.prepare(attempt, &template, &implied, &given, bearer)?;
        let made = self
            .carry_out(permit, attempt, prepared, move |txn| {
                // Whoever asked twice at once is provisioned once.
                self::owned(txn, &fingerprint, &principal, now)?;
                Ok(txn.delete_ownership_token(&fingerprint)?)
            })
            .await?;
        let mut answer = json!({ "deviceConfiguration": made.configuration });
        if let Some((_, device)) = made.device {
            answer["thingName"] = json!(device.id.as_str());
        }
        Ok(answer)
    }

    /// Issues a claim certificate that is worth something for five minutes, with a policy of the
    /// text `document`, for one device to be provisioned by `template`.
    ///
    /// # Errors
    ///
    /// `operator.required`, `template.not-found`, `template.type`, `policy.malformed`.
    pub async fn create_claim(
        &self,
        caller: &Caller,
        template: &TemplateName,
        common_name: &str,
        document: String,
    ) -> Result<IssuedCertificate, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, template.as_str())?;
        self.check_document(&document)?;
        let found = self.0.store.read(|txn| find_template(txn, template))?;
        check_enabled(&found)?;
        if found.kind != TemplateKind::Fleet {
            return Err(other_type(template));
        }
        let now = self.now();
        let until = now.after(CLAIM_LIFE);
        let key = ca::DeviceKey::Rsa2048;
        let identity = identity_until(self, common_name, key, now, until).await?;
        let record = new_record(&identity.certificate, CertificateStatus::Active, now);
        let policy = crate::from_template::policy_name_of(&document);
        let certificate = self
            .transact(permit, Verb::CertificateCreate, move |txn| {
                create_missing(txn, &policy, document, now)?;
                txn.put_certificate(&record)?;
                attach(txn, &policy, &PolicyTarget::Certificate(record.id))?;
                Ok::<_, Refusal>(record)
            })
            .await?;
        self.registry_changed(&Changed::Certificate(certificate.id));
        Ok(IssuedCertificate {
            certificate,
            public_key_pem: identity.public_key_pem,
            private_key: identity.private_key,
        })
    }
}

fn other_type(name: &TemplateName) -> Refusal {
    Refusal::malformed(
        "template.type",
        format!("template {name} is not of the type FLEET_PROVISIONING"),
    )
}

/// What of a token is kept: whoever reads the store cannot use it.
fn fingerprint(token: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

fn check_room(txn: &ReadTxn<'_>, now: Timestamp) -> Result<(), Refusal> {
    if txn.ownership_token_count(now)? < limits::OWNERSHIP_TOKENS {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::TooMany,
        "provisioning.too-many",
        format!(
            "{} certificates wait to be provisioned; provision them, or wait an hour",
            limits::OWNERSHIP_TOKENS
        ),
    ))
}

/// Forgets tokens that have expired, and their certificates that nobody has activated.
fn forget_expired(txn: &mut WriteTxn<'_>, now: Timestamp) -> Result<(), Refusal> {
    for id in txn.take_expired_ownership(now)? {
        let waits = txn
            .certificate(&id)?
            .is_some_and(|record| record.status == CertificateStatus::PendingActivation);
        if waits {
            txn.detach_all_policies(&PolicyTarget::Certificate(id))?;
            txn.delete_certificate(&id)?;
        }
    }
    Ok(())
}

/// The certificate that a token is for.
fn owned(
    txn: &ReadTxn<'_>,
    fingerprint: &str,
    principal: &str,
    now: Timestamp,
) -> Result<CertificateRecord, Refusal> {
    let invalid = || {
        Refusal::malformed(
            "provisioning.token",
            "the ownership token is unknown, used, expired, or was given to another certificate; \
             ask for a new certificate",
        )
    };
    let token = txn.ownership_token(fingerprint)?.ok_or_else(invalid)?;
    if token.principal != principal || token.expires_at <= now {
        return Err(invalid());
    }
    find_certificate(txn, &token.certificate)
}

fn payload_wrong(message: impl Into<String>) -> Refusal {
    Refusal::malformed("provisioning.payload", message.into())
}

fn read(payload: &[u8], encoding: Encoding) -> Result<Value, Refusal> {
    let body: Value = match encoding {
        Encoding::Json => serde_json::from_slice(payload)
            .map_err(|error| payload_wrong(format!("the payload is not JSON: {error}")))?,
        Encoding::Cbor => cbor::read(payload).map_err(|error| {
            payload_wrong(format!("the payload is not CBOR of this kind, {error}"))
        })?,
    };
    if body.is_object() {
        Ok(body)
    } else {
        Err(payload_wrong("the payload is not an object"))
    }
}

fn text(body: &Value, name: &str) -> Result<String, Refusal> {
    body.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| payload_wrong(format!("{name} is missing, or is not a text")))
}

fn parameters(body: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let members = match body.get("parameters") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(payload_wrong("parameters is not an object")),
    };
    members
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(value) => Ok((name.clone(), value.to_owned())),
            None => Err(payload_wrong(format!("the parameter {name} is not a text"))),
        })
        .collect()
}

/// As AWS tells it: a status as in HTTP, a code and a text.
fn rejected(refusal: &Refusal) -> Value {
    let (status, code) = match refusal.kind {
        RefusalKind::Malformed if refusal.reason.0 == "provisioning.token" => {
            (400, "InvalidCertificateOwnershipToken")
        }
        RefusalKind::Malformed if refusal.reason.0 == "provisioning.payload" => {
            (400, "InvalidPayload")
        }
        RefusalKind::Malformed | RefusalKind::TooLarge | RefusalKind::Expired => {
            (400, "InvalidParameters")
        }
        RefusalKind::Unauthenticated | RefusalKind::Denied => (403, "AccessDenied"),
        RefusalKind::NotFound => (404, "ResourceNotFound"),
        RefusalKind::AlreadyExists | RefusalKind::Conflict => (409, "ResourceConflict"),
        RefusalKind::TooMany => (429, "Throttled"),
        RefusalKind::Unsupported => (501, "NotImplemented"),
        RefusalKind::Unavailable => (503, "ServiceUnavailable"),
        RefusalKind::Internal => (500, "InternalFailure"),
    };
    json!({
        "statusCode": status,
        "errorCode": code,
        "errorMessage": refusal.message,
    })
}
