//! Every bound on what a peer can grow, each with its unit and where it comes from.
//!
//! "AWS" is the quota page of AWS IoT Core, "hub" our own choice. The `aws-strict` profile narrows
//! some of these; see [`Profile`].

use std::time::Duration;

/// Bytes of a device id, a group or a type name. AWS and Azure: 128.
pub const DEVICE_ID_BYTES: usize = 128;
/// Bytes of a policy name. AWS: 128.
pub const POLICY_NAME_BYTES: usize = 128;
/// Bytes of a shadow name. AWS: 64.
pub const SHADOW_NAME_BYTES: usize = 64;
/// Bytes of an MQTT client id. Hub: twice AWS's 128.
pub const CLIENT_ID_BYTES: usize = 256;
/// Bytes of a topic name or filter. Hub: AWS allows 256, MQTT 65,535.
pub const TOPIC_BYTES: usize = 4096;
/// Levels of a topic name or filter. Hub: bounds the depth of the subscription tree.
pub const TOPIC_LEVELS: usize = 128;
/// Bytes held for a peer before it is authenticated: the CONNECT packet, or an HTTP head.
pub const UNAUTHENTICATED_BYTES: usize = 16 * 1024;
/// Bytes of one MQTT packet, fixed header included. Hub; AWS allows a payload of 128 KiB.
pub const PACKET_BYTES: usize = 1024 * 1024;
/// Bytes of one WebSocket message, all its frames together. Hub: one MQTT packet; AWS: 128 KiB.
pub const WEBSOCKET_MESSAGE_BYTES: u64 = PACKET_BYTES as u64;
/// Bytes of an HTTP request body. Hub: the largest AWS control plane body is a policy document.
pub const HTTP_BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a body that is too large which are read and thrown away, so that its sender reads the
/// refusal instead of a broken connection. Hub.
pub const HTTP_DISCARD_BYTES: usize = 16 * 1024 * 1024;
/// Time from the end of one HTTP answer (or the handshake) to the next complete head. Hub: also how
/// long an idle connection is kept.
pub const HTTP_HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Time from a head to the end of its body. Hub.
pub const HTTP_BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of one signed note. Hub: 64 signatures of ML-DSA-44 fit.
pub const NOTE_BYTES: usize = 256 * 1024;
/// Signatures of one note. C2SP signed-note: at least 16; hub: a log, 32 witnesses and as many more.
pub const NOTE_SIGNATURES: usize = 64;
/// Bytes of the name of a signing key and of a log's origin. C2SP tlog-cosignature: 255.
pub const KEY_NAME_BYTES: usize = 255;
/// Extension lines of one checkpoint. Hub; C2SP tlog-checkpoint advises none.
pub const CHECKPOINT_EXTENSIONS: usize = 16;
/// Entries of one log. Hub; C2SP: a proof of 63 hashes reaches further.
pub const LOG_ENTRIES: u64 = 1 << 62;
/// Hashes of one consistency proof. C2SP tlog-witness, tlog-mirror: 63.
pub const CONSISTENCY_HASHES: usize = 63;
/// Bytes of one proof file. Hub: a note, the longest entry as extra data, and the longest proof.
pub const PROOF_FILE_BYTES: usize = NOTE_BYTES + 96 * 1024;
/// Bytes of a file that says whose signatures make a checkpoint final. Hub.
pub const LEDGER_POLICY_BYTES: usize = 1024 * 1024;
/// Logs, witnesses and groups of one such file, each. C2SP tlog-policy: at least 32.
pub const LEDGER_POLICY_LINES: usize = 128;
/// Bytes of one add-checkpoint request. Hub: a note and the longest proof.
pub const ADD_CHECKPOINT_BYTES: usize = NOTE_BYTES + 4096;
/// Live connections of a witness or a mirror. Hub: its clients are the few logs it serves.
pub const WITNESS_CONNECTIONS: usize = 1024;
/// Live connections of a witness or a mirror from one address. Hub.
pub const WITNESS_CONNECTIONS_PER_ADDRESS: usize = 256;
/// Bytes of one package of entries. C2SP tlog-mirror: 256 entries of 65,535 bytes and a proof.
pub const MIRROR_PACKAGE_BYTES: usize = 256 * (2 + 65_535) + 1 + CONSISTENCY_HASHES * 32;
/// Uploads of entries that a mirror reads at a time. Hub: each may hold one package in memory.
pub const MIRROR_UPLOADS: usize = 16;
/// Time from one part of an upload of entries to the next. Hub.
pub const MIRROR_UPLOAD_PAUSE: Duration = Duration::from_secs(30);
/// Time for one upload of entries. Hub: what came by then is kept, and the client goes on from there.
pub const MIRROR_UPLOAD_DEADLINE: Duration = Duration::from_secs(120);
/// Checkpoints that entries may be uploaded for, the latest included. C2SP tlog-mirror: several.
pub const MIRROR_PENDING: usize = 8;
/// Entries that a mirror has and is sent again before it refuses. Hub: one request's worth.
pub const MIRROR_RESENT_ENTRIES: u64 = 32 * 256;
/// Alarms kept by a witness or a mirror. Hub: only a log's own signature makes a new one.
pub const WITNESS_ALARMS: usize = 1000;
/// Bytes of an answer that a log reads from a witness or a mirror. Hub: a note of signatures.
pub const WITNESS_ANSWER_BYTES: usize = NOTE_BYTES;
/// Bytes of entries in one upload to a mirror, from which on no further package is added. Hub.
pub const MIRROR_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the ticket a mirror may give its client. C2SP tlog-mirror: a 16-bit length; hub: less.
pub const MIRROR_TICKET_BYTES: usize = 4096;
/// Filters in one SUBSCRIBE or UNSUBSCRIBE. Hub; AWS allows 8.
pub const FILTERS_PER_PACKET: usize = 256;
/// Subscriptions of one session. Hub; AWS allows 50.
pub const SUBSCRIPTIONS_PER_SESSION: usize = 10_000;
/// Subscriptions of all sessions. Hub: about 400 MB of subscription tree.
pub const SUBSCRIPTIONS_TOTAL: usize = 4_000_000;
/// User properties of one packet. Hub.
pub const USER_PROPERTIES: usize = 64;
/// Topic aliases in each direction. AWS: 8.
pub const TOPIC_ALIASES: u16 = 8;
/// QoS 1 and 2 messages in flight, each direction. AWS: 100.
pub const RECEIVE_MAXIMUM: u16 = 100;
/// Deliveries held in memory for one live connection. Hub.
pub const MAILBOX_MESSAGES: usize = 1000;
/// Bytes of deliveries held in memory for one live connection. Hub.
pub const MAILBOX_BYTES: usize = 4 * 1024 * 1024;
/// QoS 1 and 2 messages kept for one persistent session. Hub.
pub const QUEUE_MESSAGES: usize = 100_000;
/// Bytes of messages kept for one persistent session. Hub.
pub const QUEUE_BYTES: usize = 256 * 1024 * 1024;
/// Retained messages. Hub.
pub const RETAINED_MESSAGES: usize = 1_000_000;
/// Persistent sessions. Hub.
pub const SESSIONS: usize = 2_000_000;
/// Longest a session outlives its connection. AWS: 7 days.
pub const SESSION_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Live connections, all addresses together. Hub.
pub const CONNECTIONS_TOTAL: usize = 1_000_000;
/// Live connections from one address. Hub: generous, for gateways behind one address translation.
pub const CONNECTIONS_PER_ADDRESS: usize = 20_000;
/// Time from accepting a socket to the end of the TLS handshake. Hub.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Time from the end of the handshake to a complete CONNECT packet or HTTP head. Hub.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Answers of one MQTT connection that wait for the disk or for one that waits. Hub: above it
/// nothing more is read from the client.
pub const PENDING_ANSWERS: usize = 1000;
/// Bytes written to one MQTT connection and not yet taken by its socket. Hub: above it nothing
/// more is read from the client and nothing is delivered to it.
pub const OUTPUT_BYTES: usize = 64 * 1024;
/// How long a client may take nothing off its socket while more than [`OUTPUT_BYTES`] wait. Hub.
pub const STALL_DEADLINE: Duration = Duration::from_secs(60);
/// Time for the last words to a client whose connection ends, and for it to close its side. Hub.
pub const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);
/// Failed handshakes reported per second; the rest are counted. Hub: a flood must not fill the
/// record that operators read.
pub const HANDSHAKE_FAILURES_PER_SECOND: u32 = 50;
/// Refusals recorded per second for one connection; the rest are counted. Hub: a client that
/// goes on publishing where it may not must not push everything else out of its timeline.
pub const RECORDS_PER_SECOND: u32 = 10;
/// Retained messages that may wait to be sent to a connection before it is refused more
/// subscriptions. Hub.
pub const RETAINED_BACKLOG: usize = 100_000;
/// Connections that the system queues for one listener. Hub; Linux cuts it to `somaxconn`, 4096.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Bytes of outgoing TLS data held for one connection. Hub: one record.
pub const TLS_SEND_BYTES: usize = 16 * 1024;
/// Decisions kept in the timeline of one device. Hub.
pub const TIMELINE_ENTRIES: usize = 1000;
/// Bytes of one policy document. AWS: 2,048 characters; hub: the API model's 404,600.
pub const POLICY_DOCUMENT_BYTES: usize = 404_600;
/// Statements of one policy document. Hub.
pub const POLICY_STATEMENTS: usize = 1000;
/// Entries of one `Action`, `Resource` or condition value list. Hub.
pub const POLICY_LIST_ENTRIES: usize = 1000;
/// Bytes of one resource pattern or condition value. Hub: a topic, its ARN and escapes.
pub const POLICY_PATTERN_BYTES: usize = 2 * TOPIC_BYTES;
/// Ways in which the wildcards of one resource pattern may reach across its prefix. Hub.
pub const POLICY_PATTERN_ALTERNATIVES: usize = 64;
/// Variables of one statement that a decision shows. Hub.
pub const POLICY_VARIABLES_SHOWN: usize = 64;
/// Levels of JSON nesting in a policy document. Hub: the language itself needs 6.
pub const POLICY_DEPTH: usize = 10;
/// Characters of a policy variable's value that may be substituted. AWS: 1,024.
pub const POLICY_VALUE_CHARS: usize = 1024;
/// Values of one certificate field that policies can see. AWS: 5.
pub const POLICY_CERTIFICATE_VALUES: usize = 5;
/// Bytes of a statement's text that a decision repeats; a longer one is named by its number. Hub.
pub const POLICY_STATEMENT_SHOWN_BYTES: usize = 2048;
/// Requests in one test of an authorization. AWS: 10.
pub const AUTHORIZATION_CHECKS: usize = 10;
/// Versions of one policy. AWS: 5.
pub const POLICY_VERSIONS: usize = 5;
/// Policies attached to one certificate or group. AWS: 10.
pub const POLICIES_PER_TARGET: usize = 10;
/// Bytes of a shadow document, metadata excluded. AWS: 8 KiB.
pub const SHADOW_DOCUMENT_BYTES: usize = 8 * 1024;
/// Bytes of one shadow request. Hub: four documents, for a write that mostly deletes.
pub const SHADOW_REQUEST_BYTES: usize = 4 * SHADOW_DOCUMENT_BYTES;
/// Levels of nesting in a shadow's sections. The service's error text says "maximum is 6".
pub const SHADOW_DEPTH: usize = 6;
/// Shadows of one device, deleted ones included that are still remembered. Hub.
pub const SHADOWS_PER_DEVICE: usize = 1000;
/// Bytes of a client token. AWS: 64.
pub const CLIENT_TOKEN_BYTES: usize = 64;
/// Attributes of one device. AWS: 50 with a type.
pub const ATTRIBUTES: usize = 50;
/// Bytes of an attribute's name. AWS: 128.
pub const ATTRIBUTE_NAME_BYTES: usize = 128;
/// Bytes of an attribute's value. AWS: 800.
pub const ATTRIBUTE_VALUE_BYTES: usize = 800;
/// Bytes of a PEM certificate. AWS: 65,536.
pub const PEM_BYTES: usize = 65_536;
/// Bytes of a certificate signing request. AWS: 4,096.
pub const CSR_BYTES: usize = 4096;
/// Registered CA certificates with the same subject. AWS: 10.
pub const CAS_PER_SUBJECT: usize = 10;
/// Tags of one resource. AWS: 50.
pub const TAGS: usize = 50;
/// Levels of groups below one another. AWS: 7.
pub const GROUP_DEPTH: usize = 7;

