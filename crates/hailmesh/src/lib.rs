//! The command line of Hailmesh.
//!
//! One binary runs nodes and talks to nodes that run. It decides nothing about rides:
//! [`commands`] either start a [`hailmesh_node::Node`] with its API and wait for a signal,
//! or send one request to the API of a node that runs and print the answer.
//!
//! # The contract with scripts
//!
//! * stdout carries data only; banners, progress, logs and errors go to stderr;
//! * `--json` makes stdout one JSON document, or JSON lines for streams;
//! * exit codes are those of [`exit::Exit`];
//! * the last line of a node on stderr, once it serves, is `Ready.`.
//!
//! # Where a node lives
//!
//! `--home`, or one folder per role below the data folder of the user ([`homes`]), so that
//! a driver and a rider can run side by side on one machine without a flag.
//!
//! [`demo`] is a city of real nodes in one process. It uses node handles only.
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod commands;
pub mod demo;
pub mod exit;
pub mod homes;
pub mod output;
pub mod proof;
pub mod route;
pub mod signals;
pub mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};

/// Thousands of small tables come and go in a simulated city; docs/performance.md says what
/// this allocator gives and takes. It is here, and not beside `main`, so that benches that
/// run the program as one of their processes measure what ships.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Usage errors end here with code 2, help and version with 0.
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let result = runtime.block_on(commands::run(cli));
    // Whatever still blocks (a name being resolved) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure).into(),
    }
}

/// Prints a failure; the code to exit with.
fn report(failure: &Failure) -> Exit {
    if !failure.message.is_empty() {
        eprintln!("error: {}", failure.message);
    }
    if let Some(hint) = &failure.hint {
        eprintln!("hint: {hint}");
    }
    failure.exit
}
