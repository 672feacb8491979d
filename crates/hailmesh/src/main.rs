//! The `hailmesh` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hailmesh::main()
}
