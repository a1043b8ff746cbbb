//! Keeps everything: the only crate that names a database.
