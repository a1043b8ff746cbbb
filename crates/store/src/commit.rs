//! The promise that a write is on disk, and the thread that keeps it.
//!
//! Every file has one writer thread. Jobs collect in an [`Inbox`] while the writer is busy; it then
//! takes all of them into one transaction, commits once (one fsync) and completes them together.
//! All jobs of one transaction share one [`Group`], so a job costs no allocation of its own here.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use model::limits;

/// The store takes no writes: an earlier write failed, too many are waiting, or it is closing.
///
/// After a failed write nothing is retried, because the state of the disk is unknown; the hub must
/// be restarted, which recovers to the last commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the store takes no writes now")]
pub struct Unavailable;

const PENDING: u8 = 0;
const ON_DISK: u8 = 1;
const LOST: u8 = 2;

/// Resolves when the write it stands for is on disk (fsynced), or will never be.
///
/// Writes of one file reach the disk in the order they were handed over, so whoever made several
/// needs to wait only for the last.
#[derive(Debug)]
#[must_use = "nothing may be acknowledged before the commit resolves"]
pub struct Commit {
    group: Arc<Group>,
    slot: Option<usize>,
}

impl Commit {
    /// Whether it is on disk already, without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.group.state.load(Ordering::Acquire) == ON_DISK
    }

    /// A commit of nothing.
    pub fn nothing() -> Self {
        Self {
            group: Arc::new(Group::with_state(ON_DISK)),
            slot: None,
        }
    }

    pub(crate) fn refused() -> Self {
        Self {
            group: Arc::new(Group::with_state(LOST)),
            slot: None,
        }
    }

    /// Waits on this thread, for tests and programs without a runtime.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when the write was lost.
    pub fn wait(self) -> Result<(), Unavailable> {
        let mut wakers = self.group.lock();
        while self.group.outcome().is_none() {
            wakers = self
                .group
                .blocked
                .wait(wakers)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(wakers);
        self.group.outcome().unwrap_or(Err(Unavailable))
    }
}

