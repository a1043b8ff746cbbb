-- `module` and `name` are empty for the device itself and for its unnamed shadow.
-- A deleted shadow has no document; its version is remembered for a while after `at`.
CREATE TABLE shadows (
    device   TEXT    NOT NULL,
    module   TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    document TEXT,
    at       INTEGER NOT NULL,
    PRIMARY KEY (device, module, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX shadow_tombstones ON shadows (at) WHERE document IS NULL;
