//! What the wire costs.

fn main() {}
