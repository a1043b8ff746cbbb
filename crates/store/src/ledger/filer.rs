//! The filer: the thread that brings the ledger's files to disk.
//!
//! A flush waits for everything that the file system has to write, others' files too. The
//! integrator must not wait with it, because checkpoints would.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;

use super::{
    edge::Edge,
    error::LedgerError,
    files::{CHECKPOINT, Unsynced},
    log::Shared,
};

/// One of each kind at a time.
const REQUESTS: usize = 2;

#[derive(Debug)]
enum Work {
    File(Request),
    MoveLog,
}

/// What is to be on disk.
#[derive(Debug)]
pub(crate) struct Request {
    /// The edge at the last full bundle that is written.
    pub(crate) written: Edge,
    /// The files up to there that may not be on disk.
    pub(crate) files: Unsynced,
    /// The checkpoint to go with it.
    pub(crate) note: String,
}

/// The integrator's end of the filer.
#[derive(Debug)]
pub(crate) struct Filer {
    requests: Option<SyncSender<Work>>,
    answers: Receiver<Result<Edge, LedgerError>>,
    is_busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Filer {
    pub(crate) fn spawn(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let folder = shared.files.folder().to_path_buf();
        let (requests, incoming) = sync_channel::<Work>(REQUESTS);
        let (outgoing, answers) = sync_channel(REQUESTS);
        let work = move || {
            let registry = shared.checkpointer();
            for work in incoming {
                let request = match work {
                    Work::File(request) => request,
                    Work::MoveLog => {
                        if let Some(registry) = &registry {
                            move_log(registry);
                        }
                        continue;
                    }
                };
                let done = shared
                    .files
                    .put_note(CHECKPOINT, &request.note)
                    .and_then(|()| shared.files.sync(&request.files));
                let answer = done.map(|()| request.written);
                if outgoing.send(answer).is_err() {
                    return;
                }
                shared.gate.ring();
            }
        };
        let thread = std::thread::Builder::new()
            .name("ledger filer".into())
            .spawn(work)
            .map_err(|error| LedgerError::io("start a thread for", &folder, &error))?;
        Ok(Self {
            requests: Some(requests),
            answers,
            is_busy: false,
            thread: Some(thread),
        })
    }

    /// Whether it still works on what it was asked.
    pub(crate) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Asks a filer that is not busy.
    pub(crate) fn ask(&mut self, request: Request) {
        let requests = self.requests.as_ref();
        self.is_busy = requests.is_some_and(|requests| requests.send(Work::File(request)).is_ok());
    }

    /// Has the registry's log moved, unless it is being moved.
    pub(crate) fn move_log(&self) {
        if let Some(requests) = &self.requests {
            // Full: it is under way.
            let _asked_before = requests.try_send(Work::MoveLog);
        }
    }

    /// What is on disk now, if it has become more, or why it has not. Waits at most `longest`.
    pub(crate) fn answer(&mut self, longest: Duration) -> Result<Option<Edge>, LedgerError> {
        if !self.is_busy {
            return Ok(None);
        }
        let answer = match self.answers.try_recv() {
            Err(TryRecvError::Empty) => match self.answers.recv_timeout(longest) {
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => None,
                Ok(answer) => Some(answer),
            },
            Err(TryRecvError::Disconnected) => None,
            Ok(answer) => Some(answer),
        };
        self.is_busy = false;
        match answer {
            Some(answer) => answer.map(Some),
            None => Err(LedgerError::FilerEnded),
        }
    }
}

impl Drop for Filer {
    fn drop(&mut self) {
        self.requests = None;
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the ledger's filer panicked");
        }
    }
}

/// Moves the registry's write-ahead log into its file while the writer goes on, which otherwise
/// does it itself while everybody waits.
fn move_log(registry: &Connection) {
    let moved = registry.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = moved {
        // The writer does it when the log has grown long.
        tracing::debug!(%error, "the registry's log was not moved");
    }
}
