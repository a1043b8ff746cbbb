//! Bytes as writes to a shadow, one per line; what must hold of every shadow is checked after each.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    shadow::exercise::patches(bytes).unwrap();
});
