//! Honest people: a driver with its chain of slots, the riders it meets, and everything
//! they sign, however a ride ends. What they sign must never be evidence (S6).

use std::sync::Arc;

use hailmesh_types::{Duration, StatementId};
use hailmesh_wire::{
    Accept, AnyVerified, Confirm, Cosign, Counter, DriverOffer, EndReason, Extensions, Outcome, Prev,
    Release, Replacement, Replaces, Request, RiderOffer, RiderTerms, Role, ShiftCert, Verified, board_hash,
};

use crate::ride::{
    DRIVER, DRIVER_IDENTITY, SECRET, accept, ack, amount, at, cell, confirm, driver_offer, public, release,
    request, shift_cert, sign, void,
};

/// The driver's second key, after the first was replaced.
pub(crate) const DRIVER_TOO: u8 = 9;
/// The first rider key; every other is one more.
const FIRST_RIDER: u8 = 20;

/// A stream of choices from a seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }
}

/// What was signed.
#[derive(Default)]
pub(crate) struct Story {
    /// By honest people.
    pub(crate) honest: Vec<AnyVerified>,
    /// By riders who try to make the honest driver look guilty.
    pub(crate) rogue: Vec<AnyVerified>,
    /// Keys of honest riders.
    pub(crate) riders: Vec<u8>,
}

/// A chain: the next slot and how the one before ended.
#[derive(Clone)]
struct Chain {
    slot: u64,
    prev: Prev,
    head: Option<StatementId>,
}

impl Chain {
    const NEW: Self = Self { slot: 0, prev: Prev::FIRST, head: None };

    fn end(&mut self, accept: &Verified<Accept>, outcome: Outcome, proof: Option<Vec<u8>>) {
        self.slot += 1;
        self.prev = Prev { outcome, accept_id: Some(accept.id()), proof };
        self.head = Some(accept.id());
    }
}

struct Teller {
    dice: Dice,
    story: Story,
    seq: u64,
    rider: u8,
    rider_chain: Chain,
}

/// Everything signed in `rides` rides under two driver keys.
pub(crate) fn story(seed: u64, rides: u32) -> Story {
    let mut teller = Teller {
        dice: Dice(seed),
        story: Story::default(),
        seq: 0,
        rider: FIRST_RIDER,
        rider_chain: Chain::NEW,
    };
    teller.story.riders.push(FIRST_RIDER);
    let first = teller.cert(DRIVER, None);
    let mut chain = Chain::NEW;
    for _ in 0..rides {
        teller.ride(DRIVER, &mut chain);
    }
    // Then the key is replaced: closed, or lost with the disk.
    let lost = teller.dice.coin();
    let replaces = if lost {
        Replaces { cert: None, how: Replacement::Lost }
    } else {
        Replaces { cert: Some(first), how: Replacement::Closed }
    };
    teller.cert(DRIVER_TOO, Some(replaces));
    let mut chain = Chain::NEW;
    if lost {
        chain.prev = Prev { outcome: Outcome::KeyReplaced, accept_id: None, proof: None };
    }
    for _ in 0..rides {
        teller.ride(DRIVER_TOO, &mut chain);
    }
    teller.story
}

impl Teller {
    fn honest(&mut self, statement: impl Into<AnyVerified>) {
        self.story.honest.push(statement.into());
    }

    fn cert(&mut self, subject: u8, replaces: Option<Replaces>) -> StatementId {
        let body = shift_cert(subject, Role::Driver, u64::from(subject));
        let issued = at(u32::from(subject));
        let cert = sign(DRIVER_IDENTITY, ShiftCert { issued, replaces, ..body });
        self.honest(cert.clone());
        cert.id()
    }

    fn offer(
        &mut self,
        driver: u8,
        slot: u64,
        head: Option<StatementId>,
        live: bool,
    ) -> Verified<DriverOffer> {
        self.seq += 1;
        let mut body = DriverOffer { seq: self.seq, slot, head, ..driver_offer() };
        if !live {
            body.live = None;
        }
        let offer = sign(driver, body);
        self.honest(offer.clone());
        offer
    }

