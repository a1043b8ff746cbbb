//! The committed outputs in `golden/`: printed by tests of `testkit`, compared or rewritten.

use crate::{
    Outcome,
    process::{cargo, step},
};

/// What to do with an output that differs from the committed one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Fail and show the difference.
    Compare,
    /// Write it; the change is reviewed as a diff.
    Update,
}

/// Prints every golden output again.
pub(crate) fn run(mode: Mode) -> Outcome {
    let mut tests = cargo(&["test", "--locked", "-p", "testkit", "--test", "golden"])?;
    if mode == Mode::Update {
        tests.env("SEKISHO_GOLDEN", "update");
    }
    step("golden", &mut tests)
}
