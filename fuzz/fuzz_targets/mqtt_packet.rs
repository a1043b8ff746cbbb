//! Bytes as packets, at both ends and in both versions; what is read survives being written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mqtt_proto::exercise::packets(bytes).unwrap();
});
