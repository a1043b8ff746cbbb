//! `cargo-fuzz` with this project's layout: corpora in `fuzz/corpora`, findings in
//! `fuzz/artifacts`.

use crate::{
    Failure, Outcome, install,
    process::{cargo, command, output, root, step},
};

/// Seconds a target runs when none are given.
const SECONDS: u64 = 60;

/// Runs `TARGET [SECONDS]`, or lists the targets.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let targets = targets()?;
    let (target, seconds) = match arguments {
        [] => {
            println!("cargo xtask fuzz TARGET [SECONDS]; the targets:");
            for target in targets {
                println!("  {target}");
            }
            return Ok(());
        }
        [target] => (*target, SECONDS),
        [target, seconds] => (
            *target,
            seconds
                .parse()
                .map_err(|_| Failure::Usage(format!("`{seconds}` is not a number of seconds")))?,
        ),
        _ => return Err(Failure::Usage("fuzz TARGET [SECONDS]".to_owned())),
    };
    if !targets.iter().any(|known| known == target) {
        return Err(Failure::Usage(format!(
            "there is no fuzz target `{target}`; the targets: {}",
            targets.join(", ")
        )));
    }
    install::cargo_tool("cargo-fuzz")?;
    let corpus = root()?.join("fuzz/corpora").join(target);
    std::fs::create_dir_all(&corpus)
        .map_err(|error| Failure::Usage(format!("{}: {error}", corpus.display())))?;
    let mut fuzz = if has_nightly() {
        let mut cargo = command("cargo")?;
        cargo.arg("+nightly");
        cargo
    } else {
        let mut cargo = cargo(&[])?;
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo
    };
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"] {
        fuzz.env_remove(variable);
    }
    // SQLite's one file defines some static tables twice, which the sanitizer takes for a clash
    // between two libraries; it says nothing about our code.
    fuzz.env("ASAN_OPTIONS", "detect_odr_violation=0");
    step(
        &format!("fuzz {target}, {seconds} s"),
        fuzz.args(["fuzz", "run", target]).arg(&corpus).args([
            "--",
            &format!("-max_total_time={seconds}"),
            "-timeout=10",
            "-rss_limit_mb=2048",
        ]),
    )
}

fn targets() -> Result<Vec<String>, Failure> {
    let folder = root()?.join("fuzz/fuzz_targets");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Err(Failure::NotBuilt("fuzz/fuzz_targets"));
    };
    let mut targets: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".rs").map(str::to_owned)
        })
        .collect();
    targets.sort();
    Ok(targets)
}

fn has_nightly() -> bool {
    command("rustup")
        .and_then(|mut rustup| output(rustup.args(["toolchain", "list"])))
        .is_ok_and(|list| list.lines().any(|line| line.starts_with("nightly")))
}
