-- Times are milliseconds since the Unix epoch, UTC. Names of principals, policy targets and tagged
-- resources are KIND/NAME, such as certificate/<64 hexadecimal digits> or group/<name>.

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    id          TEXT    NOT NULL PRIMARY KEY,
    uuid        TEXT    NOT NULL,
    type        TEXT,
    attributes  TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    modified_at INTEGER NOT NULL
) STRICT;

CREATE INDEX devices_type ON devices (type, id) WHERE type IS NOT NULL;

CREATE TABLE types (
    name                  TEXT    NOT NULL PRIMARY KEY,
    uuid                  TEXT    NOT NULL,
    description           TEXT    NOT NULL,
    searchable_attributes TEXT    NOT NULL,
    deprecated_at         INTEGER,
    created_at            INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
    name        TEXT    NOT NULL PRIMARY KEY,
    uuid        TEXT    NOT NULL,
    parent      TEXT,
    description TEXT    NOT NULL,
    attributes  TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX groups_parent ON groups (parent, name);

CREATE TABLE memberships (
    device     TEXT NOT NULL,
    group_name TEXT NOT NULL,
    PRIMARY KEY (device, group_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_group ON memberships (group_name, device);

CREATE TABLE certificates (
    id               TEXT    NOT NULL PRIMARY KEY,
    status           TEXT    NOT NULL,
    pem              TEXT    NOT NULL,
    ca_id            TEXT,
    not_before       INTEGER NOT NULL,
    not_after        INTEGER NOT NULL,
    customer_version INTEGER NOT NULL,
    generation_id    TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    modified_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX certificates_age ON certificates (created_at, id);
CREATE INDEX certificates_ca ON certificates (ca_id, created_at, id) WHERE ca_id IS NOT NULL;

CREATE TABLE attachments (
    device    TEXT    NOT NULL,
    principal TEXT    NOT NULL,
    exclusive INTEGER NOT NULL,
    PRIMARY KEY (device, principal)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachments_principal ON attachments (principal, device);

CREATE TABLE policies (
    name            TEXT    NOT NULL PRIMARY KEY,
    default_version INTEGER NOT NULL,
    next_version    INTEGER NOT NULL,
    generation_id   TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    modified_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE policy_versions (
    policy     TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    document   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (policy, version)
) STRICT;

CREATE TABLE policy_targets (
    target TEXT NOT NULL,
    policy TEXT NOT NULL,
    PRIMARY KEY (target, policy)
) STRICT, WITHOUT ROWID;

CREATE INDEX policy_targets_policy ON policy_targets (policy, target);

CREATE TABLE tags (
    resource TEXT NOT NULL,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (resource, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_configurations (
    family  TEXT    NOT NULL PRIMARY KEY,
    enabled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened to a device or client, newest last; bounded per subject and in total.
CREATE TABLE timeline (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    allowed INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;

CREATE INDEX timeline_subject ON timeline (subject, id);

CREATE TABLE failed_connections (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    address TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;
