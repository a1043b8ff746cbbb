//! One log as a witness or a mirror keeps it: what was accepted, and for a mirror what is held.
//!
//! Everything here blocks on the disk, and one caller at a time has it: what is decided is written
//! before the next is decided, and before it is answered.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{Timestamp, limits};
use tlog::{
    Checkpoint, Note, NoteSignature, SignerKey, VerifierKey,
    merkle::empty_root,
    mirror::{AddEntries, MirrorInfo, Package, Span},
    witness::{Accepted, AddCheckpoint, Refused, accept, judge},
};

use crate::{
    server::OpenError,
    split::History,
    state::{State, Unreadable},
    tree::{self, Tree, Unusable},
};

/// What a server is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Cosigns checkpoints that continue the ones before them.
    Witness,
    /// Holds the entries too, and cosigns only what it holds.
    Mirror,
}

impl Role {
    /// Its name in commands and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Mirror => "mirror",
        }
    }
}

/// A checkpoint with the log's own signatures.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: Note,
}

/// One log.
pub(crate) struct Kept {
    origin: String,
    keys: Vec<VerifierKey>,
    signers: Arc<[SignerKey]>,
    folder: PathBuf,
    latest: Option<Pending>,
    /// A mirror's: checkpoints that entries may be uploaded for, the latest last.
    pending: VecDeque<Pending>,
    /// A mirror's.
    copy: Option<Copy>,
    /// When a cosignature was given last, in seconds since 1970.
    cosigned_at: u64,
    state: State,
}

/// What a mirror holds.
struct Copy {
    tree: Tree,
    signed: u64,
}

/// Why a checkpoint was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Declined {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Unable(#[from] Unable),
}

