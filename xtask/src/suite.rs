//! Every test there is: formats, domain, hub, corpora, and the real SDKs against a release build.

use crate::{
    Failure, Outcome,
    count::{Count, of_line},
    install::{self, Tool},
    process::{cargo, command, heading, on_ci, root, step, target_folder, watch},
};

/// What `e2e/` drives besides the SDKs.
const TOOLS: &[Tool] = &[
    Tool {
        program: "mosquitto_pub",
        package: "mosquitto-clients",
    },
    Tool {
        program: "openssl",
        package: "openssl",
    },
    Tool {
        program: "python3",
        package: "python3",
    },
    Tool {
        program: "node",
        package: "nodejs",
    },
    Tool {
        program: "npm",
        package: "npm",
    },
    Tool {
        program: "go",
        package: "golang-go",
    },
    Tool {
        program: "/usr/share/gocode/src/golang.org/x/mod/sumdb",
        package: "golang-golang-x-mod-dev",
    },
];

/// What happened so far.
#[derive(Default)]
struct Tally {
    count: Count,
    /// Each skipped part with its reason.
    skipped: Vec<String>,
    /// Each step that did not end with success.
    broken: Vec<String>,
}

/// Runs everything, a later step too when an earlier one fails, and closes with the counts.
pub(crate) fn run() -> Outcome {
    let mut tally = Tally::default();
    tests_of_the_workspace(&mut tally)?;
    let built = step(
        "cargo build --release",
        &mut cargo(&["build", "--release", "--locked", "-p", "sekisho"])?,
    );
    match built {
        Ok(()) => {
            for tool in install::debian(TOOLS)? {
                tally.skipped.push(format!(
                    "what needs `{}`: install the Debian package {}",
                    tool.program, tool.package
                ));
            }
            python_clients(&mut tally)?;
            node_clients(&mut tally)?;
        }
        Err(Failure::Failed(why)) => tally.broken.push(why),
        Err(other) => return Err(other),
    }
    close(tally)
}

/// `cargo test --workspace`; the corpora of `fuzz/` are replayed by a test of `testkit`.
fn tests_of_the_workspace(tally: &mut Tally) -> Outcome {
    let title = "cargo test --workspace";
    let mut count = Count::default();
    let mut ignored = Vec::new();
    let succeeded = watch(
        title,
        &mut cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])?,
        |line| {
            count += of_line(line);
            ignored.extend(skipped(line).map(str::to_owned));
        },
    )?;
    tally.count += count;
    tally.skipped.extend(ignored);
    if !succeeded {
        tally.broken.push(title.to_owned());
    }
    Ok(())
}

/// Why some ignored tests are not missed: they rewrite committed outputs (`cargo xtask golden
/// --update`), are a process that another test starts, or measure for a person.
const NO_TESTS: [&str; 4] = [
    ", writes golden/",
    ", writes transcripts/",
    ", run by a_",
    ", prints a rate",
];

/// The test that a line of `cargo test` says was ignored, if it is one; see [`NO_TESTS`].
fn skipped(line: &str) -> Option<&str> {
    let (name, why) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let missed = !NO_TESTS.iter().any(|reason| why.starts_with(reason));
    missed.then_some(name)
}

fn python_clients(tally: &mut Tally) -> Outcome {
    let python = match install::python() {
        Ok(python) => python,
        Err(Failure::Failed(why)) => {
            tally.skipped.push(format!("e2e/*.py: {why}"));
            return Ok(());
        }
        Err(other) => return Err(other),
    };
    let title = "pytest e2e";
    let mut reasons = Vec::new();
    let mut count = Count::default();
    let succeeded = watch(
        title,
        command(python)?
            .args([
                "-m",
                "pytest",
                "-ra",
                "--color=no",
                "-p",
                "no:cacheprovider",
            ])
            .current_dir(root()?.join("e2e"))
            .env("SEKISHO_BIN", target_folder()?.join("release/sekisho"))
            .env("PYTHONDONTWRITEBYTECODE", "1"),
        |line| {
            count += of_line(line);
            if let Some(reason) = line.strip_prefix("SKIPPED ") {
                reasons.push(format!("e2e {reason}"));
            }
        },
    )?;
    finish(tally, title, succeeded, count);
    tally.skipped.extend(reasons);
    Ok(())
}

fn node_clients(tally: &mut Tally) -> Outcome {
    match install::node() {
        Ok(()) => {}
        Err(Failure::Failed(why)) => {
            tally.skipped.push(format!("e2e/node: {why}"));
            return Ok(());
        }
        Err(other) => return Err(other),
    }
    let title = "node --test e2e/node";
    let mut count = Count::default();
    let succeeded = watch(
        title,
        command("node")?
            .args([
                "--test",
                "--test-force-exit", // the SDK keeps threads of its own for a while
                "--test-concurrency=1",
                "--test-reporter=tap",
            ])
            .current_dir(root()?.join("e2e/node"))
            .env("SEKISHO_BIN", target_folder()?.join("release/sekisho")),
        |line| count += of_line(line),
    )?;
    if count.skipped > 0 {
        tally
            .skipped
            .push(format!("{} tests in e2e/node, see above", count.skipped));
    }
    finish(tally, title, succeeded, count);
    Ok(())
}

/// A runner that failed without a failed test still failed: it did not start, or it crashed.
fn finish(tally: &mut Tally, title: &str, succeeded: bool, count: Count) {
    tally.count += count;
    if count.passed + count.failed == 0 {
        tally.broken.push(format!("{title}: no test ran"));
    } else if !succeeded {
        tally.broken.push(title.to_owned());
    }
}

fn close(tally: Tally) -> Outcome {
    heading("test: what was skipped");
    for skipped in &tally.skipped {
        println!("   skipped {skipped}");
    }
    if tally.skipped.is_empty() {
        println!("   nothing");
    }
    let mut broken = tally.broken;
    if on_ci() && !tally.skipped.is_empty() {
        broken.push("on CI a skipped test is a failed one".to_owned());
    }
    for step in &broken {
        println!("   failed: {step}");
    }
    let mut count = tally.count;
    if count.failed == 0 && !broken.is_empty() {
        // Something failed that no runner counted.
        count.failed = broken.len() as u64;
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if broken.is_empty() && count.failed == 0 {
        Ok(())
    } else {
        Err(Failure::Failed("not every test passed".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_test_is_missed_unless_it_rewrites_an_output() {
        assert_eq!(skipped("test a::b ... ignored"), Some("a::b"));
        assert_eq!(skipped("test a::b ... ignored, too slow"), Some("a::b"));
        assert_eq!(skipped("test a::b ... ignored, writes golden/x.txt"), None);
        assert_eq!(skipped("test a::b ... ok"), None);
    }
}
