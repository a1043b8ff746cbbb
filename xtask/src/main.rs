//! The project's own commands. `cargo xtask` lists them.
//!
//! Nothing here is linked into the product, and nothing needs installing first: what a command
//! needs beyond the Rust toolchain it installs or names. Exit codes: 0 done, 1 something failed,
//! 2 usage or environment, 3 not built yet.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these commands speak to a terminal and to CI's log"
)]

mod bench;
mod check;
mod count;
mod fuzz;
mod golden;
mod install;
mod layers;
mod process;
mod source;
mod suite;
mod tidy;

use std::process::ExitCode;

/// Why a command did not do what was asked.
#[derive(Debug)]
enum Failure {
    /// It ran and found something wrong; the text says what.
    Failed(String),
    /// It was asked wrongly, or something it needs is missing.
    Usage(String),
    /// It is part of the plan and does not exist yet.
    NotBuilt(&'static str),
}

/// What every command answers.
type Outcome = Result<(), Failure>;

const COMMANDS: &str = "\
cargo xtask COMMAND

  check                             fmt, clippy, doc, layers, tidy, deny: what CI asks first
  test                              every test, the real SDKs included
  layers                            the dependency rule of ARCHITECTURE.md
  tidy                              who alone may know what, file sizes, stray paths
  golden [--update]                 compare, or rewrite, the committed outputs in golden/
  fuzz TARGET [SECONDS]             one fuzz target, 60 seconds unless told (no TARGET: the list)
  bench [NAME] [--peer CMD] [--json]  the hub beside mosquitto, in one run
  demo                              a hub on loopback with two devices, to look at
  soak [SEED]                       the simulator for as long as you like
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{COMMANDS}");
            Ok(())
        }
        ["check"] => check::run(),
        ["test"] => suite::run(),
        ["layers"] => layers::run(),
        ["tidy"] => tidy::run(),
        ["golden"] => golden::run(golden::Mode::Compare),
        ["golden", "--update"] => golden::run(golden::Mode::Update),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["demo", ..] => Err(Failure::NotBuilt("demo")),
        ["soak", ..] => Err(Failure::NotBuilt("soak")),
        [unknown, ..] => Err(Failure::Usage(format!(
            "there is no command `{unknown}`, or not with these arguments\n\n{COMMANDS}"
        ))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(2)
        }
        Err(Failure::NotBuilt(what)) => {
            eprintln!("xtask: {what} is not built yet");
            ExitCode::from(3)
        }
    }
}
