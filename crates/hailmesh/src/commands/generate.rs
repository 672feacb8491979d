//! Files made from the command line and the API themselves.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Completions for a shell.
pub(super) fn completions(shell: Shell, out: Output) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hailmesh", &mut text);
    out.raw(&text)?;
    Ok(Exit::Ok)
}

/// Manual pages.
pub(super) fn man(dir: Option<&Path>, out: Output) -> Result<Exit, Failure> {
    if let Some(dir) = dir {
        let failed = |error| Failure::failed(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
        out.remark(format!("manual pages are in {}", dir.display()));
        return Ok(Exit::Ok);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut text)
        .map_err(|error| Failure::failed(format!("manual page: {error}")))?;
    out.raw(&text)?;
    Ok(Exit::Ok)
}

/// The OpenAPI document.
pub(super) fn openapi(out: Output) -> Result<Exit, Failure> {
    out.raw(hailmesh_api::openapi_json().as_bytes())?;
    Ok(Exit::Ok)
}
