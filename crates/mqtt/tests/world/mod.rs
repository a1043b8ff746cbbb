//! A hub with one registered device, MQTT before it, and clients that speak in bytes.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::BytesMut;
use bytestring::ByteString;
use dialect::{Dialect, Hello, Inbound};
use hub::{
    Caller, Changed, Credentials, Hub, HubConfig, Intent, InvalidPolicy, PolicyLanguage,
    PublishRequest, act,
    clock::{Clock, FakeClock},
    timeline::Entry,
};
use listen::{Io, Peer, Shutdown, ShutdownTrigger, Tasks};
use model::{Refusal, Timestamp, TopicFilter, TopicName, limits::Profile};
use mqtt::{Mqtt, Voucher};
use mqtt_proto::{Version, codec::Decoder, packet::Packet};
use policy::{Action, Document, Effect, Pattern, ResourcePattern, Statement, Variable, Wildcards};
use registry::{
    CertificateRecord, CertificateStatus, PolicyRecord, PolicyTarget, PolicyVersion, Validity,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use crate::notation;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Longer than anything takes here; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whatever the pattern in a policy matches is allowed: `topic/a/*`.
struct Patterns;

impl policy::Spelling for Patterns {
    fn action(&self, _: Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: Action, resource: &policy::Resource<'_>) -> String {
        resource.to_string()
    }
}

impl PolicyLanguage for Patterns {
    fn parse(&self, text: &str) -> Result<Document, InvalidPolicy> {
        let resources = text
            .split_whitespace()
            .map(|spelled| ResourcePattern {
                spelled: spelled.into(),
                patterns: vec![
                    Pattern::parse(spelled, Wildcards::On, &|_| Variable::Unknown).expect(spelled),
                ],
                elsewhere: None,
            })
            .collect();
        Ok(Document {
            statements: vec![Statement {
                sid: None,
                effect: Effect::Allow,
                actions: Action::ALL.into_iter().collect(),
                resources,
                conditions: Vec::new(),
                text: text.into(),
            }],
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }
}

/// Spells the hub's own topics `$cloud/…`.
struct Cloud;

impl Dialect for Cloud {
    fn identify(&self, hello: &Hello<'_>) -> Result<Credentials, Refusal> {
        Ok(hello
            .certificate
            .clone()
            .map_or(Credentials::None, Credentials::Certificate))
    }

    fn interpret(&self, caller: &Caller, inbound: Inbound) -> Result<Intent, Refusal> {
        Ok(Intent::Publish(PublishRequest {
            topic: self.will_topic(caller, inbound.topic)?,
            payload: inbound.payload,
            qos: inbound.qos,
            retain: inbound.retain,
            properties: inbound.properties,
            packet_id: inbound.packet_id,
        }))
    }

    fn will_topic(&self, _: &Caller, topic: ByteString) -> Result<TopicName, Refusal> {
        let topic = match topic.strip_prefix("$cloud/") {
            Some(rest) => ByteString::from(format!("$hub/{rest}")),
            None => topic,
        };
        TopicName::new(topic).map_err(|error| Refusal::malformed("topic.name", error.to_string()))
    }

    fn filter(&self, _: &Caller, filter: &ByteString) -> Result<TopicFilter, Refusal> {
        TopicFilter::new(filter.clone())
            .map_err(|error| Refusal::malformed("topic.filter", error.to_string()))
    }

    fn spell<'a>(&self, canonical: &'a TopicName) -> Option<Cow<'a, str>> {
        let rest = canonical.as_str().strip_prefix("$hub/")?;
        Some(format!("$cloud/{rest}").into())
    }
}

/// Everything but the sockets.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) tasks: Tasks,
    mqtt: Mqtt,
    certificate: x509::Certificate,
    shutdown: Shutdown,
    pub(crate) stop: ShutdownTrigger,
}

impl World {
    /// A device that may connect as anything and use any topic but those below `closed/`.
    pub(crate) async fn new() -> Self {
        let allowed = "client/* topic/open/* topicfilter/open/* topic/$hub/* topicfilter/$*";
        Self::allowing(Profile::Standard, allowed).await
    }

