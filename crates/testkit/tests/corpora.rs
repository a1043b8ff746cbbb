//! Replays every committed fuzz input on stable, so that what was found once stays found.

use std::fmt::Debug;

#[test]
fn transitions_of_the_corpus_are_shown_as_a_naive_broker_shows_them() {
    check("broker_model", broker::exercise::model);
}

#[test]
fn ledger_entries_of_the_corpus_are_read_as_they_are_written() {
    check("ledger_entry", ledger::exercise::entry);
}

#[test]
fn mqtt_packets_of_the_corpus_are_read_and_written() {
    check("mqtt_packet", mqtt_proto::exercise::packets);
}

#[test]
fn mqtt_sessions_of_the_corpus_are_answered() {
    check("mqtt_session", mqtt_proto::exercise::session);
}

#[test]
fn policy_documents_of_the_corpus_are_decided() {
    check("policy_document", dialect_aws::policies::exercise);
}

#[test]
fn presigned_urls_of_the_corpus_let_nobody_in() {
    check("presigned_url", dialect_aws::sigv4::presigned::exercise);
}

#[test]
fn provisioning_templates_of_the_corpus_are_filled_in() {
    check("provisioning_template", provisioning::exercise);
}

#[test]
fn shadow_patches_of_the_corpus_are_applied() {
    check("shadow_patch", shadow::exercise::patches);
}

#[test]
fn entries_sent_to_a_mirror_of_the_corpus_are_read() {
    check("mirror_request", tlog::mirror::exercise);
}

#[test]
fn checkpoints_of_the_corpus_are_read() {
    check("tlog_checkpoint", tlog::checkpoint::exercise);
}

#[test]
fn signed_notes_of_the_corpus_are_read() {
    check("tlog_note", tlog::note::exercise);
}

#[test]
fn ledger_policies_of_the_corpus_are_decided() {
    check("tlog_policy", tlog::policy::exercise);
}

#[test]
fn proof_files_of_the_corpus_are_read() {
    check("tlog_proof", tlog::proof::exercise);
}

#[test]
fn tile_paths_and_bundles_of_the_corpus_are_read() {
    check("tlog_tile", tlog::tile::exercise);
}

#[test]
fn checkpoints_sent_to_a_witness_of_the_corpus_are_judged() {
    check("witness_request", tlog::witness::exercise);
}

#[test]
fn websocket_frames_of_the_corpus_hold_the_same_however_they_are_cut() {
    check("websocket_frames", https::websocket::exercise);
}

#[test]
fn every_fuzz_target_is_replayed() {
    let replayed = [
        "broker_model",
        "ledger_entry",
        "mirror_request",
        "mqtt_packet",
        "mqtt_session",
        "policy_document",
        "presigned_url",
        "provisioning_template",
        "shadow_patch",
        "tlog_checkpoint",
        "tlog_note",
        "tlog_policy",
        "tlog_proof",
        "tlog_tile",
        "websocket_frames",
        "witness_request",
    ];
    for entry in std::fs::read_dir(testkit::checkout().join("fuzz/fuzz_targets")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let target = name.strip_suffix(".rs").unwrap();
        assert!(replayed.contains(&target), "no test here replays {target}");
    }
}

#[track_caller]
fn check<E: Debug>(target: &str, exercise: impl Fn(&[u8]) -> Result<(), E>) {
    for (name, input) in testkit::corpus(target) {
        let outcome = exercise(&input);
        assert!(outcome.is_ok(), "{target}/{name}: {outcome:?}");
    }
}
