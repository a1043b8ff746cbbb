//! What a provisioning template says, carried out: a device, its certificate and its policy, in one
//! transaction or not at all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest;
use ledger::Verb;
use model::{
    CertificateId, DeviceId, GroupName, PolicyName, Refusal, RefusalKind, Timestamp, TypeName,
};
use provisioning::{
    Attempt, CertificatePlan, CertificateSource, Flow, IMPLIED_PREFIX, Override, Plan, PolicyPlan,
    PolicySource, Step, Template, ThingOverrides, ThingPlan,
};
use registry::{
    Attachment, AttachmentKind, AttributeChange, CertificateRecord, CertificateStatus,
    DeviceChange, DeviceRecord, PolicyTarget, Principal, TemplateKind,
};
use store::WriteTxn;
use x509::Attribute;

use crate::{
    Act, Caller, Changed, Hub, Permit, RegistryChange, act,
    ca_certificates::{check_takes_certificates, signer_of},
    certificates::{find_certificate, new_record},
    devices::find_type,
    groups::move_device,
    policies::{attach, find_policy},
    provision::create_missing,
    registry_events::{GroupIdentity, Operation, new_uuid},
    templates::{parse, unusable},
};

/// What was made by a template. Names by which the template calls them come first.
#[derive(Clone, Debug, Default)]
pub struct Provisioned {
    /// The device.
    pub device: Option<(String, DeviceRecord)>,
    /// Its certificate.
    pub certificate: Option<(String, CertificateRecord)>,
    /// Its policy.
    pub policy: Option<(String, PolicyName)>,
    /// What the device is told.
    pub configuration: BTreeMap<String, String>,
    /// What became of the device, if anything did.
    change: Option<Operation>,
    moved: Vec<(Operation, GroupIdentity)>,
    /// Everybody who speaks for the device.
    attached: Vec<Attachment>,
}

/// An attempt that is written to from within a transaction.
pub(crate) type Shared = Arc<Mutex<Attempt>>;

pub(crate) fn lock(attempt: &Shared) -> MutexGuard<'_, Attempt> {
    attempt.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a step of a shared attempt.
pub(crate) fn take<T>(
    attempt: &Shared,
    step: Step,
    result: Result<T, Refusal>,
    note: impl FnOnce(&T) -> String,
) -> Result<T, Refusal> {
    lock(attempt).take(step, result, note)
}

/// A plan whose names and texts have been checked.
pub(crate) struct Prepared {
    thing: Option<PreparedThing>,
    certificate: Option<PreparedCertificate>,
    policy: Option<PreparedPolicy>,
    configuration: BTreeMap<String, String>,
}

struct PreparedThing {
    label: String,
    id: DeviceId,
    device_type: Option<TypeName>,
    attributes: BTreeMap<String, String>,
    groups: Vec<GroupName>,
    overrides: ThingOverrides,
}

struct PreparedCertificate {
    label: String,
    which: Which,
    status: CertificateStatus,
    kind: AttachmentKind,
    on_present: Override,
}

enum Which {
    /// It is in the registry.
    Registered(CertificateId),
    /// The hub issued it just now.
    Issued(Box<CertificateRecord>),
    /// Somebody else issued it.
    Foreign(Box<x509::Certificate>, Box<CertificateRecord>),
}

struct PreparedPolicy {
    label: String,
    name: PolicyName,
    /// Created with this text unless it exists.
    document: Option<String>,
}

/// Whose certificate a template may be about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bearer {
    /// Anybody's: an operator asks.
    Anybody,
    /// The one that asks.
    Only(CertificateId),
}

