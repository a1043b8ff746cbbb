//! The data folder: the authority, the server's certificate and the operator's secrets.
//!
//! ```text
//! DIR/tls/root-ca.pem      what clients must trust
//! DIR/tls/root-ca.key      0600
//! DIR/tls/server.pem       may be replaced while the hub runs
//! DIR/tls/server.key       0600
//! DIR/operator.json        0600: access key and token
//! DIR/endpoints.json       where the running hub listens
//! DIR/registry.db, queues.db, lock: the store's
//! ```
//!
//! A new folder is prepared beside its place and renamed into it, so that there is never half
//! of one.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use ca::{Authority, ServerName};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The data folder's files, read or made.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) server: Arc<listen::ServerIdentity>,
    pub(crate) operator: OperatorSecrets,
}

/// The random secrets of the first start.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct OperatorSecrets {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) token: String,
}

/// Where the running hub listens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Endpoints {
    /// The name clients use.
    pub(crate) host: String,
    pub(crate) https_port: u16,
    pub(crate) mqtt_port: u16,
    pub(crate) amqp_port: u16,
    pub(crate) http_port: Option<u16>,
    pub(crate) region: String,
    pub(crate) process: u32,
}

impl Folder {
    /// Opens the folder, or makes it; `names` are what its server certificate is for.
    pub(crate) fn open(path: &Path, names: &[ServerName], now: Timestamp) -> Result<Self, Failure> {
        if !is_absent_or_empty(path)? && !path.join("tls/root-ca.pem").exists() {
            return Err(Failure::usage(format!(
                "{} is not empty and not a data folder of sekisho; name another with --data",
                path.display()
            )));
        }
        if is_absent_or_empty(path)? {
            create(path, |beside| fill(beside, names, now))?;
        }
        let (authority, server) = open_tls(path, names, now)?;
        let operator = serde_json::from_str(&read(&path.join("operator.json"))?)
            .map_err(|error| damaged(path, error))?;
        Ok(Self {
            path: path.into(),
            authority,
            server,
            operator,
        })
    }
}

/// Opens what a folder serves under, and renews it when it is due.
pub(crate) fn open_tls(
    path: &Path,
    names: &[ServerName],
    now: Timestamp,
) -> Result<(Authority, Arc<listen::ServerIdentity>), Failure> {
    let tls = path.join("tls");
    let authority = open_authority(path)?;
    renew_server(&tls, &authority, names, now)?;
    let server = listen::ServerIdentity::from_pem(
        &read(&tls.join("server.pem"))?,
        &read(&tls.join("server.key"))?,
    )
    .map_err(|error| damaged(path, error))?;
    Ok((authority, server))
}

fn open_authority(path: &Path) -> Result<Authority, Failure> {
    let tls = path.join("tls");
    Authority::open(
        &read(&tls.join("root-ca.pem"))?,
        &read(&tls.join("root-ca.key"))?,
    )
    .map_err(|error| damaged(path, error))
}

/// Replaces the server certificate of a running hub's folder when it is due. Returns whether it
/// was replaced.
pub(crate) fn renew(path: &Path, names: &[ServerName], now: Timestamp) -> Result<bool, Failure> {
    renew_server(&path.join("tls"), &open_authority(path)?, names, now)
}

/// Replaces the hub's own server certificate when it is due. One that an operator put there,
/// from another authority, is left alone. Returns whether it was replaced.
fn renew_server(
    tls: &Path,
    authority: &Authority,
    names: &[ServerName],
    now: Timestamp,
) -> Result<bool, Failure> {
    let text = read(&tls.join("server.pem"))?;
    let current = x509::certificates_from_pem(&text).map_err(|error| damaged(tls, error))?;
    let Some(leaf) = current.first() else {
        return Err(damaged(tls, "server.pem holds no certificate"));
    };
    let ours = leaf.issuer().der() == authority.root().subject().der();
    if !ours || !authority.server_renewal_due(leaf, names, now) {
        return Ok(false);
    }
    let identity = authority
        .issue_server(names, now)
        .map_err(Failure::internal)?;
    write(
        &tls.join("server.key"),
        identity.private_key.expose(),
        Secrecy::Secret,
    )?;
    let pem = x509::certificate_to_pem(identity.certificate.der());
    write(&tls.join("server.pem"), &pem, Secrecy::Public)?;
    Ok(true)
}

