//! Shadows: read, written, removed and listed; by request, and by messages on their topics.
//!
//! A message to `…/shadow/get`, `…/update` or `…/delete` is an ordinary message too; the hub
//! answers it by publishing to `…/accepted` or `…/rejected` beneath, for whoever subscribes there.
//! A write is announced the same way however it was asked for.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bytes::Bytes;
use ledger::Verb;
use model::{Address, Refusal, RefusalKind, ShadowName, TopicName, limits};
use mqtt_proto::QoS;
use policy::{Action, Resource};
use serde_json::Value;
use shadow::{Change, ClientToken, Document, Limits, Patch, Request, Tombstone, wire};
use store::KeptShadow;
use tokio::sync::{Mutex, MutexGuard};

use crate::{Caller, Hub, Permit, ShadowRequest, ShadowVerb, act, timeline::Kind};

/// One page of the names of a device's named shadows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShadowNames {
    /// The names, in order.
    pub names: Vec<ShadowName>,
    /// After which name the next page begins; `None` when this is the last.
    pub next: Option<ShadowName>,
}

/// Writers of one shadow take turns, so that what is announced comes in the order of versions.
/// Shadows share these turns by hash: it costs a wait now and then, never a wrong order.
#[derive(Debug)]
pub(crate) struct Turns([Mutex<()>; 256]);

impl Default for Turns {
    fn default() -> Self {
        Self([const { Mutex::const_new(()) }; 256])
    }
}

impl Turns {
    async fn take(&self, address: &Address, name: Option<&ShadowName>) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (address, name).hash(&mut hasher);
        let [at, ..] = hasher.finish().to_le_bytes();
        self.0[usize::from(at)].lock().await
    }
}

impl Hub {
    /// Reads a shadow: the whole of it, with its delta.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`] when there is none, whether or not the device is registered;
    /// [`RefusalKind::Denied`] with the decision.
    pub fn get_shadow(
        &self,
        caller: &Caller,
        address: &Address,
        name: Option<&ShadowName>,
    ) -> Result<Value, Refusal> {
        let permit = self.permit_shadow(caller, Action::GetShadow, address, name)?;
        self.read_shadow(permit, address, name, &Request::default())
    }

    /// Merges `payload`, an update request, into a shadow and announces the change. A shadow that
    /// does not exist is made, whether or not the device is registered. Returns the accepted
    /// message once the change is on disk.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Malformed`], [`RefusalKind::TooLarge`] and [`RefusalKind::Conflict`] with
    /// the service's texts; [`RefusalKind::TooMany`] above [`limits::SHADOWS_PER_DEVICE`];
    /// [`RefusalKind::Denied`] with the decision.
    pub async fn update_shadow(
        &self,
        caller: &Caller,
        address: &Address,
        name: Option<&ShadowName>,
        payload: &[u8],
    ) -> Result<Value, Refusal> {
        let permit = self.permit_shadow(caller, Action::UpdateShadow, address, name)?;
        let patch = Patch::parse(payload, &Limits::default())?;
        self.write_shadow(permit, address, name, patch).await
    }

    /// Removes a shadow and announces it. Returns the accepted message once it is on disk.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`] when there is none; [`RefusalKind::Denied`] with the decision.
    pub async fn delete_shadow(
        &self,
        caller: &Caller,
        address: &Address,
        name: Option<&ShadowName>,
    ) -> Result<Value, Refusal> {
        let permit = self.permit_shadow(caller, Action::DeleteShadow, address, name)?;
        self.remove_shadow(permit, address, name, Request::default())
            .await
    }

    /// Lists the names of a device's named shadows, at most `limit` of them, beginning after
    /// `after`.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Denied`] with the decision.
    pub fn list_shadows(
        &self,
        caller: &Caller,
        address: &Address,
        after: Option<&ShadowName>,
        limit: usize,
    ) -> Result<ShadowNames, Refusal> {
        let _permit: Permit<act::GetShadow> =
            self.permit_shadow(caller, Action::ListNamedShadows, address, None)?;
        // One more than asked for tells whether there is another page.
        let mut names = self
            .0
            .store
            .read::<_, Refusal>(|txn| Ok(txn.shadow_names(address, after, limit + 1)?))?;
        let next = if names.len() > limit {
            names.truncate(limit);
            names.last().cloned()
        } else {
            None
        };
        Ok(ShadowNames { names, next })
    }

