//! A private Postgres server for the time of a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

/// Address of a server to use instead of a private one.
const URL: &str = "HAILMESH_TEST_POSTGRES_URL";
/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is stopped, and its files removed, when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    private: Option<Private>,
}

struct Private {
    programs: PathBuf,
    folder: TempDir,
    owner: Option<(u32, u32)>,
    process: Option<Child>,
}

impl Server {
    /// The server at hand; none, with the reason printed, where there is none. With
    /// `CI=true` that is a failure.
    pub(crate) async fn start() -> Option<Self> {
        if let Ok(url) = env::var(URL) {
            return Some(Self { url, private: None });
        }
        match Private::new() {
            Ok(mut private) => {
                private.run();
                let url = private.url();
                let mut server = Self { url, private: Some(private) };
                server.wait().await;
                Some(server)
            }
            Err(reason) => {
                println!("SKIPPED: postgres: {reason}");
                assert!(env::var("CI").as_deref() != Ok("true"), "postgres must be tested in CI: {reason}");
                None
            }
        }
    }

    /// Whether it can be stopped and started by a test.
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Stops a private server as a crash would.
    pub(crate) fn crash(&mut self) {
        if let Some(private) = &mut self.private {
            private.stop("-QUIT");
        }
    }

    /// Starts a private server again on the same files.
    pub(crate) async fn restart(&mut self) {
        if let Some(private) = &mut self.private {
            private.run();
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        let options: PgConnectOptions = self.url.parse().expect("an address");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match options.clone().disable_statement_logging().connect().await {
                Ok(connection) => return connection.close().await.expect("closed"),
                Err(error) => {
                    let private = self.private.as_mut().expect("only our own server is waited for");
                    let ended =
                        private.process.as_mut().map(|process| process.try_wait().expect("a process"));
                    assert!(ended == Some(None), "the server ended: {ended:?}\n{}", private.log());
                    assert!(Instant::now() < deadline, "no server: {error}\n{}", private.log());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

impl Private {
    fn new() -> Result<Self, String> {
        let programs = programs().ok_or_else(|| {
            format!("no initdb and postgres in PATH or /usr/lib/postgresql/*/bin, and no {URL}")
        })?;
        let owner = owner()?;
        // A short path: the name of a socket holds hardly more than a hundred bytes.
        let folder =
            tempfile::Builder::new().prefix("hm-pg-").tempdir_in("/tmp").map_err(|e| e.to_string())?;
        let private = Self { programs, folder, owner, process: None };
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(private.folder.path(), Some(user), Some(group))
                .map_err(|e| e.to_string())?;
        }
        let made = private
            .command("initdb")
            .args([
                "--auth=trust",
                "--username=hailmesh",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(private.files())
            .output()
            .map_err(|error| format!("initdb cannot be run: {error}"))?;
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Ok(private)
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn url(&self) -> String {
        format!("postgres://hailmesh@localhost/postgres?host={}", self.folder.path().display())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A program of the server. Postgres refuses to be root; and a server whose test was
    /// killed gets a signal, where the machine can arrange that.
    fn command(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.owner {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}")]);
                command.args(["--clear-groups", "--pdeathsig", "INT"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("PGDATA");
        command
    }

    fn run(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.files()).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=", "-c", "max_connections=40", "-c", "shared_buffers=16MB"]);
        command.stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("postgres can be run"));
    }

    fn stop(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        let deadline = Instant::now() + PATIENCE;
        while sent.as_ref().is_ok_and(|status| status.success()) && Instant::now() < deadline {
            if matches!(process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        process.kill().ok();
        process.wait().ok();
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.stop("-INT");
    }
}

/// The folder with `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    let has_both = |folder: &Path| folder.join("initdb").exists() && folder.join("postgres").exists();
    let in_path =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort();
    in_path.into_iter().chain(installed.into_iter().rev()).find(|folder| has_both(folder))
}

/// Whom the server runs as: this user, or another when this is root.
fn owner() -> Result<Option<(u32, u32)>, String> {
    let number = |args: &[&str]| {
        let output = Command::new("id").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    if number(&["-u"]) != Some(0) {
        return Ok(None);
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        return Err("it does not run as root, and there is no setpriv to run it as somebody else".to_owned());
    }
    let user = |name: &str| number(&["-u", name]).zip(number(&["-g", name]));
    user("postgres")
        .or_else(|| user("nobody"))
        .map(Some)
        .ok_or_else(|| "no user postgres or nobody".to_owned())
}
