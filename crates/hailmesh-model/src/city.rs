//! A small city at one moment: what each node has in its journal and in memory, and every
//! message that was ever sent.
//!
//! The checker keeps a city as [`Packed`] bytes. Lanes and chains are not in them: they
//! are rebuilt from the journal with the functions that a restart uses
//! ([`DriverLane::from_journal`], [`RiderChain::from_journal`]), at every step. That they
//! come out as the tables left them is itself checked (property R).

use hailmesh_market::handshake::{Binding, DriverLane, DriverSlot, Held, RiderChain, RiderSlot, RiderState};
use hailmesh_wire::Outcome;

use crate::statement::{Book, Id, Key, Statement, driver_key, number, public, wire_id};

/// One driver slot as W1 to W8 make it durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverRow {
    /// Whose slot it is.
    pub key: Key,
    /// Its number.
    pub slot: u8,
    /// The ACCEPT.
    pub accept: Id,
    /// The CONFIRM, or 0.
    pub confirm: Id,
    /// The last COMPLETE that was signed, or 0.
    pub complete: Id,
    /// ARRIVED was signed.
    pub arrived: bool,
    /// The boarding secret is known, and BOARDED signed.
    pub boarded: bool,
    /// How it ended.
    pub ended: Option<Outcome>,
    /// The rider's signed end, or 0.
    pub proof: Id,
    /// A VOID was signed with the end.
    pub void: bool,
    /// That VOID is in the outbox.
    pub queued: bool,
}

/// One rider slot as W4 to W7 make it durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiderRow {
    /// Its number.
    pub slot: u8,
    /// The CONFIRM, which names the ACCEPT.
    pub confirm: Id,
    /// An ACK came.
    pub firm: bool,
    /// The driver showed the boarding secret.
    pub boarded: bool,
    /// How it ended.
    pub ended: Option<Outcome>,
    /// The RELEASE or COSIGN that was signed with the end, or 0.
    pub end: Id,
}

/// A driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// How often its key was replaced.
    pub generation: u8,
    /// The key before was lost rather than closed (P16.3).
    pub lost: bool,
    /// The journal, in the order in which slots were bound.
    pub rows: Vec<DriverRow>,
    /// The lanes of its keys, the one in use last.
    pub lanes: Vec<DriverLane>,
}

/// A rider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rider {
    /// The journal.
    pub rows: Vec<RiderRow>,
    /// The chain of its key.
    pub chain: RiderChain,
    /// REQUESTs that an ACCEPT may still answer (volatile).
    pub asks: Vec<Id>,
    /// Searches begun so far.
    pub attempts: u8,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct City {
    /// Every message ever sent, in order of number.
    pub net: Vec<Id>,
    /// All drivers.
    pub drivers: Vec<Driver>,
    /// All riders.
    pub riders: Vec<Rider>,
    /// Crashes so far.
    pub crashes: u8,
    /// What the journal says and what the tables say were different once.
    pub torn: bool,
}

/// A city as bytes: what the checker compares, hashes and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packed(Box<[u8]>);

impl City {
    /// Nobody has said anything yet.
    #[must_use]
    pub fn new(riders: u8, drivers: u8) -> Self {
        let driver =
            Driver { generation: 0, lost: false, rows: Vec::new(), lanes: vec![DriverLane::default()] };
        let rider = Rider { rows: Vec::new(), chain: RiderChain::default(), asks: Vec::new(), attempts: 0 };
        Self {
            net: Vec::new(),
            drivers: vec![driver; usize::from(drivers)],
            riders: vec![rider; usize::from(riders)],
            crashes: 0,
            torn: false,
        }
    }

    /// Puts a message on the network, where it stays.
    pub fn send(&mut self, id: Id) {
        if let Err(at) = self.net.binary_search(&id) {
            self.net.insert(at, id);
        }
    }

    /// Whether it was sent.
    #[must_use]
    pub fn is_sent(&self, id: Id) -> bool {
        self.net.binary_search(&id).is_ok()
    }

