//! One attacking node.

use std::collections::BTreeMap;
use std::fmt;

use hailmesh_types::{PeerKey, Timestamp};
use hailmesh_wire::{AnyStatement, Frame, FrameContent, Heard, Topic};

use super::stage::{Action, Reply, Setup, Stage};
use super::{Adversary, Behaviour};

/// A program with its keys and its memory: to be told what reaches it and asked what it
/// does, as a marketplace is.
pub struct Player {
    behaviour: Behaviour,
    stage: Stage,
    program: Box<dyn Adversary>,
    next: Timestamp,
    heard: BTreeMap<String, u64>,
}

impl Player {
    /// One that begins now.
    #[must_use]
    pub fn new(behaviour: Behaviour, setup: Setup, now: Timestamp) -> Self {
        let program = behaviour.program();
        let next = now + program.pace();
        Self { behaviour, stage: Stage::new(setup, now), program, next, heard: BTreeMap::new() }
    }

    /// What it is up to.
    #[must_use]
    pub const fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// Its transport identity.
    pub fn peer(&mut self) -> PeerKey {
        self.stage.public(0).to_peer_key()
    }

    /// The secret of its transport identity.
    pub fn transport(&mut self) -> [u8; 32] {
        self.stage.key(0).to_bytes()
    }

    /// What it listens to: the offers around it, and evidence.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let around = self.stage.cell().parent(hailmesh_types::Resolution::TOPIC).disk(1);
        let of_both = |cell| [self.stage.drivers_topic(cell), self.stage.riders_topic(cell)];
        let offers = around.into_iter().flat_map(of_both);
        offers.chain([Topic::evidence(self.stage.network_name())]).collect()
    }

    /// Whether it passes the gossip of others on.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.program.forwards()
    }

    /// When it wants [`Player::timer`].
    #[must_use]
    pub const fn next(&self) -> Timestamp {
        self.next
    }

    /// It is time.
    pub fn timer(&mut self, now: Timestamp) -> Vec<Action> {
        self.stage.turn(now);
        self.next = now + self.program.pace();
        self.program.on_timer(&mut self.stage);
        self.stage.take_actions()
    }

    /// Gossip has come.
    pub fn gossip(&mut self, now: Timestamp, topic: &Topic, heard: &Heard) -> Vec<Action> {
        self.stage.turn(now);
        self.stage.note(topic, heard);
        self.program.on_gossip(&mut self.stage, topic, heard);
        self.stage.take_actions()
    }

    /// Somebody asks; no answer means that it is left waiting.
    pub fn request(&mut self, now: Timestamp, from: PeerKey, frame: &[u8]) -> (Vec<Action>, Option<Reply>) {
        self.stage.turn(now);
        let Ok(frame) = Frame::decode(frame) else { return (Vec::new(), None) };
        self.count("asked with", &frame);
        let reply = self.program.on_request(&mut self.stage, from, &frame);
        (self.stage.take_actions(), reply)
    }

    /// Somebody answers [`Action::Send`].
    pub fn response(&mut self, now: Timestamp, ask: u64, frame: &[u8]) -> Vec<Action> {
        self.stage.turn(now);
        let Ok(frame) = Frame::decode(frame) else { return Vec::new() };
        self.count("answered with", &frame);
        self.program.on_response(&mut self.stage, ask, &frame);
        self.stage.take_actions()
    }

    fn count(&mut self, how: &str, frame: &Frame) {
        let what = match &frame.content {
            FrameContent::Statement(bytes) => match AnyStatement::decode(bytes.as_slice()) {
                Ok(AnyStatement::Reject(reject)) => format!("REJECT {}", reject.body().reason),
                Ok(statement) => statement.kind().to_string(),
                Err(_) => "a statement that cannot be read".to_owned(),
            },
            FrameContent::Wait { .. } => "WAIT".to_owned(),
            FrameContent::None => "NONE".to_owned(),
            FrameContent::Position(_) => "POSITION".to_owned(),
            FrameContent::Refused(reason) => format!("REFUSED {reason}"),
        };
        *self.heard.entry(format!("{how} {what}")).or_default() += 1;
    }

    /// Attacks so far.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.stage.attempts()
    }

    /// What others have said to it directly, by kind, and how often.
    #[must_use]
    pub const fn heard(&self) -> &BTreeMap<String, u64> {
        &self.heard
    }
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("behaviour", &self.behaviour).finish_non_exhaustive()
    }
}
