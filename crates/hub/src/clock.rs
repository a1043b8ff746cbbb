//! The only place that reads the clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Moves this clock forward, for tests of expiry. Never backward.
    fn advance(&self, by: Duration);
}

/// The machine's clock, moved forward by as much as tests have asked for.
#[derive(Debug, Default)]
pub struct SystemClock {
    ahead_millis: AtomicU64,
}

/// A clock that stands still until it is advanced.
#[derive(Debug)]
pub struct FakeClock {
    millis: AtomicU64,
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        // Before 1970 there were no devices to serve.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ahead = self.ahead_millis.load(Ordering::Relaxed);
        Timestamp::default()
            .after(since_epoch)
            .after(Duration::from_millis(ahead))
    }

    fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_millis.fetch_add(millis, Ordering::Relaxed);
    }
}

impl FakeClock {
    /// A clock that says `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self {
            millis: AtomicU64::new(now.millis()),
        }
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::Relaxed))
    }

    fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}
