//! Who gets a message: subscriptions, sessions, retained messages and mailboxes; decides, does no I/O.
