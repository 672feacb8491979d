//! The passphrase of a key file: from a file or descriptor, from the service manager, or
//! asked for on the terminal. Never from the command line (P17.2).

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use secrecy::SecretString;

use crate::cli::Global;
use crate::exit::{Exit, Failure};

/// Name of the credential that a service manager may hand over.
const CREDENTIAL: &str = "hailmesh-passphrase";

/// The passphrase that was given, if any.
pub(super) fn given(global: &Global) -> Result<Option<SecretString>, Failure> {
    let credential = || {
        let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
        path.exists().then_some(path)
    };
    let Some(path) = global.passphrase_file.clone().or_else(credential) else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new(Exit::BadConfig, format!("passphrase file {}: {error}", path.display()))
    })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::new(
            Exit::BadConfig,
            format!("passphrase file {}: its first line is empty", path.display()),
        ));
    }
    Ok(Some(SecretString::from(line.to_owned())))
}

/// The passphrase that a home needs: given, or asked for when its key file is encrypted
/// and a person sits at the terminal.
pub(super) fn needed(global: &Global, home: &Home) -> Result<Option<SecretString>, Failure> {
    if let Some(passphrase) = given(global)? {
        return Ok(Some(passphrase));
    }
    let encrypted = IdentityKey::is_encrypted(home).map_err(Failure::failed)?;
    if encrypted && io::stdin().is_terminal() && io::stderr().is_terminal() {
        return ask(&format!("passphrase of {}: ", home.key().display())).map(Some);
    }
    Ok(None)
}

/// Asks without echo.
fn ask(question: &str) -> Result<SecretString, Failure> {
    let echo = |on: bool| {
        let argument = if on { "echo" } else { "-echo" };
        let done = Command::new("stty").arg(argument).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    if !echo(false) {
        return Err(Failure::new(
            Exit::BadConfig,
            "this terminal cannot hide what is typed: use --passphrase-file",
        ));
    }
    eprint!("{question}");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    echo(true);
    eprintln!();
    read.map_err(|error| Failure::failed(format!("terminal: {error}")))?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned()))
}
