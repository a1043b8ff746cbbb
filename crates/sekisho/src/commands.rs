//! One file per noun; this one finds which.

mod backup;
mod certificates;
mod continuation;
mod devices;
mod doctor;
mod explain;
mod ledger;
mod messages;
mod moment;
mod policies;
mod status;
mod timeline;
mod witness;

use ::witness::Role;
use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Command, Where},
    client::Hub,
    environment,
    failure::Failure,
    output,
};

/// Does what the command line asks.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Up(options) => crate::up::run(*options),
        Command::Witness(options) => witness::run(*options, Role::Witness),
        Command::Mirror(options) => witness::run(*options, Role::Mirror),
        Command::Env { hub, format } => environment::run(&hub.data, format),
        Command::Doctor { data, json } => doctor::run(&data, json),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "sekisho", &mut script);
            output::line(&String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Backup { hub, file } => {
            announce_backup(&hub.data)?;
            backup::backup(&hub.data, &file)
        }
        Command::Restore { data, file, ledger } => backup::restore(&data, &file, ledger.as_deref()),
        command @ (Command::Device { .. }
        | Command::Cert { .. }
        | Command::Policy { .. }
        | Command::Explain { .. }
        | Command::Timeline { .. }
        | Command::Trace { .. }
        | Command::Tail { .. }
        | Command::Publish { .. }
        | Command::Ledger { .. }
        | Command::Status { .. }) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::internal)?
            .block_on(ask(command)),
    }
}

/// A running hub records that it is backed up; one that does not run cannot.
fn announce_backup(data: &std::path::Path) -> Result<(), Failure> {
    let Ok(endpoints) = environment::endpoints(data) else {
        return Ok(());
    };
    let address = (endpoints.host.as_str(), endpoints.https_port);
    if std::net::TcpStream::connect(address).is_err() {
        output::note("the hub does not run, so its ledger will not tell of this backup");
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?
        .block_on(async {
            Hub::find(data)?
                .post::<api::Done>("/backups", &api::Done {})
                .await
                .map(drop)
        })
}

/// Does what needs a running hub.
async fn ask(command: Command) -> Result<(), Failure> {
    match command {
        Command::Device { action } => devices::run(action).await,
        Command::Cert { action } => certificates::run(action).await,
        Command::Policy { action } => policies::run(action).await,
        Command::Explain {
            hub,
            device,
            question,
        } => explain::run(&hub, device, question).await,
        Command::Timeline { hub, device, since } => {
            timeline::of_device(&hub, &device, &since).await
        }
        Command::Trace {
            hub,
            failed,
            follow,
        } => timeline::trace(&hub, failed, follow).await,
        Command::Tail { hub, filter, count } => messages::tail(&hub, &filter, count).await,
        Command::Publish {
            hub,
            topic,
            payload,
            qos,
            retain,
        } => messages::publish(&hub, topic, payload, qos, retain).await,
        Command::Ledger { action } => ledger::run(action).await,
        Command::Status { hub } => status::run(&hub).await,
        Command::Up(_)
        | Command::Witness(_)
        | Command::Mirror(_)
        | Command::Env { .. }
        | Command::Doctor { .. }
        | Command::Completions { .. }
        | Command::Backup { .. }
        | Command::Restore { .. } => Err(Failure::internal("this needs no hub")),
    }
}

fn find(hub: &Where) -> Result<Hub, Failure> {
    Hub::find(&hub.data)
}
