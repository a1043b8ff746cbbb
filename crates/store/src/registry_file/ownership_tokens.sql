-- Tokens that prove that a certificate that waits is a device's: `fingerprint` is SHA-256 in
-- hexadecimal, the token itself is nowhere.
CREATE TABLE ownership_tokens (
    fingerprint TEXT    NOT NULL PRIMARY KEY,
    certificate TEXT    NOT NULL,
    principal   TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ownership_tokens_age ON ownership_tokens (expires_at);