impl Hub {
    /// Makes what the template `body` says, with `parameters`.
    ///
    /// # Errors
    ///
    /// `operator.required`, `template.malformed`, `template.parameter`, `template.conflict`, and
    /// whatever refuses a device, certificate or policy; nothing is made then.
    pub async fn register_device_by_template(
        &self,
        caller: &Caller,
        body: &str,
        parameters: BTreeMap<String, String>,
    ) -> Result<Provisioned, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, "a device of a template")?;
        let attempt = Attempt::new(Flow::RegisterDevice, self.now());
        let attempt = Arc::new(Mutex::new(attempt));
        let made = async {
            let template = take(
                &attempt,
                Step::Template,
                parse(body, TemplateKind::JustInTime),
                |_| "the template was read".into(),
            )?;
            let prepared = self.prepare(
                &attempt,
                &template,
                &BTreeMap::new(),
                &parameters,
                Bearer::Anybody,
            )?;
            self.carry_out(permit, &attempt, prepared, |_| Ok(())).await
        }
        .await;
        let done = lock(&attempt).clone();
        self.record_attempt(&done, None, caller.peer());
        made
    }

    /// Fills in a template and checks everything that can be checked outside a transaction.
    pub(crate) fn prepare(
        &self,
        attempt: &Shared,
        template: &Template,
        implied: &BTreeMap<String, String>,
        given: &BTreeMap<String, String>,
        bearer: Bearer,
    ) -> Result<Prepared, Refusal> {
        let plan = template.resolve(implied, given).map_err(unusable);
        let plan = plan.and_then(|plan| self.check_plan(plan, bearer));
        take(attempt, Step::Parameters, plan, |_| {
            "all parameters are there".into()
        })
    }

    fn check_plan(&self, plan: Plan, bearer: Bearer) -> Result<Prepared, Refusal> {
        let certificate = plan
            .certificate
            .map(|certificate| self.check_certificate(certificate, bearer))
            .transpose()?;
        if certificate.is_none() && bearer != Bearer::Anybody {
            return Err(other_certificate());
        }
        Ok(Prepared {
            thing: plan.thing.map(check_thing).transpose()?,
            certificate,
            policy: plan
                .policy
                .map(|policy| self.check_policy(policy))
                .transpose()?,
            configuration: plan.configuration,
        })
    }

    fn check_certificate(
        &self,
        plan: CertificatePlan,
        bearer: Bearer,
    ) -> Result<PreparedCertificate, Refusal> {
        let which = match plan.source {
            CertificateSource::Id(id) => {
                let id: CertificateId = name(&id)?;
                if let Bearer::Only(own) = bearer
                    && own != id
                {
                    return Err(other_certificate());
                }
                Which::Registered(id)
            }
            CertificateSource::Request(_) | CertificateSource::Pem { .. }
                if bearer != Bearer::Anybody =>
            {
                return Err(other_certificate());
            }
            CertificateSource::Request(request) => {
                let record = self.certify(&request, CertificateStatus::Inactive)?;
                Which::Issued(Box::new(record))
            }
            CertificateSource::Pem { certificate, ca: _ } => {
                let certificate = x509::certificate_from_pem(&certificate).map_err(|error| {
                    let message = format!("the certificate cannot be read: {error}");
                    Refusal::malformed("certificate.malformed", message)
                })?;
                let record = new_record(&certificate, CertificateStatus::Inactive, self.now());
                Which::Foreign(Box::new(certificate), Box::new(record))
            }
        };
        let status = match plan.status {
            None => CertificateStatus::Active,
            Some(text) => text.to_ascii_uppercase().parse()?,
        };
        let kind = match plan.principal_type.as_deref() {
            None | Some("NON_EXCLUSIVE_THING") => AttachmentKind::NonExclusive,
            Some("EXCLUSIVE_THING") => AttachmentKind::Exclusive,
            Some(other) => {
                return Err(Refusal::malformed(
                    "template.malformed",
                    format!("{other:?} is neither EXCLUSIVE_THING nor NON_EXCLUSIVE_THING"),
                ));
            }
        };
        Ok(PreparedCertificate {
            label: plan.label,
            which,
            status,
            kind,
            on_present: plan.on_present,
        })
    }

    fn check_policy(&self, plan: PolicyPlan) -> Result<PreparedPolicy, Refusal> {
        let (name, document) = match plan.source {
            PolicySource::Name(text) => (name(&text)?, None),
            PolicySource::Document(document) => {
                self.check_document(&document)?;
                (policy_name_of(&document), Some(document))
            }
        };
        Ok(PreparedPolicy {
            label: plan.label,
            name,
            document,
        })
    }

    /// Carries out a plan in one transaction, in which `first` comes first.
    pub(crate) async fn carry_out<A: Act>(
        &self,
        permit: Permit<A>,
        attempt: &Shared,
        prepared: Prepared,
        first: impl FnOnce(&mut WriteTxn<'_>) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Provisioned, Refusal> {
        let now = self.now();
        let steps = Arc::clone(attempt);
        let made = self
            .transact(permit, Verb::DeviceProvision, move |txn| {
                first(txn)?;
                make(txn, &steps, prepared, now)
            })
            .await;
        // A refusal from within has told its own step already.
        if lock(attempt).refused().is_some() {
            return made;
        }
        let made = take(attempt, Step::Committed, made, |_| {
            "all of it is on disk".into()
        })?;
        if let Some((_, certificate)) = &made.certificate {
            self.registry_changed(&Changed::Certificate(certificate.id));
        }
        self.principals_changed(&made.attached);
        if let Some((_, device)) = &made.device {
            let change = made.change.map(|operation| {
                let change = RegistryChange::Device(device.clone());
                (operation, change)
            });
            let groups = made.moved.iter().map(|(operation, group)| {
                let change = RegistryChange::Membership {
                    device: device.into(),
                    group: group.clone(),
                };
                (*operation, change)
            });
            self.announce_changes(change.into_iter().chain(groups));
        }
        Ok(made)
    }
}

