//! Bytes as a signed note; what is read is written back byte for byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::note::exercise(bytes).unwrap();
});
