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

/// The crates whose tests print one.
const CRATES: [&str; 3] = ["api", "dialect-aws", "testkit"];

/// Prints every golden output again.
pub(crate) fn run(mode: Mode) -> Outcome {
    let mut tests = cargo(&["test", "--locked"])?;
    for name in CRATES {
        tests.args(["-p", name]);
    }
    if mode == Mode::Update {
        // Some write when the variable says so, others are tests of their own, ignored otherwise.
        tests
            .env("SEKISHO_WRITE_GOLDEN", "1")
            .args(["--", "--include-ignored"]);
        // The first run may compare before it writes; the second tells.
        drop(step("golden --update", &mut tests));
        return run(Mode::Compare);
    }
    step("golden", &mut tests)
}
