//! What operators manage (`registry.db`): its layout, its transactions, and its writer.
//!
//! The verbs on each noun stand in files of their own, as methods of [`ReadTxn`] and [`WriteTxn`].

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;

use crate::{
    Failure, Store,
    commit::{Commit, Inbox, Urgency},
    database::Layout,
    ledger::{Capture, Recorder},
};

pub(crate) const LAYOUT: Layout = Layout {
    name: "registry.db",
    application_id: 0x5345_4b52,
    migrations: &[
        include_str!("registry_file/001.sql"),
        include_str!("registry_file/shadows.sql"),
        include_str!("registry_file/salts.sql"),
        include_str!("registry_file/ledger.sql"),
        include_str!("registry_file/ca_certificates.sql"),
        include_str!("registry_file/provisioning_attempts.sql"),
        include_str!("registry_file/provisioning_templates.sql"),
        include_str!("registry_file/ownership_tokens.sql"),
    ],
    readers: 4,
    log_pages: 12_000,
};

/// A snapshot of the last commit. What it returns was true together.
#[derive(Debug)]
pub struct ReadTxn<'file> {
    file: &'file Connection,
}

/// A change in the making: sees its own writes, and is undone whole when its job is refused.
#[derive(Debug)]
pub struct WriteTxn<'file> {
    read: ReadTxn<'file>,
    capture: &'file Capture,
    recorder: &'file mut Recorder,
}

impl WriteTxn<'_> {
    pub(crate) const fn capture(&self) -> &Capture {
        self.capture
    }

    pub(crate) const fn recorder(&self) -> &Recorder {
        self.recorder
    }

    pub(crate) const fn recorder_mut(&mut self) -> &mut Recorder {
        self.recorder
    }
}

impl<'file> Deref for WriteTxn<'file> {
    type Target = ReadTxn<'file>;

    fn deref(&self) -> &ReadTxn<'file> {
        &self.read
    }
}

impl ReadTxn<'_> {
    pub(crate) const fn file(&self) -> &Connection {
        self.file
    }
}

/// Whether a job's changes are kept.
enum Verdict {
    Keep,
    Undo,
}

/// A change, to be called once, inside a transaction.
pub(crate) struct Job(Box<dyn FnOnce(&mut WriteTxn<'_>) -> Verdict + Send>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// What a job in the inbox weighs: the records it carries are bounded by the HTTP body.
const JOB_BYTES: usize = 1024;

impl Store {
    /// Reads from the last commit. Blocks for microseconds; `work` must not wait for anything.
    ///
    /// # Errors
    ///
    /// What `work` returns, and [`Failure`] when the file cannot be read.
    pub fn read<T, E: From<Failure>>(
        &self,
        work: impl FnOnce(&ReadTxn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut answer = None;
        self.registry_readers.with(|file| {
            answer = Some(work(&ReadTxn { file }));
            Ok(())
        })?;
        answer.expect("the work has run, or its failure was returned above")
    }

    /// Runs `job` in the writer's next transaction and returns once that is on disk. A refused job
    /// (`Err`) leaves no trace, whatever it wrote before, and does not disturb the others.
    ///
    /// # Errors
    ///
    /// What `job` returns, and [`Failure::Unavailable`] when the store takes no writes;
    /// [`Failure::Unrecorded`] when `job` changed something and did not take [`WriteTxn::changes`]
    /// to record it in the ledger.
    pub async fn write<T, E>(
        &self,
        job: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Failure> + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let put = Arc::clone(&answer);
        let job = Job(Box::new(move |txn| {
            let mut result = job(txn);
            if result.is_ok() && txn.capture.is_pending() {
                result = Err(Failure::Unrecorded.into());
            }
            let verdict = match &result {
                Ok(_) => Verdict::Keep,
                Err(_) => Verdict::Undo,
            };
            *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            verdict
        }));
        self.registry
            .push(job, JOB_BYTES, Urgency::Now)
            .await
            .map_err(|unavailable| E::from(unavailable.into()))?;
        let result = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.expect("the writer runs every job before it completes its group")
    }

    /// Removes every row of both files but the ledger's, runs `record` in the same transaction, and
    /// returns once that is on disk. Blocks for as long as that takes: only for hubs in
    /// development.
    ///
    /// # Errors
    ///
    /// What `record` returns, and [`Failure::Unavailable`] when the store takes no writes; nothing
    /// is removed from the registry then.
    pub fn clear(
        &self,
        record: impl FnOnce(&mut WriteTxn<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let cleared = Arc::new(Mutex::new(Ok(())));
        let put = Arc::clone(&cleared);
        let job = Job(Box::new(move |txn| {
            txn.capture.pause();
            let cleared = crate::rows::clear(txn.file()).map_err(Failure::from);
            match cleared.and_then(|()| record(txn)) {
                Ok(()) => Verdict::Keep,
                Err(error) => {
                    *put.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
                    Verdict::Undo
                }
            }
        }));
        let registry = self.registry.push(job, JOB_BYTES, Urgency::Now);
        let queues = self.queues().clear();
        registry.wait()?;
        queues.wait()?;
        std::mem::replace(
            &mut *cleared.lock().unwrap_or_else(PoisonError::into_inner),
            Ok(()),
        )
    }

    /// Runs `job` within 100 ms and forgets it; for records nobody waits for. Errors are logged.
    pub(crate) fn write_lazily(
        &self,
        what: &'static str,
        job: impl FnOnce(&mut WriteTxn<'_>) -> Result<(), Failure> + Send + 'static,
    ) {
        let job = Job(Box::new(move |txn| match job(txn) {
            Ok(()) => Verdict::Keep,
            Err(error) => {
                tracing::warn!(%error, what, "a record was lost");
                Verdict::Undo
            }
        }));
        // Refused when the store is closing or too busy: a record about that is in the log already.
        let _commit = self.registry.push(job, JOB_BYTES, Urgency::Lazy);
    }
}

/// A transaction for what the writer does of itself: it forgets entries of the ledger that are in
/// files.
pub(crate) fn write_nothing(inbox: &Inbox<Job>, urgency: Urgency) -> Commit {
    inbox.push(Job(Box::new(|_| Verdict::Keep)), 0, urgency)
}

/// Runs until the inbox is closed or a write fails.
pub(crate) fn write(
    inbox: &Inbox<Job>,
    mut file: Connection,
    capture: &Capture,
    mut recorder: Recorder,
) {
    inbox.run(LAYOUT.name, |jobs| {
        recorder.hold_up();
        commit(&mut file, capture, &mut recorder, jobs)?;
        recorder.committed();
        Ok::<_, rusqlite::Error>(())
    });
}

fn commit(
    file: &mut Connection,
    capture: &Capture,
    recorder: &mut Recorder,
    jobs: Vec<Job>,
) -> rusqlite::Result<()> {
    let transaction = file.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Prepared once: parsing them costs more than running them.
    let run = |sql| transaction.prepare_cached(sql)?.execute([]).map(drop);
    for job in jobs {
        run("SAVEPOINT job")?;
        capture.begin();
        let mark = recorder.mark();
        let mut txn = WriteTxn {
            read: ReadTxn { file: &transaction },
            capture,
            recorder,
        };
        if matches!((job.0)(&mut txn), Verdict::Undo) {
            // Back to here. When SQLite has given up the whole transaction (no space), this fails,
            // and with it the group.
            recorder.rewind(mark);
            run("ROLLBACK TO job")?;
        }
        run("RELEASE job")?;
    }
    recorder.store(&transaction)?;
    transaction.commit()
}
