//! Carries out what is asked: authorizes, transacts, announces, answers; one file per use case.
//!
//! Three types tell how far a peer has come: [`Credentials`] (what it claims), [`Caller`] (who it
//! is) and [`Permit`] (it may do this, to this target, once). Only a permit opens the store for
//! writing. Every refusal carries its reason, and the reason is kept in the [`timeline`].
//!
//! The hub knows one spelling of everything; the clouds' spellings are translated at the edge.

mod access;
mod announce;
mod attempts;
mod authorize;
mod ca_certificates;
mod caller;
mod certificates;
mod claims;
pub mod clock;
mod connections;
mod cosigning;
mod counts;
mod departures;
mod devices;
mod event_configurations;
mod events;
mod explain;
mod facts;
mod from_template;
mod groups;
mod handle;
mod intents;
mod joining;
mod language;
mod ledger;
mod live;
mod pages;
mod policies;
mod provision;
mod publish;
mod registry_events;
mod reset;
mod retained;
mod shadows;
mod start;
mod stored;
mod tags;
mod templates;
mod test_authorization;
pub mod timeline;
mod transact;
mod types;
mod watch;

use std::{sync::Arc, time::Duration};

use broker::Broker;
use model::limits::Profile;

pub use self::ledger::{
    CosignError, EntryQuery, LedgerFigures, LedgerSetup, LedgerStatus, NamedEntry, Restored,
};
pub use attempts::{AttemptQuery, AttemptRecord};
pub use authorize::{Act, Permit, act};
pub use broker::{CloseReason, SubscriptionOptions};
pub use ca_certificates::NewCa;
pub use caller::{Access, Caller, Credentials, PeerFacts, Principal};
pub use certificates::{Activation, IssuedCertificate};
pub use claims::{ClaimRequest, Encoding};
pub use connections::{
    ConnectRequest, Connection, Disconnect, DisconnectReason, Item, SubscribeRequest, Will,
};
pub use counts::Figures;
pub use devices::NewDevice;
pub use events::Event;
pub use explain::{Explanation, Question};
pub use from_template::Provisioned;
pub use groups::{GroupDetails, NewGroup};
pub use intents::{Intent, PublishRequest, ShadowRequest, ShadowVerb};
pub use language::{InvalidPolicy, PolicyLanguage};
pub use live::{Changed, ConnectionInfo};
pub use pages::{Page, PageRequest};
pub use policies::{NameOrder, PolicyDetails};
pub use provision::DevicePolicy;
pub use publish::Ack;
pub use registry_events::{DeviceIdentity, GroupIdentity, Operation, RegistryChange};
pub use shadows::ShadowNames;
pub use store::{
    AttributeFilter, DeviceFilter, GroupFilter, LedgerError, Order, PersonKind, SignedCheckpoint,
};
pub use templates::NewTemplate;
pub use test_authorization::{
    AuthorizationCheck, AuthorizationResult, AuthorizationTest, EffectivePolicy,
};
pub use watch::{Watch, Watched};

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Which cloud's restrictions are kept to.
    pub profile: Profile,
    /// The account that stands in the hub's resource names: 12 digits.
    pub account: String,
    /// Whether a change is answered only when the witnesses have cosigned its entry in the ledger,
    /// and how long they may take.
    pub require_cosigned: Option<Duration>,
}

/// The hub. Cloning it is cheap and gives the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    store: store::Store,
    authority: ca::Authority,
    broker: Broker,
    clock: Arc<dyn clock::Clock>,
    language: Arc<dyn PolicyLanguage>,
    ledger: ledger::Kept,
    live: live::LiveConnections,
    timeline: timeline::Timeline,
    departures: departures::Departures,
    parsed: access::ParsedPolicies,
    shadow_turns: shadows::Turns,
    counts: counts::Counts,
    cosigning: cosigning::Cosigning,
    stopping: tokio::sync::watch::Sender<bool>,
    config: HubConfig,
}