    /// A device that may use what the patterns match.
    pub(crate) async fn allowing(profile: Profile, patterns: &str) -> Self {
        let (authority, _) = ca::Authority::create(NOW).expect("an authority");
        let year = Duration::from_secs(365 * 24 * 3600);
        let identity = authority
            .issue_device(
                &ca::Subject::common_name("device"),
                ca::DeviceKey::P256,
                NOW,
                NOW.after(year),
            )
            .expect("a certificate");
        let clock = Arc::new(FakeClock::at(NOW));
        let hub = Hub::open(
            store::Store::open_temporary().expect("a store"),
            authority,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::new(Patterns),
            HubConfig {
                profile,
                account: "000000000000".into(),
                require_cosigned: None,
            },
        )
        .expect("a hub");
        let (stop, shutdown) = Shutdown::new();
        let world = Self {
            mqtt: Mqtt::new(hub.clone(), Arc::new(Cloud)),
            hub,
            clock,
            tasks: Tasks::new(100),
            certificate: identity.certificate,
            shutdown,
            stop,
        };
        world.set_standing(CertificateStatus::Active).await;
        world.allow(patterns).await;
        world
    }

    /// What the registry says about the device's certificate from now on.
    pub(crate) async fn set_standing(&self, status: CertificateStatus) {
        let id = self.certificate.id();
        let record = CertificateRecord {
            id,
            pem: String::new(),
            status,
            ca_id: None,
            validity: Validity {
                not_before: self.certificate.not_before(),
                not_after: self.certificate.not_after(),
            },
            customer_version: 1,
            generation_id: String::new(),
            created_at: NOW,
            modified_at: NOW,
        };
        let permit = self
            .hub
            .authorize::<act::ManageCertificates>(&Caller::hub(), "device")
            .expect("the hub may");
        self.hub
            .transact(permit, ledger::Verb::DeviceUpdate, move |txn| {
                txn.put_certificate(&record)
            })
            .await
            .expect("a certificate");
        self.hub.registry_changed(&Changed::Certificate(id));
    }

    async fn allow(&self, patterns: &str) {
        let name: model::PolicyName = "p".parse().expect("a name");
        let record = PolicyRecord {
            name: name.clone(),
            default_version: 1,
            next_version: 2,
            generation_id: String::new(),
            created_at: NOW,
            modified_at: NOW,
        };
        let version = PolicyVersion {
            version: 1,
            document: patterns.into(),
            created_at: NOW,
        };
        let target = PolicyTarget::Certificate(self.certificate.id());
        let permit = self
            .hub
            .authorize::<act::ManagePolicies>(&Caller::hub(), "p")
            .expect("the hub may");
        self.hub
            .transact(permit, ledger::Verb::DeviceUpdate, move |txn| {
                txn.put_policy(&record)?;
                txn.put_policy_version(&name, &version)?;
                txn.attach_policy(&name, &target)
            })
            .await
            .expect("a policy");
    }

    /// A connection on which nothing was said yet, of a peer with the device's certificate.
    pub(crate) fn dial(&self) -> Client {
        self.dial_with(vec![self.certificate.der().into()], 1024 * 1024)
    }

    /// The same with any certificates, and a socket that holds so many bytes.
    pub(crate) fn dial_with(&self, chain: Vec<Box<[u8]>>, socket_bytes: usize) -> Client {
        let (near, far) = tokio::io::duplex(socket_bytes);
        self.serve(Io::new(far), chain, None);
        Client { io: near }
    }

    /// A connection of a peer without certificate who signed with this access key.
    pub(crate) fn dial_vouched(&self, key_id: &str) -> Client {
        let (near, far) = tokio::io::duplex(1024 * 1024);
        let voucher = Voucher::AccessKey(key_id.into());
        self.serve(Io::new(far), Vec::new(), Some(voucher));
        Client { io: near }
    }

    /// Serves a connection on `io`.
    pub(crate) fn serve(&self, io: Io, chain: Vec<Box<[u8]>>, voucher: Option<Voucher>) {
        let peer = Peer {
            address: ([192, 0, 2, 1], 4711).into(),
            local_port: 8883,
            alpn: None,
            sni: None,
            chain,
            tls_version: None,
            cipher: None,
            key_exchange: None,
            handshake: Duration::ZERO,
        };
        let shutdown = self.shutdown.clone();
        let serving = self.mqtt.serve_vouched(io, peer, voucher, shutdown);
        self.tasks.spawn(serving).expect("room for a task");
    }