/// The name of a policy that is known by its text: the same text makes the same policy, whoever
/// brings it.
pub(crate) fn policy_name_of(document: &str) -> PolicyName {
    let digest = digest::digest(&digest::SHA256, document.as_bytes());
    PolicyName::new(&hex::encode(digest)).expect("64 hexadecimal digits make a policy's name")
}

/// The parameters that a certificate gives a template.
pub(crate) fn implied(certificate: &x509::Certificate) -> BTreeMap<String, String> {
    let subject = certificate.subject();
    let of_subject = [
        ("Country", Attribute::Country),
        ("Organization", Attribute::Organization),
        ("OrganizationalUnit", Attribute::OrganizationalUnit),
        (
            "DistinguishedNameQualifier",
            Attribute::DistinguishedNameQualifier,
        ),
        ("StateName", Attribute::State),
        ("CommonName", Attribute::CommonName),
        ("SerialNumber", Attribute::SerialNumber),
    ];
    let mut implied: BTreeMap<_, _> = of_subject
        .into_iter()
        .filter_map(|(name, attribute)| {
            let value = subject.values(attribute).next()?;
            Some((format!("{IMPLIED_PREFIX}{name}"), value.to_owned()))
        })
        .collect();
    implied.insert(format!("{IMPLIED_PREFIX}Id"), certificate.id().to_string());
    implied
}

fn name<T>(text: &str) -> Result<T, Refusal>
where
    T: std::str::FromStr<Err = model::InvalidName>,
{
    text.parse().map_err(|error: model::InvalidName| {
        Refusal::malformed(
            "template.name",
            format!("the template makes {text:?}, which cannot be used: {error}"),
        )
    })
}

fn other_certificate() -> Refusal {
    Refusal::malformed(
        "template.certificate",
        "the template must name the certificate that asks: a resource AWS::IoT::Certificate with \
         CertificateId {\"Ref\": \"AWS::IoT::Certificate::Id\"}",
    )
}

