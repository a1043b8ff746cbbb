//! Tasks that shutdown waits for. The only place that calls `tokio::spawn`.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{Notify, watch};

/// Spawns tasks up to a limit, and waits for them at shutdown.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    limit: usize,
    running: AtomicUsize,
    ended: Notify,
}

/// The limit of tasks is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{limit} tasks are running, no more are started")]
pub struct TasksFull {
    /// Tasks allowed.
    pub limit: usize,
}

impl Tasks {
    /// No tasks yet, at most `limit` at a time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            running: AtomicUsize::new(0),
            ended: Notify::new(),
        }))
    }

    /// Starts a task on the current runtime.
    ///
    /// # Errors
    ///
    /// [`TasksFull`] when the limit is reached; `task` is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), TasksFull> {
        let slot = self.slot()?;
        tokio::spawn(Counted {
            // Boxed, so that the runtime's cell stays small whatever the task is.
            task: Box::pin(task),
            _slot: slot,
        });
        Ok(())
    }

    /// Tasks running now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    /// Waits until every task has ended, at most `patience`. Returns how many still run.
    pub async fn wait(&self, patience: Duration) -> usize {
        let all_ended = async {
            loop {
                let ended = self.0.ended.notified();
                if self.running() == 0 {
                    return;
                }
                ended.await;
            }
        };
        match tokio::time::timeout(patience, all_ended).await {
            Ok(()) => 0,
            Err(_) => self.running(),
        }
    }

    fn slot(&self) -> Result<Slot, TasksFull> {
        let taken = self
            .0
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < self.0.limit).then_some(running + 1)
            });
        match taken {
            Ok(_) => Ok(Slot(Arc::clone(&self.0))),
            Err(_) => Err(TasksFull {
                limit: self.0.limit,
            }),
        }
    }
}

/// One running task; given back when it ends, panics or is dropped.
struct Slot(Arc<Inner>);

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

struct Counted {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    _slot: Slot,
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.task.as_mut().poll(context)
    }
}

/// Asks everything that holds a [`Shutdown`] to end.
pub struct ShutdownTrigger(watch::Sender<bool>);

impl ShutdownTrigger {
    /// Asks for the shutdown. Asking twice is asking once.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// Tells when the program is to end.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A shutdown and the one who asks for it.
    #[must_use]
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for. A trigger that was dropped has asked.
    pub async fn requested(&mut self) {
        let asked = self.0.wait_for(|requested| *requested).await;
        // An error means that the trigger is gone, and with it the program's main part.
        drop(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_the_tasks_that_heed_it() {
        let (trigger, shutdown) = Shutdown::new();
        let tasks = Tasks::new(2);
        for _ in 0..2 {
            let mut shutdown = shutdown.clone();
            tasks
                .spawn(async move { shutdown.requested().await })
                .unwrap();
        }
        assert_eq!(tasks.spawn(async {}), Err(TasksFull { limit: 2 }));
        assert_eq!(tasks.wait(Duration::from_secs(1)).await, 2);
        trigger.request();
        assert_eq!(tasks.wait(Duration::from_secs(1)).await, 0);
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_task_that_panics_gives_its_slot_back() {
        let tasks = Tasks::new(1);
        tasks.spawn(async { panic!("on purpose") }).unwrap();
        assert_eq!(tasks.wait(Duration::from_secs(5)).await, 0);
        assert!(tasks.spawn(async {}).is_ok());
    }
}
