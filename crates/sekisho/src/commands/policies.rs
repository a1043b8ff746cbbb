//! `sekisho policy …`

use super::{devices::done, find, moment};
use crate::{cli, client::escape, failure::Failure, folder, output};

pub(super) async fn run(action: cli::Policy) -> Result<(), Failure> {
    match action {
        cli::Policy::List { hub } => {
            let policies: Vec<api::Policy> = find(&hub)?.all("/policies").await?;
            if hub.json {
                return output::json(&policies);
            }
            let rows: Vec<_> = policies
                .into_iter()
                .map(|policy| {
                    vec![
                        policy.name,
                        policy.version.to_string(),
                        moment::show(policy.modified_at),
                    ]
                })
                .collect();
            output::table(&["policy", "version", "changed"], &rows);
            Ok(())
        }
        cli::Policy::Show { hub, name } => {
            let path = format!("/policies/{}", escape(&name));
            let shown: api::PolicyDetails = find(&hub)?.get(&path).await?;
            if hub.json {
                return output::json(&shown);
            }
            output::line(&shown.document);
            for target in &shown.targets {
                output::note(&format!("attached to {target}"));
            }
            Ok(())
        }
        cli::Policy::Create { hub, name, file } => {
            let document = folder::read(&file)?;
            let new = api::NewPolicy { name, document };
            let created: api::PolicyDetails = find(&hub)?.post("/policies", &new).await?;
            if hub.json {
                return output::json(&created);
            }
            output::line(&format!("created policy {}", created.policy.name));
            Ok(())
        }
        cli::Policy::Attach { hub, name, device } => {
            let path = format!("/policies/{}/attach", escape(&name));
            let text = format!("attached policy {name} to device {device}");
            let target = api::PolicyTarget { device };
            let _: api::Done = find(&hub)?.post(&path, &target).await?;
            done(&hub, &text)
        }
        cli::Policy::Detach { hub, name, device } => {
            let path = format!("/policies/{}/detach", escape(&name));
            let text = format!("detached policy {name} from device {device}");
            let target = api::PolicyTarget { device };
            let _: api::Done = find(&hub)?.post(&path, &target).await?;
            done(&hub, &text)
        }
    }
}