impl Future for Commit {
    type Output = Result<(), Unavailable>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(outcome) = this.group.outcome() {
            return Poll::Ready(outcome);
        }
        let mut wakers = this.group.lock();
        // The writer sets the outcome before it takes this lock to wake us.
        if let Some(outcome) = this.group.outcome() {
            return Poll::Ready(outcome);
        }
        match this.slot.and_then(|slot| wakers.get_mut(slot)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                this.slot = Some(wakers.len());
                wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

/// The jobs of one transaction.
#[derive(Debug)]
pub(crate) struct Group {
    state: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
    blocked: Condvar,
}

impl Group {
    const fn with_state(state: u8) -> Self {
        Self {
            state: AtomicU8::new(state),
            wakers: Mutex::new(Vec::new()),
            blocked: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcome(&self) -> Option<Result<(), Unavailable>> {
        match self.state.load(Ordering::Acquire) {
            PENDING => None,
            ON_DISK => Some(Ok(())),
            _ => Some(Err(Unavailable)),
        }
    }

    fn finish(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        let wakers = std::mem::take(&mut *self.lock());
        self.blocked.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }
}

/// How soon a job must reach the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Urgency {
    /// Somebody waits for it.
    Now,
    /// Nobody waits: within [`LAZY_DELAY`], or together with the next urgent one.
    Lazy,
}

/// Longest a lazy job stays in memory. Hub: `timeline` must show a refusal within a second.
pub(crate) const LAZY_DELAY: Duration = Duration::from_millis(100);

/// What waits for the writer of one file.
#[derive(Debug)]
pub(crate) struct Inbox<J> {
    waiting: Mutex<Waiting<J>>,
    arrived: Condvar,
    /// Read by whoever hands over jobs that belong together; written by the writer while it
    /// takes, so that it takes all of them or none.
    together: RwLock<()>,
}

/// While it lives, the writer takes nothing: all jobs handed over meanwhile reach the disk in one
/// transaction. To be held for microseconds.
#[derive(Debug)]
#[must_use = "jobs belong together only while it lives"]
pub struct Together<'a> {
    _held: RwLockReadGuard<'a, ()>,
}

#[derive(Debug)]
struct Waiting<J> {
    jobs: Vec<J>,
    bytes: usize,
    group: Arc<Group>,
    urgent: bool,
    /// Whether the writer sleeps and needs to be told.
    asleep: bool,
    door: Door,
    /// How many transactions were committed.
    transactions: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Door {
    Open,
    Closing,
    Failed,
}

impl<J> Inbox<J> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                jobs: Vec::new(),
                bytes: 0,
                group: Arc::new(Group::with_state(PENDING)),
                urgent: false,
                asleep: false,
                door: Door::Open,
                transactions: 0,
            }),
            arrived: Condvar::new(),
            together: RwLock::new(()),
        }
    }

    /// Keeps the writer from taking some of the jobs to come without the others.
    pub(crate) fn together(&self) -> Together<'_> {
        Together {
            _held: self.together.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `job` over. `bytes` is what it holds in memory beyond itself; a job that holds none is
    /// taken even when others fill the inbox, because it frees memory or space.
    pub(crate) fn push(&self, job: J, bytes: usize, urgency: Urgency) -> Commit {
        let mut waiting = self.lock();
        let full = bytes > 0
            && (waiting.bytes.saturating_add(bytes) > limits::STORE_PENDING_BYTES
                || waiting.jobs.len() >= limits::STORE_PENDING_JOBS);
        if waiting.door != Door::Open || full {
            return Commit::refused();
        }
        waiting.jobs.push(job);
        waiting.bytes += bytes;
        let first_urgent = urgency == Urgency::Now && !waiting.urgent;
        waiting.urgent |= urgency == Urgency::Now;
        if waiting.asleep && (first_urgent || waiting.jobs.len() == 1) {
            self.arrived.notify_one();
        }
        Commit {
            group: Arc::clone(&waiting.group),
            slot: None,
        }
    }

    /// Bytes that wait for the writer: what a publisher should slow down for.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Takes no more jobs; the writer finishes what waits and ends.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        if waiting.door == Door::Open {
            waiting.door = Door::Closing;
        }
        self.arrived.notify_one();
    }

    /// Whether an earlier write failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().door == Door::Failed
    }

    /// How many transactions have been committed.
    pub(crate) fn transactions(&self) -> u64 {
        self.lock().transactions
    }

    fn fail(&self) {
        let mut waiting = self.lock();
        waiting.door = Door::Failed;
        waiting.jobs.clear();
        waiting.bytes = 0;
        waiting.group.finish(LOST);
    }

    /// Everything that waits, or `None` when closed and empty. Blocks.
    fn take(&self) -> Option<(Vec<J>, Arc<Group>)> {
        let mut waiting = self.lock();
        loop {
            let closing = waiting.door != Door::Open;
            if waiting.jobs.is_empty() {
                if closing {
                    return None;
                }
                waiting.asleep = true;
                waiting = self
                    .arrived
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                waiting.asleep = false;
                continue;
            }
            if waiting.urgent || closing {
                break;
            }
            waiting.asleep = true;
            let (guard, result) = self
                .arrived
                .wait_timeout(waiting, LAZY_DELAY)
                .unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            waiting.asleep = false;
            if result.timed_out() {
                break;
            }
        }
        // Waits for those in the middle of handing over what belongs together; they take this lock
        // before `waiting`, so it is given up meanwhile.
        drop(waiting);
        let whole = self
            .together
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self.lock();
        drop(whole);
        waiting.urgent = false;
        waiting.bytes = 0;
        let group = std::mem::replace(&mut waiting.group, Arc::new(Group::with_state(PENDING)));
        Some((std::mem::take(&mut waiting.jobs), group))
    }

    /// The writer thread: one transaction after the other until closed or failed.
    ///
    /// `commit` runs the jobs in one transaction and returns once they are on disk. Its first error
    /// is final: after a failed fsync nobody knows what the disk holds, so nothing is retried.
    pub(crate) fn run<E: std::fmt::Display>(
        &self,
        file: &'static str,
        mut commit: impl FnMut(Vec<J>) -> Result<(), E>,
    ) {
        struct FailWhenDropped<'a, J>(&'a Inbox<J>, Option<Arc<Group>>);
        impl<J> Drop for FailWhenDropped<'_, J> {
            fn drop(&mut self) {
                if let Some(group) = self.1.take() {
                    self.0.fail();
                    group.finish(LOST);
                }
            }
        }
        while let Some((jobs, group)) = self.take() {
            // A panic or an error below fails the inbox, so that nobody waits for ever.
            let mut guard = FailWhenDropped(self, Some(group));
            match commit(jobs) {
                Ok(()) => {
                    self.lock().transactions += 1;
                    if let Some(group) = guard.1.take() {
                        group.finish(ON_DISK);
                    }
                }
                Err(error) => {
                    tracing::error!(file, %error, "a write failed; the store takes no more writes");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_commit_refuses_everything_after_it() {
        let inbox = Inbox::new();
        let first = inbox.push(1, 1, Urgency::Now);
        inbox.run("test.db", |_jobs: Vec<i32>| Err("disk on fire"));
        assert_eq!(first.wait(), Err(Unavailable));
        assert_eq!(inbox.push(2, 1, Urgency::Now).wait(), Err(Unavailable));
        assert!(inbox.has_failed());
    }

    #[test]
    fn a_full_inbox_still_takes_what_frees_space() {
        let inbox = Inbox::new();
        assert!(
            inbox
                .push(1, limits::STORE_PENDING_BYTES, Urgency::Now)
                .group
                .outcome()
                .is_none()
        );
        assert_eq!(inbox.push(2, 1, Urgency::Now).wait(), Err(Unavailable));
        let freeing = inbox.push(3, 0, Urgency::Now);
        inbox.close();
        let mut seen = Vec::new();
        inbox.run("test.db", |jobs| {
            seen.extend(jobs);
            Ok::<(), &str>(())
        });
        assert_eq!(seen, [1, 3]);
        assert_eq!(freeing.wait(), Ok(()));
    }

    #[test]
    fn jobs_that_belong_together_are_taken_together() {
        let inbox = Inbox::new();
        let mut transactions = Vec::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut sizes = Vec::new();
                inbox.run("test.db", |jobs: Vec<i32>| {
                    sizes.push(jobs.len());
                    Ok::<(), &str>(())
                });
                sizes
            });
            for _ in 0..200 {
                let together = inbox.together();
                let _first = inbox.push(1, 1, Urgency::Now);
                std::thread::yield_now();
                let second = inbox.push(2, 1, Urgency::Now);
                drop(together);
                assert_eq!(second.wait(), Ok(()));
            }
            inbox.close();
            transactions = writer.join().unwrap();
        });
        assert_eq!(transactions, [2; 200]);
    }

    #[test]
    fn everything_that_waits_becomes_one_transaction() {
        let inbox = Inbox::new();
        let commits: Vec<_> = (0..100).map(|n| inbox.push(n, 1, Urgency::Now)).collect();
        inbox.close();
        let mut transactions = Vec::new();
        inbox.run("test.db", |jobs| {
            transactions.push(jobs.len());
            Ok::<(), &str>(())
        });
        assert_eq!(transactions, [100]);
        assert!(commits.iter().all(Commit::is_ready));
    }
}
