//! `sekisho device …`

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::{find, moment};
use crate::{
    cli::{self, Where},
    client::escape,
    environment,
    failure::Failure,
    folder::{self, Secrecy},
    output,
};

pub(super) async fn run(action: cli::Device) -> Result<(), Failure> {
    match action {
        cli::Device::Add {
            hub,
            id,
            out,
            policy,
        } => add(&hub, id, out, policy).await,
        cli::Device::List { hub } => list(&hub).await,
        cli::Device::Show { hub, id } => {
            let shown = find(&hub)?.get(&path(&id)).await?;
            show(&hub, &shown)
        }
        cli::Device::Disable { hub, id } => turn(&hub, &id, "disable").await,
        cli::Device::Enable { hub, id } => turn(&hub, &id, "enable").await,
        cli::Device::Remove { hub, id } => {
            find(&hub)?.delete(&path(&id)).await?;
            done(&hub, &format!("removed device {id}"))
        }
    }
}

fn path(id: &str) -> String {
    format!("/devices/{}", escape(id))
}

async fn turn(hub: &Where, id: &str, verb: &str) -> Result<(), Failure> {
    let path = format!("{}/{verb}", path(id));
    let shown: api::DeviceDetails = find(hub)?.post(&path, &api::Done {}).await?;
    if hub.json {
        return output::json(&shown);
    }
    output::line(&format!("{verb}d device {id}\n"));
    super::certificates::table(&shown.certificates);
    Ok(())
}

pub(super) fn done(hub: &Where, text: &str) -> Result<(), Failure> {
    if hub.json {
        return output::json(&api::Done {});
    }
    output::line(text);
    Ok(())
}

async fn add(
    hub: &Where,
    id: String,
    out: Option<PathBuf>,
    policy: Option<String>,
) -> Result<(), Failure> {
    let out = out.unwrap_or_else(|| PathBuf::from(&id));
    let files = Files::new(&out)?;
    let new = api::NewDevice { id, policy };
    let asked = async { find(hub)?.post("/devices", &new).await };
    let issued: api::IssuedDevice = match asked.await {
        Ok(issued) => issued,
        Err(failure) => {
            // Stays when there was something in it before.
            let _ = fs::remove_dir(&out);
            return Err(failure);
        }
    };
    files.write(&issued)?;
    if hub.json {
        return output::json(&serde_json::json!({
            "id": issued.id,
            "certificate_id": issued.certificate_id,
            "policy": issued.policy,
            "certificate": files.certificate,
            "private_key": files.key,
            "root_ca": files.root,
        }));
    }
    output::line(&format!(
        "registered device {} with policy {}\n\n  certificate  {}\n  private key  {} (told only this once)\n  root CA      {}\n\nTry it:",
        issued.id,
        issued.policy,
        files.certificate.display(),
        files.key.display(),
        files.root.display(),
    ));
    output::line(&match environment::endpoints(&hub.data) {
        Ok(endpoints) => files.example(&issued.id, &endpoints.host, endpoints.mqtt_port),
        // The hub is elsewhere, and so is its MQTT port, most likely.
        Err(_) => files.example(&issued.id, "HUB", 8883),
    });
    Ok(())
}

/// Where a device's files go.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    root: PathBuf,
}

impl Files {
    /// Makes the folder first: a key that cannot be kept must not be made.
    fn new(folder: &Path) -> Result<Self, Failure> {
        let files = Self {
            certificate: folder.join("device.pem"),
            key: folder.join("device.key"),
            root: folder.join("root-ca.pem"),
        };
        if files.key.exists() {
            return Err(Failure::usage(format!(
                "{} exists already; name another folder with --out",
                files.key.display()
            )));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| {
                Failure::usage(format!("cannot create {}: {error}", folder.display()))
            })?;
        Ok(files)
    }

    fn write(&self, issued: &api::IssuedDevice) -> Result<(), Failure> {
        folder::write(&self.key, &issued.private_key_pem, Secrecy::Secret)?;
        folder::write(&self.certificate, &issued.certificate_pem, Secrecy::Public)?;
        folder::write(&self.root, &issued.root_ca_pem, Secrecy::Public)
    }

    fn example(&self, id: &str, host: &str, port: u16) -> String {
        format!(
            "  mosquitto_pub -h {host} -p {port} --cafile {} --cert {} --key {} -i {} -t {} -m hello -q 1",
            quote(&self.root.display().to_string()),
            quote(&self.certificate.display().to_string()),
            quote(&self.key.display().to_string()),
            quote(id),
            quote(&format!("devices/{id}/hello")),
        )
    }
}

/// A word as a shell reads it back.
fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:+,=@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

async fn list(hub: &Where) -> Result<(), Failure> {
    let devices: Vec<api::Device> = find(hub)?.all("/devices").await?;
    if hub.json {
        return output::json(&devices);
    }
    let rows: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let connected = if device.connected { "yes" } else { "no" };
            vec![
                device.id,
                connected.to_owned(),
                device.device_type.unwrap_or_default(),
                moment::show(device.created_at),
            ]
        })
        .collect();
    output::table(&["device", "connected", "type", "registered"], &rows);
    Ok(())
}

fn show(hub: &Where, shown: &api::DeviceDetails) -> Result<(), Failure> {
    if hub.json {
        return output::json(shown);
    }
    let device = &shown.device;
    output::line(&format!("device      {}", device.id));
    if let Some(device_type) = &device.device_type {
        output::line(&format!("type        {device_type}"));
    }
    output::line(&format!("registered  {}", moment::show(device.created_at)));
    for (name, value) in &device.attributes {
        output::line(&format!("attribute   {name}={value}"));
    }
    for group in &shown.groups {
        output::line(&format!("group       {group}"));
    }
    output::line(&format!("connected   {}", connection(shown)));
    for subscription in shown.connection.iter().flat_map(|it| &it.subscriptions) {
        output::line(&format!(
            "subscribed  {} (QoS {})",
            subscription.filter, subscription.qos
        ));
    }
    output::line("");
    super::certificates::table(&shown.certificates);
    Ok(())
}

fn connection(shown: &api::DeviceDetails) -> String {
    match &shown.connection {
        Some(connection) if connection.connected => format!(
            "yes, from {} since {}",
            connection.address.as_deref().unwrap_or("somewhere"),
            connection
                .connected_at
                .map(moment::show)
                .unwrap_or_default(),
        ),
        Some(_) => "no; its session waits for it".into(),
        None => "no".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_split_or_change_them() {
        for (word, quoted) in [
            ("pump-1/device.pem", "pump-1/device.pem"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$x", "'$x'"),
            ("", "''"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }
}
