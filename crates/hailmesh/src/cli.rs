//! The command line, as clap reads it.

pub mod sim;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use hailmesh_types::{Class, GeoPoint};

use crate::telemetry::LogFormat;

/// The groups of commands, as `--help` shows them. A test keeps it complete.
const GROUPS: &str = "\
RUN A NODE
  driver       offer rides: hailmesh driver --at 40.7580,-73.9855
  rider        a rider node; other programs and `hailmesh ride` talk to it
  relay        a public node: a place for others to meet; no rides of its own
USE A RUNNING NODE
  ride         request, list, show, cancel, receipt, arrive, board, complete, rate …
  offers       the offer book around a place, with the reasons when it is empty
  status       identity, reachability, peers, offers heard, current ride, last error
  peers        list them, or add one
  invite       one line to paste on another machine
  events       follow what happens
  doctor       what works, what does not, what to do
TRY AND TEST
  demo         a small city of real nodes in one process, without any configuration
  sim          a simulated city: run, scale, live, import, report
  verify       check a receipt or a piece of evidence offline
MANAGE
  key          new, show, export, import
  config       init, show --origin, check
  completions  for your shell
  man          manual pages
  openapi      the OpenAPI document of the local API";

const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

{before-help}

Options:
{options}{after-help}";

const AFTER: &str = "\
Every key of the configuration is also a variable HAILMESH_<SECTION>__<KEY>, such as
HAILMESH_NETWORK__NAME or HAILMESH_DRIVER__TARIFF__BASE. Flags win over variables, variables over
the file config.toml of the home, the file over the defaults.

Exit codes: 0 ok, 1 failed, 2 usage, 3 node not reachable, 4 no match, declined or expired,
5 not authorised, 6 already running, 7 bad configuration or scenario, 8 verification failed,
10 simulation assertion failed, 130 interrupted.";

/// A ride marketplace with no server in the middle.
#[derive(Debug, Parser)]
#[command(
    name = "hailmesh",
    version,
    help_template = TEMPLATE,
    before_help = GROUPS,
    after_help = AFTER,
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of all commands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where the node keeps its things; default: a folder per role below the data folder
    /// of the user.
    #[arg(long, value_name = "DIR", env = "HAILMESH_HOME", global = true)]
    pub home: Option<PathBuf>,
    /// Configuration file instead of config.toml in the home.
    #[arg(long, value_name = "FILE", env = "HAILMESH_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Address to listen on; repeatable [env: HAILMESH_NETWORK__LISTEN].
    #[arg(long, value_name = "MULTIADDR", global = true)]
    pub listen: Vec<String>,
    /// Address to dial first, or a line of `hailmesh invite`; repeatable
    /// [env: HAILMESH_NETWORK__BOOTSTRAP].
    #[arg(long, value_name = "MULTIADDR", global = true)]
    pub bootstrap: Vec<String>,
    /// Name of the network; nodes meet only within one [env: HAILMESH_NETWORK__NAME]
    /// [default: main].
    #[arg(long, value_name = "NAME", global = true)]
    pub network: Option<String>,
    /// Do not look for peers on the local network [env: HAILMESH_NETWORK__MDNS=false].
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub no_mdns: bool,
    /// Journal: sqlite:PATH, postgres://… or memory [env: HAILMESH_STORE__URL].
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<String>,
    /// Where the local API listens; port 0 takes a free one [env: HAILMESH_API__ADDR]
    /// [default: 127.0.0.1:0].
    #[arg(long, value_name = "ADDR", global = true)]
    pub api: Option<String>,
    /// JSON on stdout: one document, or one a line for streams.
    #[arg(long, env = "HAILMESH_JSON", global = true, action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Only errors on stderr.
    #[arg(short, long, env = "HAILMESH_QUIET", global = true, action = ArgAction::SetTrue, conflicts_with = "verbose", value_parser = FalseyValueParser::new())]
    pub quiet: bool,
    /// More on stderr; -vv for everything [env: HAILMESH_LOG__LEVEL].
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Form of log lines [env: HAILMESH_LOG__FORMAT] [default: pretty].
    #[arg(long, value_name = "FORMAT", global = true, value_enum)]
    pub log_format: Option<LogFormat>,
    /// File that holds the passphrase of the key file; /dev/fd/N works.
    #[arg(long, value_name = "FILE", env = "HAILMESH_PASSPHRASE_FILE", global = true)]
    pub passphrase_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offer rides.
    Driver(DriverArgs),
    /// Run a rider node; other programs and `hailmesh ride` talk to it.
    Rider(RiderArgs),
    /// Run a public node: a place for others to meet; no rides of its own.
    Relay,
    /// Ask for a ride and see it through.
    Ride(RideArgs),
    /// The offer book around a place, with the reasons when it is empty.
    Offers(OffersArgs),
    /// Identity, reachability, peers, offers heard, current ride, last error and its hint.
    Status,
    /// Peers: list them, or add one.
    Peers(PeersArgs),
    /// One line to paste on another machine.
    Invite,
    /// Follow what happens.
    Events(EventsArgs),
    /// What works, what does not, what to do.
    Doctor,
    /// A small city of real nodes in one process, without any configuration.
    Demo(DemoArgs),
    /// A simulated city: production nodes on modelled links beside dispatchers that see
    /// everything.
    Sim(sim::SimArgs),
    /// Check a receipt or a piece of evidence offline; prints what it proves.
    Verify(VerifyArgs),
    /// The identity key of a home.
    Key(KeyArgs),
    /// The configuration.
    Config(ConfigArgs),
    /// Completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Manual pages: hailmesh.1 on stdout, or all of them into a folder.
    Man {
        /// Folder for one page a command.
        #[arg(long, value_name = "DIR", env = "HAILMESH_MAN_OUT")]
        out: Option<PathBuf>,
    },
    /// The OpenAPI document of the local API.
    Openapi,
}

