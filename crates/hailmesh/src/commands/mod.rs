//! What each command does.

mod config;
mod demo;
mod doctor;
mod events;
mod generate;
mod key;
mod network;
mod node;
mod offers;
mod passphrase;
mod request;
mod ride;
mod settings;
mod sim;
mod status;
mod verify;

use crate::cli::{Cli, Command, RoleArg};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::Output;

/// Runs a command.
///
/// # Errors
/// What went wrong, with the code to exit with.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = cli.global;
    let out = Output { json: global.json, quiet: global.quiet };
    let homes = || Homes::new(&global);
    match cli.command {
        Command::Driver(args) => node::driver(&global, &homes()?, &args, out).await,
        Command::Rider(args) => node::rider(&global, &homes()?, &args, out).await,
        Command::Relay => node::relay(&global, &homes()?, out).await,
        Command::Ride(args) => ride::run(&homes()?, args.action, out).await,
        Command::Offers(args) => offers::run(&homes()?, &args, out).await,
        Command::Status => status::run(&homes()?, out).await,
        Command::Peers(args) => network::peers(&homes()?, args.action, out).await,
        Command::Invite => network::invite(&homes()?, out).await,
        Command::Events(args) => events::run(&homes()?, &args, out).await,
        Command::Doctor => doctor::run(&global, &homes()?, out).await,
        Command::Demo(args) => demo::run(&global, &args, out).await,
        Command::Sim(args) => sim::run(args.action, out).await,
        Command::Verify(args) => verify::run(&args, out),
        Command::Key(args) => key::run(&global, &homes()?, &args, out),
        Command::Config(args) => config::run(&global, &homes()?, &args, out),
        Command::Completions { shell } => generate::completions(shell, out),
        Command::Man { out: dir } => generate::man(dir.as_deref(), out),
        Command::Openapi => generate::openapi(out),
    }
}

/// The role of a home by its folder, for commands about files.
fn role_of(home: &std::path::Path) -> Option<RoleArg> {
    let name = home.file_name()?.to_str()?;
    [RoleArg::Driver, RoleArg::Rider, RoleArg::Relay].into_iter().find(|role| role.name() == name)
}
