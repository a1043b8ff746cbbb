//! The load generator: the hub beside a peer (mosquitto unless told), in one run, on loopback.
//!
//! `bench [NAME…] [--peer CMD] [--rounds N] [--json]`. Both brokers speak MQTT 3.1.1 over mutual
//! TLS, take turns, and are started anew for every figure. The generator shares the machine with
//! them, so rates are low and noisy; server CPU per delivery is the figure to compare. Every
//! scenario is bounded in messages and in time ([`scenario::DEADLINE`]).
//!
//! `bench ledger` measures the ledger in the store alone, `bench control` what it costs changes,
//! `bench verify` how fast an export of it is verified.
//!
//! This is a tool: no product links it, and it does not know how the hub works inside.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool that prints a table to a terminal"
)]

mod broker;
mod client;
mod control;
mod ledger;
mod report;
mod scenario;
mod verify;

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use crate::{
    broker::{Broker, Kind},
    report::Report,
    scenario::SCENARIOS,
};

/// Anything that ends the run early. It is a tool for a person: the text is the error.
type Failure = Box<dyn std::error::Error>;

/// Set once the descriptor limit has been raised, so that we raise it once.
const RAISED: &str = "SEKISHO_BENCH_LIMITS_RAISED";

/// How often each figure is taken, unless told.
const ROUNDS: usize = 3;

/// What was asked on the command line.
struct Options {
    /// Scenarios to run; empty for all.
    names: Vec<String>,
    /// The peer's program: takes mosquitto's configuration file with `-c`.
    peer: OsString,
    /// How often each figure is taken; the median is printed.
    rounds: usize,
    /// Print JSON lines after the table.
    json: bool,
}

fn main() -> ExitCode {
    if std::env::var_os(RAISED).is_none() {
        return raise_limits();
    }
    match std::env::args().nth(1).as_deref() {
        Some("ledger") => return code(ledger::run(std::env::args().skip(2))),
        Some("verify") => return code(verify::run(std::env::args().skip(2))),
        Some("control") => return code(control::run(std::env::args().skip(2))),
        Some(_) | None => {}
    }
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("bench: {why}");
            return ExitCode::from(2);
        }
    };
    // One thread for the generator leaves the other core to the broker.
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(&options)));
    code(outcome)
}

fn code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::from(1)
        }
    }
}

/// Five thousand connections need more descriptors than a shell's usual thousand, here and in the
/// brokers, which inherit the limit.
fn raise_limits() -> ExitCode {
    let error = match std::env::current_exe() {
        Ok(program) => Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""])
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(RAISED, "1")
            .exec(),
        Err(error) => error,
    };
    eprintln!("bench: {error}");
    ExitCode::from(2)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        names: Vec::new(),
        peer: "mosquitto".into(),
        rounds: ROUNDS,
        json: false,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => options.json = true,
            "--peer" => {
                options.peer = arguments.next().ok_or("--peer takes a program")?.into();
            }
            "--rounds" => {
                options.rounds = arguments
                    .next()
                    .and_then(|number| number.parse().ok())
                    .filter(|rounds| (1..=20).contains(rounds))
                    .ok_or("--rounds takes a number from 1 to 20")?;
            }
            name if SCENARIOS.iter().any(|scenario| scenario.name == name) => {
                options.names.push(argument);
            }
            unknown => {
                let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                return Err(format!(
                    "there is no scenario `{unknown}`; the scenarios: {}",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(options)
}

async fn run(options: &Options) -> Result<(), Failure> {
    let site = broker::Site::prepare(options.peer.clone()).await?;
    let mut report = Report::default();
    for scenario in SCENARIOS {
        let wanted = options.names.is_empty() || options.names.iter().any(|n| n == scenario.name);
        if !wanted {
            continue;
        }
        for round in 0..options.rounds {
            for kind in Kind::BOTH {
                eprintln!(
                    "{} round {} of {}: {kind}",
                    scenario.name,
                    round + 1,
                    options.rounds
                );
                let mut broker = Broker::start(&site, kind).await?;
                let measured = scenario.run(&broker, &site).await;
                broker.stop().await;
                for figure in measured? {
                    report.add(scenario.name, kind, figure);
                }
            }
        }
    }
    print!("{}", report.table());
    if options.json {
        print!("{}", report.json_lines());
    }
    Ok(())
}