    fn rider_offer(&mut self) {
        self.seq += 1;
        let offer = driver_offer();
        let terms = offer.live.unwrap();
        let offer = RiderOffer {
            seq: self.seq,
            issued: at(0),
            ttl: Duration::from_secs(60),
            cell: cell(8),
            slot: self.rider_chain.slot,
            live: Some(RiderTerms {
                class: terms.class,
                seats: terms.seats,
                features: terms.features,
                attempt: 1,
                max_fare: None,
                peer: public(self.rider).to_peer_key(),
            }),
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            ext: Extensions::NONE,
        };
        self.honest(sign(self.rider, offer));
    }

    fn new_rider(&mut self) {
        self.rider += 1;
        self.rider_chain = Chain::NEW;
        self.story.riders.push(self.rider);
    }

    /// One slot of the driver, from the REQUEST to its end.
    fn ride(&mut self, driver: u8, chain: &mut Chain) {
        let offer = self.offer(driver, chain.slot, chain.head, true);
        if self.dice.coin() {
            self.rider_offer();
        }
        let accept = self.bind(driver, chain, &offer);
        // Before any CONFIRM.
        match self.dice.roll(12) {
            0 => {
                self.honest(sign(driver, void(&accept, Outcome::HoldLapsed)));
                return chain.end(&accept, Outcome::HoldLapsed, None);
            }
            1 => {
                let freed = sign(self.rider, release(&accept, 0, Outcome::NotChosen));
                self.honest(freed.clone());
                self.honest(sign(driver, void(&accept, Outcome::NotChosen)));
                return chain.end(&accept, Outcome::NotChosen, Some(freed.bytes().to_vec()));
            }
            2 => {
                let mut body = void(&accept, Outcome::DriverCancelled);
                body.agreement_id = None;
                self.honest(sign(driver, body));
                return chain.end(&accept, Outcome::DriverCancelled, None);
            }
            _ => {}
        }
        let confirm =
            sign(self.rider, confirm(&accept, self.rider_chain.slot, self.rider_chain.prev.clone()));
        self.honest(confirm.clone());
        // Somebody tries to make the secret that will be shown look wrong.
        let other = Confirm { board_hash: board_hash(&[0; 16]), ..confirm.body().clone() };
        self.story.rogue.push(sign(self.rider, other).into());
        match self.dice.roll(10) {
            // The CONFIRM was lost or late.
            0 => {
                self.honest(sign(driver, void(&accept, Outcome::HoldLapsed)));
                chain.end(&accept, Outcome::HoldLapsed, None);
                self.let_go(&accept, Outcome::CounterpartyVoid);
            }
            // The rider gave up before the driver had heard it: the driver was still held.
            1 => {
                let freed = self.let_go(&accept, Outcome::NoAck);
                self.honest(sign(driver, void(&accept, Outcome::NotChosen)));
                chain.end(&accept, Outcome::NotChosen, Some(freed));
            }
            _ => self.firm(driver, chain, &accept, &confirm),
        }
        if self.dice.roll(3) == 0 {
            self.new_rider();
        }
    }

