//! Bytes as a proof file; what is read is written back byte for byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::proof::exercise(bytes).unwrap();
});
