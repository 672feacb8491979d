//! Nodes that cheat. They have no marketplace: only keys, and the public wire format.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_market::AskId;
use hailmesh_types::{
    Amount, Cell, Class, Duration, Features, Hash, PeerKey, Resolution, Seats, Tariff, Timestamp,
};
use hailmesh_wire::{
    Accept, AcceptMode, AnyStatement, Body, DriverOffer, DriverTerms, Extensions, FareKind, Frame,
    FrameContent, Heard, NetworkId, Prev, Request, Topic, Verified, tariff_hash,
};

use super::engine::Shared;
use super::host::{Arrival, Host, Person, What};
use super::link::Draws;
use super::people::Word;
use crate::roads::Junction;

/// How often a cheat does something by itself, milliseconds.
const PACE_MS: u64 = 5_000;
/// How long an honest node waits for an answer that does not come (P12).
const EXCHANGE_MS: u64 = 10_000;
/// Offers heard that a cheat remembers.
const HEARD_MAX: usize = 16;

/// What it is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trick {
    /// Offers rides where no car is, and never answers.
    Ghost,
    /// Agrees to every request, and never acknowledges.
    Vanisher,
    /// Tells two stories under one sequence number.
    Equivocator,
    /// Signs for others, and says again what others said before.
    Forger,
    /// Takes holds of drivers and never confirms.
    Griever,
}

/// Somebody who cheats.
pub(super) struct Cheat {
    trick: Trick,
    at: Junction,
    key: Option<Box<SigningKey>>,
    seq: u64,
    heard: Vec<Heard>,
    pub(super) next_ms: Option<u64>,
    asks: u64,
}

impl Cheat {
    /// The cheat of this number; the five tricks take turns.
    pub(super) const fn new(number: u32, at: Junction) -> Self {
        let trick = match number % 5 {
            0 => Trick::Ghost,
            1 => Trick::Vanisher,
            2 => Trick::Equivocator,
            3 => Trick::Forger,
            _ => Trick::Griever,
        };
        Self { trick, at, key: None, seq: 0, heard: Vec::new(), next_ms: None, asks: 0 }
    }
}

/// What a cheat needs to write a statement.
struct Pen<'a> {
    shared: &'a Shared,
    key: SigningKey,
    network: NetworkId,
    now: Timestamp,
}

impl Pen<'_> {
    fn sign<T: Body>(&self, body: T) -> Verified<T> {
        Verified::sign_with(&*self.shared.signatures, &self.key, self.network, body)
    }

    fn offer(&self, cell: Cell, seq: u64, tariff: Tariff) -> Verified<DriverOffer> {
        self.sign(DriverOffer {
            seq,
            issued: self.now,
            ttl: Duration::from_secs(60),
            cell,
            slot: 0,
            live: Some(DriverTerms {
                class: Class::STANDARD,
                seats: Seats::new(4).unwrap_or(Seats::ONE),
                features: Features::NONE,
                tariff,
                accept_mode: AcceptMode::Auto,
            }),
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            head: None,
            ext: Extensions::NONE,
        })
    }
}

impl Host {
    fn cheat(&mut self) -> &mut Cheat {
        match &mut self.person {
            Person::Cheat(cheat) => cheat,
            _ => unreachable!("honest people do not cheat"),
        }
    }

