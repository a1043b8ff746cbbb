//! Bytes as a client's WebSocket frames; they hold the same however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    https::websocket::exercise(bytes).unwrap();
});
