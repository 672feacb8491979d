//! Three marketplaces that ship, driven by bytes: in which order messages arrive, which are
//! lost, doubled or broken, when timers fire, what people want, who crashes and whose store
//! fails. Whatever the bytes say, the promises of P1.5 hold.

mod end;
mod fault;
mod people;
mod world;

pub use fault::Fault;

use hailmesh_market::Role;
use hailmesh_sim::promises::Violation;

use crate::{Checked, Finding, Input, mutated};
use fault::StoreFault;
use world::{Arrival, World};

/// Steps of one input at the most.
const STEPS_MAX: usize = 600;
/// How much simulated time the troubled part of an input may take, milliseconds: 20 minutes.
const TROUBLE_MS: u64 = 1_200_000;
/// Events that one step lets happen in their order, at the most.
const CALM_MAX: usize = 24;

/// Drives three marketplaces.
///
/// # Errors
/// The promises that were broken, in the order in which that was seen.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, None)
}

/// As [`run`], with something that drives them wrongly: the marketplaces have no switch.
///
/// # Errors
/// The promises that were broken.
pub fn run_with(bytes: &[u8], fault: Option<Fault>) -> Checked {
    match watched(bytes, fault, false).broken.as_slice() {
        [] => Ok(()),
        broken => {
            let words: Vec<String> = broken.iter().map(ToString::to_string).collect();
            Err(Finding(words.join("; ")))
        }
    }
}

/// What came of an input.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// The promises that it breaks.
    pub broken: Vec<Violation>,
    /// What happened, line by line, if that was wanted.
    pub told: Vec<String>,
}

/// Drives three marketplaces and tells what happened.
#[must_use]
pub fn watched(bytes: &[u8], fault: Option<Fault>, is_told: bool) -> Watched {
    let mut input = Input::new(bytes);
    let mut world = World::new(cast(&mut input), input.byte(), fault);
    world.told = is_told.then(Vec::new);
    for name in 0..world.hosts.len() {
        world.start(name);
    }
    for _ in 0..STEPS_MAX {
        if input.is_empty() || world.now_ms > TROUBLE_MS || !world.watch.violations.is_empty() {
            break;
        }
        step(&mut world, &mut input);
    }
    world.note(|| "no more trouble".to_owned());
    world.comes_to_its_end();
    Watched {
        broken: std::mem::take(&mut world.watch.violations),
        told: world.told.take().unwrap_or_default(),
    }
}

/// Who takes part.
fn cast(input: &mut Input<'_>) -> [Role; 3] {
    match input.below(3) {
        0 => [Role::Driver, Role::Driver, Role::Rider],
        1 => [Role::Driver, Role::Rider, Role::Rider],
        _ => [Role::Driver, Role::Rider, Role::Driver],
    }
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let host = |input: &mut Input<'_>| input.below(3);
    match input.below(16) {
        // In order, for a while; people look at their nodes in between.
        0..=6 => {
            for _ in 0..=input.below(CALM_MAX) {
                world.next_event();
            }
            let name = host(input);
            world.acts(name);
        }
        7 => {
            let name = host(input);
            world.acts(name);
        }
        8 => {
            let name = host(input);
            let command = people::any_command(world, name, input);
            world.command(name, command);
        }
        9 => {
            // Out of order.
            let at = input.below(world.flights.len());
            if let Some(flight) = world.take(at) {
                world.note(|| format!("out of order to {}", flight.to));
                world.arrive(flight);
            }
        }
        10 => {
            let at = input.below(world.flights.len());
            world.lose(at);
        }
        11 => {
            let at = input.below(world.flights.len());
            let later = u64::from(input.byte()) * 40;
            world.double(at, later);
        }
        12 => {
            let at = input.below(world.flights.len());
            if let Some(mut flight) = world.take(at) {
                // The message arrives broken; its sender waits as for one that is lost.
                if let Some(bytes) = flight.arrival.bytes() {
                    let broken = mutated(&bytes, &bytes, input);
                    flight.arrival = flight.arrival.with_bytes(broken);
                    world.note(|| format!("broken to {}", flight.to));
                }
                world.arrive(flight);
            }
        }
        13 => {
            let ms = match input.below(4) {
                0 => u64::from(input.byte()),
                1 => u64::from(input.byte()) * 20,
                2 => 1_000 + u64::from(input.byte()) * 100,
                _ => u64::from(input.short()),
            };
            // Whatever was due meanwhile is late.
            world.now_ms += ms;
            let name = host(input);
            world.timeout(name);
        }
        14 => {
            let name = host(input);
            world.hosts[name].store_fault = Some(match input.below(5) {
                0 => StoreFault::Fails,
                1 => StoreFault::FailsAndKeeps,
                2 => StoreFault::CrashBefore,
                3 => StoreFault::CrashAfter,
                _ => StoreFault::CrashAfterSends,
            });
        }
        _ => {
            let name = host(input);
            world.crash(name);
        }
    }
}

/// Inputs to begin with.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    // Long calm stretches in which each of the three acts in turn: whole rides.
    let calm = |first: [u8; 2], turns: u8| -> Vec<u8> {
        let mut bytes = first.to_vec();
        for turn in 0..turns {
            bytes.extend([0, 12, turn % 3]);
        }
        bytes
    };
    let mut seeds = vec![
        ("calm-two-drivers".to_owned(), calm([0, 0], 120)),
        ("calm-two-riders".to_owned(), calm([1, 0], 120)),
        ("calm-invited".to_owned(), calm([2, 3], 120)),
    ];
    for (name, trouble) in [
        ("crash", vec![15, 0]),
        ("crash-rider", vec![15, 2]),
        ("store-fails", vec![14, 0, 0]),
        ("store-keeps", vec![14, 2, 1]),
        ("crash-before", vec![14, 0, 2]),
        ("crash-after", vec![14, 0, 3]),
        ("crash-after-sends", vec![14, 2, 4]),
        ("lost", vec![10, 0, 10, 0]),
        ("doubled", vec![11, 0, 20]),
        ("broken", vec![12, 0, 3, 0, 9, 4, 2, 1]),
        ("late", vec![13, 2, 200, 0]),
    ] {
        let mut bytes = vec![0, 1];
        for turn in 0..40 {
            bytes.extend([0, 5, turn % 3]);
            if turn % 4 == 3 {
                bytes.extend(&trouble);
            }
        }
        seeds.push((name.to_owned(), bytes));
    }
    seeds
}

impl Arrival {
    /// What travels, if that can break.
    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Gossip { heard, .. } => Some(heard.bytes().to_vec()),
            Self::Request { frame, .. } | Self::Response { frame, .. } => Some(frame.clone()),
            Self::Failed { .. } | Self::Back => None,
        }
    }

    /// The same with other bytes.
    fn with_bytes(self, bytes: Vec<u8>) -> Self {
        match self {
            Self::Gossip { from, topic, .. } => Self::Gossip { from, topic, heard: bytes.into() },
            Self::Request { from, peer, run, ask, .. } => {
                Self::Request { from, peer, run, ask, frame: bytes }
            }
            Self::Response { run, ask, peer, .. } => Self::Response { run, ask, peer, frame: bytes },
            other => other,
        }
    }
}