/// `hailmesh driver`.
#[derive(Debug, Clone, Default, Args)]
pub struct DriverArgs {
    /// Where the driver is at the start, in degrees [env: HAILMESH_DRIVER__AT].
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, value_parser = position)]
    pub at: Option<GeoPoint>,
    /// Seats for passengers, 1 to 16 [env: HAILMESH_DRIVER__SEATS] [default: 4].
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub seats: Option<u8>,
    /// Class of the vehicle: standard, large, premium, two-wheeler, three-wheeler,
    /// wheelchair [env: HAILMESH_DRIVER__CLASS] [default: standard].
    #[arg(long, value_parser = class)]
    pub class: Option<Class>,
    /// What a ride costs, minor units: base=250,km=120,min=30,minimum=500,currency=USD
    /// [env: HAILMESH_DRIVER__TARIFF__BASE and so on].
    #[arg(long, value_name = "TARIFF")]
    pub tariff: Option<String>,
    /// Agree by itself, or ask you each time [env: HAILMESH_DRIVER__ACCEPT]
    /// [default: auto].
    #[arg(long, value_enum)]
    pub accept: Option<AcceptArg>,
    /// How finely the position is published: 7 (5 km²) to 10 (0.015 km²)
    /// [env: HAILMESH_DRIVER__PRECISION] [default: 10].
    #[arg(long, value_name = "7..10", value_parser = clap::value_parser!(u8).range(7..=10))]
    pub precision: Option<u8>,
    /// Drive along a track, GPX or GeoJSON, by its times or at --speed.
    #[arg(long, value_name = "FILE", env = "HAILMESH_ROUTE")]
    pub route: Option<PathBuf>,
    /// Speed along a track without times, km/h.
    #[arg(long, value_name = "KMH", env = "HAILMESH_SPEED", requires = "route", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub speed: Option<u16>,
}

/// Who agrees to rides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AcceptArg {
    /// The node.
    Auto,
    /// Its user.
    Ask,
}

/// `hailmesh rider`.
#[derive(Debug, Clone, Default, Args)]
pub struct RiderArgs {
    /// Where the rider is, in degrees; lets the node listen before it asks
    /// [env: HAILMESH_RIDER__AT].
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, value_parser = position)]
    pub at: Option<GeoPoint>,
}

/// `hailmesh ride`.
#[derive(Debug, Args)]
pub struct RideArgs {
    /// What about it.
    #[command(subcommand)]
    pub action: RideAction,
}

