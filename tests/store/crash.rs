//! A process that is killed at any moment has lost nothing it was told is stored.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hailmesh_store::{Error, Options, Store, StoreUrl};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::place::Place;
use crate::random::seed;
use crate::sample::*;

/// Tells this very program to be the process that is killed.
const CHILD: &str = "HAILMESH_STORE_TEST_CHILD";
const RIDES: u64 = 60;

/// Not a test of its own: the process that the tests below start and kill. It appends a
/// history from where the journal stands and says after each batch that it is stored.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let url = StoreUrl::Sqlite(path.into());
    let store = match Store::open(&url, &key(250), Options::default()).await {
        Ok(store) => store,
        Err(error) => {
            println!("\nREFUSED {error:?}");
            return;
        }
    };
    let batches = life(RIDES);
    let states = prefixes(&batches).await;
    let loaded = store.load().await.expect("loaded");
    let done = states.iter().position(|state| *state == loaded).expect("a prefix of the history");
    println!("\nOPEN {done}");
    for (index, batch) in batches.iter().enumerate().skip(done) {
        store.append(batch).await.expect("stored");
        println!("\nSTORED {}", index + 1);
    }
    println!("\nDONE");
    // Keeps the journal open until it is killed.
    std::io::stdin().lines().for_each(drop);
}

/// A child process and what it says.
struct Writer {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a name"))
            .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be started again");
        let lines = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, lines }
    }

    /// The next thing it says; nothing when it is over.
    fn says(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("it speaks") > 0 {
            let said = line.trim();
            if ["OPEN", "STORED", "DONE", "REFUSED"].iter().any(|word| said.starts_with(word)) {
                return Some(said.to_owned());
            }
            line.clear();
        }
        None
    }

    /// Kills it, as power loss would, and gives what it had said until then.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("it can be killed");
        let said = std::iter::from_fn(|| self.says()).collect();
        self.process.wait().expect("it ends");
        said
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn stored(said: &str) -> Option<usize> {
    said.strip_prefix("STORED ").map(|count| count.parse().expect("a number"))
}

/// Lets a child write `batches` and dies there, leaving the files as a crash does.
pub(crate) fn leave_behind(path: &Path, batches: usize) {
    let mut writer = Writer::start(path);
    loop {
        let said = writer.says().expect("it goes on");
        assert!(!said.starts_with("REFUSED"), "{said}");
        if said == "DONE" || stored(&said).is_some_and(|count| count >= batches) {
            writer.kill();
            return;
        }
    }
}

#[tokio::test]
async fn every_acknowledged_batch_survives_a_kill() {
    let seed = seed();
    eprintln!("HAILMESH_TEST_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let place = Place::sqlite();
    let StoreUrl::Sqlite(path) = place.url() else { unreachable!("a file") };
    let batches = life(RIDES);
    let states = prefixes(&batches).await;
    let mut at_least = 0;
    for round in 0..8 {
        let mut writer = Writer::start(&path);
        let mut last = at_least;
        // In the first round it may be killed before the file is made.
        let patience = rng.random_range(usize::from(round > 0)..30);
        for _ in 0..patience {
            match writer.says().as_deref() {
                Some("DONE") | None => break,
                Some(said) => {
                    assert!(!said.starts_with("REFUSED"), "round {round}: {said}");
                    last = stored(said).unwrap_or(last);
                }
            }
        }
        last = writer.kill().iter().filter_map(|said| stored(said)).fold(last, usize::max);
        let store = place.open().await;
        let loaded = store.load().await.expect("loaded");
        let found = states.iter().position(|state| *state == loaded);
        let found = found.unwrap_or_else(|| panic!("round {round}: not a prefix of the history"));
        // One batch more may be there: durable, but not yet said.
        assert!((last..=last + 1).contains(&found), "round {round}: {last} acknowledged, {found} found");
        at_least = found;
        store.close().await;
    }
    assert!(at_least > 0, "nothing was ever stored");
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_dead() {
    let place = Place::sqlite();
    let StoreUrl::Sqlite(path) = place.url() else { unreachable!("a file") };
    let store = place.open().await;
    let mut second = Writer::start(&path);
    let said = second.says().expect("it says something");
    assert!(said.starts_with("REFUSED InUse"), "{said}");
    assert!(said.contains("hailmesh.db"), "{said}");
    drop(second);
    store.append(&life(0)[0]).await.expect("the first goes on");
    store.close().await;

    let mut first = Writer::start(&path);
    while !first.says().expect("it goes on").starts_with("OPEN") {}
    let error = place.try_open().await.expect_err("in use");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    first.kill();
    place.open().await.close().await;
}
