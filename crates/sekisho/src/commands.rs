//! One file per command; this one finds which.

use crate::{
    cli::{Cli, Command},
    environment,
    failure::Failure,
    up,
};

/// Does what the command line asks.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Up(options) => up::run(*options),
        Command::Env { hub, format } => environment::run(&hub.data, format),
        _ => Err(Failure::internal("this command is not built yet")),
    }
}
