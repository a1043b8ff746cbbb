//! Running other programs: where they are, what they print, how they end.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::Failure;

/// The root of the checkout.
pub(crate) fn root() -> Result<PathBuf, Failure> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or_else(|| Failure::Usage("run it as `cargo xtask`, not by its path".to_owned()))?;
    Path::new(&manifest)
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| Failure::Usage("xtask stands at the root of a file system".to_owned()))
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, else `target` in the checkout.
pub(crate) fn target_folder() -> Result<PathBuf, Failure> {
    let root = root()?;
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("target"),
    })
}

/// Whether this runs on CI, where a skipped test is a failed one.
pub(crate) fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The path of the program called `name`, if there is one on `PATH` or among the system's daemons
/// (Debian keeps those out of an ordinary user's `PATH`).
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A command that runs in the checkout's root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Result<Command, Failure> {
    let mut command = Command::new(program);
    command.current_dir(root()?).stdin(Stdio::null());
    Ok(command)
}

/// `cargo` with `arguments`, in the checkout's root.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command, Failure> {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))?;
    // Set for us by the outer `cargo run`; inside it they would make cargo rebuild needlessly.
    for variable in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        cargo.env_remove(variable);
    }
    cargo.args(arguments);
    Ok(cargo)
}

/// Runs `command` with its output visible.
///
/// # Errors
///
/// [`Failure::Failed`] when it does not end with success, [`Failure::Usage`] when it cannot start.
pub(crate) fn step(title: &str, command: &mut Command) -> Result<(), Failure> {
    heading(title);
    let started = now();
    let status = command
        .status()
        .map_err(|error| Failure::Usage(format!("{title}: {error}")))?;
    if !status.success() {
        return Err(Failure::Failed(format!("{title}: {status}")));
    }
    println!("   {title}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs `command` with its output visible, and hands every line of its standard output to `see`.
/// Answers whether it ended with success.
///
/// # Errors
///
/// [`Failure::Usage`] when it cannot start.
pub(crate) fn watch(
    title: &str,
    command: &mut Command,
    mut see: impl FnMut(&str),
) -> Result<bool, Failure> {
    heading(title);
    let started = now();
    let broken = |error: std::io::Error| Failure::Usage(format!("{title}: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(broken)?;
    let output = child.stdout.take().expect("standard output was piped");
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(broken)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        see(&line);
    }
    let status = child.wait().map_err(broken)?;
    println!(
        "   {title}: {status}, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(status.success())
}

/// Runs `command` silently and answers what it printed.
///
/// # Errors
///
/// [`Failure::Failed`] with its standard error when it does not end with success.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .output()
        .map_err(|error| Failure::Usage(format!("{command:?}: {error}")))?;
    if !output.status.success() {
        return Err(Failure::Failed(format!(
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Announces a step.
pub(crate) fn heading(title: &str) {
    println!("== {title}");
    // A log is read while it grows; a full pipe loses nothing but its order.
    drop(std::io::stdout().flush());
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tool that tells how long its steps took"
)]
fn now() -> Instant {
    Instant::now()
}
