//! What all listeners share: limits, services, the record of failures.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{Timestamp, limits};
use tracing::debug;

use crate::{HandshakeFailure, HandshakeObserver, Io, Peer, Permits, Selected, Shutdown, Tasks};

/// What a service does with one connection. Boxed: it is what the connection's task holds for as
/// long as the connection lives, so keep it small.
pub type ServiceFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves one protocol.
pub trait Service: Send + Sync {
    /// Serves one connection until it ends or `shutdown` is requested.
    fn serve(&self, io: Io, peer: Peer, shutdown: Shutdown) -> ServiceFuture;
}

/// The services that connections are handed to.
pub struct Services {
    /// MQTT.
    pub mqtt: Arc<dyn Service>,
    /// HTTP.
    pub http: Arc<dyn Service>,
    /// AMQP 1.0; while there is none, such peers are closed and the reason recorded.
    pub amqp: Option<Arc<dyn Service>>,
}

impl Services {
    pub(crate) fn get(&self, selected: Selected) -> Option<&Arc<dyn Service>> {
        match selected {
            Selected::Mqtt => Some(&self.mqtt),
            Selected::Http => Some(&self.http),
            Selected::Amqp => self.amqp.as_ref(),
        }
    }
}

/// How long a stranger may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// From accepting the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the end of the handshake to the first byte, when the first byte decides.
    pub hello: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: limits::HANDSHAKE_DEADLINE,
            hello: limits::HELLO_DEADLINE,
        }
    }
}

/// Tells the time; the program gives the hub's clock. Only measures how long a handshake took and
/// how many failures a second brought: deadlines run on the runtime's timer.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What all listeners of one hub share.
pub struct Gate {
    /// Connection limits.
    pub permits: Permits,
    /// How long a stranger may take.
    pub deadlines: Deadlines,
    /// Where connections run.
    pub tasks: Tasks,
    /// When to stop.
    pub shutdown: Shutdown,
    /// Whom connections are handed to.
    pub services: Services,
    pub(crate) clock: Clock,
    reporter: Reporter,
}

impl Gate {
    /// A gate with the default limits and deadlines.
    #[must_use]
    pub fn new(
        services: Services,
        observer: Arc<dyn HandshakeObserver>,
        tasks: Tasks,
        shutdown: Shutdown,
        clock: Clock,
    ) -> Self {
        Self {
            clock,
            permits: Permits::default(),
            deadlines: Deadlines::default(),
            tasks,
            shutdown,
            services,
            reporter: Reporter {
                observer,
                rate: Mutex::new(Rate {
                    left: limits::HANDSHAKE_FAILURES_PER_SECOND,
                    until: None,
                    suppressed: 0,
                }),
            },
        }
    }

    /// Records a failure, or counts it when there are too many.
    pub(crate) fn report(&self, mut failure: HandshakeFailure) {
        debug!(
            address = %failure.address,
            reason = %failure.reason,
            stage = %failure.stage,
            detail = %failure.detail,
            "a connection failed before it reached a service"
        );
        let admitted = self
            .reporter
            .rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit((self.clock)());
        if let Some(suppressed) = admitted {
            failure.suppressed = suppressed;
            self.reporter.observer.failed(failure);
        }
    }
}

struct Reporter {
    observer: Arc<dyn HandshakeObserver>,
    rate: Mutex<Rate>,
}

/// So many reports in each second.
struct Rate {
    left: u32,
    until: Option<Timestamp>,
    suppressed: u64,
}

impl Rate {
    /// Whether one more may be reported now, and how many were not since the last one.
    fn admit(&mut self, now: Timestamp) -> Option<u64> {
        if self.until.is_none_or(|until| now >= until) {
            self.until = Some(now.after(Duration::from_secs(1)));
            self.left = limits::HANDSHAKE_FAILURES_PER_SECOND;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[test]
fn a_flood_of_failures_is_counted_not_recorded() {
    let mut rate = Rate {
        left: 0,
        until: None,
        suppressed: 0,
    };
    let now = Timestamp::from_seconds(1_795_000_000);
    let later = now.after(Duration::from_secs(1));
    for _ in 0..limits::HANDSHAKE_FAILURES_PER_SECOND {
        assert_eq!(rate.admit(now), Some(0));
    }
    for _ in 0..1000 {
        assert_eq!(rate.admit(now), None);
    }
    assert_eq!(rate.admit(later), Some(1000));
    assert_eq!(rate.admit(later), Some(0));
}
