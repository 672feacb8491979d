//! `hailmesh driver`, `rider` and `relay`: a node until a signal comes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use figment::value::Dict;
use hailmesh_api::{ApiConfig, ServeError, Server, Token, numbered_event};
use hailmesh_market::{Command, Role};
use hailmesh_node::config::Settings;
use hailmesh_node::home::{Existing, Home, write_private};
use hailmesh_node::keys::IdentityKey;
use hailmesh_node::{EventItem, Node, NodeConfig, NodeHandle, StartError};
use hailmesh_types::Private;
use prometheus_client::registry::Registry;

use super::{events, passphrase, settings};
use crate::cli::{DriverArgs, Global, RiderArgs, RoleArg};
use crate::client::ApiFile;
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::Output;
use crate::route::Route;
use crate::signals::Signals;
use crate::telemetry;

/// How often a drive along a track tells where it is.
const DRIVE_STEP: Duration = Duration::from_secs(2);

pub(super) async fn driver(
    global: &Global,
    homes: &Homes,
    args: &DriverArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let route = args.route.as_deref().map(|path| Route::read(path, args.speed)).transpose()?;
    let mut args = args.clone();
    if let (None, Some(route)) = (args.at, &route) {
        args.at = Some(route.start());
    }
    let flags = settings::of_driver(settings::of_global(global), &args)?;
    let home = homes.of(RoleArg::Driver);
    let loaded = settings::load(global, homes, &home, flags)?;
    if loaded.settings.driver.at.is_none() {
        return Err(Failure::usage(
            "where is the driver? Say --at LAT,LON, for example --at 40.7580,-73.9855",
        ));
    }
    let level_is_default = loaded.origin("log.level") == "default";
    let settings = loaded.settings;
    Run { global, homes, out, role: RoleArg::Driver, settings, level_is_default, route }.run(&home).await
}

pub(super) async fn rider(
    global: &Global,
    homes: &Homes,
    args: &RiderArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let flags = settings::of_rider(settings::of_global(global), args);
    plain(global, homes, RoleArg::Rider, flags, out).await
}

pub(super) async fn relay(global: &Global, homes: &Homes, out: Output) -> Result<Exit, Failure> {
    plain(global, homes, RoleArg::Relay, settings::of_global(global), out).await
}

async fn plain(
    global: &Global,
    homes: &Homes,
    role: RoleArg,
    flags: Dict,
    out: Output,
) -> Result<Exit, Failure> {
    let home = homes.of(role);
    let loaded = settings::load(global, homes, &home, flags)?;
    let level_is_default = loaded.origin("log.level") == "default";
    let settings = loaded.settings;
    Run { global, homes, out, role, settings, level_is_default, route: None }.run(&home).await
}

/// A node about to run.
struct Run<'a> {
    global: &'a Global,
    homes: &'a Homes,
    out: Output,
    role: RoleArg,
    settings: Settings,
    level_is_default: bool,
    route: Option<Route>,
}

