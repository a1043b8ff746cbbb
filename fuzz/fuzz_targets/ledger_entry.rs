//! Bytes as an entry of the ledger; what is read is the one encoding of itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ledger::exercise::entry(bytes).unwrap();
});
