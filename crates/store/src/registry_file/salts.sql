-- What the ledger says only as a salted hash. A salt that is gone takes the meaning of its hashes
-- with it; the ledger stays as it is.

-- People, addresses and keys: the value, and the hash that stands for it in entries.
CREATE TABLE ledger_people (
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    salt      BLOB NOT NULL,
    pseudonym BLOB NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_people_pseudonym ON ledger_people (pseudonym);

-- Objects, as KIND/NAME: what the hashes of their states are made with.
CREATE TABLE ledger_salts (
    subject TEXT NOT NULL PRIMARY KEY,
    salt    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How many writes named the desired section: the ledger records those and no others.
ALTER TABLE shadows ADD COLUMN desired_version INTEGER NOT NULL DEFAULT 0;
UPDATE shadows SET desired_version = json_extract(document, '$.desired.version')
    WHERE document IS NOT NULL;
