//! Bytes as the path of a tile and as a bundle of entries; what is read is written back the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tlog::tile::exercise(bytes).unwrap();
});
