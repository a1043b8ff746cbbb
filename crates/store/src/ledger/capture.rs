//! Which objects a transaction changed, as the database itself tells it.
//!
//! The writer's connection has temporary triggers on every table that counts; each hands the old
//! and the new row to [`Capture`]. So no verb of the store can forget to tell, and no write
//! reaches a file without its entry in the ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use ledger::{Change, Object};
use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::Value,
};

use super::recorded::{Row, TABLES, Table};
use crate::{Failure, ReadTxn, WriteTxn};

/// The function that the triggers call.
const FUNCTION: &str = "sekisho_changed";

/// Rows changed by the job that runs now. Cheap to clone: clones share what they hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    touched: Vec<Touched>,
    /// Whether what happens now is no change of any object: a hub that is emptied.
    paused: bool,
}

#[derive(Debug)]
struct Touched {
    table: usize,
    old: Option<Row>,
    new: Option<Row>,
}

/// What an object was before the job, and is after what the job has done so far.
#[derive(Debug, Default)]
struct States {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    /// Whether a row of it was seen, so that `before` is known.
    is_known: bool,
}

impl Capture {
    /// Watches what is written through `file`.
    pub(crate) fn install(file: &Connection) -> rusqlite::Result<Self> {
        let capture = Self::default();
        // A row that replaces another is a deletion, too.
        file.pragma_update(None, "recursive_triggers", "ON")?;
        let put = capture.clone();
        file.create_scalar_function(FUNCTION, -1, FunctionFlags::SQLITE_UTF8, move |call| {
            put.put(call)
        })?;
        for (at, table) in (0u8..).zip(TABLES) {
            file.execute_batch(&triggers(at, table))?;
        }
        Ok(capture)
    }

    /// A job begins: whatever an undone one left is forgotten.
    pub(crate) fn begin(&self) {
        let mut rows = self.lock();
        rows.touched.clear();
        rows.paused = false;
    }

    /// What follows in this job is not told.
    pub(crate) fn pause(&self) {
        self.lock().paused = true;
    }

    /// Whether something was changed that nobody has recorded.
    pub(crate) fn is_pending(&self) -> bool {
        !self.lock().touched.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `sekisho_changed(table, has old, has new, old values…, new values…)`
    fn put(&self, call: &Context<'_>) -> rusqlite::Result<Option<bool>> {
        let mut rows = self.lock();
        if rows.paused {
            return Ok(None);
        }
        let table = usize::from(call.get::<u8>(0)?);
        let width = TABLES[table].columns.len();
        let mut at = 3;
        let mut row = |present: bool| -> rusqlite::Result<Option<Row>> {
            if !present {
                return Ok(None);
            }
            let values = (at..at + width)
                .map(|index| call.get::<Value>(index))
                .collect::<rusqlite::Result<_>>()?;
            at += width;
            Ok(Some(values))
        };
        let old = row(call.get(1)?)?;
        let new = row(call.get(2)?)?;
        rows.touched.push(Touched { table, old, new });
        Ok(None)
    }

    /// The objects that were changed, in the order in which they first were, with what they were
    /// before and are now. What ended as it began is left out.
    fn take(&self) -> IndexMap<Object, States> {
        let touched = std::mem::take(&mut self.lock().touched);
        let mut objects: IndexMap<Object, States> = IndexMap::new();
        for Touched { table, old, new } in touched {
            let table = &TABLES[table];
            for (row, is_new) in [(old, false), (new, true)] {
                let Some(row) = row else { continue };
                let content = (table.content)(&row);
                let states = objects.entry((table.object)(&row)).or_default();
                if is_new {
                    states.after = content;
                } else {
                    // Only the first row that was replaced is what the object was before.
                    if !states.is_known {
                        states.before = content;
                    }
                    states.after = None;
                }
                states.is_known = true;
            }
        }
        objects.retain(|_, states| states.before != states.after);
        objects
    }
}

/// The statements that make the triggers of `table`, which is the one at `at` of [`TABLES`].
fn triggers(at: u8, table: &Table) -> String {
    let name = table.name;
    let values = |row: &str| -> String {
        let columns = table.columns.iter();
        columns.map(|column| format!(", {row}.{column}")).collect()
    };
    let (old, new) = (values("OLD"), values("NEW"));
    let when = table
        .update_when
        .map_or_else(String::new, |when| format!("WHEN {when}"));
    format!(
        "CREATE TEMP TRIGGER recorded_{name}_insert AFTER INSERT ON main.{name} \
         BEGIN SELECT {FUNCTION}({at}, 0, 1{new}); END;
         CREATE TEMP TRIGGER recorded_{name}_update AFTER UPDATE ON main.{name} {when} \
         BEGIN SELECT {FUNCTION}({at}, 1, 1{old}{new}); END;
         CREATE TEMP TRIGGER recorded_{name}_delete AFTER DELETE ON main.{name} \
         BEGIN SELECT {FUNCTION}({at}, 1, 0{old}); END;"
    )
}

impl WriteTxn<'_> {
    /// What this transaction has changed so far, each object once, with the fingerprints of what
    /// it was before and is now. To be recorded: they are told only once. `seed` is random; new
    /// salts are made of it.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read or written.
    pub fn changes(&mut self, seed: &[u8; 32]) -> Result<Vec<Change>, Failure> {
        let taken = self.capture().take();
        let mut changes = Vec::with_capacity(taken.len());
        for (object, States { before, after, .. }) in taken {
            let salt = self.salt_of(&object, seed)?;
            let fingerprint = |content: Option<Vec<u8>>| {
                content.map(|content| ledger::fingerprint(&salt, &object.kind, &content))
            };
            let (before, after) = (fingerprint(before), fingerprint(after));
            changes.push(Change {
                object,
                before,
                after,
            });
        }
        Ok(changes)
    }

    /// Every object as if it had just been made: for a registry that is older than its ledger.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read or written.
    pub fn all_objects(&mut self, seed: &[u8; 32]) -> Result<Vec<Change>, Failure> {
        self.made(seed, |_| true)
    }

    /// Every object that shares the salt of `subject`, written KIND/NAME, as if it had just been
    /// made.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read or written.
    pub fn objects_of(&mut self, subject: &str, seed: &[u8; 32]) -> Result<Vec<Change>, Failure> {
        self.made(seed, |object| super::salts::subject(object) == subject)
    }

    fn made(
        &mut self,
        seed: &[u8; 32],
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<Vec<Change>, Failure> {
        let mut found = Vec::new();
        self.objects(|object, content| {
            if wanted(&object) {
                found.push((object, content));
            }
            Ok(())
        })?;
        found
            .into_iter()
            .map(|(object, content)| {
                let salt = self.salt_of(&object, seed)?;
                let after = ledger::fingerprint(&salt, &object.kind, &content);
                Ok(Change {
                    object,
                    before: None,
                    after: Some(after),
                })
            })
            .collect()
    }
}

impl ReadTxn<'_> {
    /// Shows `visit` every object that is recorded, with what its fingerprint is made of.
    pub(crate) fn objects(
        &self,
        mut visit: impl FnMut(Object, Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for table in TABLES {
            let columns = table.columns.join(", ");
            let sql = format!("SELECT {columns} FROM {}", table.name);
            let mut statement = self.file().prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let row = (0..table.columns.len())
                    .map(|at| row.get(at))
                    .collect::<rusqlite::Result<Row>>()?;
                if let Some(content) = (table.content)(&row) {
                    visit((table.object)(&row), content)?;
                }
            }
        }
        Ok(())
    }
}
