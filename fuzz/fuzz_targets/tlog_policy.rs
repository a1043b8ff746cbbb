//! Bytes as the file that says when a checkpoint is final; no such file finds an unsigned one final.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::policy::exercise(bytes).unwrap();
});