    /// Carries out a request that came as a message and answers it by one. Whether the caller may
    /// is whether it may publish to `topic`; the message itself has been delivered.
    pub(crate) async fn answer_shadow(
        &self,
        caller: &Caller,
        asked: &ShadowRequest,
        topic: &TopicName,
        payload: &[u8],
    ) {
        let (address, name) = (&asked.address, asked.name.as_ref());
        let limits = Limits::default();
        let spelled = self.0.language.topic(topic.as_str());
        let by_topic = (Action::Publish, Resource::topic(&spelled));
        let answered: Result<Option<Value>, Refusal> = async {
            match asked.verb {
                ShadowVerb::Get => {
                    let permit = self.authorize_by_policy(caller, by_topic.0, by_topic.1)?;
                    let request = Request::parse(payload, &limits)?;
                    self.read_shadow(permit, address, name, &request).map(Some)
                }
                // Writes announce their own acceptance.
                ShadowVerb::Update => {
                    let permit = self.authorize_by_policy(caller, by_topic.0, by_topic.1)?;
                    let patch = Patch::parse(payload, &limits)?;
                    self.write_shadow(permit, address, name, patch).await?;
                    Ok(None)
                }
                ShadowVerb::Delete => {
                    let permit = self.authorize_by_policy(caller, by_topic.0, by_topic.1)?;
                    let request = Request::parse(payload, &limits)?;
                    self.remove_shadow(permit, address, name, request).await?;
                    Ok(None)
                }
            }
        }
        .await;
        let verb = asked.verb.segment();
        match answered {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                self.tell(address, name, &format!("{verb}/accepted"), &accepted);
            }
            Err(refusal) => {
                let token: Option<ClientToken> = Request::token_of(payload, &limits);
                let rejected = wire::rejected(&refusal, token.as_ref(), self.now());
                self.tell(address, name, &format!("{verb}/rejected"), &rejected);
                self.record_refused(Kind::RequestRefused, caller, &refusal);
            }
        }
    }

    fn permit_shadow<A: crate::Act>(
        &self,
        caller: &Caller,
        action: Action,
        address: &Address,
        name: Option<&ShadowName>,
    ) -> Result<Permit<A>, Refusal> {
        let resource = Resource::shadow(address.device.as_str(), name.map(ShadowName::as_str));
        self.authorize_by_policy(caller, action, resource)
            .inspect_err(|refusal| {
                self.record_refused(Kind::RequestRefused, caller, refusal);
            })
    }

    fn read_shadow(
        &self,
        _permit: Permit<act::GetShadow>,
        address: &Address,
        name: Option<&ShadowName>,
        request: &Request,
    ) -> Result<Value, Refusal> {
        let kept = self
            .0
            .store
            .read::<_, Refusal>(|txn| Ok(txn.shadow(address, name)?))?;
        let document = existing(kept, address, name)?;
        Ok(wire::get_accepted(
            &document,
            request.client_token.as_ref(),
            self.now(),
        ))
    }

    async fn write_shadow(
        &self,
        permit: Permit<act::UpdateShadow>,
        address: &Address,
        name: Option<&ShadowName>,
        patch: Patch,
    ) -> Result<Value, Refusal> {
        let _turn = self.0.shadow_turns.take(address, name).await;
        let now = self.now();
        let (of, named) = (address.clone(), name.cloned());
        let change: Change = self
            .transact(permit, Verb::ShadowDesired, move |txn| {
                let kept = txn.shadow(&of, named.as_ref())?;
                let mut document = match kept {
                    Some(KeptShadow::Document(document)) => *document,
                    Some(KeptShadow::Tombstone(grave)) => Document::reborn(Some(grave), now),
                    None if txn.shadow_count(&of)? >= limits::SHADOWS_PER_DEVICE => {
                        return Err(too_many_shadows());
                    }
                    None => Document::default(),
                };
                let change = document.apply(patch, &Limits::default(), now)?;
                txn.put_shadow(&of, named.as_ref(), &document)?;
                Ok(change)
            })
            .await?;
        let accepted = wire::update_accepted(&change);
        self.tell(address, name, "update/accepted", &accepted);
        if let Some(delta) = wire::update_delta(&change) {
            self.tell(address, name, "update/delta", &delta);
        }
        let documents = wire::update_documents(&change);
        self.tell(address, name, "update/documents", &documents);
        Ok(accepted)
    }

    async fn remove_shadow(
        &self,
        permit: Permit<act::DeleteShadow>,
        address: &Address,
        name: Option<&ShadowName>,
        request: Request,
    ) -> Result<Value, Refusal> {
        let _turn = self.0.shadow_turns.take(address, name).await;
        let now = self.now();
        let (of, named) = (address.clone(), name.cloned());
        let tombstone: Tombstone = self
            .transact(permit, Verb::ShadowDelete, move |txn| {
                let kept = txn.shadow(&of, named.as_ref())?;
                let document = existing(kept, &of, named.as_ref())?;
                let tombstone = document.delete(request.version, now)?;
                txn.bury_shadow(&of, named.as_ref(), &tombstone)?;
                Ok::<_, Refusal>(tombstone)
            })
            .await?;
        let accepted = wire::delete_accepted(&tombstone, request.client_token.as_ref());
        self.tell(address, name, "delete/accepted", &accepted);
        Ok(accepted)
    }

    /// Publishes one of the service's messages. Nobody waits for its acknowledgement; what keeps
    /// it for an absent subscriber is in the journal before anything that follows.
    fn tell(&self, address: &Address, name: Option<&ShadowName>, tail: &str, message: &Value) {
        let Ok(topic) = shadow_topic(address, name, tail) else {
            // A device id with a wildcard in it: there is no topic that anyone could subscribe to.
            return;
        };
        let payload = Bytes::from(message.to_string());
        match self.publish_own(topic, payload, QoS::AtLeastOnce) {
            Ok(ack) => drop(ack),
            Err(refusal) => tracing::warn!(%refusal, "a shadow's message was not delivered"),
        }
    }
}