/// Why nothing can be signed at the moment, whatever is sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unable {
    /// The clock must be set right.
    #[error(
        "the clock here says {now}, which is before the last cosignature, {last}; nothing is \
         signed until it is right again"
    )]
    Clock { now: u64, last: u64 },
    /// The disk must be mended, or emptied.
    #[error("what was accepted cannot be written down, so it is not signed: {0}")]
    Disk(#[from] io::Error),
    /// The copy must be restored.
    #[error("the copy of the log cannot be used, so it is not signed for: {0}")]
    Copy(#[from] Unusable),
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) enum Upload {
    /// All of it is there, and signed.
    Signed(Vec<NoteSignature>),
    /// Send again, from there.
    Again(MirrorInfo),
}

/// Why a package was not saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsaved {
    #[error("the entries {0}..{1} are not shown to belong to the checkpoint")]
    Unproven(u64, u64),
    #[error("the entries before these are not here")]
    Gap,
    #[error("{0}")]
    Unable(#[from] Unable),
}

impl Kept {
    /// Goes on with what is in `folder`, which must be there.
    pub(crate) fn open(
        role: Role,
        keys: Vec<VerifierKey>,
        signers: Arc<[SignerKey]>,
        folder: &Path,
    ) -> Result<Self, OpenError> {
        let path = Self::state_path(folder);
        let damaged = |why: String| OpenError::Damaged {
            path: path.clone(),
            why,
        };
        let state = State::read(&path).map_err(|error| match error {
            Unreadable::Missing => OpenError::Missing(path.clone()),
            Unreadable::Io(source) => OpenError::Io {
                path: path.clone(),
                source,
            },
            Unreadable::Damaged(why) => damaged(why.into()),
        })?;
        let origin = keys.first().map_or("", VerifierKey::name).to_owned();
        let read = |note: &Note| {
            accept(note, &keys)
                .map(|accepted| Pending {
                    checkpoint: accepted.checkpoint,
                    note: accepted.note,
                })
                .map_err(|error| damaged(format!("{error}; did the log's key change?")))
        };
        let latest = state.latest.as_ref().map(read).transpose()?;
        let mirrored = state.mirrored.as_ref().map(read).transpose()?;
        let copy = match role {
            Role::Witness => None,
            Role::Mirror => {
                let signed = mirrored.map(|mirrored| mirrored.checkpoint);
                let size = signed.as_ref().map_or(0, |signed| signed.size);
                let root = signed.map_or_else(empty_root, |signed| signed.root);
                let tree = Tree::open(folder, size, &root);
                Some(Copy {
                    tree: tree.map_err(|error| OpenError::Damaged {
                        path: folder.into(),
                        why: error.to_string(),
                    })?,
                    signed: size,
                })
            }
        };
        let cosigned_at = [&state.latest, &state.mirrored]
            .into_iter()
            .flatten()
            .flat_map(|note| own_times(note, &signers))
            .max();
        Ok(Self {
            origin,
            keys,
            signers,
            folder: folder.into(),
            pending: latest.iter().cloned().collect(),
            latest,
            copy,
            cosigned_at: cosigned_at.unwrap_or(0),
            state,
        })
    }

    /// Where a log's state is, in its folder.
    pub(crate) fn state_path(folder: &Path) -> PathBuf {
        folder.join("state")
    }

    /// The checkpoint that was accepted last.
    pub(crate) const fn latest(&self) -> Option<&Pending> {
        self.latest.as_ref()
    }

    /// What is known, as a history.
    pub(crate) fn known(&self) -> History {
        match &self.latest {
            Some(latest) => History {
                size: latest.checkpoint.size,
                root: latest.checkpoint.root,
            },
            None => History {
                size: 0,
                root: empty_root(),
            },
        }
    }

    /// Entries that a mirror holds and has signed for; None for a witness.
    pub(crate) fn held(&self) -> Option<u64> {
        self.copy.as_ref().map(|copy| copy.signed)
    }

    /// The checkpoint that is served: the one whose cosignature says all that this role promises.
    pub(crate) const fn served(&self) -> Option<&Note> {
        match self.copy {
            Some(_) => self.state.mirrored.as_ref(),
            None => self.state.latest.as_ref(),
        }
    }

    /// Takes a checkpoint that continues the last one, writes it down, and signs it when this is a
    /// witness. A mirror signs once it holds the entries.
    pub(crate) fn add_checkpoint(
        &mut self,
        request: &AddCheckpoint,
        now: Timestamp,
    ) -> Result<Vec<NoteSignature>, Declined> {
        let known = self.latest.as_ref();
        let known = known.map(|latest| (latest.checkpoint.size, latest.checkpoint.root));
        let accepted = judge(known, request, &self.keys)?;
        let pending = Pending {
            checkpoint: accepted.checkpoint,
            note: accepted.note,
        };
        let mut state = self.state.clone();
        let signatures = match self.copy {
            Some(_) => {
                state.latest = Some(pending.note.clone());
                Vec::new()
            }
            None => {
                let (note, signatures) = self.cosign(&pending, now)?;
                state.latest = Some(note);
                signatures
            }
        };
        self.record(state)?;
        if !signatures.is_empty() {
            self.cosigned_at = now.seconds();
        }
        self.pending
            .retain(|other| other.checkpoint.size != pending.checkpoint.size);
        if self.pending.len() >= limits::MIRROR_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(pending.clone());
        self.latest = Some(pending);
        Ok(signatures)
    }

    /// What a checkpoint of the past contradicts: a mirror that holds its entries knows the root that
    /// it must say. None when it says that root, or nobody here can tell.
    pub(crate) fn contradicted_by(&self, request: &AddCheckpoint) -> Option<Accepted> {
        let copy = self.copy.as_ref()?;
        let accepted = accept(&request.note, &self.keys).ok()?;
        let Checkpoint { size, root, .. } = &accepted.checkpoint;
        if *size > copy.signed {
            return None;
        }
        let held = tlog::merkle::root(*size, &tree::nodes(&self.folder, copy.signed));
        match held {
            Ok(held) if held != *root => Some(accepted),
            Ok(_) => None,
            Err(error) => {
                tracing::error!(origin = %self.origin, %error, "the copy cannot be read");
                None
            }
        }
    }

    /// Which checkpoint an upload is for, or where the client is to begin.
    pub(crate) fn begin(&self, head: &AddEntries) -> Result<Pending, MirrorInfo> {
        let target = self
            .pending
            .iter()
            .find(|pending| pending.checkpoint.size == head.end);
        let Some((target, copy)) = target.zip(self.copy.as_ref()) else {
            return Err(self.info(None));
        };
        let next = copy.tree.next();
        let resent = next.saturating_sub(head.start);
        if head.end < copy.signed {
            return Err(self.info(None));
        }
        if head.start > next || resent > limits::MIRROR_RESENT_ENTRIES {
            return Err(self.info(Some(head.end)));
        }
        Ok(target.clone())
    }

    /// Where a client is to go on, with an upload for this checkpoint if that is still possible.
    pub(crate) fn info(&self, end: Option<u64>) -> MirrorInfo {
        MirrorInfo {
            size: end.unwrap_or_else(|| self.known().size),
            next: self.copy.as_ref().map_or(0, |copy| copy.tree.next()),
            ticket: Vec::new(),
        }
    }

    /// Checks that a package belongs to a checkpoint, and saves its entries.
    pub(crate) fn save(
        &mut self,
        target: &Pending,
        span: Span,
        package: &Package,
    ) -> Result<(), Unsaved> {
        let copy = self.copy.as_mut().ok_or(Unsaved::Gap)?;
        if span.start > copy.tree.next() {
            return Err(Unsaved::Gap);
        }
        let before = copy.tree.leaves_before(span).map_err(Unable::from)?;
        let Checkpoint { size, root, .. } = &target.checkpoint;
        package
            .check(span, &before, *size, root)
            .map_err(|_| Unsaved::Unproven(span.start, span.end))?;
        copy.tree
            .append(span, &package.entries)
            .map_err(|error| Unable::from(error).into())
    }

    /// Makes a checkpoint whose entries are all here the mirror's own, and signs it.
    pub(crate) fn finish(&mut self, target: &Pending, now: Timestamp) -> Result<Upload, Unable> {
        let size = target.checkpoint.size;
        let Some(copy) = &self.copy else {
            return Ok(Upload::Again(self.info(None)));
        };
        if size < copy.signed || copy.tree.next() < size {
            return Ok(Upload::Again(
                self.info((size >= copy.signed).then_some(size)),
            ));
        }
        let (note, signatures) = self.cosign(target, now)?;
        copy.tree.settle(size, &target.checkpoint.root)?;
        let mut state = self.state.clone();
        state.mirrored = Some(note);
        self.record(state)?;
        self.cosigned_at = now.seconds();
        if let Some(copy) = &mut self.copy {
            copy.signed = size;
        }
        self.pending
            .retain(|pending| pending.checkpoint.size >= size);
        Ok(Upload::Signed(signatures))
    }

    /// Signs with every key. Nothing may be said before the note is written down.
    fn cosign(
        &self,
        pending: &Pending,
        now: Timestamp,
    ) -> Result<(Note, Vec<NoteSignature>), Unable> {
        let now = now.seconds();
        if now < self.cosigned_at {
            return Err(Unable::Clock {
                now,
                last: self.cosigned_at,
            });
        }
        let signatures: Vec<_> = self
            .signers
            .iter()
            .map(|signer| signer.cosign(&pending.checkpoint, now))
            .collect();
        let mut note = pending.note.clone();
        note.signatures.extend(signatures.iter().cloned());
        Ok((note, signatures))
    }

    fn record(&mut self, state: State) -> Result<(), Unable> {
        state.write(&Self::state_path(&self.folder))?;
        self.state = state;
        Ok(())
    }

    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

/// When our own keys signed a note.
fn own_times(note: &Note, signers: &[SignerKey]) -> Vec<u64> {
    let times = note.signatures.iter().filter_map(|signature| {
        let mut signers = signers.iter();
        signers.find_map(|signer| signer.verifier().verify(&note.text, signature).ok()?)
    });
    times.collect()
}
