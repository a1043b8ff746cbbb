//! The project's own commands: `cargo xtask check|test|layers|tidy|bench|fuzz|golden`.

fn main() {}
