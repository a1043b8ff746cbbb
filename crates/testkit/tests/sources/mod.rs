//! Every reason id that the sources spell. They are literals by rule, so that a search finds them.

use std::{fs, path::Path};

use model::RefusalKind;

/// A literal of the shape of a reason id.
pub(crate) struct Literal {
    pub(crate) id: String,
    /// The kind of refusal it is given with, where both stand side by side.
    pub(crate) kind: Option<RefusalKind>,
    pub(crate) file: String,
}

/// Programs, which give no reasons of their own and name files of the same shape, and the crate that
/// names the ledger's verbs.
const PROGRAMS: [&str; 4] = ["bench", "ledger", "sekisho", "testkit"];

/// Literals that look alike and are none.
const OTHERS: [&str; 6] = [
    "checkpoint.cosigned",
    "event-configurations.created-at",
    "event-configurations.modified-at",
    "queues.db",
    "r.r",
    "registry.db",
];

/// All of them, in every crate but the programs, tests left out.
pub(crate) fn literals() -> Vec<Literal> {
    let mut found = Vec::new();
    for entry in fs::read_dir(testkit::checkout().join("crates")).unwrap() {
        let entry = entry.unwrap();
        let source = entry.path().join("src");
        let is_program = PROGRAMS.iter().any(|program| entry.file_name() == *program);
        if source.is_dir() && !is_program {
            collect(&source, &mut found);
        }
    }
    assert!(
        found.iter().any(|literal| literal.kind.is_some()),
        "the search finds nothing"
    );
    found
}

fn collect(folder: &Path, found: &mut Vec<Literal>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_test {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = product(&fs::read_to_string(&path).unwrap());
            for (at, _) in text.match_indices('"') {
                if let Some(id) = id_at(&text[at + 1..]).filter(|id| !OTHERS.contains(id)) {
                    found.push(Literal {
                        id: id.to_owned(),
                        kind: kind_before(&text[..at]),
                        file: path.display().to_string(),
                    });
                }
            }
        }
    }
}

/// A source without its tests and comments.
fn product(text: &str) -> String {
    let tests = text
        .match_indices("#[cfg(test)]")
        .map(|(at, attribute)| (at, text[at + attribute.len()..].trim_start()))
        .find(|(_, item)| {
            item.starts_with("mod ") && item.lines().next().is_some_and(|line| line.ends_with('{'))
        });
    let text = tests.map_or(text, |(at, _)| &text[..at]);
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The reason id that `text` begins with, up to a closing quote.
fn id_at(text: &str) -> Option<&str> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let end = text.find('"')?;
    let literal = &text[..end];
    let (family, name) = literal.split_once('.')?;
    let begins = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase());
    (begins(family) && begins(name) && family.bytes().chain(name.bytes()).all(is_name))
        .then_some(literal)
}

/// The kind that stands before the literal: `Refusal::malformed("…` or `RefusalKind::Denied, "…`.
fn kind_before(text: &str) -> Option<RefusalKind> {
    let text = text.trim_end();
    for (call, kind) in [
        ("::malformed(", RefusalKind::Malformed),
        ("::not_found(", RefusalKind::NotFound),
        ("::conflict(", RefusalKind::Conflict),
    ] {
        if text.ends_with(call) {
            return Some(kind);
        }
    }
    let (_, name) = text.strip_suffix(',')?.rsplit_once("RefusalKind::")?;
    RefusalKind::ALL
        .into_iter()
        .find(|kind| format!("{kind:?}") == name)
}
