//! The rules of the repository, as tests.
//!
//! Each test collects every violation it finds and prints them all, one line each, as
//! `path:line: what is wrong`, so that one run shows all there is to repair. Nothing
//! here compiles or runs our crates: the tests read files and `cargo metadata`.

mod dependencies;
mod documents;
mod files;
mod sources;
