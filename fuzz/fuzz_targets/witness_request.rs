//! Bytes as the body of add-checkpoint; what is read is written back and not accepted from strangers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::witness::exercise(bytes).unwrap();
});
