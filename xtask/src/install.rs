//! What a command needs from outside, and how it gets it.

use std::path::{Path, PathBuf};

use crate::{
    Failure,
    process::{command, find, output, root, step},
};

/// A program of another project, and the Debian package that brings it.
pub(crate) struct Tool {
    /// The program on `PATH`; or the absolute path of what the package brings, when that is none.
    pub(crate) program: &'static str,
    /// The package.
    pub(crate) package: &'static str,
}

/// Installs the packages of the tools that are missing when we are root and there is `apt-get`.
/// Answers the tools that are still missing.
pub(crate) fn debian(tools: &[Tool]) -> Result<Vec<&Tool>, Failure> {
    let missing = |tool: &&Tool| {
        let is_there = match tool.program.starts_with('/') {
            true => Path::new(tool.program).exists(),
            false => find(tool.program).is_some(),
        };
        !is_there
    };
    let wanted: Vec<&Tool> = tools.iter().filter(missing).collect();
    if wanted.is_empty() || !is_root()? || find("apt-get").is_none() {
        return Ok(wanted);
    }
    // A stale list is reason enough for apt to fail; a failure shows below as a missing tool.
    for arguments in [vec!["update", "-qq"], {
        let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
        install.extend(wanted.iter().map(|tool| tool.package));
        install
    }] {
        let outcome = step(
            &format!("apt-get {}", arguments.join(" ")),
            command("apt-get")?
                .args(&arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                // Runlevel 1: install a service without starting it.
                .env("RUNLEVEL", "1"),
        );
        match outcome {
            Err(Failure::Failed(why)) => eprintln!("{why}"),
            other => other?,
        }
    }
    Ok(tools.iter().filter(missing).collect())
}

/// The Python of the virtual environment in `e2e/.venv`, with `requirements.txt` installed.
pub(crate) fn python() -> Result<PathBuf, Failure> {
    let folder = root()?.join("e2e");
    let environment = folder.join(".venv");
    let python = environment.join("bin/python");
    let wanted = std::fs::read(folder.join("requirements.txt"))
        .map_err(|error| Failure::Usage(format!("e2e/requirements.txt: {error}")))?;
    let stamp = environment.join("installed.txt");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    step(
        "python3 -m venv e2e/.venv",
        command("python3")?
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    step(
        "pip install -r e2e/requirements.txt",
        command(&python)?
            .args([
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(folder.join("requirements.txt")),
    )?;
    std::fs::write(&stamp, wanted)
        .map_err(|error| Failure::Usage(format!("{}: {error}", stamp.display())))?;
    Ok(python)
}

/// Installs `e2e/node/node_modules` as its lock file says.
pub(crate) fn node() -> Result<(), Failure> {
    let folder = root()?.join("e2e/node");
    let wanted = std::fs::read(folder.join("package-lock.json"))
        .map_err(|error| Failure::Usage(format!("e2e/node/package-lock.json: {error}")))?;
    let stamp = folder.join("node_modules/.installed.json");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    step(
        "npm ci (e2e/node)",
        command("npm")?
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&folder),
    )?;
    std::fs::write(&stamp, wanted)
        .map_err(|error| Failure::Usage(format!("{}: {error}", stamp.display())))
}

/// A cargo subcommand, installed from crates.io when it is missing.
pub(crate) fn cargo_tool(name: &str) -> Result<(), Failure> {
    if find(name).is_some() {
        return Ok(());
    }
    step(
        &format!("cargo install {name}"),
        &mut crate::process::cargo(&["install", "--locked", name])?,
    )
}

fn is_root() -> Result<bool, Failure> {
    Ok(output(command("id")?.arg("-u"))?.trim() == "0")
}