    /// The same with a socket that holds so many bytes.
    pub(crate) fn dial_through(&self, socket_bytes: usize) -> Client {
        self.dial_with(vec![self.certificate.der().into()], socket_bytes)
    }

    /// A 5.0 client with nothing special about it.
    pub(crate) async fn v5(&self, id: &str) -> Client {
        let mut client = self.dial();
        client
            .say(&format!("10 * \"MQTT\" 05 02 0000 {{}} \"{id}\""))
            .await;
        client
            .hears("20 * 00 00 {21 0064 27 00100000 22 0008}")
            .await;
        client
    }

    /// A 3.1.1 client with nothing special about it.
    pub(crate) async fn v311(&self, id: &str) -> Client {
        let mut client = self.dial();
        client
            .say(&format!("10 * \"MQTT\" 04 02 0000 \"{id}\""))
            .await;
        client.hears("20 02 00 00").await;
        client
    }

    /// Waits until the timeline has an entry with this reason.
    pub(crate) async fn records(&self, reason: &str) -> Arc<Entry> {
        let found = timeout(PATIENCE, async {
            let mut after = 0;
            loop {
                for entry in self.hub.recent_entries(after) {
                    after = entry.number;
                    if entry.reason == reason {
                        return entry;
                    }
                }
                self.hub.entry_behind(after).await;
            }
        });
        found.await.unwrap_or_else(|_| {
            panic!("no {reason} in {:#?}", self.hub.recent_entries(0));
        })
    }
}

/// The other end of a connection.
pub(crate) struct Client {
    io: DuplexStream,
}

impl Client {
    pub(crate) async fn say(&mut self, text: &str) {
        self.io.write_all(&notation::bytes(text)).await.expect(text);
    }

    /// Waits for as many bytes as `text` has, and compares.
    #[track_caller]
    pub(crate) fn hears(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let expected = notation::bytes(text);
        async move {
            let mut heard = vec![0; expected.len()];
            let mut at = 0;
            let read = timeout(PATIENCE, async {
                while at < heard.len() {
                    match self.io.read(&mut heard[at..]).await.expect("a socket") {
                        0 => break,
                        bytes => at += bytes,
                    }
                }
            });
            let in_time = read.await.is_ok();
            assert_eq!(
                notation::hex(&heard[..at]),
                notation::hex(&expected),
                "{caller}, in time: {in_time}"
            );
        }
    }

    /// One whole packet of at most 16 KiB.
    pub(crate) async fn hears_something(&mut self) -> Vec<u8> {
        let read = async {
            let mut packet = vec![self.io.read_u8().await.expect("a packet")];
            let mut length = 0;
            for shift in [0, 7] {
                let byte = self.io.read_u8().await.expect("a length");
                packet.push(byte);
                length |= usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let head = packet.len();
            packet.resize(head + length, 0);
            self.io
                .read_exact(&mut packet[head..])
                .await
                .expect("contents");
            packet
        };
        timeout(PATIENCE, read).await.expect("a packet in time")
    }

    /// One whole packet of 5.0.
    pub(crate) async fn hears_packet(&mut self) -> Packet {
        let mut bytes = BytesMut::from(&*self.hears_something().await);
        Decoder::client(Version::V5)
            .decode(&mut bytes)
            .expect("a packet")
            .expect("all of it")
    }

    /// The server closes the connection and says nothing more.
    pub(crate) async fn hears_the_end(&mut self) {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.io.read_to_end(&mut rest))
            .await
            .expect("the end in time")
            .expect("a socket");
        assert_eq!(notation::hex(&rest), "");
    }

    /// Nothing has been said that was not heard: a ping is answered by nothing else.
    #[track_caller]
    pub(crate) fn hears_nothing_else(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.say("C0 00").await;
            let packet = self.hears_something().await;
            assert_eq!(notation::hex(&packet), "d0 00", "{caller}");
        }
    }
}
