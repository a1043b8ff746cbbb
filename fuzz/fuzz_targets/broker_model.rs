//! Bytes as what clients do; the broker and a naive one show them the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    broker::exercise::model(bytes).unwrap();
});
