//! How many tests a runner's output says it ran.

use std::ops::AddAssign;

/// Tests by how they ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    /// They passed.
    pub(crate) passed: u64,
    /// They failed, or could not be started.
    pub(crate) failed: u64,
    /// They were left out.
    pub(crate) skipped: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Reads a closing line of `cargo test`, `pytest -q` or `node --test`; other lines count nothing.
pub(crate) fn of_line(line: &str) -> Count {
    let plain = without_colour(line);
    let line = plain.trim();
    if let Some(rest) = line.strip_prefix("test result:") {
        return of_words(rest);
    }
    let node = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ "));
    if let Some((word, number)) = node.and_then(|rest| rest.split_once(' '))
        && let Ok(number) = number.parse()
    {
        return match word {
            "pass" => Count {
                passed: number,
                ..Count::default()
            },
            "fail" | "cancelled" => Count {
                failed: number,
                ..Count::default()
            },
            "skipped" | "todo" => Count {
                skipped: number,
                ..Count::default()
            },
            _ => Count::default(),
        };
    }
    let line = line.trim_matches('=').trim();
    if line.starts_with(|c: char| c.is_ascii_digit())
        && line.contains(" in ")
        && line.ends_with(['s', ')'])
    {
        return of_words(line);
    }
    Count::default()
}

/// Reads `3 passed; 1 failed; 0 ignored` or `3 passed, 1 error in 2.0s`.
fn of_words(text: &str) -> Count {
    let mut count = Count::default();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c == ',' || c == ';')
        .filter(|word| !word.is_empty())
        .collect();
    for pair in words.windows(2) {
        let Ok(number) = pair[0].parse::<u64>() else {
            continue;
        };
        match pair[1] {
            "passed" => count.passed += number,
            "failed" | "error" | "errors" => count.failed += number,
            "ignored" | "skipped" | "deselected" | "xfailed" => count.skipped += number,
            _ => {}
        }
    }
    count
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // An SGR sequence: ESC [ … m.
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, passed: u64, failed: u64, skipped: u64) {
        assert_eq!(
            of_line(line),
            Count {
                passed,
                failed,
                skipped
            },
            "{line}"
        );
    }

    #[test]
    fn closing_lines_are_counted_and_others_are_not() {
        check(
            "test result: FAILED. 11 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s",
            11,
            2,
            1,
        );
        check("3 passed, 1 failed, 2 errors, 1 skipped in 12.34s", 3, 3, 1);
        check("===== 41 passed in 75.01s (0:01:15) =====", 41, 0, 0);
        check(
            "\u{1b}[32m\u{1b}[1m5 passed\u{1b}[0m\u{1b}[32m in 1.0s\u{1b}[0m",
            5,
            0,
            0,
        );
        check("# pass 7", 7, 0, 0);
        check("ℹ fail 2", 0, 2, 0);
        check("# tests 9", 0, 0, 0);
        check("test topic::matches ... ok", 0, 0, 0);
        check("2026 passed by in silence", 0, 0, 0);
    }
}