/// What to do with a ride.
#[derive(Debug, Subcommand)]
pub enum RideAction {
    /// Look for a ride and wait until it is firm.
    Request(RequestArgs),
    /// Rides of the node, newest first.
    List(ListArgs),
    /// One ride: its history, the boarding code, the other side.
    Show(RideIdArg),
    /// End a ride before boarding, or stop a search.
    Cancel(RideIdArg),
    /// The receipt: a file that anyone can check offline.
    Receipt {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// Where to write it; without it, to stdout.
        #[arg(long, value_name = "FILE", env = "HAILMESH_RECEIPT_OUT")]
        out: Option<PathBuf>,
    },
    /// Agree: to a ride that waits for an answer (driver), to a final fare (rider).
    Accept(RideIdArg),
    /// Do not agree.
    Decline(RideIdArg),
    /// Propose another fare to a ride that waits for an answer (driver).
    Counter {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// The fare, minor units.
        #[arg(value_name = "MINOR")]
        fare: u64,
    },
    /// The driver sets out.
    EnRoute {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// Time to the pickup.
        #[arg(long, value_name = "SPAN", env = "HAILMESH_ETA", value_parser = humantime::parse_duration, default_value = "5m")]
        eta: Duration,
    },
    /// The driver is at the pickup.
    Arrive(RideIdArg),
    /// Let the driver of a firm ride see where the rider is, until the ride is over; say
    /// it again whenever the rider has moved.
    Share {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// Where the rider is, in degrees.
        #[arg(long, value_name = "LAT,LON", env = "HAILMESH_SHARE_AT", hide_env_values = true, allow_hyphen_values = true, value_parser = position, required_unless_present = "off")]
        at: Option<GeoPoint>,
        /// Share it no longer.
        #[arg(long, env = "HAILMESH_SHARE_OFF", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
        off: bool,
    },
    /// The rider is on board.
    Board {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// What the rider says: six digits, or the 26 characters of the QR code.
        #[arg(long, env = "HAILMESH_BOARDING_CODE", hide_env_values = true)]
        code: Option<String>,
    },
    /// The ride is over. Figures that are not given are those of the request.
    Complete {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// Metres driven.
        #[arg(long, value_name = "METRES", env = "HAILMESH_DISTANCE")]
        distance: Option<u32>,
        /// Time driven.
        #[arg(long, value_name = "SPAN", env = "HAILMESH_DURATION", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
        /// Tolls and agreed additions, minor units; the rider has to agree.
        #[arg(long, value_name = "MINOR", env = "HAILMESH_EXTRA")]
        extra: Option<u64>,
    },
    /// End a ride after boarding without the other side's signature.
    End(RideIdArg),
    /// The other side did not come.
    NoShow(RideIdArg),
    /// Say how it was: one to five stars.
    Rate {
        /// Which ride.
        #[command(flatten)]
        ride: RideIdArg,
        /// 1 to 5.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=5))]
        stars: u8,
        /// A few words, at most 140 bytes.
        #[arg(long, env = "HAILMESH_RATING_TEXT", default_value = "")]
        text: String,
    },
}

/// `hailmesh ride list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// How many, 1 to 500; rides that are not over come besides.
    #[arg(long, value_name = "N", env = "HAILMESH_LIMIT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,
    /// Only rides begun before this one.
    #[arg(long, value_name = "ID", env = "HAILMESH_BEFORE", value_parser = ride_id)]
    pub before: Option<hailmesh_market::RideId>,
    /// Every ride there ever was.
    #[arg(long, env = "HAILMESH_ALL", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub all: bool,
}

