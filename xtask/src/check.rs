//! What CI asks before it runs a test.

use crate::{
    Failure, Outcome, layers,
    process::{cargo, find, heading, step},
    tidy,
};

/// Runs every check, the later ones too when an earlier one fails, and says which failed.
pub(crate) fn run() -> Outcome {
    let mut failed = Vec::new();
    let mut missing = Vec::new();
    let mut note = |outcome: Outcome| -> Outcome {
        match outcome {
            Err(Failure::Failed(why)) => {
                eprintln!("{why}");
                failed.push(why.lines().next().unwrap_or_default().to_owned());
                Ok(())
            }
            other => other,
        }
    };
    note(step("fmt", &mut cargo(&["fmt", "--all", "--check"])?))?;
    note(layers::run())?;
    note(tidy::run())?;
    note(step(
        "clippy",
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])?,
    ))?;
    note(step(
        "doc",
        cargo(&["doc", "--workspace", "--no-deps"])?.env("RUSTDOCFLAGS", "-D warnings"),
    ))?;
    if find("cargo-deny").is_some() {
        // Advisories need a database from outside; licences, bans and sources do not.
        note(step(
            "deny",
            &mut cargo(&["deny", "check", "bans", "licenses", "sources"])?,
        ))?;
        missing.push(
            "deny's advisories (they need the RustSec database; `cargo deny check advisories`)",
        );
    } else {
        missing.push("cargo-deny (licences, bans, sources, advisories)");
    }
    if find("cargo-shear").is_some() {
        note(step("shear", &mut cargo(&["shear"])?))?;
    } else {
        missing.push("cargo-shear (unused dependencies)");
    }
    if find("typos").is_some() {
        note(step("typos", &mut crate::process::command("typos")?))?;
    } else {
        missing.push("typos (spelling)");
    }
    heading("check: what was found");
    for tool in missing {
        println!("   not run: {tool}");
    }
    if failed.is_empty() {
        println!("   every check that ran passed");
        Ok(())
    } else {
        Err(Failure::Failed(failed.join("; ")))
    }
}
