//! One home and the process that runs on it, if any does.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hailmesh::client::Client;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a node may take from its start to `Ready.`, and to its end after a SIGTERM.
const DEADLINE: Duration = Duration::from_secs(60);
/// Lines of stderr that are kept to be shown when something went wrong.
const LAST_LINES: usize = 20;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Relay,
    Driver,
    Rider,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Relay, Self::Driver, Self::Rider];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Driver => "driver",
            Self::Rider => "rider",
        }
    }
}

/// What comes from a process.
#[derive(Debug)]
pub(crate) enum Told {
    /// An event, as `--json` prints it.
    Event(usize, Value),
    /// A line on stderr that no node should ever write.
    Panic(usize, String),
    /// It ended, and nobody had killed it.
    Ended(usize),
}

/// The program: named by `HAILMESH_PROGRAM`, or beside this bench.
pub(crate) fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("HAILMESH_PROGRAM") {
        return PathBuf::from(named);
    }
    let bench = std::env::current_exe().expect("a bench knows itself");
    let folder = bench.parent().and_then(Path::parent).expect("target/PROFILE/deps/BENCH");
    folder.join(format!("hailmesh{}", std::env::consts::EXE_SUFFIX))
}

/// The program with an environment that holds nothing of the user's.
pub(crate) fn command() -> Command {
    let mut command = Command::new(program());
    // An interrupt from the terminal is for this bench: it ends the nodes itself.
    command.process_group(0).env_clear().stdin(Stdio::null());
    for name in ["PATH", "SystemRoot", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A node: it is killed and started again, and stays the same.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) home: PathBuf,
    /// Never killed: its memory is that of a process that runs on and on.
    pub(crate) spared: bool,
    args: Vec<String>,
    alive: Mutex<Option<Alive>>,
    /// Counts starts; an end that belongs to an earlier one was a kill.
    life: Arc<AtomicU32>,
    /// Killed and not started again yet: nobody else is to kill or start it.
    taken: AtomicBool,
    /// Something happened on this node.
    pub(crate) wake: Notify,
    tell: mpsc::UnboundedSender<Told>,
}

struct Alive {
    child: Child,
    client: Option<Client>,
}

impl Node {
    pub(crate) fn new(
        index: usize,
        name: String,
        role: Role,
        folder: &Path,
        args: Vec<String>,
        tell: mpsc::UnboundedSender<Told>,
    ) -> Self {
        let home = folder.join(&name);
        // One of each side runs from the beginning to the end.
        let spared = name.ends_with("-01");
        Self {
            index,
            name,
            role,
            home,
            spared,
            args,
            alive: Mutex::new(None),
            life: Arc::default(),
            taken: AtomicBool::new(false),
            wake: Notify::new(),
            tell,
        }
    }

