//! Bytes as what a client says; whatever the server answers, a client can read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mqtt_proto::exercise::session(bytes).unwrap();
});
