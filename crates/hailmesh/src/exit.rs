//! How the program ends.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No node runs where it was looked for.
    Unreachable = 3,
    /// No match, declined or expired.
    NoMatch = 4,
    /// The node refused the token.
    Unauthorised = 5,
    /// Another process uses this home or identity.
    AlreadyRunning = 6,
    /// The configuration is wrong.
    BadConfig = 7,
    /// A receipt or a piece of evidence does not hold.
    VerifyFailed = 8,
    /// A simulation did not reach what it was asked to.
    AssertionFailed = 10,
    /// The user interrupted it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, what to do about it, and the code to exit with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What went wrong; empty when everything has been said already.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with this code and these words.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// Code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same failure with something to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<hailmesh_node::config::ConfigError> for Failure {
    fn from(error: hailmesh_node::config::ConfigError) -> Self {
        Self::new(Exit::BadConfig, error)
            .hint("`hailmesh config show --origin` prints every value and where it comes from")
    }
}
