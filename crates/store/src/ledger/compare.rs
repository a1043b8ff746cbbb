//! Whether what the store holds is what the ledger says it is.

use std::collections::HashMap;

use ledger::{Digest, Entry, Object, Verb};

use super::Ledger;
use crate::{Failure, Store};

/// How many entries are read at once.
const AT_ONCE: usize = 1024;

/// What a comparison found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Comparison {
    /// How many entries were read.
    pub entries: u64,
    /// How many objects were compared.
    pub objects: u64,
    /// What differs, for people; at most [`Comparison::LISTED`].
    pub differences: Vec<String>,
    /// How many differ in all.
    pub different: u64,
}

impl Comparison {
    /// How many differences are listed.
    pub const LISTED: usize = 100;

    fn differs(&mut self, object: &Object, how: &str) {
        self.different += 1;
        if self.differences.len() < Self::LISTED {
            self.differences.push(format!("{} {how}", spelled(object)));
        }
    }
}

impl Store {
    /// Compares every object with its last entry in the ledger. Reads all entries: seconds for
    /// millions.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store or the ledger's files cannot be read.
    pub fn compare_with_ledger(&self) -> Result<Comparison, Failure> {
        self.read(|txn| {
            // Whatever is recorded up to here can be read by now; what comes later is not compared.
            let size = txn.ledger_next()?;
            let states = States::after(size, self.ledger())?;
            let mut found = Comparison {
                entries: size,
                ..Comparison::default()
            };
            let mut states = states;
            txn.objects(|object, content| {
                found.objects += 1;
                let recorded = states.0.remove(&object);
                let salt = txn.known_salt(&object)?;
                let actual = salt.map(|salt| ledger::fingerprint(&salt, &object.kind, &content));
                match (recorded, actual) {
                    (None, _) => found.differs(&object, "is not in the ledger"),
                    (Some(_), None) => found.differs(&object, "has lost its salt"),
                    (Some(recorded), Some(actual)) if recorded != actual => {
                        found.differs(&object, "is not what the ledger says");
                    }
                    (Some(_), Some(_)) => {}
                }
                Ok(())
            })?;
            for object in states.0.keys() {
                found.objects += 1;
                found.differs(object, "is in the ledger and nowhere else");
            }
            found.differences.sort();
            Ok(found)
        })
    }
}

/// The state of every object as the entries so far tell it.
#[derive(Default)]
struct States(HashMap<Object, Digest>);

impl States {
    /// The states after the first `size` entries.
    fn after(size: u64, ledger: &Ledger) -> Result<Self, Failure> {
        let mut states = Self::default();
        let mut next = 0;
        while next < size {
            let entries = ledger.entries(next, AT_ONCE)?;
            if entries.is_empty() {
                return Err(Failure::Unreadable { what: "entry" });
            }
            for (index, entry) in entries {
                if index < size {
                    states.apply(index, &entry, ledger)?;
                }
                next = index + 1;
            }
        }
        Ok(states)
    }

    fn apply(&mut self, index: u64, entry: &Entry, ledger: &Ledger) -> Result<(), Failure> {
        if entry.verb == Verb::HubReset.name() {
            self.0.clear();
        }
        if entry.verb == Verb::HubRestore.name()
            && let Some(size) = entry.detail.get("size").and_then(|size| size.parse().ok())
        {
            // What came after the backup was made has not been done any more.
            *self = Self::after(index.min(size), ledger)?;
        }
        for change in &entry.changes {
            match change.after {
                Some(after) => self.0.insert(change.object.clone(), after),
                None => self.0.remove(&change.object),
            };
        }
        Ok(())
    }
}

fn spelled(object: &Object) -> String {
    let Object { kind, id, of } = object;
    match of {
        Some(of) => format!("{kind} {id:?} of {of}"),
        None => format!("{kind} {id:?}"),
    }
}
