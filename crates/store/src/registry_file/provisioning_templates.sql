CREATE TABLE provisioning_templates (
    name            TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    enabled         INTEGER NOT NULL,
    role            TEXT    NOT NULL,
    default_version INTEGER NOT NULL,
    next_version    INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    modified_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE provisioning_template_versions (
    template   TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (template, version)
) STRICT;