impl ShadowVerb {
    /// The level of the topic that asks for it.
    const fn segment(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

fn existing(
    kept: Option<KeptShadow>,
    address: &Address,
    name: Option<&ShadowName>,
) -> Result<Document, Refusal> {
    match kept {
        Some(KeptShadow::Document(document)) => Ok(*document),
        Some(KeptShadow::Tombstone(_)) | None => Err(shadow::no_such_shadow(&address.device, name)),
    }
}

fn too_many_shadows() -> Refusal {
    Refusal::new(
        RefusalKind::TooMany,
        "shadow.too-many",
        format!(
            "a device has at most {} shadows; delete some and wait {} hours",
            limits::SHADOWS_PER_DEVICE,
            shadow::TOMBSTONE_LIFE.as_secs() / Duration::from_hours(1).as_secs()
        ),
    )
}

/// `$hub/devices/D[/modules/M]/shadow[/name/S]/tail`
fn shadow_topic(
    address: &Address,
    name: Option<&ShadowName>,
    tail: &str,
) -> Result<TopicName, model::InvalidTopic> {
    let mut topic = format!("$hub/devices/{}", address.device);
    if let Some(module) = &address.module {
        topic.push_str("/modules/");
        topic.push_str(module.as_str());
    }
    topic.push_str("/shadow/");
    if let Some(name) = name {
        topic.push_str("name/");
        topic.push_str(name.as_str());
        topic.push('/');
    }
    topic.push_str(tail);
    TopicName::new(topic)
}

#[cfg(test)]
pub(crate) mod tests;
