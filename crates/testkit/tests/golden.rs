//! `golden/refusals.md`: every kind of refusal as each protocol tells it, and every reason id.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use dialect_aws::rest::{Service, exception};
use model::{ReasonId, RefusalKind};

#[test]
fn refusals_are_told_as_committed() {
    let mut page = String::from(
        "# Refusals\n\n\
         Printed by a test of `testkit`; rewritten by `cargo xtask golden --update`.\n\n\
         ## Over MQTT 5 and 3.1.1\n\n",
    );
    page.push_str(&mqtt::refusals::table());
    page.push_str("\n## Over AWS's HTTPS APIs\n\n");
    page.push_str(&exceptions());
    page.push_str("\n## Reason ids\n\n");
    for (family, ids) in families() {
        writeln!(page, "- **{family}**: {}", ids.join(", ")).unwrap();
    }
    testkit::golden("refusals.md", &page);
}

/// What each service answers to each kind when no reason says otherwise.
fn exceptions() -> String {
    let services = Service::ALL;
    let mut table = String::from("| refusal |");
    for service in services {
        write!(table, " {service:?} |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(services.len()));
    table.push('\n');
    for kind in RefusalKind::ALL {
        write!(table, "| {kind:?} |").unwrap();
        for service in services {
            let (name, status) = exception(service, kind, ReasonId("any"));
            write!(table, " {status} {name} |").unwrap();
        }
        table.push('\n');
    }
    table
}

/// Every reason id that the sources spell, by family. They are literals by rule, so that a search
/// finds them.
fn families() -> BTreeMap<String, Vec<String>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(testkit::checkout().join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            collect(&source, &mut ids);
        }
    }
    assert!(
        ids.contains("policy.no-statement"),
        "the search finds nothing"
    );
    let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in ids {
        let (family, name) = id.split_once('.').unwrap();
        families
            .entry(family.to_owned())
            .or_default()
            .push(format!("`{family}.{name}`"));
    }
    families
}

fn collect(folder: &Path, ids: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, ids);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for at in ["Refusal::", "ReasonId(", "refuse("]
                .iter()
                .flat_map(|call| product.match_indices(call))
                .map(|(at, call)| at + call.len())
            {
                ids.extend(first_id(&product[at..]));
            }
        }
    }
}

/// The first string literal of a call's arguments, when it has the shape of a reason id.
fn first_id(arguments: &str) -> Option<String> {
    let end = arguments.find([';', '{', '}']).unwrap_or(arguments.len());
    let (_, rest) = arguments[..end].split_once('"')?;
    let (literal, _) = rest.split_once('"')?;
    let (family, name) = literal.split_once('.')?;
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    (is_word(family) && is_word(name)).then(|| literal.to_owned())
}
