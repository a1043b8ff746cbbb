//! What holds of every entry whatever its bytes are, for properties and fuzz targets.

use crate::{Entry, EntryView, diagnostic};

/// Reads `bytes` as an entry and checks what must hold of everything that can be read.
///
/// # Errors
///
/// The property that does not hold, as text.
pub fn entry(bytes: &[u8]) -> Result<(), String> {
    let shown = diagnostic(bytes);
    let Ok(entry) = Entry::decode(bytes) else {
        return Ok(());
    };
    hold("what is an entry can be shown", shown.is_ok())?;
    hold(
        "only the one encoding of an entry is read",
        entry.encode().as_deref() == Ok(bytes),
    )?;
    let view = EntryView::parse(bytes).map_err(|error| error.to_string())?;
    hold("an entry and its view are found alike", {
        view.subjects() == entry.subjects().collect::<Vec<_>>()
            && view.actor.to_string() == entry.actor.to_string()
    })?;
    let parts = entry.clone().split();
    let of = parts.len();
    hold("every part of an entry can be written", {
        parts.iter().all(|part| part.encode().is_ok())
    })?;
    hold("the parts have all changes", {
        let changes: Vec<_> = parts.iter().flat_map(|part| &part.changes).collect();
        changes == entry.changes.iter().collect::<Vec<_>>()
    })?;
    hold("an entry that has room is one part", {
        of == 1 || bytes.len() + 18 > model::limits::LEDGER_ENTRY_BYTES
    })
}

fn hold(property: &str, holds: bool) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("it does not hold that {property}"))
    }
}
