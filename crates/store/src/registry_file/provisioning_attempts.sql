-- How devices tried to become registered, newest last; bounded in total. `subject` is what the
-- client calls itself, `steps` is JSON.
CREATE TABLE provisioning_attempts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    flow        TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    certificate TEXT,
    refused     TEXT,
    detail      TEXT    NOT NULL
) STRICT;
