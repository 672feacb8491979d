//! Hosts without a marketplace: attackers with their programs ([`crate::adversary`]).

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_market::AskId;
use hailmesh_wire::{AnyStatement, Frame, FrameContent, Heard, Signatures, Topic};

use super::engine::Shared;
use super::host::{Arrival, EXCHANGE_MS, Gossiped, Host, Person, What};
use super::link::Draws;
use super::settings::Settings;
use crate::adversary::{Action, Behaviour, Player, Setup};
use crate::roads::Junction;

/// Exchanges of others that are remembered.
const SEEN_MAX: usize = 4_096;
/// What the nodes of [`Settings::cheats`](super::Settings::cheats) do, in turn.
const CHEATS: [Behaviour; 5] = [
    Behaviour::Ghost,
    Behaviour::AcceptAndVanish,
    Behaviour::TwoStories,
    Behaviour::ForgedCopies,
    Behaviour::HoldGriefing,
];

/// Somebody who means no good.
pub(super) struct Hostile {
    pub(super) behaviour: Behaviour,
    at: Junction,
    pub(super) player: Option<Box<Player>>,
    pub(super) next_ms: Option<u64>,
    /// Exchanges of others that it has seen lately: the second copy of a frame that a link
    /// delivers twice finds no stream to be answered on.
    seen: BTreeSet<(u32, u32, AskId)>,
}

impl Hostile {
    pub(super) const fn new(behaviour: Behaviour, at: Junction) -> Self {
        Self { behaviour, at, player: None, next_ms: None, seen: BTreeSet::new() }
    }
}

/// What each attacker of a run does.
pub(super) fn attackers(settings: &Settings) -> Vec<Behaviour> {
    let cheats = (0..settings.cheats).map(|number| CHEATS[number as usize % CHEATS.len()]);
    let counted = |(behaviour, count): &(Behaviour, u32)| std::iter::repeat_n(*behaviour, *count as usize);
    cheats.chain(settings.adversaries.iter().flat_map(counted)).collect()
}

/// The victims of those who pass nothing on: one of so many honest nodes each.
pub(super) fn eclipsed(hostile: &[Behaviour], honest: u32, seed: u64) -> BTreeSet<u32> {
    let eclipses = hostile.iter().filter(|behaviour| **behaviour == Behaviour::Eclipse);
    let victim = |number: u64| Draws::of(seed, 0xec11, number, 0).between(0, honest.max(1) - 1);
    (0..).zip(eclipses).map(|(number, _)| victim(number)).collect()
}

/// Whether honest nodes pass a message on: it is what it says, and its author signed it.
pub(super) fn is_sound(heard: &Heard, signatures: &dyn Signatures) -> bool {
    heard.statement().is_ok_and(|statement| statement.clone().verify_with(signatures).is_ok())
}

/// How many messages each step of admission has stopped.
pub(super) type Stopped = BTreeMap<&'static str, u64>;

