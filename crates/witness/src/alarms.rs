//! Alarms: what a log has signed and cannot both be true, kept for whoever asks.
//!
//! One file for each refused checkpoint, `alarms/NAME.json`, with both signed notes: the evidence
//! is the log's own signatures, so anybody can check it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use model::{Timestamp, limits};
use serde_json::{Value, json};
use tlog::{Note, witness::Accepted};

use crate::durable;

/// The alarms of all logs of a role.
pub(crate) struct Alarms {
    folder: PathBuf,
    /// One at a time writes.
    writing: Mutex<()>,
}

/// What does not fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Two roots for one size: proof that the log shows two histories.
    TwoRoots,
    /// A longer tree that was not shown to continue the known one. The log shows two histories,
    /// or a stranger sent its checkpoint with a wrong proof.
    NoExtension,
    /// Another root for a past size than the entries that a mirror holds have: proof that the log
    /// shows two histories.
    OtherPast,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::TwoRoots => "two-roots",
            Self::NoExtension => "no-extension",
            Self::OtherPast => "other-past",
        }
    }
}

/// One alarm, to be told more about.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    path: PathBuf,
}

/// What is known about where two histories part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Finding {
    /// The entry at this index is the first that differs.
    FirstDifference(u64),
    /// They part somewhere from the first of these entries on, before the second; and why it is
    /// not known better.
    Between(u64, u64, String),
    /// They do not part: the log itself shows that the one continues the other.
    NoSplit,
}

impl Alarms {
    /// The alarms in a folder, which may not exist yet.
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            writing: Mutex::new(()),
        }
    }

    /// Keeps the evidence. None when it is kept already.
    pub(crate) fn keep(
        &self,
        kind: Kind,
        known: &Note,
        refused: &Accepted,
        now: Timestamp,
    ) -> io::Result<Option<Alarm>> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{}{}", known.text, refused.note.text);
        let name = hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        let path = self.folder.join(format!("{name}.json"));
        if path.exists() {
            return Ok(None);
        }
        if self.paths()?.len() >= limits::WITNESS_ALARMS {
            let text = format!("there are {} alarms already", limits::WITNESS_ALARMS);
            return Err(io::Error::other(text));
        }
        let value = json!({
            "origin": refused.checkpoint.origin,
            "at": now.seconds(),
            "kind": kind.name(),
            "refused_size": refused.checkpoint.size,
            "known": known.to_string(),
            "refused": refused.note.to_string(),
            "finding": "sought",
            "message": format!(
                "the log signed {} entries that are not shown to fit what it signed before; \
                 where they part is being sought",
                refused.checkpoint.size
            ),
        });
        save(&path, &value)?;
        Ok(Some(Alarm { path }))
    }

    /// Writes down where the histories part.
    pub(crate) fn tell(&self, alarm: &Alarm, finding: &Finding) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = load(&alarm.path)?;
        let (name, message) = match finding {
            Finding::FirstDifference(index) => {
                value["first_difference"] = json!(index);
                let message = format!("two histories: entry {index} is the first that differs");
                ("located", message)
            }
            Finding::Between(from, to, why) => {
                value["between"] = json!([from, to]);
                let message = format!(
                    "the histories part at one of the entries {from} to {}; {why}",
                    to.saturating_sub(1)
                );
                ("bounded", message)
            }
            Finding::NoSplit => {
                let message = "no split: the log's own tiles show that it only grew, so the proof \
                               that was sent was wrong";
                ("no-split", message.to_owned())
            }
        };
        value["finding"] = json!(name);
        value["message"] = json!(message);
        save(&alarm.path, &value)
    }

    /// Every alarm, the oldest first. A file that cannot be read is one too.
    pub(crate) fn all(&self) -> io::Result<Vec<Value>> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = self
            .paths()?
            .iter()
            .map(|path| load(path).unwrap_or_else(|error| unreadable(path, &error)))
            .collect();
        all.sort_by_key(|alarm| alarm["at"].as_u64());
        Ok(all)
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Value {
    json!({ "message": format!("the alarm {} cannot be read: {error}", path.display()) })
}

fn load(path: &Path) -> io::Result<Value> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

fn save(path: &Path, value: &Value) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    durable::write(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog::{Algorithm, Checkpoint, Hash, SignerKey};

    fn signed(size: u64, root: u8) -> Accepted {
        let log = SignerKey::from_seed("log", Algorithm::Ed25519, &[1; 32]).unwrap();
        let checkpoint = Checkpoint {
            origin: "log".into(),
            size,
            root: Hash([root; 32]),
            extensions: Vec::new(),
        };
        let note = Note {
            text: checkpoint.to_string(),
            signatures: vec![log.sign_checkpoint(&checkpoint)],
        };
        Accepted { checkpoint, note }
    }

    #[test]
    fn evidence_is_kept_once_and_what_is_found_out_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let alarms = Alarms::new(folder.path().join("alarms"));
        assert!(alarms.all().unwrap().is_empty());
        let (known, refused) = (signed(5, 1), signed(5, 2));
        let now = Timestamp::from_seconds(7);
        let keep = || alarms.keep(Kind::TwoRoots, &known.note, &refused, now);
        let alarm = keep().unwrap().unwrap();
        assert!(keep().unwrap().is_none());
        alarms.tell(&alarm, &Finding::FirstDifference(3)).unwrap();
        let all = alarms.all().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["first_difference"], 3);
        assert_eq!(all[0]["kind"], "two-roots");
        assert_eq!(all[0]["at"], 7);
        let evidence: Note = all[0]["refused"].as_str().unwrap().parse().unwrap();
        assert_eq!(evidence, refused.note);
    }
}