    /// Starts the process and waits until it is ready; how long that took.
    pub(crate) async fn start(&self) -> Result<Duration, String> {
        let life = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        let begun = Instant::now();
        let mut command = command();
        command.arg("--home").arg(&self.home).args(&self.args).arg("--json");
        command.env("HOME", &self.home).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program().display()))?;
        let (ready, is_ready) = oneshot::channel();
        let last = self.read_errors(&mut child, ready);
        self.read_events(&mut child, life);
        *self.alive() = Some(Alive { child, client: None });
        let took = match tokio::time::timeout(DEADLINE, is_ready).await {
            Ok(Ok(())) => begun.elapsed(),
            Ok(Err(_)) => return Err(format!("it ended before it was ready: {}", joined(&last))),
            Err(_) => return Err(format!("not ready within {} s: {}", DEADLINE.as_secs(), joined(&last))),
        };
        let (client, _) = Client::open(&self.home).await.map_err(|failure| failure.message)?;
        if let Some(alive) = self.alive().as_mut() {
            alive.client = Some(client);
        }
        self.wake.notify_one();
        Ok(took)
    }

    /// Reads stderr into a file beside the home, and says when the node is ready.
    fn read_errors(&self, child: &mut Child, ready: oneshot::Sender<()>) -> Arc<Mutex<VecDeque<String>>> {
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let (kept, tell, index) = (Arc::clone(&last), self.tell.clone(), self.index);
        let path = self.home.with_extension("log");
        let mut log = std::fs::File::options().create(true).append(true).open(path).expect("a log");
        let pipe = child.stderr.take().expect("it is piped");
        std::thread::spawn(move || {
            let mut ready = Some(ready);
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if line == "Ready."
                    && let Some(ready) = ready.take()
                {
                    let _nobody_waits = ready.send(());
                }
                if line.contains("panicked at") {
                    let _at_the_end = tell.send(Told::Panic(index, line.clone()));
                }
                let _full = writeln!(log, "{line}");
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > LAST_LINES {
                    kept.pop_front();
                }
            }
        });
        last
    }

    fn read_events(&self, child: &mut Child, life: u32) {
        let (tell, index, lives) = (self.tell.clone(), self.index, Arc::clone(&self.life));
        let pipe = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // A line that a kill has cut is none.
                if let Ok(event) = serde_json::from_str(&line) {
                    let _at_the_end = tell.send(Told::Event(index, event));
                }
            }
            if lives.load(Ordering::SeqCst) == life {
                let _at_the_end = tell.send(Told::Ended(index));
            }
        });
    }

    /// Its API; none while it is down or starting.
    pub(crate) fn client(&self) -> Option<Client> {
        self.alive().as_ref()?.client.clone()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.alive().as_ref().map(|alive| alive.child.id())
    }

    /// How often it has been started.
    pub(crate) fn lives(&self) -> u32 {
        self.life.load(Ordering::SeqCst)
    }

    /// Takes it for a kill and the start after it; false when somebody else has.
    pub(crate) fn take(&self) -> bool {
        !self.spared && self.client().is_some() && !self.taken.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn give_back(&self) {
        self.taken.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }

    /// SIGKILL: no chance to do anything.
    pub(crate) fn kill(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
        if let Some(mut alive) = self.alive().take() {
            // What has ended by itself cannot be killed.
            let _gone = alive.child.kill();
            let _status = alive.child.wait();
        }
    }

    /// What nobody may do (P24.8): keeps a copy of the home of a node that is down, and at
    /// the next call puts that old state back.
    pub(crate) fn roll_back(&self) -> std::io::Result<()> {
        let copy = self.home.with_extension("copy");
        if copy.exists() {
            std::fs::remove_dir_all(&self.home)?;
            return files(&copy, &self.home);
        }
        files(&self.home, &copy)
    }

    /// SIGTERM; the exit code, or why there is none.
    pub(crate) async fn terminate(&self) -> Result<i32, String> {
        self.life.fetch_add(1, Ordering::SeqCst);
        let Some(Alive { mut child, .. }) = self.alive().take() else {
            return Err("it does not run".to_owned());
        };
        let id = child.id();
        let signal = |name: &str| Command::new("kill").args([name, &id.to_string()]).status();
        signal("-TERM").map_err(|error| format!("kill: {error}"))?;
        let ending = tokio::task::spawn_blocking(move || child.wait());
        match tokio::time::timeout(DEADLINE, ending).await {
            Ok(Ok(Ok(status))) => status.code().ok_or_else(|| format!("ended with {status}")),
            Ok(_) => Err("it cannot be waited for".to_owned()),
            Err(_) => {
                let _gone = signal("-KILL");
                Err(format!("it goes on {} s after a SIGTERM", DEADLINE.as_secs()))
            }
        }
    }

    fn alive(&self) -> std::sync::MutexGuard<'_, Option<Alive>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies a folder of files.
fn files(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    // A node takes no home that others may read.
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn joined(lines: &Mutex<VecDeque<String>>) -> String {
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().cloned().collect::<Vec<_>>().join(" | ")
}