/// `hailmesh ride request`.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// Where from, in degrees.
    #[arg(long, value_name = "LAT,LON", env = "HAILMESH_FROM", hide_env_values = true, allow_hyphen_values = true, value_parser = position)]
    pub from: GeoPoint,
    /// Where to; without it the ride is metered as directed.
    #[arg(long, value_name = "LAT,LON", env = "HAILMESH_TO", hide_env_values = true, allow_hyphen_values = true, value_parser = position)]
    pub to: Option<GeoPoint>,
    /// The most it may cost, minor units.
    #[arg(long, value_name = "MINOR", env = "HAILMESH_MAX_FARE")]
    pub max_fare: Option<u64>,
    /// Class of vehicle.
    #[arg(long, env = "HAILMESH_CLASS", value_parser = class)]
    pub class: Option<Class>,
    /// Seats needed, 1 to 16.
    #[arg(long, env = "HAILMESH_SEATS", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub seats: Option<u8>,
    /// How long to look, 1 s to 2 min.
    #[arg(long, value_name = "SPAN", env = "HAILMESH_WAIT", default_value = "30s", value_parser = wait)]
    pub wait: Duration,
    /// A note for the chosen driver.
    #[arg(long, env = "HAILMESH_NOTE", default_value = "", hide_env_values = true)]
    pub note: String,
    /// Makes a retry after a lost answer harmless: the same key gives the same ride.
    #[arg(long, value_name = "KEY", env = "HAILMESH_IDEMPOTENCY_KEY")]
    pub idempotency_key: Option<String>,
}

/// A ride on this node.
#[derive(Debug, Clone, Args)]
pub struct RideIdArg {
    /// Ride id as `hailmesh ride list` prints it.
    #[arg(value_name = "ID", value_parser = ride_id)]
    pub id: hailmesh_market::RideId,
}

/// `hailmesh offers`.
#[derive(Debug, Clone, Args)]
pub struct OffersArgs {
    /// Around this place instead of that of the node, in degrees.
    #[arg(long, value_name = "LAT,LON", env = "HAILMESH_NEAR", hide_env_values = true, allow_hyphen_values = true, value_parser = position)]
    pub near: Option<GeoPoint>,
    /// How far around: 500m, 2km.
    #[arg(long, value_name = "DISTANCE", env = "HAILMESH_RADIUS", value_parser = radius)]
    pub radius: Option<u32>,
    /// Rider offers instead of driver offers.
    #[arg(long, env = "HAILMESH_RIDERS", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub riders: bool,
    /// Class of vehicle.
    #[arg(long, env = "HAILMESH_CLASS", value_parser = class)]
    pub class: Option<Class>,
    /// Least number of seats.
    #[arg(long, env = "HAILMESH_SEATS", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub seats: Option<u8>,
    /// Print again whenever it changes.
    #[arg(long, env = "HAILMESH_WATCH", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub watch: bool,
}

/// `hailmesh peers`.
#[derive(Debug, Args)]
pub struct PeersArgs {
    /// What about them.
    #[command(subcommand)]
    pub action: PeersAction,
}

/// What to do with peers.
#[derive(Debug, Subcommand)]
pub enum PeersAction {
    /// The peers connected now.
    List,
    /// Dial a peer and remember it.
    Add {
        /// Its multiaddress, or a line of `hailmesh invite`.
        #[arg(value_name = "MULTIADDR")]
        address: String,
    },
}

/// `hailmesh events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Begin after this event instead of now; 0 for all that are still known.
    #[arg(long, value_name = "ID", env = "HAILMESH_AFTER")]
    pub after: Option<u64>,
}

/// `hailmesh demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Driver nodes, 1 to 500.
    #[arg(long, env = "HAILMESH_DEMO_DRIVERS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub drivers: u16,
    /// Rider nodes, 1 to 500.
    #[arg(long, env = "HAILMESH_DEMO_RIDERS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub riders: u16,
    /// End by itself after so many completed rides.
    #[arg(long, env = "HAILMESH_DEMO_RIDES", value_parser = clap::value_parser!(u32).range(1..))]
    pub rides: Option<u32>,
    /// Where people are and where they want to go.
    #[arg(long, env = "HAILMESH_DEMO_SEED", default_value_t = 1)]
    pub seed: u64,
}

/// `hailmesh verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// A receipt or a piece of evidence.
    pub file: PathBuf,
    /// Key of an issuer whose credentials count, hexadecimal; repeatable.
    #[arg(long, value_name = "KEY", env = "HAILMESH_ISSUERS", value_delimiter = ',')]
    pub issuer: Vec<hailmesh_types::PublicKey>,
}

/// `hailmesh key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Which of the homes by role, when --home is not given.
    #[arg(long, env = "HAILMESH_ROLE", value_enum, global = true)]
    pub role: Option<RoleArg>,
    /// What about it.
    #[command(subcommand)]
    pub action: KeyAction,
}