/// Makes a folder whole or not at all: `fill` is given a place beside it.
pub(crate) fn create(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".creating-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let made = fill(&beside).and_then(|()| {
        // Renaming onto an empty folder replaces it.
        fs::rename(&beside, path).map_err(|error| cannot("create", path, &error))
    });
    if made.is_err() {
        // Best effort: the first error is the one to tell.
        let _ = fs::remove_dir_all(&beside);
    }
    made
}

fn fill(path: &Path, names: &[ServerName], now: Timestamp) -> Result<(), Failure> {
    let operator = OperatorSecrets {
        access_key_id: format!("AKIA{}", random_text(16, BASE32)?),
        secret_access_key: random_text(40, BASE62)?,
        token: random_text(43, BASE62)?,
    };
    let text = serde_json::to_string_pretty(&operator).map_err(Failure::internal)?;
    make(path)?;
    write(&path.join("operator.json"), &text, Secrecy::Secret)?;
    // Last: a folder with a root is a complete one.
    fill_tls(path, names, now)
}

/// Makes a folder that only its owner may enter, and those above it.
fn make(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| cannot("create", path, &error))
}

/// Makes a root and a server certificate in a folder, the root last.
pub(crate) fn fill_tls(path: &Path, names: &[ServerName], now: Timestamp) -> Result<(), Failure> {
    let tls = path.join("tls");
    make(&tls)?;
    let (authority, root_key) = Authority::create(now).map_err(Failure::internal)?;
    let identity = authority
        .issue_server(names, now)
        .map_err(Failure::internal)?;
    write(&tls.join("root-ca.key"), root_key.expose(), Secrecy::Secret)?;
    write(
        &tls.join("server.key"),
        identity.private_key.expose(),
        Secrecy::Secret,
    )?;
    let pem = x509::certificate_to_pem(identity.certificate.der());
    write(&tls.join("server.pem"), &pem, Secrecy::Public)?;
    write(
        &tls.join("root-ca.pem"),
        &authority.root_pem(),
        Secrecy::Public,
    )
}

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE62: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Bytes that nobody can predict, for what a folder needs besides: keys, and ids that are unique.
pub(crate) fn random<const BYTES: usize>() -> Result<Zeroizing<[u8; BYTES]>, Failure> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    getrandom::fill(&mut *bytes).map_err(Failure::internal)?;
    Ok(bytes)
}

/// Random text of `length` characters of `alphabet`, each equally likely.
fn random_text(length: usize, alphabet: &[u8]) -> Result<String, Failure> {
    let mut text = String::with_capacity(length);
    let fair = 256 - 256 % alphabet.len();
    while text.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(Failure::internal)?;
        let fitting = bytes.iter().map(|byte| usize::from(*byte));
        for byte in fitting.filter(|byte| *byte < fair) {
            if text.len() < length {
                text.push(char::from(alphabet[byte % alphabet.len()]));
            }
        }
    }
    Ok(text)
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Secrecy {
    /// Only its owner.
    Secret,
    /// Whoever may enter the folder.
    Public,
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mode = match secrecy {
        Secrecy::Secret => 0o600,
        Secrecy::Public => 0o644,
    };
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| cannot("write", path, &error))
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| cannot("read", path, &error))
}

pub(crate) fn is_absent_or_empty(path: &Path) -> Result<bool, Failure> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(cannot("open", path, &error)),
    }
}

pub(crate) fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot {verb} {}: {error}", path.display()))
}

pub(crate) fn damaged(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::usage(format!(
        "{} is damaged: {error}; restore it from a backup",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_uses_its_alphabet_and_length() {
        let text = random_text(1000, BASE62).unwrap();
        assert_eq!(text.len(), 1000);
        assert!(text.bytes().all(|byte| BASE62.contains(&byte)));
        assert_ne!(text, random_text(1000, BASE62).unwrap());
    }
}