fn check_thing(plan: ThingPlan) -> Result<PreparedThing, Refusal> {
    if plan.billing_group.is_some() {
        return Err(Refusal::new(
            RefusalKind::Unsupported,
            "aws.not-implemented",
            "billing groups are not implemented by this hub yet; leave BillingGroup out of the \
             template",
        ));
    }
    Ok(PreparedThing {
        label: plan.label,
        id: name(&plan.name)?,
        device_type: plan.device_type.as_deref().map(name).transpose()?,
        attributes: plan.attributes,
        groups: plan
            .groups
            .iter()
            .map(|group| name(group))
            .collect::<Result<_, _>>()?,
        overrides: plan.overrides,
    })
}

fn make(
    txn: &mut WriteTxn<'_>,
    attempt: &Shared,
    prepared: Prepared,
    now: Timestamp,
) -> Result<Provisioned, Refusal> {
    let mut made = Provisioned {
        configuration: prepared.configuration,
        ..Provisioned::default()
    };
    let mut kind = AttachmentKind::default();
    if let Some(certificate) = prepared.certificate {
        kind = certificate.kind;
        let label = certificate.label.clone();
        let record = make_certificate(txn, certificate, now);
        let record = take(attempt, Step::Certificate, record, |record| {
            format!("certificate {} is {}", record.id, record.status.as_str())
        })?;
        lock(attempt).certificate = Some(record.id);
        made.certificate = Some((label, record));
    }
    if let Some(thing) = prepared.thing {
        let label = thing.label.clone();
        let device = make_device(txn, thing, now);
        let (device, change, moved) =
            take(attempt, Step::Device, device, |(device, change, _)| {
                let what = match change {
                    Some(Operation::Created) => "is new",
                    Some(_) => "was there and was changed",
                    None => "was there",
                };
                format!("device {} {what}", device.id)
            })?;
        made.change = change;
        made.moved = moved;
        made.device = Some((label, device));
    }
    if let Some(policy) = prepared.policy {
        let label = policy.label.clone();
        let name = make_policy(txn, policy, now);
        let name = take(attempt, Step::Policy, name, |name| format!("policy {name}"))?;
        made.policy = Some((label, name));
    }
    let attached = make_attachments(txn, &made, kind);
    take(attempt, Step::Attached, attached, |()| {
        "certificate, device and policy belong together".into()
    })?;
    if let Some((_, device)) = &made.device {
        made.attached = txn.principals_of_device(&device.id)?;
    }
    Ok(made)
}

fn conflict(what: impl std::fmt::Display) -> Refusal {
    Refusal::conflict(
        "template.conflict",
        format!("{what} exists already, and the template says FAIL for that"),
    )
}

fn make_certificate(
    txn: &mut WriteTxn<'_>,
    certificate: PreparedCertificate,
    now: Timestamp,
) -> Result<CertificateRecord, Refusal> {
    let mut record = match certificate.which {
        Which::Registered(id) => find_certificate(txn, &id)?,
        Which::Issued(record) => *record,
        Which::Foreign(parsed, mut record) => match txn.certificate(&record.id)? {
            Some(present) => present,
            None => {
                let ca = signer_of(txn, &parsed)?;
                check_takes_certificates(&ca)?;
                record.ca_id = Some(ca.id);
                *record
            }
        },
    };
    let is_present = txn.certificate(&record.id)?.is_some();
    // One that waits has no status of its own yet.
    let is_settled = is_present && record.status != CertificateStatus::PendingActivation;
    match certificate.on_present {
        Override::Fail if is_settled => {
            return Err(conflict(format!("certificate {}", record.id)));
        }
        Override::DoNothing if is_settled => return Ok(record),
        Override::DoNothing | Override::Replace | Override::Merge | Override::Fail => {}
    }
    if record.status == CertificateStatus::Revoked {
        return Err(Refusal::conflict(
            "template.conflict",
            format!(
                "certificate {} was revoked; no template undoes that",
                record.id
            ),
        ));
    }
    if record.status != certificate.status {
        record.set_status(certificate.status, new_uuid(), now)?;
        if !is_present {
            record.customer_version = 1;
        }
    }
    txn.put_certificate(&record)?;
    Ok(record)
}

