//! Bytes as the text of a checkpoint; what is read is written back byte for byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::checkpoint::exercise(bytes).unwrap();
});
