//! Plays `transcripts/mqtt/**/*.txt` against the smallest server there is.
//!
//! A line is `>` (the client says) or `<` (the server says), the bytes in the notation of
//! [`notation`], two spaces or more, and a comment. `!` is the refusal that ends the connection.
//! Everything the server says must stand in the file, in order.

mod notation;

use std::{fs, path::Path};

use bytes::BytesMut;
use model::Timestamp;
use mqtt_proto::{exercise::Echo, server::Settings};

/// Settings of which a CONNACK has nothing to tell, so that transcripts stay readable.
const QUIET: Settings = Settings {
    receive_maximum: std::num::NonZeroU16::MAX,
    topic_alias_maximum: 0,
    maximum_packet_bytes: None,
    outbound_window: 100,
    outbound_aliases: 8,
};

fn play(path: &Path) {
    let text = fs::read_to_string(path).expect("a transcript");
    let now = Timestamp::default();
    let mut echo = Echo::new(QUIET, now);
    let mut out = BytesMut::new();
    let mut refusal = None;
    let mut lines = 0;
    for (number, line) in text.lines().enumerate() {
        let at = format!("{}:{}", path.display(), number + 1);
        let Some((mark, rest)) = line.split_at_checked(2) else {
            assert!(line.trim().is_empty(), "{at}: {line}");
            continue;
        };
        let code = rest.split("  ").next().unwrap_or_default();
        lines += 1;
        match mark {
            "> " => {
                assert!(out.is_empty(), "{at}: unheard: {}", notation::hex(&out));
                assert_eq!(refusal, None, "{at}: the connection has ended");
                let mut buffer = BytesMut::from(&*notation::bytes(code));
                refusal = echo.feed(&mut buffer, now, &mut out).err();
                if refusal.is_none() {
                    assert!(buffer.is_empty(), "{at}: half a packet");
                }
            }
            "< " => {
                let expected = notation::bytes(code);
                let said = out.split_to(expected.len().min(out.len()));
                assert_eq!(notation::hex(&said), notation::hex(&expected), "{at}");
            }
            "! " => {
                let refusal = refusal.take().expect(&at);
                assert!(refusal.contains(code.trim()), "{at}: {refusal}");
            }
            "# " => {}
            _ => panic!("{at}: neither said nor heard: {line}"),
        }
    }
    let path = path.display();
    assert!(lines > 1, "{path} is empty");
    assert!(out.is_empty(), "{path}: unheard: {}", notation::hex(&out));
    assert_eq!(refusal, None, "{path}: an unexpected refusal");
}

#[test]
fn every_transcript_plays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/mqtt");
    let mut played = 0;
    for version in ["v3", "v5"] {
        for entry in fs::read_dir(folder.join(version)).expect("transcripts") {
            let path = entry.expect("a transcript").path();
            if path.extension().is_some_and(|it| it == "txt") {
                play(&path);
                played += 1;
            }
        }
    }
    assert!(played >= 8, "only {played} transcripts");
}
