//! Bytes as a policy document; what is read decides the same way each time it is asked.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dialect_aws::policies::exercise(bytes).unwrap();
});
