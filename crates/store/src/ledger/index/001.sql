-- Where words stand: `term` is a hash of an actor, a subject or a verb; the row holds the entries
-- `first` and, in `rest`, those after it as differences. Rows of a term do not overlap.
CREATE TABLE postings (
    term  INTEGER NOT NULL,
    first INTEGER NOT NULL,
    rest  BLOB    NOT NULL,
    PRIMARY KEY (term, first)
) STRICT, WITHOUT ROWID;

-- Entries below `next` are indexed; `root` is the tree's root at that size.
CREATE TABLE progress (
    id   INTEGER PRIMARY KEY CHECK (id = 0),
    next INTEGER NOT NULL,
    root BLOB    NOT NULL
) STRICT;
