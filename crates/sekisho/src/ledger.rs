//! The ledger's key and policy, in the hub's folder and beside it.

use std::{fs, path::Path, sync::Arc};

use hub::{LedgerSetup, Restored};
use tlog::{Algorithm, Policy, SignerKey};

use crate::{
    failure::Failure,
    folder::{self, Secrecy},
    settings::{LedgerSettings, Settings},
};

/// The file of the ledger's private keys, one to a line; the first is the oldest.
pub(crate) const KEY_FILE: &str = "ledger/log.key";

/// Reads what the ledger is kept with; makes its key when it has no entry yet.
pub(crate) fn setup(settings: &Settings, has_begun: bool) -> Result<LedgerSetup, Failure> {
    let LedgerSettings {
        origin,
        policy,
        public,
        accept_clock,
        ..
    } = &settings.ledger;
    let path = settings.data.join(KEY_FILE);
    if !path.exists() {
        if has_begun {
            return Err(Failure::usage(format!(
                "{} is missing: without it nothing can be added to the ledger; restore the file \
                 from a backup",
                path.display()
            )));
        }
        create_key(settings, origin.as_deref(), &path)?;
    }
    let signers = read_keys(&path)?;
    let log = signers[0].verifier().clone();
    if let Some(origin) = origin
        && origin != log.name()
    {
        return Err(Failure::usage(format!(
            "the ledger is named {}, and a ledger keeps its name; leave out --ledger-origin",
            log.name()
        )));
    }
    let (text, policy) = match policy {
        None => (None, Policy::of_log(log)),
        Some(file) => {
            let text = folder::read(file)?;
            let read = Policy::parse(text.as_bytes())
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            let ours = |key: &tlog::VerifierKey| signers.iter().any(|one| one.verifier() == key);
            if let Some(other) = read.logs().iter().find(|log| !ours(&log.key)) {
                return Err(Failure::usage(format!(
                    "{} is about another ledger, {}; this one is {log}",
                    file.display(),
                    other.key.name(),
                )));
            }
            (Some(text), read.with_log(log))
        }
    };
    Ok(LedgerSetup {
        signers,
        policy,
        policy_text: text,
        is_public: *public,
        accept_clock: *accept_clock,
        restored: read_restored(&settings.data)?,
    })
}

/// What brings the ledger to its witnesses. Their servers are trusted by the roots that the
/// operator names, and by the hub's own.
pub(crate) fn feeder(
    settings: &Settings,
    policy: &Policy,
    data: &Path,
) -> Result<witness::Feeder, Failure> {
    let own = data.join("tls/root-ca.pem");
    let roots = settings
        .ledger
        .roots
        .iter()
        .map(|path| folder::read(path))
        .chain([folder::read(&own)])
        .collect::<Result<Vec<_>, _>>()?;
    witness::Feeder::new(policy, &roots).map_err(Failure::usage)
}

/// What `restore` leaves for the first start of the folder it has made.
pub(crate) const RESTORED_FILE: &str = "ledger/restored.json";

/// See [`RESTORED_FILE`].
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct RestoredNote {
    pub(crate) id: String,
    pub(crate) size: u64,
}

fn read_restored(data: &Path) -> Result<Option<Restored>, Failure> {
    let path = data.join(RESTORED_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let note: RestoredNote = serde_json::from_str(&folder::read(&path)?)
        .map_err(|error| Failure::usage(format!("{} is damaged: {error}", path.display())))?;
    Ok(Some(Restored {
        id: note.id,
        size: note.size,
    }))
}

/// The ledger has recorded what [`RESTORED_FILE`] says.
pub(crate) fn forget_restored(data: &Path) -> Result<(), Failure> {
    let path = data.join(RESTORED_FILE);
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::usage(format!(
            "cannot remove {}: {error}",
            path.display()
        ))),
    }
}

fn create_key(settings: &Settings, origin: Option<&str>, path: &Path) -> Result<(), Failure> {
    let origin = match origin {
        Some(origin) => origin.to_owned(),
        None => {
            let host = settings
                .hostnames
                .first()
                .map_or("localhost", String::as_str);
            format!("{host}/ledger-{}", hex::encode(*folder::random::<6>()?))
        }
    };
    let seed = folder::random::<{ SignerKey::SEED_BYTES }>()?;
    let key = SignerKey::from_seed(&origin, Algorithm::Ed25519, &seed)
        .map_err(|error| Failure::usage(format!("--ledger-origin {origin}: {error}")))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::usage(format!("cannot create {}: {error}", folder.display()))
        })?;
    }
    let text = zeroize::Zeroizing::new(format!("{}\n", *key.expose()));
    folder::write(path, &text, Secrecy::Secret)
}

pub(crate) fn read_keys(path: &Path) -> Result<Vec<Arc<SignerKey>>, Failure> {
    let damaged = |why: String| {
        Failure::usage(format!(
            "{} is damaged: {why}; restore it from a backup",
            path.display()
        ))
    };
    let text = zeroize::Zeroizing::new(folder::read(path)?);
    let signers = text
        .lines()
        .map(|line| SignerKey::parse(line).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(error.to_string()))?;
    match signers.split_first() {
        None => Err(damaged("it holds no key".into())),
        Some((first, others))
            if others
                .iter()
                .any(|other| other.verifier().name() != first.verifier().name()) =>
        {
            Err(damaged("its keys are of different ledgers".into()))
        }
        Some(_) => Ok(signers),
    }
}
