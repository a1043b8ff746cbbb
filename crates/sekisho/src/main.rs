//! The `sekisho` program: server and command line in one binary.

mod cli;
mod client;
mod commands;
mod environment;
mod failure;
mod folder;
mod ledger;
mod output;
mod services;
mod settings;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // One TLS library, one provider, chosen before anything can ask for it.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::from(3);
    }
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            failure.exit_code()
        }
    }
}