    fn pen<'a>(&mut self, shared: &'a Shared, at_ms: u64) -> Pen<'a> {
        let (seed, id, now) = (shared.seed, self.id, self.clock.reads(at_ms));
        let make = || {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"cheat").update(&seed.to_le_bytes()).update(&id.to_le_bytes());
            Box::new(SigningKey::from_bytes(hasher.finalize().as_bytes()))
        };
        let key = self.cheat().key.get_or_insert_with(make);
        Pen { shared, key: (**key).clone(), network: NetworkId::of(&shared.config.network), now }
    }

    pub(super) fn cheat_starts(&mut self, shared: &Shared, at_ms: u64) {
        self.crash_ms = u64::MAX;
        let pen = self.pen(shared, at_ms);
        self.peer = PeerKey::from_bytes(pen.key.verifying_key().to_bytes());
        self.say(at_ms, What::Identity(self.peer));
        let cell = Cell::at(shared.roads().point(self.cheat().at), Resolution::PICKUP);
        let topic = Topic::drivers(&shared.config.network, cell);
        self.topics.push(topic.clone());
        self.joined.push((topic.clone(), true));
        self.say(at_ms, What::Joined(topic));
        self.cheat().next_ms = Some(at_ms + PACE_MS);
    }

    pub(super) fn cheat_acts(&mut self, shared: &Shared, at_ms: u64) {
        let pen = self.pen(shared, at_ms);
        let number = u64::from(self.id);
        let cheat = self.cheat();
        cheat.next_ms = Some(at_ms + PACE_MS);
        cheat.seq += 1;
        let (trick, seq) = (cheat.trick, cheat.seq);
        let cell = Cell::at(shared.roads().point(cheat.at), Resolution::PICKUP);
        let topic = Topic::drivers(&shared.config.network, cell);
        let publish = |host: &mut Self, bytes: Arc<[u8]>| {
            host.say(at_ms, What::Publish { topic: topic.clone(), bytes });
        };
        match trick {
            Trick::Ghost | Trick::Vanisher => {
                let offer = pen.offer(cell, seq, Tariff::default());
                publish(self, Arc::clone(offer.bytes()));
            }
            Trick::Equivocator => {
                let tariff = Tariff::default();
                let dearer = Tariff { base: tariff.base + 1, ..tariff };
                publish(self, Arc::clone(pen.offer(cell, seq, tariff).bytes()));
                publish(self, Arc::clone(pen.offer(cell, seq, dearer).bytes()));
            }
            Trick::Forger => {
                let mut draws = Draws::of(shared.seed, 0xf0, number, seq);
                let cheat = self.cheat();
                let count = u32::try_from(cheat.heard.len()).unwrap_or(0);
                if count == 0 {
                    return;
                }
                let heard = cheat.heard[draws.between(0, count - 1) as usize].clone();
                publish(self, Arc::clone(heard.bytes()));
                let mut forged = heard.bytes().to_vec();
                let last = forged.len() - 1 - draws.between(0, 63) as usize;
                forged[last] ^= 1;
                publish(self, forged.into());
            }
            Trick::Griever => self.grieve(&pen, at_ms),
        }
    }

    /// Asks a driver that it has heard of, and will never confirm.
    fn grieve(&mut self, pen: &Pen<'_>, at_ms: u64) {
        let place = pen.shared.roads().point(self.cheat().at);
        let run = self.run;
        let cheat = self.cheat();
        let Some(heard) = cheat.heard.pop() else { return };
        let Ok(AnyStatement::DriverOffer(offer)) = heard.statement() else { return };
        cheat.asks += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&cheat.asks.to_le_bytes());
        let request = pen.sign(Request {
            to: *offer.signer(),
            issued: pen.now,
            offer_id: offer.id(),
            driver_slot: offer.body().slot,
            rider_slot: 0,
            attempt: 1,
            nonce,
            pickup_cell: Cell::at(place, Resolution::PICKUP),
            drop_cell: None,
            dist: 20_000,
            ride_time: Duration::from_secs(3_000),
            party: Seats::ONE,
            class: Class::STANDARD,
            features: Features::NONE,
            max_fare: Amount::MAX,
            ttl: Duration::from_secs(2),
            counter_id: None,
            invite_id: None,
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            ext: Extensions::NONE,
        });
        let (to, ask) = (offer.signer().to_peer_key(), AskId(cheat.asks));
        let frame = Frame::statement(request.bytes()).encode();
        self.say(at_ms, What::Send { to, run, ask, frame });
    }

    pub(super) fn cheat_hears(&mut self, shared: &Shared, at_ms: u64, arrival: Arrival) {
        match arrival {
            Arrival::Gossip(message) => {
                let cheat = self.cheat();
                if cheat.heard.len() >= HEARD_MAX {
                    cheat.heard.remove(0);
                }
                cheat.heard.push(message.heard.clone());
            }
            Arrival::Request { from, run, ask, frame, .. } => {
                let answer = match self.cheat().trick {
                    Trick::Vanisher => self.agree(shared, at_ms, &frame),
                    _ => None,
                };
                match answer {
                    Some(frame) => self.say(at_ms, What::Reply { to: from, run, ask, frame }),
                    None => self.say(at_ms + EXCHANGE_MS, What::Fail { to: from, run, ask }),
                }
            }
            // A griever has what it wanted; a car that waits for it waits in vain.
            Arrival::Word { from, word: Word::Here(here) } => {
                let agreement = here.agreement;
                self.say(at_ms, What::Word { to: from, word: Word::Gone { agreement } });
            }
            _ => {}
        }
    }

    /// An ACCEPT that looks like any other.
    fn agree(&mut self, shared: &Shared, at_ms: u64, frame: &[u8]) -> Option<Vec<u8>> {
        let FrameContent::Statement(bytes) = Frame::decode(frame).ok()?.content else { return None };
        let AnyStatement::Request(request) = AnyStatement::decode(bytes).ok()? else { return None };
        let pen = self.pen(shared, at_ms);
        let asked = request.body();
        let tariff = Tariff::default();
        let fare = tariff.fare(asked.dist, asked.ride_time, Duration::ZERO).ok()?.total.min(asked.max_fare);
        let accept = pen.sign(Accept {
            to: *request.signer(),
            issued: pen.now,
            request_id: request.id(),
            offer_id: asked.offer_id,
            tariff_hash: tariff_hash(&tariff),
            lane: 0,
            slot: 0,
            prev: Prev::FIRST,
            fare_kind: if asked.drop_cell.is_some() { FareKind::Fixed } else { FareKind::Metered },
            fare,
            eta: Duration::from_secs(60),
            hold: Duration::from_secs(8),
            pickup_by: pen.now + Duration::from_secs(600),
            vehicle_commit: Hash::from_bytes([7; 32]),
            ext: Extensions::NONE,
        });
        Some(Frame::statement(accept.bytes()).encode())
    }
}
