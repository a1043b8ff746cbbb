//! Bytes as a provisioning template; what is read is filled in within its bounds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    provisioning::exercise(bytes).unwrap();
});
