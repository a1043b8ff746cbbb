//! Bytes as the body of add-entries; its head and packages are written back byte for byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::mirror::exercise(bytes).unwrap();
});
