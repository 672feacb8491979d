//! What the benches share: the machine, percentiles, and a second process.
#![expect(dead_code, reason = "each bench uses a part of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set in processes that a bench starts from its own program.
const PART: &str = "BENCH_PART";

/// The part that this process plays; none in the bench itself.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// This program again, as `part`.
pub(crate) fn command(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the program has a path"));
    command.env(PART, part);
    command
}

/// A process that ends with this value.
pub(crate) struct Other {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Other {
    /// Starts it with pipes to its input and from its output.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its next line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("its output can be read");
        assert!(read > 0, "the other process has ended: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    /// Closes its input, which is how it is told to end, and waits for that.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "the other process ended with {status}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // After `stop` there is nobody left to kill.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Waits until whoever started this process closes its input.
pub(crate) async fn told_to_end() {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _gone = tell.send(());
    });
    let _told = told.await;
}

/// Times of one thing.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The least time that `share` of all do not exceed, in milliseconds.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1].as_secs_f64() * 1_000.0
    }

    /// One line of a table.
    pub(crate) fn print(&self, what: &str) {
        let (count, p50, p90, p99, most) =
            (self.0.len(), self.ms(0.5), self.ms(0.9), self.ms(0.99), self.ms(1.0));
        println!("{what:<46} {count:>5} {p50:>9.3} {p90:>9.3} {p99:>9.3} {most:>9.3}");
    }

    pub(crate) fn head() {
        println!("{:<46} {:>5} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "n", "p50", "p90", "p99", "max");
    }
}

/// Prints a figure beside its target, and says whether it is met.
pub(crate) fn judge(what: &str, found: f64, target: f64, unit: &str) {
    let word = if found <= target { "met" } else { "MISSED" };
    println!("{what:<62} {found:>8.2} {unit:<3} (target: at most {target:.2} {unit}) {word}");
}

/// What the figures were measured on.
pub(crate) fn machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
    println!(
        "machine: {}, {cores} cores; {}; load {}",
        model.unwrap_or("unknown processor"),
        rustc.unwrap_or_else(|_| "unknown rustc".to_owned()),
        read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
    );
}
