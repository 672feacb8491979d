//! A process as its watcher sees it: how it is started, what it says, how it is killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::Instant;

use hailmesh_market::{Record, Role};
use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use hailmesh_sim::promises::Ledger;
use hailmesh_store::{Options, Store, StoreUrl};
use hailmesh_types::PeerKey;
use serde::Deserialize;

use crate::child;
use crate::fault::copy_journal;
use crate::plan::{Name, Plan};

/// Something that a process has said; none when it says nothing any more.
pub(crate) type News = (Name, Option<String>);

/// A ride as a node shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Shown {
    pub(crate) ride: String,
    pub(crate) state: String,
    pub(crate) agreement: Option<String>,
    pub(crate) firm: bool,
}

/// How a node says that it stands. All of it is durable.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Look {
    pub(crate) rides: Vec<Shown>,
    pub(crate) outbox: usize,
    pub(crate) lane: String,
    pub(crate) done: bool,
    pub(crate) accused: usize,
    pub(crate) number: u64,
}

/// A batch that was to be made durable.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) host: Name,
    pub(crate) batch: String,
    /// Whether something was put into the outbox with it.
    pub(crate) queued: bool,
    pub(crate) records: String,
}

/// One node of a case.
pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) role: Role,
    home: PathBuf,
    /// Where the journal is, when it is not a file in the home.
    store: Option<String>,
    process: Option<(Child, ChildStdin)>,
    /// How often it was started.
    pub(crate) starts: usize,
    pub(crate) peer: Option<PeerKey>,
    pub(crate) invite: Option<String>,
    pub(crate) look: Look,
    /// The last question that it has answered with nothing left to do.
    pub(crate) answered: u64,
    /// Boarding codes that it told, by agreement.
    pub(crate) codes: BTreeMap<String, String>,
    pub(crate) has_rated: bool,
    /// What it showed when it was killed, until it shows something again.
    pub(crate) before: Option<Vec<Shown>>,
    /// When it is to be started again.
    pub(crate) back: Option<Instant>,
    /// It wants to be killed and started again.
    pub(crate) leaves: bool,
    /// It was told to end.
    pub(crate) is_dismissed: bool,
    pub(crate) has_ended: bool,
}

impl Host {
    pub(crate) fn new(name: Name, role: Role, home: PathBuf, store: Option<String>) -> Self {
        Self {
            name,
            role,
            home,
            store,
            process: None,
            starts: 0,
            peer: None,
            invite: None,
            look: Look::default(),
            answered: 0,
            codes: BTreeMap::new(),
            has_rated: false,
            before: None,
            back: None,
            leaves: false,
            is_dismissed: false,
            has_ended: false,
        }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Starts it; the first time with its fail point, if it has one.
    pub(crate) fn start(&mut self, plan: &Plan, bootstrap: &str, news: &Sender<News>) {
        std::fs::create_dir_all(self.home.parent().expect("a folder of the case")).expect("a folder");
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let mut command = Command::new(std::env::current_exe().expect("this program has a name"));
        command
            .args(["--exact", "child::child", "--nocapture", "--test-threads=1"])
            .env(child::HOME, &self.home)
            .env(child::ROLE, self.role.name())
            .env(child::SCENARIO, plan.scenario.name)
            .env(child::BOOTSTRAP, bootstrap)
            .env(child::RATED, if self.has_rated { "yes" } else { "" })
            .env(child::AGAIN, if self.starts > 0 { "yes" } else { "" })
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(store) = &self.store {
            command.env(child::STORE, store);
        }
        if let Some((_, at)) = plan.kill.as_ref().filter(|(host, _)| *host == self.name && self.starts == 0) {
            command.env(child::AT, at.to_string());
            if plan.fault.is_some() {
                command.env(child::KEEP_BEFORE, "yes");
            }
        }
        let mut process = command.spawn().expect("this program can be started again");
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        self.process = Some((process, stdin.expect("it is piped")));
        self.starts += 1;
        self.invite = None;
        self.is_dismissed = false;
        self.look = Look::default();
        let (name, news) = (self.name, news.clone());
        let mut lines = BufReader::new(stdout.expect("it is piped"));
        std::thread::spawn(move || {
            let mut line = String::new();
            // The watcher may be gone: then nobody is told. A line that a kill cut off is
            // none.
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                if let Some(said) = line.strip_prefix(child::MARK).and_then(|said| said.strip_suffix('\n')) {
                    news.send((name, Some(said.to_owned()))).ok();
                }
                line.clear();
            }
            news.send((name, None)).ok();
        });
    }

    fn log(&self) -> PathBuf {
        self.home.with_extension("log")
    }

    /// What it complained about.
    pub(crate) fn complaints(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Tells it something; one that is just dying does not listen.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some((_, stdin)) = &mut self.process {
            writeln!(stdin, "{line}").and_then(|()| stdin.flush()).ok();
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some((process, _)) = &mut self.process {
            process.kill().expect("it can be killed");
        }
    }

    /// Waits for the end of a process that says nothing any more.
    pub(crate) fn buried(&mut self) -> Option<ExitStatus> {
        let (mut process, stdin) = self.process.take()?;
        drop(stdin);
        Some(process.wait().expect("it ends"))
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// What its journal holds, read while it does not run. A file is read from a copy: what
    /// a crash left is for the node itself to put right.
    pub(crate) async fn journal(&self) -> Result<Ledger, String> {
        let home = Home::open(&self.home).map_err(|error| error.to_string())?;
        let identity = IdentityKey::load_or_create(&home, None).map_err(|error| error.to_string())?;
        let copy = self.home.with_extension("copy");
        let url = match &self.store {
            Some(url) => url.parse().map_err(|error: hailmesh_store::Error| error.to_string())?,
            None => {
                copy_journal(&self.home, &copy);
                StoreUrl::Sqlite(copy.join("hailmesh.db"))
            }
        };
        let store = Store::open(&url, &identity.public(), Options::default()).await;
        let store = store.map_err(|error| format!("the journal cannot be opened: {error}"))?;
        let records: Result<Vec<Record>, _> = store.load().await;
        store.close().await;
        std::fs::remove_dir_all(&copy).ok();
        records.map(Ledger::of).map_err(|error| format!("the journal cannot be read: {error}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((mut process, _)) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }
}
