//! What people and scripts see: the only file that prints.
#![expect(clippy::print_stderr, reason = "this is the program's output")]

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Tells why a command failed, on standard error, in one paragraph.
pub(crate) fn error(failure: &Failure) {
    eprintln!("sekisho: {failure}");
}

/// A line on standard output, seen at once, also when that is a pipe. Ends the program when nobody
/// reads any more, as `sekisho tail '#' | head` wants it.
pub(crate) fn line(text: &str) {
    if let Err(error) = flushed_line(text) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("sekisho: cannot write to standard output: {error}");
        std::process::exit(2);
    }
}

/// As [`line()`], for a program that goes on whether somebody reads or not.
pub(crate) fn flushed_line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A note on standard error.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// A value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::internal)?;
    line(&text);
    Ok(())
}

/// A table with a heading; nothing but a note when it has no rows.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        if std::io::stdout().is_terminal() {
            note("nothing to show");
        }
        return;
    }
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            longest.max(name.len())
        })
        .collect();
    let print = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        line(text.trim_end());
    };
    print(
        &heading
            .iter()
            .map(|name| name.to_uppercase())
            .collect::<Vec<_>>(),
    );
    for row in rows {
        print(row);
    }
}