/// What honest hosts made of the gossip of attackers: author, and the step of admission
/// that stopped it.
pub(super) type Judged = BTreeMap<(u32, &'static str), u64>;

impl Host {
    fn hostile(&mut self) -> &mut Hostile {
        match &mut self.person {
            Person::Hostile(hostile) => hostile,
            _ => unreachable!("honest people do not attack"),
        }
    }

    pub(super) fn hostile_starts(&mut self, shared: &Shared, at_ms: u64) {
        self.crash_ms = u64::MAX;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"hostile").update(&shared.seed.to_le_bytes()).update(&self.id.to_le_bytes());
        let (id, now) = (self.id, self.clock.reads(at_ms));
        let hostile = self.hostile();
        let setup = Setup {
            network: shared.config.network.clone(),
            signatures: shared.signatures.clone(),
            seed: *hasher.finalize().as_bytes(),
            place: shared.roads().point(hostile.at),
        };
        let mut player = Player::new(hostile.behaviour, setup, now);
        let (peer, topics) = (player.peer(), player.topics());
        hostile.player = Some(Box::new(player));
        // Not all at the same moment.
        let first = u64::from(Draws::of(shared.seed, 0x5a5a, id.into(), 0).between(1_000, 10_000));
        hostile.next_ms = Some(at_ms + first);
        self.peer = peer;
        self.say(at_ms, What::Identity(peer));
        for topic in topics {
            self.listen(at_ms, topic);
        }
    }

    fn listen(&mut self, at_ms: u64, topic: Topic) {
        self.topics.push(topic.clone());
        self.joined.push((topic.clone(), true));
        self.say(at_ms, What::Joined(topic));
    }

    pub(super) fn hostile_acts(&mut self, at_ms: u64) {
        let now = self.clock.reads(at_ms);
        let Some(player) = self.hostile().player.as_mut() else { return };
        let actions = player.timer(now);
        let next = player.next();
        self.hostile().next_ms = Some(self.clock.when(next).max(at_ms + 1));
        self.perform(at_ms, actions);
    }

    pub(super) fn hostile_hears(&mut self, at_ms: u64, arrival: Arrival) {
        let now = self.clock.reads(at_ms);
        if let Arrival::Request { from, run, ask, .. } = &arrival {
            let seen = &mut self.hostile().seen;
            if !seen.insert((*from, *run, *ask)) {
                return;
            }
            while seen.len() > SEEN_MAX {
                seen.pop_first();
            }
        }
        let Some(player) = self.hostile().player.as_mut() else { return };
        let actions = match arrival {
            Arrival::Gossip(message) => player.gossip(now, &message.topic, &message.heard),
            Arrival::Request { from, peer, run, ask, frame } => {
                let (actions, reply) = player.request(now, peer, &frame);
                match reply {
                    Some(reply) => {
                        let at_ms = at_ms + u64::from(reply.after.as_millis());
                        self.say(at_ms, What::Reply { to: from, run, ask, frame: reply.frame });
                    }
                    None => self.say(at_ms + EXCHANGE_MS, What::Fail { to: from, run, ask }),
                }
                actions
            }
            Arrival::Response { ask, frame, .. } => player.response(now, ask.0, &frame),
            _ => return,
        };
        self.perform(at_ms, actions);
    }

    fn perform(&mut self, at_ms: u64, actions: Vec<Action>) {
        let run = self.run;
        for action in actions {
            let what = match action {
                Action::Publish { topic, bytes } => What::Publish { topic, bytes },
                Action::Send { ask, to, frame } => What::Send { to, run, ask: AskId(ask), frame },
                Action::Key(key) => What::HostileKey(key),
                Action::Contradiction { accused, statements, .. } => {
                    What::Contradiction { accused, statements }
                }
            };
            self.say(at_ms, what);
        }
    }

    // ---- at honest hosts ----

    /// What has become of gossip here so far.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        let stats = self.market.as_ref()?.admission_stats();
        let mut stopped = stats.stopped();
        stopped.insert("accepted", stats.accepted());
        Some(stopped)
    }

    /// For the tallies: what became of a message of an attacker.
    pub(super) fn note_hostile(
        &mut self,
        shared: &Shared,
        at_ms: u64,
        message: &Gossiped,
        before: Option<Stopped>,
    ) {
        let (Some(before), Some(after)) = (before, self.stopped()) else { return };
        let grown = after.into_iter().find(|(name, count)| before.get(name).unwrap_or(&0) < count);
        // What is said in this node's own name is not judged: it knows what it has said.
        let name = grown.map_or("own", |(name, _)| name);
        *self.judged.entry((message.from, name)).or_default() += 1;
        let contradicts = shared.hostile(message.from).is_some_and(Behaviour::contradicts_in_gossip);
        if contradicts && let Ok(statement) = message.heard.statement() {
            self.say(at_ms, What::Read { from: message.from, statement: statement.id() });
        }
    }

    /// For the oracle: a frame of an attacker is there.
    pub(super) fn note_read(&mut self, shared: &Shared, at_ms: u64, from: u32, frame: &[u8]) {
        if shared.hostile(from).is_some()
            && let Ok(Frame { content: FrameContent::Statement(bytes), .. }) = Frame::decode(frame)
            && let Ok(statement) = AnyStatement::decode(bytes)
        {
            self.say(at_ms, What::Read { from, statement: statement.id() });
        }
    }
}