impl Run<'_> {
    async fn run(mut self, dir: &Path) -> Result<Exit, Failure> {
        let json_logs = self.settings.log.format == "json";
        // People read the lines below; the log repeats them unless somebody asked for it.
        let level = if self.level_is_default && !json_logs { "warn" } else { &self.settings.log.level };
        telemetry::start(level, json_logs)?;
        // A log of JSON lines stays one: it tells the same.
        self.out.quiet |= json_logs;
        // Signals count from here on: one that comes during the start ends the node after it.
        let mut signals = Signals::new()?;
        let api_addr = self.api_addr()?;
        let home = Home::open(dir).map_err(|error| self.refused(&StartError::from(error)))?;
        let identity = self.identity(&home)?;
        let config = NodeConfig {
            role: match self.role {
                RoleArg::Driver => Some(Role::Driver),
                RoleArg::Rider => Some(Role::Rider),
                RoleArg::Relay => None,
            },
            settings: self.settings.clone(),
            home: Some(home.clone()),
            identity,
            registry: Registry::default(),
        };
        let (node, mut task) = Node::start(config).await.map_err(|error| self.refused(&error))?;
        let events = node.events(Some(0));
        let server = match self.serve(&node, &home, api_addr).await {
            Ok(server) => server,
            Err(failure) => {
                // The node must not go on without the API that was asked for.
                node.shutdown().await;
                let _ = task.await;
                return Err(failure);
            }
        };
        self.banner(&node, server.as_ref(), &home).await;
        let url = server.as_ref().map(Server::url);
        let teller = tokio::spawn(tell(node.clone(), events, home.clone(), url, self.out));
        let drive = self.route.map(|route| tokio::spawn(drive(node.clone(), route)));
        eprintln!("Ready.");
        let ended = tokio::select! {
            ended = &mut task => Some(ended),
            () = signals.next() => None,
        };
        if let Some(drive) = drive {
            drive.abort();
        }
        let result = match ended {
            Some(ended) => ended,
            None => {
                self.out.remark("stopping: once more to stop at once");
                tokio::select! {
                    result = async { node.shutdown().await; task.await } => result,
                    () = signals.next() => {
                        remove_api_files(&home);
                        std::process::exit(Exit::Interrupted as i32);
                    }
                }
            }
        };
        remove_api_files(&home);
        if let Some(server) = server {
            server.stop().await;
        }
        // The stream of events ends with the node; what is left to tell is told.
        let _ = tokio::time::timeout(Duration::from_secs(1), teller).await;
        match result {
            Ok(Ok(())) => Ok(Exit::Ok),
            Ok(Err(error)) => Err(Failure::failed(error)),
            Err(error) => Err(Failure::failed(format!("the node ended: {error}"))),
        }
    }

    fn identity(&self, home: &Home) -> Result<IdentityKey, Failure> {
        let passphrase = passphrase::needed(self.global, home)?;
        IdentityKey::load_or_create(home, passphrase).map_err(|error| self.refused(&StartError::from(error)))
    }

    /// Where the API listens; nothing when it is switched off.
    fn api_addr(&self) -> Result<Option<SocketAddr>, Failure> {
        if !self.settings.api.enabled {
            return Ok(None);
        }
        let text = &self.settings.api.addr;
        let addr: SocketAddr = text.parse().map_err(|_| {
            Failure::new(
                Exit::BadConfig,
                format!("api.addr = {text:?}: expected IP:PORT such as 127.0.0.1:0"),
            )
        })?;
        // Before anything is started or written.
        if addr.ip().is_loopback() {
            Ok(Some(addr))
        } else {
            Err(Failure::new(Exit::BadConfig, ServeError::NotLoopback(addr)))
        }
    }

    async fn serve(
        &self,
        node: &NodeHandle,
        home: &Home,
        addr: Option<SocketAddr>,
    ) -> Result<Option<Server>, Failure> {
        let Some(addr) = addr else { return Ok(None) };
        let token = Token::random().map_err(Failure::failed)?;
        let config = ApiConfig {
            addr,
            allow_hosts: self.settings.api.allow_hosts.clone(),
            allow_origins: self.settings.api.allow_origins.clone(),
            profile: match self.role {
                RoleArg::Driver => {
                    let profile = self.settings.driver.profile();
                    Some(profile.map_err(|error| Failure::new(Exit::BadConfig, error))?)
                }
                RoleArg::Rider | RoleArg::Relay => None,
            },
            rider: self.settings.rider.clone(),
            token: token.clone(),
        };
        let server = hailmesh_api::serve(node.clone(), config).await.map_err(Failure::failed)?;
        // The token first: whoever finds api.json finds its token.
        let path = home.api_token();
        write_private(&path, format!("{}\n", token.expose()).as_bytes(), Existing::Replace)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        write_api_file(node, home, server.url()).await?;
        Ok(Some(server))
    }

    async fn banner(&self, node: &NodeHandle, server: Option<&Server>, home: &Home) {
        let Ok(status) = node.status().await else { return };
        let out = self.out;
        out.remark(format!(
            "hailmesh {} · {} on network {}",
            status.version,
            self.role.name(),
            status.network
        ));
        out.remark(format!("home       {}", home.dir().display()));
        out.remark(format!("peer id    {}", status.peer_id));
        for address in &status.listen {
            out.remark(format!("listening  {address}"));
        }
        if let Some(server) = server {
            out.remark(format!("api        {}", server.url()));
        }
        if let Some(note) = &status.transport_note {
            out.remark(format!("note       {note}"));
        }
        match self.role {
            RoleArg::Rider => out.remark("next       hailmesh ride request --from LAT,LON --to LAT,LON"),
            RoleArg::Driver => out.remark("next       wait for a rider; `hailmesh status` says how it goes"),
            RoleArg::Relay => out.remark("next       `hailmesh invite` prints a line for others"),
        }
    }

    /// A start that failed, with what to do about it.
    fn refused(&self, error: &StartError) -> Failure {
        let exit = match error.exit_code() {
            6 => Exit::AlreadyRunning,
            7 => Exit::BadConfig,
            _ => Exit::Failed,
        };
        let failure = Failure::new(exit, error);
        match exit {
            Exit::AlreadyRunning if self.homes.is_named() => {
                failure.hint("a second node on this machine needs a home of its own: --home DIR")
            }
            Exit::AlreadyRunning => failure.hint(format!(
                "a {} runs here already; a second one needs a home of its own: --home DIR",
                self.role.name()
            )),
            _ => failure,
        }
    }
}

