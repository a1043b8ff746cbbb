//! `sekisho ledger key …`: the keys that sign the ledger, in the folder of a hub that is stopped.

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use tlog::{Algorithm, SignerKey};
use zeroize::Zeroizing;

use crate::{
    failure::Failure,
    folder::{self, Secrecy},
    ledger::{KEY_FILE, read_keys},
    output,
};

/// Adds a key; from the next start on, checkpoints are signed by all keys.
pub(super) fn add(data: &Path) -> Result<(), Failure> {
    let _lock = lock(data)?;
    let path = data.join(KEY_FILE);
    let mut keys = read_keys(&path)?;
    let name = keys[0].verifier().name().to_owned();
    let seed = folder::random::<{ SignerKey::SEED_BYTES }>()?;
    let key = SignerKey::from_seed(&name, Algorithm::Ed25519, &seed).map_err(Failure::internal)?;
    output::line(&key.verifier().to_string());
    keys.push(Arc::new(key));
    write(&path, &keys)?;
    output::note(
        "start the hub, which records the new key and signs with all of them; then hand out its \
         policy (`sekisho ledger policy`), and retire the old key when everybody has it",
    );
    Ok(())
}

/// Takes a key away, by its id; one must be left.
pub(super) fn retire(data: &Path, id: &str) -> Result<(), Failure> {
    let _lock = lock(data)?;
    let path = data.join(KEY_FILE);
    let mut keys = read_keys(&path)?;
    let before = keys.len();
    keys.retain(|key| hex::encode(key.verifier().key_id()) != id.to_ascii_lowercase());
    if keys.len() == before {
        return Err(Failure::Refused(format!(
            "the ledger has no key {id}; `sekisho ledger key list` shows those it has"
        )));
    }
    if keys.is_empty() {
        return Err(Failure::Refused(
            "it is the only key, and without one nothing can be added to the ledger; add another \
             first"
                .into(),
        ));
    }
    write(&path, &keys)?;
    output::note("start the hub, which records that the key is used no more");
    Ok(())
}

/// Shows the public keys, the oldest first.
pub(super) fn list(data: &Path) -> Result<(), Failure> {
    for key in read_keys(&data.join(KEY_FILE))? {
        let key = key.verifier();
        output::line(&format!("{}  {key}", hex::encode(key.key_id())));
    }
    Ok(())
}

fn write(path: &Path, keys: &[Arc<SignerKey>]) -> Result<(), Failure> {
    let mut text = Zeroizing::new(String::new());
    for key in keys {
        text.push_str(&key.expose());
        text.push('\n');
    }
    folder::write(path, &text, Secrecy::Secret)
}

/// Keeps a hub from starting meanwhile, and sees that none runs.
fn lock(data: &Path) -> Result<File, Failure> {
    let path = data.join("lock");
    let lock = File::options()
        .write(true)
        .open(&path)
        .map_err(|error| Failure::usage(format!("cannot open {}: {error}", path.display())))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Failure::usage(
            "the hub runs; stop it, change its keys, and start it again",
        )),
        Err(TryLockError::Error(error)) => Err(Failure::usage(format!(
            "cannot lock {}: {error}",
            path.display()
        ))),
    }
}
