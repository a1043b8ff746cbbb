//! `sekisho doctor`: looks at a data folder and the machine, and changes nothing.

use std::{
    fs,
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use super::moment;
use crate::{environment, failure::Failure, folder, output};

/// How long before its end a certificate is worth a word: the hub renews its own earlier.
const EXPIRY: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long a port may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was looked at, and what is wrong with it.
#[derive(serde::Serialize)]
struct Finding {
    what: String,
    problem: Option<String>,
}

pub(super) fn run(data: &Path, json: bool) -> Result<(), Failure> {
    if !data.join("tls/root-ca.pem").exists() {
        return Err(Failure::usage(format!(
            "{} is not a data folder of sekisho; name one with --data",
            data.display()
        )));
    }
    let mut findings = Vec::new();
    for name in ["operator.json", "tls/root-ca.key", "tls/server.key"] {
        findings.push(Finding {
            what: format!("permissions of {name}"),
            problem: permissions(&data.join(name)).err(),
        });
    }
    for name in ["tls/root-ca.pem", "tls/server.pem"] {
        findings.push(Finding {
            what: format!("validity of {name}"),
            problem: validity(&data.join(name)).err(),
        });
    }
    for (file, problem) in store::check(data) {
        findings.push(Finding {
            what: format!("integrity of {file}"),
            problem,
        });
    }
    match environment::endpoints(data) {
        Ok(endpoints) => {
            for (name, port) in [
                ("HTTPS", endpoints.https_port),
                ("MQTT", endpoints.mqtt_port),
            ] {
                findings.push(Finding {
                    what: format!("{name} on port {port}"),
                    problem: answers(&endpoints.host, port).err(),
                });
            }
        }
        Err(failure) => findings.push(Finding {
            what: "endpoints.json".into(),
            problem: Some(failure.to_string()),
        }),
    }
    let problems = findings
        .iter()
        .filter(|finding| finding.problem.is_some())
        .count();
    if json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            output::line(&match &finding.problem {
                None => format!("ok       {}", finding.what),
                Some(problem) => format!("PROBLEM  {}: {problem}", finding.what),
            });
        }
    }
    match problems {
        0 => Ok(()),
        count => Err(Failure::Refused(format!("{count} problem(s) found"))),
    }
}

fn permissions(path: &Path) -> Result<(), String> {
    let mode = fs::metadata(path)
        .map_err(|error| error.to_string())?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!(
        "others may read it (mode {:o}); run chmod 600 {}",
        mode & 0o777,
        path.display()
    ))
}

fn validity(path: &Path) -> Result<(), String> {
    let text = folder::read(path).map_err(|failure| failure.to_string())?;
    let chain = x509::certificates_from_pem(&text).map_err(|error| error.to_string())?;
    let now = moment::ago(Duration::ZERO);
    for certificate in &chain {
        let (from, to) = (
            certificate.not_before().millis(),
            certificate.not_after().millis(),
        );
        if now < from {
            return Err(format!(
                "valid only from {}; is this machine's clock right?",
                moment::show(from)
            ));
        }
        if now > to {
            return Err(format!("expired on {}", moment::show(to)));
        }
        if Duration::from_millis(to - now) < EXPIRY {
            return Err(format!("expires soon, on {}", moment::show(to)));
        }
    }
    if chain.is_empty() {
        return Err("holds no certificate".into());
    }
    Ok(())
}

/// Whether somebody accepts connections there, by one of the name's addresses.
fn answers(host: &str, port: u16) -> Result<(), String> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{host} has no address: {error}"))?;
    let mut problem = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => problem = format!("nothing answers: {error}; is the hub running?"),
        }
    }
    Err(problem)
}