/// Writes api.json: where the API is, and who the node is now.
async fn write_api_file(node: &NodeHandle, home: &Home, url: String) -> Result<(), Failure> {
    let status = node.status().await.map_err(Failure::failed)?;
    let file = ApiFile {
        url,
        pid: std::process::id(),
        peer_id: status.peer_id.to_string(),
        listen: status.listen.iter().map(ToString::to_string).collect(),
    };
    let path = home.api_json();
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    let json = serde_json::to_string(&file).map_err(|error| failed(&error))?;
    write_private(&path, format!("{json}\n").as_bytes(), Existing::Replace).map_err(|error| failed(&error))
}

fn remove_api_files(home: &Home) {
    for path in [home.api_json(), home.api_token()] {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "not removed");
        }
    }
}

/// Tells what happens: JSON lines on stdout, or words on stderr.
async fn tell(
    node: NodeHandle,
    mut events: hailmesh_node::EventStream,
    home: Home,
    url: Option<String>,
    out: Output,
) {
    while let Some(item) = events.next().await {
        let EventItem::Numbered(numbered) = item else { continue };
        let event = numbered_event(&numbered);
        // A new shift key is a new peer id (P17.4).
        if event.kind == "key_replaced"
            && let Some(url) = url.clone()
            && let Err(failure) = write_api_file(&node, &home, url).await
        {
            tracing::warn!("{}", failure.message);
        }
        if out.json {
            if out.document(&event).is_err() {
                return;
            }
        } else if matches!(
            event.kind.as_str(),
            "ride" | "asked" | "fare_disputed" | "boarding_refused" | "problem" | "cloned" | "evidence"
        ) {
            out.remark(events::in_words(&event));
            if let Some(next) = next(&node, &event).await {
                out.remark(format!("         next: {next}"));
            }
        }
    }
}

/// What the user of this node does next about a ride that has just changed.
async fn next(node: &NodeHandle, event: &hailmesh_api::types::EventJson) -> Option<String> {
    let ride = event.fields.get("ride_id")?.as_str()?.parse().ok()?;
    if event.kind != "ride" {
        return None;
    }
    let view = node.ride(ride).await.ok()??;
    // What is on stderr may end up in a log: no codes, no places.
    super::ride::next_step(&hailmesh_api::ride_json(&view, false))
}

/// Drives along a track.
async fn drive(node: NodeHandle, route: Route) {
    let start = Instant::now();
    let mut steps = tokio::time::interval(DRIVE_STEP);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        let gone = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = node.command(Command::Move(Private(route.at(gone)))).await {
            tracing::warn!(%error, "position was not taken");
        }
        if gone >= route.duration_ms() {
            tracing::info!("the end of the track is reached");
            return;
        }
    }
}