/// Bytes of messages that wait for the writer of one file. Hub: above it, publishes are refused.
pub const STORE_PENDING_BYTES: usize = 256 * 1024 * 1024;
/// Writes that wait for the writer of one file. Hub.
pub const STORE_PENDING_JOBS: usize = 1_000_000;
/// Decisions kept in all timelines together. Hub: about 300 MB on disk.
pub const TIMELINE_TOTAL: usize = 1_000_000;
/// Failed connections kept for `trace --failed`, all clients together. Hub.
pub const FAILED_CONNECTIONS: usize = 10_000;
/// Bytes of the name of a provisioning template. AWS: 36.
pub const TEMPLATE_NAME_BYTES: usize = 36;
/// Bytes of a provisioning template. AWS: 10,240.
pub const TEMPLATE_BYTES: usize = 10_240;
/// Bytes that all values of a template make together, for one device. Hub.
pub const TEMPLATE_RESULT_BYTES: usize = 256 * 1024;
/// Versions of one provisioning template. AWS: 5.
pub const TEMPLATE_VERSIONS: usize = 5;
/// Bytes of the description of a provisioning template. AWS: 500.
pub const TEMPLATE_DESCRIPTION_BYTES: usize = 500;
/// Certificates that wait to be provisioned by claim, all devices together. Hub.
pub const OWNERSHIP_TOKENS: usize = 10_000;
/// Attempts to become registered that are kept, all devices together. Hub.
pub const PROVISIONING_ATTEMPTS: usize = 10_000;
/// Results of one page of a list. AWS: 250.
pub const PAGE_RESULTS: usize = 250;
/// Bytes of a description of a group or a type. AWS: 2,028.
pub const DESCRIPTION_BYTES: usize = 2028;
/// Bytes of a tag's key. AWS: 128.
pub const TAG_KEY_BYTES: usize = 128;
/// Bytes of a tag's value. AWS: 256.
pub const TAG_VALUE_BYTES: usize = 256;
/// Attributes of a type that search may use. AWS: 3.
pub const SEARCHABLE_ATTRIBUTES: usize = 3;
/// Groups directly below one group. AWS: 100.
pub const GROUP_CHILDREN: usize = 100;
/// Static groups one device may be in. AWS: 10.
pub const GROUPS_PER_DEVICE: usize = 10;
/// Principals attached to one device, and devices attached to one principal. AWS: 10 each by
/// default, adjustable; hub: generous.
pub const ATTACHMENTS: usize = 1000;

