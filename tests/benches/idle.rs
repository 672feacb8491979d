//! Settlement between two processes.
fn main() {}
