//! Who alone may know what (`ARCHITECTURE.md`), and a few habits, as searches.

use crate::{
    Failure, Outcome,
    process::heading,
    source::{SourceFile, files},
};

/// The most lines of one file of code. A longer one no longer says what lives in it.
const FILE_LINES: usize = 900;

/// Crates that are tools: they measure, drive and check, and no product links them.
const TOOLS: [&str; 3] = ["xtask", "bench", "testkit"];

/// A word and the only places that may hold it in code.
struct Rule {
    /// What is looked for. Any one of them.
    words: &'static [&'static str],
    /// Crates, or files as `crate/path`, that may hold it. The tools may always.
    places: &'static [&'static str],
    /// Said beside each finding.
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["$aws"],
        places: &["dialect-aws"],
        why: "only dialect-aws knows AWS's topics",
    },
    Rule {
        words: &["$iothub", "$dps"],
        places: &["dialect-azure"],
        why: "only dialect-azure knows Azure's topics",
    },
    Rule {
        words: &["rusqlite", "fjall"],
        places: &["store"],
        why: "only store names a database",
    },
    Rule {
        words: &["ServerConfig"],
        places: &["listen"],
        why: "only listen configures a TLS server",
    },
    Rule {
        // The command line is a client: it asks this machine's clock what `--since 1h` means.
        words: &["SystemTime::now(", "now_utc("],
        places: &["hub/src/clock.rs", "sekisho/src/commands/moment.rs"],
        why: "only hub::clock reads the clock; take `now` as an argument",
    },
    Rule {
        // The runtime's own clock, which tests pause, may set the deadlines of sockets.
        words: &["Instant::now("],
        places: &["hub/src/clock.rs", "listen"],
        why: "only hub::clock reads the clock; take `now` as an argument",
    },
    Rule {
        // The program makes the operator's secrets when it makes a data folder.
        words: &["getrandom::", "SystemRandom", "new_v4(", "rand::rng"],
        places: &["hub", "ca", "sekisho/src/folder.rs"],
        why: "only hub and ca draw randomness",
    },
    Rule {
        words: &["tokio::spawn", "task::spawn("],
        places: &["listen/src/tasks.rs"],
        why: "spawn through listen::Tasks, so that shutdown waits for it",
    },
    Rule {
        words: &["std::env", "env::var"],
        places: &["sekisho"],
        why: "only the programs read the environment",
    },
    Rule {
        words: &["rcgen::"],
        places: &["ca"],
        why: "only ca makes keys and certificates",
    },
    Rule {
        words: &["Serialize", "Deserialize"],
        places: &["api", "dialect-aws", "https", "store", "sekisho"],
        why: "wire types live in api, dialect-*, https and store; domain types stay free of a spelling",
    },
    Rule {
        words: &["unbounded_channel", "todo!(", "unimplemented!("],
        places: &[],
        why: "every queue has a bound, and nothing is a stub",
    },
];

/// Runs every search over the checkout's files.
pub(crate) fn run() -> Outcome {
    heading("tidy");
    let files = files()?;
    let faults: Vec<String> = files.iter().flat_map(faults_of).collect();
    if faults.is_empty() {
        println!("   tidy: {} files keep the rules", files.len());
        Ok(())
    } else {
        Err(Failure::Failed(format!("tidy:\n{}", faults.join("\n"))))
    }
}

fn faults_of(file: &SourceFile) -> Vec<String> {
    let mut faults = Vec::new();
    if file.is_product_rust() {
        places(file, &mut faults);
        opening(file, &mut faults);
    }
    if is_code(&file.path) {
        length(file, &mut faults);
        marks(file, &mut faults);
    }
    machine_paths(file, &mut faults);
    faults
}

fn places(file: &SourceFile, faults: &mut Vec<String>) {
    let Some(name) = file.crate_name() else {
        return;
    };
    if TOOLS.contains(&name) {
        return;
    }
    for rule in RULES {
        let inside = rule
            .places
            .iter()
            .any(|place| *place == name || file.path.strip_prefix("crates/") == Some(place));
        if inside {
            continue;
        }
        for (number, line) in file.code_lines() {
            if let Some(word) = rule.words.iter().find(|word| line.contains(**word)) {
                faults.push(format!("  {}:{number}: `{word}`: {}", file.path, rule.why));
            }
        }
    }
}

