//! The load generator in `crates/bench`, built for release together with the hub it measures.

use crate::{
    Failure, Outcome,
    install::{self, Tool},
    process::{cargo, command, root, step, target_folder},
};

/// The peer that a run compares with unless it is told another.
const PEER: &[Tool] = &[Tool {
    program: "mosquitto",
    package: "mosquitto",
}];

/// Builds both programs and hands `arguments` to the generator.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    if !root()?.join("crates/bench/Cargo.toml").is_file() {
        return Err(Failure::NotBuilt("bench"));
    }
    if !arguments.contains(&"--peer") {
        for tool in install::debian(PEER)? {
            eprintln!(
                "xtask: no `{}` to compare with: install the Debian package {}",
                tool.program, tool.package
            );
        }
    }
    step(
        "cargo build --release",
        &mut cargo(&[
            "build",
            "--release",
            "--locked",
            "-p",
            "sekisho",
            "-p",
            "bench",
        ])?,
    )?;
    let release = target_folder()?.join("release");
    step(
        "bench",
        command(release.join("bench"))?
            .args(arguments)
            .env("SEKISHO_BIN", release.join("sekisho")),
    )
}
