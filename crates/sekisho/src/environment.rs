//! `sekisho env`: what clients need to reach the hub.

use std::path::Path;

use crate::{
    cli::EnvFormat,
    failure::Failure,
    folder::{self, Endpoints, OperatorSecrets},
    output,
};

/// Prints every variable.
pub(crate) fn run(data: &Path, format: EnvFormat) -> Result<(), Failure> {
    let variables = variables(data)?;
    match format {
        EnvFormat::Shell => {
            for (name, value) in &variables {
                output::line(&format!("export {name}='{}'", value.replace('\'', "'\\''")));
            }
            Ok(())
        }
        EnvFormat::Json => {
            let object: serde_json::Map<_, _> = variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            output::json(&object)
        }
    }
}

fn variables(data: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let endpoints = endpoints(data)?;
    let secrets = secrets(data)?;
    let root = data.join("tls/root-ca.pem");
    let root = root
        .canonicalize()
        .map_err(|error| Failure::usage(format!("cannot find {}: {error}", root.display())))?
        .display()
        .to_string();
    let host = &endpoints.host;
    let url = format!("https://{host}:{}", endpoints.https_port);
    Ok(vec![
        ("AWS_ENDPOINT_URL", url.clone()),
        ("AWS_ACCESS_KEY_ID", secrets.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", secrets.secret_access_key),
        ("AWS_REGION", endpoints.region.clone()),
        ("AWS_DEFAULT_REGION", endpoints.region.clone()),
        ("AWS_CA_BUNDLE", root.clone()),
        ("SEKISHO_URL", url),
        ("SEKISHO_TOKEN", secrets.token),
        ("SEKISHO_ROOT_CA", root.clone()),
        ("SSL_CERT_FILE", root.clone()),
        ("REQUESTS_CA_BUNDLE", root.clone()),
        ("NODE_EXTRA_CA_CERTS", root),
        ("MQTT_ENDPOINT", format!("{host}:{}", endpoints.mqtt_port)),
    ])
}

/// Where the hub of this folder listens, or listened last.
pub(crate) fn endpoints(data: &Path) -> Result<Endpoints, Failure> {
    parse(&data.join("endpoints.json"))
}

/// The operator's secrets of this folder.
pub(crate) fn secrets(data: &Path) -> Result<OperatorSecrets, Failure> {
    parse(&data.join("operator.json"))
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{} does not exist; start the hub with `sekisho up` or name its folder with --data",
            path.display()
        )));
    }
    serde_json::from_str(&folder::read(path)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