fn opening(file: &SourceFile, faults: &mut Vec<String>) {
    let is_root = file.path.ends_with("/lib.rs") || file.path.ends_with("/main.rs");
    if is_root && !file.text.starts_with("//!") {
        faults.push(format!(
            "  {}:1: a crate's root opens with `//!`: what it is, and what it is not",
            file.path
        ));
    }
}

fn length(file: &SourceFile, faults: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if lines > FILE_LINES {
        faults.push(format!(
            "  {}: {lines} lines, more than {FILE_LINES}; split it by noun",
            file.path
        ));
    }
}

fn marks(file: &SourceFile, faults: &mut Vec<String>) {
    for (index, line) in file.text.lines().enumerate() {
        for mark in ["TO\u{44}O", "FIX\u{4d}E", "XX\u{58}"] {
            let nameless = line.match_indices(mark).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + mark.len()..].chars().next();
                let is_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    && !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
                is_word && after != Some('(')
            });
            if nameless {
                faults.push(format!(
                    "  {}:{}: {mark} without a name: write {mark}(name), or an issue",
                    file.path,
                    index + 1
                ));
            }
        }
    }
}

/// Paths of one machine say nothing to the next one.
fn machine_paths(file: &SourceFile, faults: &mut Vec<String>) {
    if file.path.ends_with(".lock") || file.path.ends_with("package-lock.json") {
        return;
    }
    for (index, line) in file.text.lines().enumerate() {
        for folder in ["work", "farm", "root", "home"] {
            let needle = format!("/{folder}/");
            let absolute = line.match_indices(&needle).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + needle.len()..].chars().next();
                !before.is_some_and(|c| c.is_alphanumeric() || "_-.}$/+#".contains(c))
                    && after.is_some_and(|c| c.is_ascii_lowercase())
            });
            if absolute {
                faults.push(format!(
                    "  {}:{}: a path of one machine (/{folder}/…)",
                    file.path,
                    index + 1
                ));
            }
        }
    }
}

fn is_code(path: &str) -> bool {
    [".rs", ".py", ".mjs", ".js", ".sh"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: usize) {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let faults = faults_of(&file);
        assert_eq!(faults.len(), expected, "{faults:?}");
    }

    #[test]
    fn a_word_outside_its_place_is_found_and_inside_it_is_not() {
        let clock = "fn f() { Instant::now(); }\n";
        check("crates/mqtt/src/a.rs", clock, 1);
        check("crates/hub/src/a.rs", clock, 1);
        check("crates/hub/src/clock.rs", clock, 0);
        check("crates/bench/src/a.rs", clock, 0);
        let topic = "const T: &str = \"$aws/things\";\n";
        check("crates/hub/src/a.rs", topic, 1);
        check("crates/dialect-aws/src/a.rs", topic, 0);
        check("crates/hub/src/a.rs", "// as $aws/things does\n", 0);
        check(
            "crates/hub/src/a.rs",
            "#[cfg(test)]\nconst T: &str = \"$aws\";\n",
            0,
        );
    }

    #[test]
    fn a_crate_says_what_it_is() {
        check("crates/hub/src/lib.rs", "mod a;\n", 1);
        check("crates/hub/src/lib.rs", "//! The hub.\n", 0);
    }

    #[test]
    fn a_reminder_has_an_owner() {
        check("e2e/a.py", &format!("# {}: later\n", "TO\u{44}O"), 1);
        check("e2e/a.py", &format!("# {}(ann): later\n", "TO\u{44}O"), 0);
        check("e2e/a.py", &format!("{}S = 1\n", "TO\u{44}O"), 0);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let folder = "work";
        check("docs/a.md", &format!("see /{folder}/main\n"), 1);
        check("docs/a.md", &format!("see e2e/{folder}/main\n"), 0);
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        check("e2e/a.py", &"x\n".repeat(FILE_LINES + 1), 1);
        check("e2e/a.py", &"x\n".repeat(FILE_LINES), 0);
    }
}
