//! Who is killed, when, and for how long. The plan follows from the seed alone; whom it
//! hits depends on who does what at that moment.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::node::Role;
use crate::people::draws;
use crate::stage::{Moment, Stage};

/// The stream of draws for the plan; those below are of people.
const STREAM: u64 = 1 << 32;
/// How long a kill that is aimed at a settlement waits for one.
const WAIT: Duration = Duration::from_secs(30);

/// At what a kill is aimed.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// Anybody, whatever they do.
    Anybody,
    /// A rider so long after it has asked for a ride.
    Asking(Duration),
    /// A driver so long after it has signed an ACCEPT.
    Accepting(Duration),
    /// The driver or the rider of an agreement that stands.
    Riding,
    /// Both of them at once.
    Both,
    /// The relay.
    Relay,
}

impl Aim {
    const fn name(self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::Asking(_) => "a rider that asks",
            Self::Accepting(_) => "a driver that accepts",
            Self::Riding => "one side of an agreement",
            Self::Both => "both sides of an agreement",
            Self::Relay => "the relay",
        }
    }
}

/// One kill of the plan.
#[derive(Debug)]
struct Strike {
    /// Since the one before.
    after: Duration,
    aim: Aim,
    /// Which of those that come into question.
    draw: u64,
    /// Until the process is started again.
    down: Duration,
}

impl Strike {
    fn draw(rng: &mut ChaCha8Rng, per_minute: u32) -> Self {
        let share = f64::from(rng.random_range(1..=1_000_000)) / 1_000_000.0;
        let mean = Duration::from_secs(60).as_secs_f64() / f64::from(per_minute);
        // A settlement takes ten to twenty milliseconds with a disk.
        let aim = match rng.random_range(0..100) {
            0..26 => Aim::Anybody,
            26..52 => Aim::Asking(Duration::from_millis(rng.random_range(0..30))),
            52..74 => Aim::Accepting(Duration::from_millis(rng.random_range(0..8))),
            74..89 => Aim::Riding,
            89..97 => Aim::Both,
            _ => Aim::Relay,
        };
        // Mostly a quick restart; often until holds and doubts (15 s) are over, where one of
        // them may stand; at times until the other side has given up hope (60 s).
        let is_settling = matches!(aim, Aim::Asking(_) | Aim::Accepting(_));
        let down = match rng.random_range(0..100) {
            0..40 => 0..1_000,
            40..60 => 1_000..8_000,
            60..80 if !is_settling => 1_000..8_000,
            60..96 => 8_000..25_000,
            _ => 62_000..75_000,
        };
        Self {
            after: Duration::from_secs_f64(-mean * share.ln()),
            aim,
            draw: rng.random_range(0..u64::MAX),
            down: Duration::from_millis(rng.random_range(down)),
        }
    }
}

/// Kills and starts again until the stage is closed; then all that are down are started.
///
/// With `roll_back` drivers come back with an old state of theirs: this must be found.
pub(crate) async fn run(stage: Arc<Stage>, per_minute: u32, roll_back: bool) {
    let mut rng = draws(stage.seed, STREAM);
    let mut moments = stage.moments.subscribe();
    let mut restarts = JoinSet::new();
    while !stage.is_closing() {
        let strike = Strike::draw(&mut rng, per_minute.max(1));
        let closing = stage.closing.notified();
        tokio::select! {
            () = sleep(strike.after) => {}
            () = closing => break,
        }
        for victim in aim(&stage, &strike, &mut moments).await {
            let node = &stage.nodes[victim];
            if stage.is_closing() || !node.take() {
                continue;
            }
            node.kill();
            if roll_back && node.role == Role::Driver {
                node.roll_back().expect("a home can be copied");
            }
            *stage.board().kills.entry(strike.aim.name()).or_default() += 1;
            restarts.spawn(again(Arc::clone(&stage), victim, strike.down));
        }
        while restarts.try_join_next().is_some() {}
    }
    while restarts.join_next().await.is_some() {}
}

/// Those at whom a kill is aimed; none when nobody comes into question.
async fn aim(stage: &Stage, strike: &Strike, moments: &mut Receiver<Moment>) -> Vec<usize> {
    let one = |from: &[usize]| -> Vec<usize> {
        let number = usize::try_from(strike.draw % from.len().max(1) as u64).unwrap_or_default();
        from.get(number).copied().into_iter().collect()
    };
    match strike.aim {
        Aim::Anybody => {
            let all = stage.nodes.iter().filter(|node| !node.spared && node.role != Role::Relay);
            one(&all.map(|node| node.index).collect::<Vec<_>>())
        }
        Aim::Relay => {
            stage.nodes.iter().filter(|node| node.role == Role::Relay).map(|node| node.index).collect()
        }
        Aim::Asking(after) => {
            let asks = |moment| match moment {
                Moment::Asked(node) => (!stage.nodes[node].spared).then_some(node),
                Moment::Held(_) => None,
            };
            next(moments, asks, after).await
        }
        Aim::Accepting(after) => {
            let accepts = |moment| match moment {
                Moment::Held(node) => (!stage.nodes[node].spared).then_some(node),
                Moment::Asked(_) => None,
            };
            next(moments, accepts, after).await
        }
        Aim::Riding | Aim::Both => {
            let bound: Vec<(usize, String)> =
                stage.board().bound.iter().map(|(node, agreement)| (*node, agreement.clone())).collect();
            let nodes: Vec<usize> = bound.iter().map(|(node, _)| *node).collect();
            let first = one(&nodes);
            if matches!(strike.aim, Aim::Riding) {
                return first;
            }
            let agreement =
                bound.iter().find(|(node, _)| first.contains(node)).map(|(_, agreement)| agreement);
            bound.iter().filter(|(_, other)| Some(other) == agreement).map(|(node, _)| *node).collect()
        }
    }
}

/// Waits for the next moment that is wanted, and so long after it.
async fn next(
    moments: &mut Receiver<Moment>,
    wanted: impl Fn(Moment) -> Option<usize>,
    after: Duration,
) -> Vec<usize> {
    // What happened before is too late.
    *moments = moments.resubscribe();
    let found = async {
        loop {
            match moments.recv().await {
                Ok(moment) => {
                    if let Some(node) = wanted(moment) {
                        return Some(node);
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
            }
        }
    };
    let Ok(Some(node)) = timeout(WAIT, found).await else { return Vec::new() };
    sleep(after).await;
    vec![node]
}

/// Starts a node again that was killed.
async fn again(stage: Arc<Stage>, victim: usize, down: Duration) {
    let node = &stage.nodes[victim];
    // Nobody is left down when the kills are over.
    if !stage.is_closing() {
        let _sooner = timeout(down, stage.closing.notified()).await;
    }
    match node.start().await {
        Ok(took) => {
            let mut board = stage.board();
            board.restarts += 1;
            board.ready.push(took);
        }
        Err(why) => stage.violation(format!("{} does not start again: {why}", node.name)),
    }
    stage.is_back(node);
    node.give_back();
}
