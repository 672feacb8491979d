//! The `hailmesh` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Thousands of small tables come and go in a simulated city; docs/performance.md says what
/// this allocator gives and takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hailmesh::main()
}