/// Bytes of one entry of the ledger. Hub: C2SP tlog-tiles allows 65,535.
pub const LEDGER_ENTRY_BYTES: usize = 4096;
/// Entries of the ledger that may wait for their files. Hub: above it, changes are refused; seconds
/// at full speed, and about 100 MB.
pub const LEDGER_OUTBOX_ENTRIES: u64 = 200_000;
/// Bytes of a verb or a kind in an entry of the ledger. Hub.
pub const LEDGER_NAME_BYTES: usize = 64;
/// Bytes of the name of an actor or an object in an entry of the ledger. Hub: a module of a device
/// with both names at their limit, and as much again.
pub const LEDGER_ID_BYTES: usize = 512;
/// Bytes of a request id in an entry of the ledger. Hub.
pub const LEDGER_REQUEST_BYTES: usize = 128;
/// Bytes of a key in the detail of an entry of the ledger. Hub.
pub const LEDGER_DETAIL_KEY_BYTES: usize = 64;
/// Bytes of a value in the detail of an entry of the ledger. Hub.
pub const LEDGER_DETAIL_VALUE_BYTES: usize = 512;

/// How strictly the hub keeps to what a cloud allows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// A complete MQTT broker with generous limits.
    #[default]
    Standard,
    /// What AWS IoT Core allows and nothing more.
    AwsStrict,
    /// What Azure IoT Hub allows and nothing more.
    AzureStrict,
}
