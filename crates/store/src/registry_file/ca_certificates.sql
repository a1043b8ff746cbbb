-- Authorities of the operator's own. `subject` is DER in hexadecimal; `configured` tells whether
-- there is a registration configuration at all.
CREATE TABLE ca_certificates (
    id                TEXT    NOT NULL PRIMARY KEY,
    subject           TEXT    NOT NULL,
    status            TEXT    NOT NULL,
    auto_registration TEXT    NOT NULL,
    mode              TEXT    NOT NULL,
    pem               TEXT    NOT NULL,
    template_body     TEXT,
    template_name     TEXT,
    role              TEXT,
    configured        INTEGER NOT NULL,
    not_before        INTEGER NOT NULL,
    not_after         INTEGER NOT NULL,
    customer_version  INTEGER NOT NULL,
    generation_id     TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    modified_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX ca_certificates_subject ON ca_certificates (subject);
CREATE INDEX ca_certificates_age ON ca_certificates (created_at, id);