    /// Everything that the checker needs to tell this city from others.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let mut bytes = Writer(Vec::with_capacity(160));
        bytes.byte(self.crashes | u8::from(self.torn) << 7);
        bytes.ids(&self.net);
        for driver in &self.drivers {
            bytes.byte(driver.generation | u8::from(driver.lost) << 1 | length(driver.rows.len()) << 2);
            for row in &driver.rows {
                bytes.byte(row.key << 4 | row.slot);
                bytes.id(row.accept);
                let flags = [row.confirm != 0, row.complete != 0, row.arrived, row.boarded];
                bytes.flags(&[flags.as_slice(), &[row.proof != 0, row.void, row.queued]].concat());
                bytes.byte(outcome_byte(row.ended));
                for id in [row.confirm, row.complete, row.proof].into_iter().filter(|id| *id != 0) {
                    bytes.id(id);
                }
            }
        }
        for rider in &self.riders {
            let shopping = rider.chain.state == RiderState::Shopping;
            bytes.byte(rider.attempts << 4 | u8::from(shopping) << 3 | length(rider.rows.len()));
            for row in &rider.rows {
                bytes.byte(row.slot);
                bytes.id(row.confirm);
                bytes.flags(&[row.firm, row.boarded, row.end != 0]);
                bytes.byte(outcome_byte(row.ended));
                if row.end != 0 {
                    bytes.id(row.end);
                }
            }
            bytes.ids(&rider.asks);
            let released: Vec<Id> = rider.chain.released.iter().map(number).collect();
            bytes.ids(&released);
        }
        Packed(bytes.0.into_boxed_slice())
    }

    /// The city that was packed, with lanes and chains as a restart would build them.
    #[must_use]
    pub fn unpack(packed: &Packed, riders: u8, drivers: u8, book: &Book) -> Self {
        let mut bytes = Reader(&packed.0);
        let first = bytes.byte();
        let net = bytes.ids();
        let drivers = (0..drivers).map(|driver| unpack_driver(&mut bytes, driver, book)).collect();
        let riders = (0..riders).map(|_| unpack_rider(&mut bytes, book)).collect();
        Self { net, drivers, riders, crashes: first & 0x7f, torn: first & 0x80 != 0 }
    }

    /// Notes whether every journal tells what the tables say.
    pub fn compare_with_journal(&mut self, book: &Book) {
        let drivers_agree = self.drivers.iter().enumerate().all(|(index, driver)| {
            (0..).zip(&driver.lanes).all(|(generation, lane)| {
                *lane == driver.lane_of_journal(driver_key(length(index), generation), book)
            })
        });
        let riders_agree = self.riders.iter().all(|rider| {
            let told = rider.chain_of_journal(book);
            let same_state = match rider.chain.state {
                RiderState::Shopping => told.state == RiderState::Idle,
                _ => told.state == rider.chain.state,
            };
            same_state && told.slot == rider.chain.slot && told.past == rider.chain.past
        });
        self.torn |= !(drivers_agree && riders_agree);
    }
}

impl Driver {
    /// The lane of one of its keys as the journal tells it.
    #[must_use]
    pub fn lane_of_journal(&self, key: Key, book: &Book) -> DriverLane {
        let some = |id: Id| (id != 0).then(|| wire_id(id));
        DriverLane::from_journal(self.rows.iter().filter(|row| row.key == key).map(|row| DriverSlot {
            slot: row.slot.into(),
            held: held(book, row.accept),
            confirm: some(row.confirm),
            arrived: row.arrived,
            boarded: row.boarded,
            completes: completes(book, row.complete).into_iter().map(wire_id).collect(),
            ended: row.ended.map(|outcome| (outcome, some(row.proof))),
        }))
    }

    /// The row of a slot: the last, should there be two.
    pub fn row(&mut self, key: Key, slot: u8) -> Option<&mut DriverRow> {
        self.rows.iter_mut().rev().find(|row| row.key == key && row.slot == slot)
    }
}

impl Rider {
    /// The chain as the journal tells it.
    #[must_use]
    pub fn chain_of_journal(&self, book: &Book) -> RiderChain {
        RiderChain::from_journal(self.rows.iter().map(|row| RiderSlot {
            slot: row.slot.into(),
            binding: binding(book, row.confirm),
            firm: row.firm,
            boarded: row.boarded,
            ended: row.ended,
        }))
    }

    /// The row that binds it now.
    #[must_use]
    pub fn live(&self) -> Option<&RiderRow> {
        self.rows.iter().find(|row| row.ended.is_none())
    }
}

/// What an ACCEPT binds its driver to.
#[must_use]
pub fn held(book: &Book, accept: Id) -> Held {
    let Statement::Accept { request, rider, .. } = book.get(accept) else {
        unreachable!("only an ACCEPT binds a driver")
    };
    Held { request: wire_id(request), accept: wire_id(accept), rider: public(rider) }
}