    /// REQUEST, perhaps after a COUNTER, and ACCEPT.
    fn bind(&mut self, driver: u8, chain: &Chain, offer: &Verified<DriverOffer>) -> Verified<Accept> {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.dice.roll(u64::MAX).to_be_bytes());
        let mut wanted = Request { nonce, rider_slot: self.rider_chain.slot, ..request(driver, offer) };
        let mut fare = None;
        if self.dice.roll(4) == 0 {
            let first = sign(self.rider, wanted.clone());
            let counter = sign(
                driver,
                Counter {
                    to: public(self.rider),
                    issued: at(900),
                    request_id: first.id(),
                    n: 1,
                    fare: amount(1_950),
                    eta: Duration::from_secs(60),
                    valid: Duration::from_secs(20),
                    ext: Extensions::NONE,
                },
            );
            self.honest(first);
            self.honest(counter.clone());
            wanted.counter_id = Some(counter.id());
            wanted.nonce[15] = 1;
            fare = Some(amount(1_950));
        }
        let request = sign(self.rider, wanted.clone());
        self.honest(request.clone());
        // The same wish with a purse that the fare does not fit into.
        self.story.rogue.push(sign(self.rider, Request { max_fare: amount(1), ..wanted }).into());
        let mut body = accept(&request, chain.slot, chain.prev.clone());
        body.fare = fare.unwrap_or(body.fare);
        let accept = sign(driver, body);
        self.honest(accept.clone());
        accept
    }

    /// The slot is firm; it ends in one of the many ways.
    fn firm(
        &mut self,
        driver: u8,
        chain: &mut Chain,
        accept: &Verified<Accept>,
        confirm: &Verified<Confirm>,
    ) {
        self.honest(sign(driver, ack(confirm, chain.slot)));
        self.offer(driver, chain.slot + 1, Some(accept.id()), false);
        match self.dice.roll(7) {
            0 => {
                let freed = self.let_go(accept, Outcome::RiderCancelled);
                self.honest(sign(driver, void(accept, Outcome::RiderReleased)));
                chain.end(accept, Outcome::RiderReleased, Some(freed));
            }
            1 => {
                // The ACK was lost.
                let freed = self.let_go(accept, Outcome::NoAck);
                self.honest(sign(driver, void(accept, Outcome::RiderReleased)));
                chain.end(accept, Outcome::RiderReleased, Some(freed));
            }
            2 => {
                self.honest(sign(driver, void(accept, Outcome::DriverCancelled)));
                chain.end(accept, Outcome::DriverCancelled, None);
                self.let_go(accept, Outcome::CounterpartyVoid);
            }
            3 => {
                self.honest(sign(driver, void(accept, Outcome::NoShowClaimed)));
                chain.end(accept, Outcome::NoShowClaimed, None);
                // The rider may have ended it by itself at the same time.
                let how = if self.dice.coin() { Outcome::CounterpartyVoid } else { Outcome::RiderCancelled };
                self.let_go(accept, how);
            }
            4 => {
                self.honest(sign(driver, void(accept, Outcome::CompletedUnilateral)));
                chain.end(accept, Outcome::CompletedUnilateral, Some(SECRET.to_vec()));
                if self.dice.coin() {
                    // It comes after the end and is kept with the receipt.
                    self.cosign(accept, confirm);
                } else {
                    let unilateral = self.dice.coin();
                    let how =
                        if unilateral { Outcome::CompletedUnilateral } else { Outcome::CounterpartyVoid };
                    self.let_go(accept, how);
                }
            }
            _ => {
                let cosign = self.cosign(accept, confirm);
                chain.end(accept, Outcome::Completed, Some(cosign.bytes().to_vec()));
            }
        }
    }

    /// The rider ends its slot by RELEASE; returns the envelope.
    fn let_go(&mut self, accept: &Verified<Accept>, outcome: Outcome) -> Vec<u8> {
        let freed = sign(self.rider, release(accept, self.rider_chain.slot, outcome));
        self.honest(freed.clone());
        let late = Release { reason: EndReason::Safety, ..freed.body().clone() };
        self.story.rogue.push(sign(self.rider, late).into());
        self.rider_chain.end(accept, outcome, None);
        Arc::clone(freed.bytes()).to_vec()
    }

    fn cosign(&mut self, accept: &Verified<Accept>, confirm: &Verified<Confirm>) -> Verified<Cosign> {
        let body = Cosign {
            to: *accept.signer(),
            issued: at(1_353_000),
            agreement_id: confirm.body().agreement_id,
            accept_id: accept.id(),
            complete_id: StatementId::from_bytes([0xcc; 32]),
            slot: self.rider_chain.slot,
            total: amount(1_700),
            ext: Extensions::NONE,
        };
        let cosign = sign(self.rider, body);
        self.honest(cosign.clone());
        self.rider_chain.end(accept, Outcome::Completed, None);
        cosign
    }
}
