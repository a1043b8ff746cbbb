//! Bytes as the query of a presigned URL; nobody gets in who cannot sign.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dialect_aws::sigv4::presigned::exercise(bytes).unwrap();
});
