//! Starting, watching and ending processes. Nothing here sleeps: everything waits for a
//! line, an exit or a state, with a deadline.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A place and a trip, as the issue of this project has them.
pub(crate) const AT: &str = "40.7580,-73.9855";
pub(crate) const FROM: &str = "40.7590,-73.9845";
pub(crate) const TO: &str = "40.7061,-74.0087";

/// The program under test: it lies beside the tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows itself");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let program = folder.join(format!("hailmesh{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: run `cargo build -p hailmesh` first", program.display());
    program
}

/// A user on a machine of their own: homes, and a network that only this test is in.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    network: String,
}

impl Place {
    pub(crate) fn new(network: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("hailmesh-cli-").tempdir().expect("a temporary folder");
        Self { folder, network: network.to_owned() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The default home of a role for this user.
    pub(crate) fn home(&self, role: &str) -> PathBuf {
        self.folder.path().join("data/hailmesh").join(role)
    }

    /// The program with an environment that holds nothing but this user.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env_clear();
        for name in ["PATH", "SystemRoot", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.folder.path()).env("XDG_DATA_HOME", self.folder.path().join("data"));
        command.env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        command.current_dir(self.folder.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        finish(self.command(args))
    }

    /// Runs the program, which must end with `code`; its stdout as JSON (null when empty).
    pub(crate) fn json(&self, code: i32, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let output = self.run(&all);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
        if out.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{args:?}: {error}\n{out}"))
    }

    /// Runs the program, which must end with `code`; its stderr.
    pub(crate) fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
        err
    }

    /// Runs the program, which must fail one way or another; its stderr.
    pub(crate) fn refused_by_any(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert!(!output.status.success(), "{args:?}\nstdout: {out}\nstderr: {err}");
        err
    }

    /// Starts a node on loopback in this user's network, away from the local network.
    pub(crate) fn node(&self, args: &[&str]) -> Node {
        let node = self.start(args);
        node.wait_line("Ready.");
        node
    }

    /// As [`Place::node`], without waiting until it serves.
    pub(crate) fn start(&self, args: &[&str]) -> Node {
        let mut all = args.to_vec();
        all.extend(["--network", &self.network, "--no-mdns"]);
        if !args.contains(&"--listen") {
            all.extend(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        }
        Node::spawn(self.command(&all))
    }

    pub(crate) fn driver(&self, more: &[&str]) -> Node {
        let mut args = vec!["driver", "--at", AT];
        args.extend(more);
        self.node(&args)
    }

    /// A rider that knows the way to the driver.
    pub(crate) fn rider(&self, more: &[&str]) -> Node {
        let home = self.home("driver");
        let invite = self.json(0, &["--home", &text(&home), "invite"]);
        let invite = invite["invite"].as_str().expect("a line").to_owned();
        let mut args = vec!["rider", "--at", AT, "--bootstrap", &invite];
        args.extend(more);
        self.node(&args)
    }

    /// Waits until the book of a home holds a driver.
    pub(crate) fn wait_offer(&self, home: &Path) {
        let watch = Node::spawn(self.command(&["--home", &text(home), "offers", "--watch", "--json"]));
        let heard = |line: &str| {
            serde_json::from_str::<Value>(line)
                .is_ok_and(|offers| offers["items"].as_array().is_some_and(|i| !i.is_empty()))
        };
        watch.wait_stdout(heard);
        watch.kill();
    }

    /// Waits until a ride of a home is in a state; the ride.
    pub(crate) fn wait_state(&self, home: &Path, ride: &str, state: &str) -> Value {
        let at = text(home);
        let events = Node::spawn(self.command(&["--home", &at, "events", "--after", "0", "--json"]));
        let now = self.json(0, &["--home", &at, "ride", "show", ride]);
        if now["state"] != state {
            events.wait_stdout(|line| {
                let event: Value = serde_json::from_str(line).unwrap_or_default();
                event["type"] == "ride" && event["ride_id"] == ride && event["state"] == state
            });
        }
        events.kill();
        self.json(0, &["--home", &at, "ride", "show", ride])
    }

    /// Waits until the other side of a ride has said where it is; the ride.
    pub(crate) fn wait_seen(&self, home: &Path, ride: &str) -> Value {
        let at = text(home);
        let events = Node::spawn(self.command(&["--home", &at, "events", "--after", "0", "--json"]));
        events.wait_stdout(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            event["type"] == "seen" && event["ride_id"] == ride
        });
        events.kill();
        self.json(0, &["--home", &at, "ride", "show", ride])
    }

    /// The newest ride of a home.
    pub(crate) fn newest(&self, home: &Path) -> Value {
        let rides = self.json(0, &["--home", &text(home), "ride", "list"]);
        rides["items"][0].clone()
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("paths of these tests are text").to_owned()
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a command to its end, at most for [`DEADLINE`].
pub(crate) fn finish(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, DEADLINE).unwrap_or_else(|| panic!("{command:?} does not end"));
    let all = |lines: Receiver<Vec<u8>>| lines.recv_timeout(DEADLINE).unwrap_or_default();
    Output { status, stdout: all(stdout), stderr: all(stderr) }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (done, all) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = done.send(bytes);
    });
    all
}

