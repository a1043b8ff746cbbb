//! `sekisho cert …`

use super::{find, moment};
use crate::{cli, client::escape, failure::Failure, output};

pub(super) async fn run(action: cli::Cert) -> Result<(), Failure> {
    match action {
        cli::Cert::List { hub } => {
            let certificates: Vec<api::Certificate> = find(&hub)?.all("/certificates").await?;
            if hub.json {
                return output::json(&certificates);
            }
            table(&certificates);
        }
        cli::Cert::Revoke { hub, id } => {
            let path = format!("/certificates/{}/revoke", escape(&id));
            let revoked: api::Certificate = find(&hub)?.post(&path, &api::Done {}).await?;
            if hub.json {
                return output::json(&revoked);
            }
            output::line(&format!("revoked certificate {}", revoked.id));
        }
    }
    Ok(())
}

pub(super) fn table(certificates: &[api::Certificate]) {
    let rows: Vec<_> = certificates
        .iter()
        .map(|certificate| {
            vec![
                certificate.id.clone(),
                status(&certificate.status).to_owned(),
                certificate.devices.join(" "),
                certificate.policies.join(" "),
                moment::show(certificate.not_after),
            ]
        })
        .collect();
    output::table(
        &[
            "certificate",
            "status",
            "devices",
            "policies",
            "valid until",
        ],
        &rows,
    );
}

fn status(status: &api::CertificateStatus) -> &str {
    match status {
        api::CertificateStatus::Active => "active",
        api::CertificateStatus::Inactive => "inactive",
        api::CertificateStatus::Revoked => "revoked",
        api::CertificateStatus::Other(name) => name,
    }
}
