//! The binary `prelim`.
fn main() {}
