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
                self.record_refusal(Kind::RequestRefused, caller.subject(), &refusal);
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
                self.record_refusal(Kind::RequestRefused, caller.subject(), refusal);
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
            .transact(permit, move |txn| {
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
            .transact(permit, move |txn| {
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
pub(crate) mod tests {
    use std::{
        borrow::Cow,
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use broker::SubscriptionOptions;
    use model::{Timestamp, limits::Profile};
    use mqtt_proto::{PublishProperties, packet::RetainHandling};
    use serde_json::json;

    use super::*;
    use crate::{
        ConnectRequest, Connection, HubConfig, Intent, InvalidPolicy, Item, PolicyLanguage,
        PublishRequest, SubscribeRequest, clock::FakeClock,
    };

    const NOW: Timestamp = Timestamp::from_seconds(100);

    #[tokio::test]
    async fn a_write_over_mqtt_is_fanned_out_and_answered() {
        let mut watcher = Watcher::new().await;
        watcher
            .ask(
                "update",
                r#"{"state":{"desired":{"a":1}},"clientToken":"t"}"#,
            )
            .await;
        let request = (
            "update".to_owned(),
            json!({"state": {"desired": {"a": 1}}, "clientToken": "t"}),
        );
        let stamp = json!({"a": {"timestamp": 100}});
        assert_eq!(
            watcher.heard(),
            [
                request,
                (
                    "update/accepted".to_owned(),
                    json!({"state": {"desired": {"a": 1}}, "metadata": {"desired": stamp},
                        "version": 1, "timestamp": 100, "clientToken": "t"})
                ),
                (
                    "update/delta".to_owned(),
                    json!({"version": 1, "timestamp": 100, "state": {"a": 1},
                        "metadata": stamp, "clientToken": "t"})
                ),
                (
                    "update/documents".to_owned(),
                    json!({"previous": null, "current": {"state": {"desired": {"a": 1}},
                        "metadata": {"desired": stamp}, "version": 1},
                        "timestamp": 100, "clientToken": "t"})
                ),
            ]
        );
    }

    #[tokio::test]
    async fn reading_and_removing_over_mqtt_are_answered() {
        let mut watcher = Watcher::new().await;
        watcher.ask("get", "").await;
        assert_eq!(
            watcher.heard()[1..],
            [(
                "get/rejected".to_owned(),
                json!({"code": 404, "message": "No shadow exists with name: 'T'"})
            )]
        );
        watcher.ask("update", r#"{"state":{"reported":{}}}"#).await;
        watcher.heard();
        watcher.ask("get", r#"{"clientToken":"g"}"#).await;
        assert_eq!(
            watcher.heard()[1..],
            [(
                "get/accepted".to_owned(),
                json!({"state": {"reported": {}}, "metadata": {"reported": {}},
                    "version": 1, "timestamp": 100, "clientToken": "g"})
            )]
        );
        watcher.ask("delete", "").await;
        assert_eq!(
            watcher.heard()[1..],
            [(
                "delete/accepted".to_owned(),
                json!({"version": 1, "timestamp": 100})
            )]
        );
        watcher.ask("delete", r#"{"clientToken":"d"}"#).await;
        assert_eq!(watcher.heard()[1].1["code"], 404);
        watcher.ask("update", r#"{"state":{"reported":{}}}"#).await;
        assert_eq!(watcher.heard()[1].1["version"], 2);
    }

    #[tokio::test]
    async fn a_refused_write_is_answered_with_its_token_and_recorded() {
        let mut watcher = Watcher::new().await;
        watcher
            .ask("update", r#"{"state":[],"clientToken":"t"}"#)
            .await;
        assert_eq!(
            watcher.heard()[1..],
            [(
                "update/rejected".to_owned(),
                json!({"code": 400, "message": "State node must be an object",
                    "timestamp": 100, "clientToken": "t"})
            )]
        );
        watcher.ask("update", r#"{"state":{},"version":3}"#).await;
        assert_eq!(
            watcher.heard()[1..],
            [(
                "update/rejected".to_owned(),
                json!({"code": 409, "message": "Version conflict", "timestamp": 100})
            )]
        );
        let recorded: Vec<_> = watcher
            .hub
            .recent_entries(0)
            .iter()
            .filter(|entry| entry.kind == Kind::RequestRefused)
            .map(|entry| entry.reason)
            .collect();
        assert_eq!(
            recorded,
            ["shadow.not-an-object", "shadow.version-conflict"]
        );
    }

    #[tokio::test]
    async fn a_write_by_request_is_announced_like_one_by_message() {
        let mut watcher = Watcher::new().await;
        let (hub, operator, device) = (watcher.hub.clone(), Caller::operator("o", None), device());
        let name = "S".parse().unwrap();
        let accepted = hub
            .update_shadow(
                &operator,
                &device,
                Some(&name),
                br#"{"state":{"reported":{"a":1}}}"#,
            )
            .await
            .unwrap();
        let heard = watcher.heard();
        let topics: Vec<_> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
        assert_eq!(
            topics,
            ["name/S/update/accepted", "name/S/update/documents"]
        );
        assert_eq!(heard[0].1, accepted);
        assert_eq!(
            hub.get_shadow(&operator, &device, Some(&name)).unwrap()["state"],
            json!({"reported": {"a": 1}})
        );
        let refusal = hub.get_shadow(&operator, &device, None).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::NotFound);
        let gone = hub
            .delete_shadow(&operator, &device, Some(&name))
            .await
            .unwrap();
        assert_eq!(
            watcher.heard(),
            [("name/S/delete/accepted".to_owned(), gone)]
        );
    }

    #[tokio::test]
    async fn writers_at_once_lose_no_write_and_are_announced_in_order() {
        const WRITERS: u64 = 40;
        let mut watcher = Watcher::new().await;
        let (hub, operator, device) = (&watcher.hub, Caller::operator("o", None), device());
        let requests: Vec<String> = (0..WRITERS)
            .map(|n| format!(r#"{{"state":{{"reported":{{"k{n}":{n}}}}}}}"#))
            .collect();
        let mut writes: Vec<_> = requests
            .iter()
            .map(|request| {
                Box::pin(hub.update_shadow(&operator, &device, None, request.as_bytes()))
            })
            .collect();
        // All under way at once, on one task.
        std::future::poll_fn(|context| {
            writes.retain_mut(|write| match write.as_mut().poll(context) {
                Poll::Ready(done) => {
                    done.unwrap();
                    false
                }
                Poll::Pending => true,
            });
            if writes.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        drop(writes);
        let all = hub.get_shadow(&operator, &device, None).unwrap();
        assert_eq!(all["version"], WRITERS);
        assert_eq!(
            all["state"]["reported"]
                .as_object()
                .map(serde_json::Map::len),
            usize::try_from(WRITERS).ok()
        );
        let versions: Vec<_> = watcher
            .heard()
            .into_iter()
            .filter(|(topic, _)| topic == "update/accepted")
            .map(|(_, message)| message["version"].as_u64().unwrap())
            .collect();
        assert_eq!(versions, (1..=WRITERS).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn names_are_listed_in_pages() {
        let watcher = Watcher::new().await;
        let (hub, operator, device) = (&watcher.hub, Caller::operator("o", None), device());
        for name in ["b", "a", "c"] {
            let name = name.parse().unwrap();
            hub.update_shadow(&operator, &device, Some(&name), br#"{"state":{}}"#)
                .await
                .unwrap();
        }
        let page = |after: Option<&ShadowName>, limit| {
            let page = hub.list_shadows(&operator, &device, after, limit).unwrap();
            let names: Vec<String> = page.names.iter().map(ToString::to_string).collect();
            (names.concat(), page.next)
        };
        let (first, next) = page(None, 2);
        assert_eq!(first, "ab");
        assert_eq!(page(next.as_ref(), 2), ("c".to_owned(), None));
        assert_eq!(page(None, 3), ("abc".to_owned(), None));
    }

    #[tokio::test]
    async fn nobody_without_a_policy_reaches_a_shadow() {
        let watcher = Watcher::new().await;
        let stranger = Caller::stranger("c".parse().unwrap());
        let refusal = watcher
            .hub
            .update_shadow(&stranger, &device(), None, br#"{"state":{}}"#)
            .await
            .unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Denied);
        let refusal = watcher
            .hub
            .get_shadow(&stranger, &device(), None)
            .unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Denied);
    }

    /// A client that subscribes to everything about the shadows of device `T`.
    struct Watcher {
        hub: Hub,
        connection: Connection,
    }

    impl Watcher {
        async fn new() -> Self {
            let (authority, _) = ca::Authority::create(NOW).unwrap();
            let hub = Hub::open(
                store::Store::open_temporary().unwrap(),
                authority,
                Arc::new(FakeClock::at(NOW)),
                Arc::new(NoPolicies),
                HubConfig {
                    profile: Profile::Standard,
                    account: "123456789012".into(),
                },
            )
            .unwrap();
            let caller = Caller::remembered("watcher".parse().unwrap());
            let request = ConnectRequest {
                clean_start: true,
                session_expiry: Duration::ZERO,
                keep_alive_seconds: 0,
                protocol_level: 4,
                will: None,
            };
            let mut connection = hub.connect(caller, request).await.unwrap();
            let filter = "$hub/devices/T/shadow/#";
            let (granted, ack) = connection.subscribe(vec![SubscribeRequest {
                filter: filter.parse().unwrap(),
                spelled: filter.into(),
                options: SubscriptionOptions {
                    qos: QoS::AtLeastOnce,
                    no_local: false,
                    retain_as_published: false,
                    identifier: None,
                },
                retain_handling: RetainHandling::default(),
            }]);
            assert!(granted.iter().all(Result::is_ok));
            ack.await.unwrap();
            Self { hub, connection }
        }

        /// Publishes a request to the classic shadow of device `T`.
        async fn ask(&mut self, verb: &str, payload: &str) {
            let message = PublishRequest {
                topic: TopicName::new(format!("$hub/devices/T/shadow/{verb}")).unwrap(),
                payload: Bytes::copy_from_slice(payload.as_bytes()),
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: PublishProperties::default(),
                packet_id: None,
            };
            let asked = ShadowRequest {
                address: device(),
                name: None,
                verb: match verb {
                    "get" => ShadowVerb::Get,
                    "update" => ShadowVerb::Update,
                    _ => ShadowVerb::Delete,
                },
            };
            let intent = Intent::Shadow(message, asked);
            self.connection.handle(intent).await.unwrap().await.unwrap();
        }

        /// What was delivered since the last call: the topic below `shadow/`, and the message.
        fn heard(&mut self) -> Vec<(String, Value)> {
            let mut context = Context::from_waker(Waker::noop());
            let mut heard = Vec::new();
            while let Poll::Ready(item) = self.connection.poll_next(&mut context, true) {
                let Item::Deliver(delivery) = item else {
                    panic!("only messages are delivered: {item:?}");
                };
                let message = &delivery.message;
                let tail = message
                    .topic
                    .as_str()
                    .strip_prefix("$hub/devices/T/shadow/");
                heard.push((
                    tail.unwrap().to_owned(),
                    serde_json::from_slice(&message.payload).unwrap_or_default(),
                ));
            }
            heard
        }
    }

    fn device() -> Address {
        Address {
            device: "T".parse().unwrap(),
            module: None,
        }
    }

    /// A language in which nobody has written anything.
    pub(crate) struct NoPolicies;

    impl policy::Spelling for NoPolicies {
        fn action(&self, _: Action) -> &'static str {
            "act"
        }

        fn statement(&self, _: Action, resource: &Resource<'_>) -> String {
            resource.to_string()
        }
    }

    impl PolicyLanguage for NoPolicies {
        fn parse(&self, _: &str) -> Result<policy::Document, InvalidPolicy> {
            Err(InvalidPolicy {
                at: "everywhere".into(),
                message: "there are no policies".into(),
            })
        }

        fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
            canonical.into()
        }

        fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
            canonical.into()
        }
    }
}