/// Waits for a process to end; none when it does not in time. A thread waits for the
/// system, and this one for the thread.
fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let id = child.id().to_string();
    let (done, ended) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = done.send(child.wait().expect("a child can be waited for"));
        });
        match ended.recv_timeout(deadline) {
            Ok(status) => Some(status),
            Err(_) => {
                signal("KILL", &id);
                None
            }
        }
    })
}

fn signal(name: &str, id: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), id]).stderr(Stdio::null()).status();
    assert!(done.is_ok(), "`kill` is there");
}

/// A process that goes on.
pub(crate) struct Node {
    child: Mutex<Option<Child>>,
    id: String,
    errors: Lines,
    output: Lines,
}

/// Lines as they come, and all that came.
struct Lines {
    next: Mutex<Receiver<String>>,
    all: Arc<Mutex<String>>,
}

impl Lines {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (send, next) = channel();
        let all = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&all);
        if let Some(pipe) = pipe {
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut kept = kept.lock().expect("no reader panics");
                    kept.push_str(&line);
                    kept.push('\n');
                    drop(kept);
                    let _ = send.send(line);
                }
            });
        }
        Self { next: Mutex::new(next), all }
    }

    fn wait(&self, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
        let next = self.next.lock().expect("no reader panics");
        let end = Instant::now() + DEADLINE;
        loop {
            match next.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err("the line does not come".to_owned()),
                Err(RecvTimeoutError::Disconnected) => return Err("the process has ended".to_owned()),
            }
        }
    }

    fn all(&self) -> String {
        self.all.lock().expect("no reader panics").clone()
    }
}

impl Node {
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let errors = Lines::of(child.stderr.take());
        let output = Lines::of(child.stdout.take());
        Self { id: child.id().to_string(), child: Mutex::new(Some(child)), errors, output }
    }

    /// Waits for a line on stderr.
    pub(crate) fn wait_line(&self, wanted: &str) -> String {
        let found = self.errors.wait(|line| line.contains(wanted));
        found.unwrap_or_else(|why| panic!("{wanted:?}: {why}\n{}", self.errors.all()))
    }

    /// Waits for a line on stdout.
    pub(crate) fn wait_stdout(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.output.wait(wanted);
        found.unwrap_or_else(|why| {
            panic!("{why}\nstdout: {}\nstderr: {}", self.output.all(), self.errors.all())
        })
    }

    /// Everything on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.errors.all()
    }

    /// SIGKILL: no chance to do anything.
    pub(crate) fn kill(&self) {
        self.end("KILL");
    }

    /// SIGTERM; the exit code.
    pub(crate) fn terminate(&self) -> Option<i32> {
        self.end("TERM")
    }

    /// SIGINT; the exit code.
    pub(crate) fn interrupt(&self) -> Option<i32> {
        self.end("INT")
    }

    /// Waits for the end; the exit code.
    pub(crate) fn ended(&self) -> Option<i32> {
        let mut child = self.child.lock().expect("no reader panics").take().expect("it has not ended before");
        wait(&mut child, DEADLINE).unwrap_or_else(|| panic!("it does not end\n{}", self.stderr())).code()
    }

    fn end(&self, name: &str) -> Option<i32> {
        signal(name, &self.id);
        self.ended()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock()
            && let Some(child) = child.as_mut()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
