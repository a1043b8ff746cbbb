-- Entries of the ledger that its files do not hold durably yet, by their index in the ledger:
-- dense, from a multiple of 256 up to ledger_state.next. Written in the transaction of the deed.
CREATE TABLE ledger_outbox (
    idx   INTEGER PRIMARY KEY,
    entry BLOB NOT NULL
) STRICT;

-- The index of each actor's last entry.
CREATE TABLE ledger_actors (
    actor TEXT    NOT NULL PRIMARY KEY,
    last  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The index of the next entry, and the time of the last one.
CREATE TABLE ledger_state (
    id   INTEGER PRIMARY KEY CHECK (id = 0),
    next INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT;

INSERT INTO ledger_state (id, next, last) VALUES (0, 0, 0);
