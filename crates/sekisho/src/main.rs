//! The `sekisho` program: server and command line in one binary.

fn main() {}