/// The device, what became of it, and of its memberships.
type MadeDevice = (
    DeviceRecord,
    Option<Operation>,
    Vec<(Operation, GroupIdentity)>,
);

fn make_device(
    txn: &mut WriteTxn<'_>,
    thing: PreparedThing,
    now: Timestamp,
) -> Result<MadeDevice, Refusal> {
    let PreparedThing {
        id,
        device_type,
        attributes,
        groups,
        overrides,
        label: _,
    } = thing;
    let found_type = find_type(txn, device_type.as_ref())?;
    let Some(mut device) = txn.device(&id)? else {
        let attributes = AttributeChange::Replace(attributes);
        let device =
            DeviceRecord::new(id.clone(), new_uuid(), found_type.as_ref(), attributes, now)?;
        txn.put_device(&device)?;
        let moved = if groups.is_empty() {
            Vec::new()
        } else {
            move_device(txn, &id, &groups, &[])?.groups
        };
        return Ok((device, Some(Operation::Created), moved));
    };
    let asked = [
        (overrides.attributes, !attributes.is_empty()),
        (overrides.device_type, device_type.is_some()),
        (overrides.groups, !groups.is_empty()),
    ];
    if asked.contains(&(Override::Fail, true)) {
        return Err(conflict(format!("device {id}")));
    }
    let change = DeviceChange {
        attributes: match overrides.attributes {
            Override::Replace => Some(AttributeChange::Replace(attributes)),
            Override::Merge if !attributes.is_empty() => Some(AttributeChange::Merge(attributes)),
            Override::Merge | Override::DoNothing | Override::Fail => None,
        },
        device_type: match overrides.device_type {
            Override::Replace if device_type.is_some() => Some(device_type),
            Override::Replace | Override::Merge | Override::DoNothing | Override::Fail => None,
        },
        expected_version: None,
    };
    let mut changed = None;
    if change != DeviceChange::default() {
        changed = Some(Operation::Updated);
        let new_type = found_type.filter(|_| change.device_type.is_some());
        device.apply(change, new_type.as_ref(), now)?;
        txn.put_device(&device)?;
    }
    let moved = match overrides.groups {
        Override::Replace | Override::Merge if !groups.is_empty() => {
            let present = txn.groups_of_device(&id, None, model::limits::GROUPS_PER_DEVICE + 1)?;
            let gone: Vec<GroupName> = present
                .into_iter()
                .filter(|present| {
                    overrides.groups == Override::Replace && !groups.contains(present)
                })
                .collect();
            move_device(txn, &id, &groups, &gone)?.groups
        }
        Override::Replace | Override::Merge | Override::DoNothing | Override::Fail => Vec::new(),
    };
    Ok((device, changed, moved))
}

fn make_policy(
    txn: &mut WriteTxn<'_>,
    policy: PreparedPolicy,
    now: Timestamp,
) -> Result<PolicyName, Refusal> {
    match policy.document {
        Some(document) => create_missing(txn, &policy.name, document, now)?,
        None => drop(find_policy(txn, &policy.name)?),
    }
    Ok(policy.name)
}

fn make_attachments(
    txn: &mut WriteTxn<'_>,
    made: &Provisioned,
    kind: AttachmentKind,
) -> Result<(), Refusal> {
    let Some((_, certificate)) = &made.certificate else {
        return Ok(());
    };
    let principal = Principal::Certificate(certificate.id);
    if let Some((_, device)) = &made.device {
        let attachment = Attachment {
            device: device.id.clone(),
            principal: principal.clone(),
            kind,
        };
        let of_principal = txn.devices_of_principal(&principal)?;
        let of_device = txn.principals_of_device(&device.id)?;
        attachment.check(&of_principal, &of_device)?;
        txn.put_attachment(&attachment)?;
    }
    if let Some((_, policy)) = &made.policy {
        attach(txn, policy, &PolicyTarget::Certificate(certificate.id))?;
    }
    Ok(())
}