/// A kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RoleArg {
    /// Offers rides.
    Driver,
    /// Wants rides.
    Rider,
    /// A place for others to meet.
    Relay,
}

impl RoleArg {
    /// The word for it, also the name of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Rider => "rider",
            Self::Relay => "relay",
        }
    }
}

/// What to do with the key.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Make one. With --passphrase-file it is encrypted.
    New,
    /// Print the public key.
    Show,
    /// Print the key file, or write it; with --passphrase-file encrypted.
    Export {
        /// Where to write it (mode 0600); without it, to stdout.
        #[arg(long, value_name = "FILE", env = "HAILMESH_KEY_OUT")]
        out: Option<PathBuf>,
    },
    /// Take an exported key into a home that has none.
    Import {
        /// The exported file.
        file: PathBuf,
    },
}

/// `hailmesh config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Which of the homes by role, when --home is not given.
    #[arg(long, env = "HAILMESH_ROLE", value_enum, global = true)]
    pub role: Option<RoleArg>,
    /// What about it.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Write config.toml with every key explained; never over an existing one.
    Init,
    /// Print every value.
    Show {
        /// Print where each comes from, too.
        #[arg(long, env = "HAILMESH_ORIGIN", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
        origin: bool,
    },
    /// Say whether it is right.
    Check,
}

fn position(text: &str) -> Result<GeoPoint, String> {
    text.parse().map_err(|error: hailmesh_types::GeoError| error.to_string())
}

fn class(text: &str) -> Result<Class, String> {
    text.parse().map_err(|error: hailmesh_types::ClassError| error.to_string())
}

fn ride_id(text: &str) -> Result<hailmesh_market::RideId, String> {
    text.parse().map_err(|_| "expected 26 characters as printed by `hailmesh ride list`".to_owned())
}

fn wait(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(120);
    if bounds.contains(&span) { Ok(span) } else { Err("expected 1s to 2m".to_owned()) }
}

/// Metres from `500m`, `2km`, `1.5km` or a bare number of metres.
fn radius(text: &str) -> Result<u32, String> {
    let bad = || "expected 1m to 100km, such as 500m or 2km".to_owned();
    let (number, unit) = match text.strip_suffix("km") {
        Some(number) => (number, 1_000.0),
        None => (text.strip_suffix('m').unwrap_or(text), 1.0),
    };
    let metres = number.trim().parse::<f64>().map_err(|_| bad())? * unit;
    if !(1.0..=100_000.0).contains(&metres) {
        return Err(bad());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 100,000")]
    Ok(metres.round() as u32)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_names_every_command() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let entry = format!("\n  {} ", sub.get_name());
            assert!(GROUPS.contains(&entry), "{} is missing in the help", sub.get_name());
        }
    }

    #[test]
    fn every_flag_names_its_variable() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
                let id = argument.get_id().as_str();
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let exempt = ["help", "version"].contains(&id);
                assert!(
                    exempt || argument.get_env().is_some() || help.contains("[env: HAILMESH_"),
                    "{} --{id} names no variable",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn short_variables_are_no_keys() {
        // HAILMESH_A__B is a key of the configuration: a flag that is none must not look so.
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                if let Some(env) = argument.get_env() {
                    assert!(!env.to_string_lossy().contains("__"), "{env:?}");
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn distances() {
        assert_eq!(radius("500m"), Ok(500));
        assert_eq!(radius("2km"), Ok(2_000));
        assert_eq!(radius("1.5km"), Ok(1_500));
        assert_eq!(radius("300"), Ok(300));
        for bad in ["", "km", "NaN", "inf", "-1m", "0", "101km", "2 miles"] {
            assert!(radius(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn negative_coordinates_are_values() {
        let line = ["hailmesh", "ride", "request", "--from", "-33.9,18.4", "--to", "-33.95,18.5"];
        assert!(Cli::try_parse_from(line).is_ok());
        let line = ["hailmesh", "driver", "--at", "91,0"];
        let error = Cli::try_parse_from(line).unwrap_err().to_string();
        assert!(error.contains("latitude 91: expected a number from -90 to 90"), "{error}");
    }
}
