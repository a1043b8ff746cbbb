-- Times are milliseconds since the Unix epoch, UTC.

CREATE TABLE sessions (
    key            INTEGER PRIMARY KEY,
    client_id      TEXT    NOT NULL UNIQUE,
    protocol       INTEGER NOT NULL,
    expiry_seconds INTEGER NOT NULL,
    online         INTEGER NOT NULL,
    expires_at     INTEGER,
    next_seq       INTEGER NOT NULL,
    sent_through   INTEGER NOT NULL,
    principal      TEXT    NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE subscriptions (
    session         INTEGER NOT NULL,
    filter          TEXT    NOT NULL,
    options         INTEGER NOT NULL,
    subscription_id INTEGER,
    PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;

-- Messages that stand in several queues.
CREATE TABLE bodies (
    id         INTEGER PRIMARY KEY,
    uses       INTEGER NOT NULL,
    topic      TEXT    NOT NULL,
    properties BLOB    NOT NULL,
    payload    BLOB    NOT NULL
) STRICT;

-- A message has its body here, or a number in `body`. A released place (QoS 2 after PUBREC) has
-- neither. `bytes` stands before the payload, so that counting does not read payloads.
CREATE TABLE queue (
    session          INTEGER NOT NULL,
    seq              INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    released         INTEGER NOT NULL,
    qos              INTEGER NOT NULL,
    retain           INTEGER NOT NULL,
    published_at     INTEGER NOT NULL,
    expires_at       INTEGER,
    subscription_ids BLOB,
    body             INTEGER,
    topic            TEXT,
    properties       BLOB,
    payload          BLOB,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX queue_expiry ON queue (expires_at) WHERE expires_at IS NOT NULL;

CREATE TRIGGER queue_body_unused AFTER DELETE ON queue WHEN old.body IS NOT NULL
BEGIN
    UPDATE bodies SET uses = uses - 1 WHERE id = old.body;
    DELETE FROM bodies WHERE id = old.body AND uses <= 0;
END;

CREATE TRIGGER queue_body_released AFTER UPDATE OF body ON queue
WHEN old.body IS NOT NULL AND new.body IS NULL
BEGIN
    UPDATE bodies SET uses = uses - 1 WHERE id = old.body;
    DELETE FROM bodies WHERE id = old.body AND uses <= 0;
END;

CREATE TABLE inbound (
    session   INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE wills (
    session       INTEGER PRIMARY KEY,
    delay_seconds INTEGER NOT NULL,
    due_at        INTEGER,
    qos           INTEGER NOT NULL,
    retain        INTEGER NOT NULL,
    published_at  INTEGER NOT NULL,
    expires_at    INTEGER,
    topic         TEXT    NOT NULL,
    properties    BLOB    NOT NULL,
    payload       BLOB    NOT NULL
) STRICT;

CREATE TABLE retained (
    topic        TEXT    NOT NULL PRIMARY KEY,
    qos          INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    expires_at   INTEGER,
    properties   BLOB    NOT NULL,
    payload      BLOB    NOT NULL
) STRICT;

CREATE INDEX retained_expiry ON retained (expires_at) WHERE expires_at IS NOT NULL;