/// What a CONFIRM binds its rider to.
#[must_use]
pub fn binding(book: &Book, confirm: Id) -> Binding {
    let Statement::Confirm { accept, driver, .. } = book.get(confirm) else {
        unreachable!("only a CONFIRM binds a rider")
    };
    Binding { accept: wire_id(accept), driver: public(driver), confirm: wire_id(confirm) }
}

/// The ACCEPT that a CONFIRM names.
#[must_use]
pub fn accept_of(book: &Book, confirm: Id) -> Id {
    match book.get(confirm) {
        Statement::Confirm { accept, .. } => accept,
        _ => 0,
    }
}

/// The COMPLETEs that were signed up to this one, which is the last, or 0 for none.
#[must_use]
pub fn completes(book: &Book, last: Id) -> Vec<Id> {
    if last == 0 {
        return Vec::new();
    }
    let Statement::Complete { driver, rider, confirm, nth: last } = book.get(last) else { return Vec::new() };
    (0..=last).map(|nth| book.number(Statement::Complete { driver, rider, confirm, nth })).collect()
}

fn unpack_driver(bytes: &mut Reader<'_>, driver: u8, book: &Book) -> Driver {
    let head = bytes.byte();
    let rows = (0..head >> 2).map(|_| {
        let place = bytes.byte();
        let accept = bytes.id();
        let flags = bytes.byte();
        let has = |bit: u8| flags & (1 << bit) != 0;
        let ended = Outcome::from_code(bytes.byte());
        let mut id = |bit: u8| if has(bit) { bytes.id() } else { 0 };
        DriverRow {
            key: place >> 4,
            slot: place & 0x0f,
            accept,
            confirm: id(0),
            complete: id(1),
            proof: id(4),
            arrived: has(2),
            boarded: has(3),
            void: has(5),
            queued: has(6),
            ended,
        }
    });
    let rows = rows.collect();
    let mut unpacked = Driver { generation: head & 1, lost: head & 2 != 0, rows, lanes: Vec::new() };
    unpacked.lanes = (0..=unpacked.generation)
        .map(|generation| unpacked.lane_of_journal(driver_key(driver, generation), book))
        .collect();
    unpacked
}

fn unpack_rider(bytes: &mut Reader<'_>, book: &Book) -> Rider {
    let head = bytes.byte();
    let rows = (0..head & 7).map(|_| {
        let slot = bytes.byte();
        let confirm = bytes.id();
        let flags = bytes.byte();
        let ended = Outcome::from_code(bytes.byte());
        let end = if flags & 4 != 0 { bytes.id() } else { 0 };
        RiderRow { slot, confirm, firm: flags & 1 != 0, boarded: flags & 2 != 0, ended, end }
    });
    let rows = rows.collect();
    let asks = bytes.ids();
    let mut rider = Rider { rows, chain: RiderChain::default(), asks, attempts: head >> 4 };
    rider.chain = rider.chain_of_journal(book);
    if head & 8 != 0 {
        rider.chain.state = RiderState::Shopping;
    }
    rider.chain.released = bytes.ids().into_iter().map(wire_id).collect();
    rider
}

/// No outcome of an ended slot is 0.
const fn outcome_byte(ended: Option<Outcome>) -> u8 {
    match ended {
        Some(outcome) => outcome.code(),
        None => u8::MAX,
    }
}

fn length(count: usize) -> u8 {
    u8::try_from(count).expect("cities are small")
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn id(&mut self, id: Id) {
        self.0.extend_from_slice(&id.to_le_bytes()[..3]);
    }

    fn ids(&mut self, ids: &[Id]) {
        self.byte(length(ids.len()));
        for id in ids {
            self.id(*id);
        }
    }

    fn flags(&mut self, flags: &[bool]) {
        self.byte((0..).zip(flags).map(|(bit, flag)| u8::from(*flag) << bit).sum());
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().expect("what was packed is whole");
        self.0 = rest;
        *first
    }

    fn id(&mut self) -> Id {
        Id::from_le_bytes([self.byte(), self.byte(), self.byte(), 0])
    }

    fn ids(&mut self) -> Vec<Id> {
        (0..self.byte()).map(|_| self.id()).collect()
    }
}
