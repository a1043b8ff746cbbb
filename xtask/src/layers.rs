//! The dependency rule: a crate depends only on crates of earlier lines.
//!
//! [`LAYERS`] mirrors the table in `ARCHITECTURE.md`; a test compares the two.

use crate::{
    Failure, Outcome,
    process::{heading, root},
    source::{crate_folders, read},
};

/// The layers, foundation first. Crates of one line do not see one another.
const LAYERS: &[(&str, &[&str])] = &[
    ("vocabulary", &["model"]),
    ("format", &["mqtt-proto", "x509", "api", "tlog"]),
    (
        "domain",
        &[
            "registry",
            "policy",
            "shadow",
            "broker",
            "ca",
            "ledger",
            "provisioning",
        ],
    ),
    ("store", &["store"]),
    ("hub", &["hub"]),
    ("edge-base", &["listen", "dialect"]),
    ("edge", &["dialect-aws", "mqtt", "https", "witness"]),
    ("program", &["sekisho"]),
    ("tool", &["testkit"]),
    ("bench", &["bench", "xtask"]),
];

/// Helpers for tests may be a dev-dependency of any crate: cargo allows the circle, and nothing
/// of it reaches the product.
const TEST_HELPERS: &str = "testkit";

/// One line of a manifest's dependency tables.
#[derive(Debug, Eq, PartialEq)]
struct Dependency {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// `[dependencies]` and `[build-dependencies]`.
    Product,
    /// `[dev-dependencies]`.
    Test,
}

/// Checks every manifest, and the table in `ARCHITECTURE.md`.
pub(crate) fn run() -> Outcome {
    heading("layers");
    let mut faults = Vec::new();
    let mut crates = 0;
    for folder in crate_folders()? {
        let name = folder
            .file_name()
            .expect("a crate's folder has a name")
            .to_string_lossy()
            .into_owned();
        let manifest = read(&folder.join("Cargo.toml"))?;
        faults.extend(faults_of(&name, &manifest));
        crates += 1;
    }
    faults.extend(faults_of_document(&read(&root()?.join("ARCHITECTURE.md"))?));
    if faults.is_empty() {
        println!("   layers: {crates} crates keep the rule");
        Ok(())
    } else {
        Err(Failure::Failed(format!("layers:\n{}", faults.join("\n"))))
    }
}

fn faults_of(name: &str, manifest: &str) -> Vec<String> {
    let Some(own) = layer(name) else {
        return vec![format!(
            "  {name}: not in the layer table; add it to ARCHITECTURE.md and xtask/src/layers.rs"
        )];
    };
    let mut faults = Vec::new();
    for dependency in dependencies(manifest) {
        let Some(other) = layer(&dependency.name) else {
            continue; // not one of ours
        };
        let allowed =
            other < own || (dependency.kind == Kind::Test && dependency.name == TEST_HELPERS);
        if !allowed {
            faults.push(format!(
                "  {name} ({}) may not depend on {} ({})",
                LAYERS[own].0, dependency.name, LAYERS[other].0
            ));
        }
    }
    faults
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, crates)| crates.contains(&name))
}

/// The dependencies a manifest names. It knows the two forms this workspace writes:
/// `name.workspace = true` and `name = …`.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut kind = None;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            kind = if section.ends_with("dev-dependencies") {
                Some(Kind::Test)
            } else if section.ends_with("dependencies") {
                Some(Kind::Product)
            } else {
                None
            };
        } else if let Some(kind) = kind
            && let Some((key, _)) = line.split_once('=')
        {
            let name = key.trim().split('.').next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with('#') {
                found.push(Dependency {
                    name: name.to_owned(),
                    kind,
                });
            }
        }
    }
    found
}

/// The table in `ARCHITECTURE.md` must hold the same lines: layer, two spaces or more, crates.
fn faults_of_document(text: &str) -> Vec<String> {
    LAYERS
        .iter()
        .filter(|(layer, crates)| {
            !text.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(layer) && crates.iter().all(|name| words.next() == Some(name))
            })
        })
        .map(|(layer, crates)| {
            format!(
                "  ARCHITECTURE.md lacks the line `{layer}  {}`",
                crates.join(" ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_dependency_are_read() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nmodel.workspace = true\n\
                        hub = { path = \"../hub\" }\n# ca = 1\n[dev-dependencies]\ntestkit.workspace = true\n\
                        [lints]\nworkspace = true\n";
        let found = dependencies(manifest);
        let names: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.kind)).collect();
        assert_eq!(
            names,
            [
                ("model", Kind::Product),
                ("hub", Kind::Product),
                ("testkit", Kind::Test)
            ]
        );
    }

    #[test]
    fn a_dependency_on_a_neighbour_or_upwards_is_a_fault() {
        check("policy", "[dependencies]\nmodel.workspace = true\n", 0);
        check("policy", "[dependencies]\nshadow.workspace = true\n", 1);
        check("policy", "[dependencies]\nhub.workspace = true\n", 1);
        check("policy", "[dev-dependencies]\nhub.workspace = true\n", 1);
        check(
            "policy",
            "[dev-dependencies]\ntestkit.workspace = true\n",
            0,
        );
        check("policy", "[dependencies]\ntestkit.workspace = true\n", 1);
        check("newcomer", "", 1);
    }

    #[track_caller]
    fn check(name: &str, manifest: &str, expected: usize) {
        assert_eq!(faults_of(name, manifest).len(), expected);
    }
}
