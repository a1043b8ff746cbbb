//! Replays what the fuzzer was given and what it found, without the fuzzer.

use std::{fs, path::Path};

use mqtt_proto::exercise;

/// Runs `target` over every file of its corpus.
fn replay(name: &str, target: fn(&[u8]) -> Result<(), String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpora");
    let mut replayed = 0;
    for entry in fs::read_dir(folder.join(name)).expect("a corpus") {
        let path = entry.expect("an input").path();
        let bytes = fs::read(&path).expect("an input");
        assert_eq!(target(&bytes), Ok(()), "{}", path.display());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus {name} is empty");
}

#[test]
fn packets_survive_their_corpus() {
    replay("mqtt_packet", exercise::packets);
}

#[test]
fn sessions_survive_their_corpus() {
    replay("mqtt_session", exercise::session);
}
