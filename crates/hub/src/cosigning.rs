//! How far the ledger is final: cosigned by as many witnesses as the policy asks for.

use std::sync::{Mutex, PoisonError};

use model::Timestamp;
use tokio::sync::watch;

/// How far the ledger is final.
#[derive(Debug)]
pub(crate) struct Cosigning {
    /// So many entries are.
    size: watch::Sender<u64>,
    /// Since when some are not.
    waiting_since: Mutex<Option<Timestamp>>,
}

impl Default for Cosigning {
    fn default() -> Self {
        Self {
            size: watch::Sender::new(0),
            waiting_since: Mutex::default(),
        }
    }
}

impl Cosigning {
    /// So many entries are final.
    pub(crate) fn size(&self) -> u64 {
        *self.size.borrow()
    }

    /// The first `size` entries are final.
    pub(crate) fn reached(&self, size: u64) {
        self.size.send_if_modified(|reached| {
            let further = size > *reached;
            *reached = size.max(*reached);
            further
        });
    }

    /// The ledger has `size` entries at `now`.
    pub(crate) fn look(&self, size: u64, now: Timestamp) {
        let mut since = self
            .waiting_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.size() >= size {
            *since = None;
        } else {
            since.get_or_insert(now);
        }
    }

    /// Since when some entries are not final; `None` when all are.
    pub(crate) fn waiting_since(&self) -> Option<Timestamp> {
        *self
            .waiting_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the entry at `index` is final.
    pub(crate) async fn past(&self, index: u64) {
        // The sender lives as long as `self`, so this does not end early.
        let _ = self.size.subscribe().wait_for(|size| *size > index).await;
    }
}

#[tokio::test]
async fn waiting_begins_with_the_first_entry_that_is_not_final() {
    let at = Timestamp::from_seconds;
    let cosigning = Cosigning::default();
    cosigning.look(0, at(1));
    assert_eq!(cosigning.waiting_since(), None);
    cosigning.look(3, at(2));
    cosigning.look(5, at(3));
    assert_eq!(cosigning.waiting_since(), Some(at(2)));
    cosigning.reached(4);
    cosigning.past(3).await;
    cosigning.look(5, at(4));
    assert_eq!(cosigning.waiting_since(), Some(at(2)), "one is left");
    cosigning.reached(5);
    cosigning.reached(2);
    assert_eq!(cosigning.size(), 5, "it never goes back");
    cosigning.look(5, at(5));
    assert_eq!(cosigning.waiting_since(), None);
}
