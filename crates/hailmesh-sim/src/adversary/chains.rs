//! Drivers whose chain of slots lies.

use hailmesh_types::PeerKey;
use hailmesh_wire::{Accept, Confirm, EvidenceKind, Frame, Outcome, Prev, Request, Signed, Verified, Void};

use super::Adversary;
use super::driving::{Car, Lane, Said, Trick};
use super::stage::{Reply, Stage};

/// Firm, then "the hold had lapsed": E3.
#[derive(Default)]
pub(super) struct FalseLapse;

impl Trick for FalseLapse {
    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        let given = lane.taken(confirm)?;
        let ack = stage.ack(0, confirm, given.accept.body().slot);
        let void = stage.void(0, &given.accept, None, Outcome::HoldLapsed);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E3, &[ack.id(), void.id()]);
        stage.tell(confirm.from, &void);
        Reply::say(&ack)
    }
}

/// Frees a slot with the RELEASE of an accomplice who never had it: E4b.
#[derive(Default)]
pub(super) struct BorrowedRelease;

impl Trick for BorrowedRelease {
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        let accept = lane.give(stage, request);
        let driver = stage.public(0);
        let borrowed = stage.release(1, driver, accept.id(), None, Outcome::NotChosen);
        let prev = Prev {
            outcome: Outcome::NotChosen,
            accept_id: Some(accept.id()),
            proof: Some(borrowed.bytes().to_vec()),
        };
        let next = stage.accept(0, request, lane.chain.slot, prev);
        lane.chain.step(next.id(), Outcome::HoldLapsed);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E4b, &[accept.id(), next.id()]);
        stage.tell(request.from, &next);
        Reply::say(&accept)
    }
}

/// Goes on from an ACCEPT that nobody knows: E4a.
#[derive(Default)]
pub(super) struct ForkedChain;

impl Trick for ForkedChain {
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        let accept = lane.give(stage, request);
        let prev = Prev { outcome: Outcome::DriverCancelled, accept_id: Some(stage.no_id()), proof: None };
        let next = stage.accept(0, request, lane.chain.slot, prev);
        lane.chain.step(next.id(), Outcome::HoldLapsed);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E4a, &[accept.id(), next.id()]);
        stage.tell(request.from, &next);
        Reply::say(&accept)
    }
}

/// Claims a later slot without any before it: E4d.
#[derive(Default)]
pub(super) struct VoidChain;

impl Trick for VoidChain {
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        let accept = stage.accept(0, request, lane.chain.slot + 3, Prev::FIRST);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E4d, &[accept.id()]);
        Reply::say(&accept)
    }
}

/// Says that the rider was in the car, with a secret that opens nothing: E4c.
#[derive(Default)]
pub(super) struct FalseBoarding;

impl Trick for FalseBoarding {
    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        let given = lane.taken(confirm)?;
        let slot = given.accept.body().slot;
        let ack = stage.ack(0, confirm, slot);
        let secret: [u8; 16] = stage.bytes();
        let prev = Prev {
            outcome: Outcome::CompletedUnilateral,
            accept_id: Some(given.accept.id()),
            proof: Some(secret.to_vec()),
        };
        let next = stage.accept(0, &given.request, slot + 1, prev);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E4c, &[ack.id(), next.id()]);
        stage.tell(confirm.from, &next);
        Reply::say(&ack)
    }
}

/// Ends one slot in two ways, for a rider who had taken it: E8.
#[derive(Default)]
pub(super) struct ContradictoryEnds;

/// Two VOIDs of one ACCEPT that do not agree.
fn two_ends(stage: &mut Stage, accept: &Verified<Accept>) -> [Verified<Void>; 2] {
    [Outcome::HoldLapsed, Outcome::DriverCancelled].map(|outcome| stage.void(0, accept, None, outcome))
}

impl Trick for ContradictoryEnds {
    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        let given = lane.taken(confirm)?;
        let [lapsed, cancelled] = two_ends(stage, &given.accept);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E8, &[lapsed.id(), cancelled.id()]);
        stage.tell(confirm.from, &cancelled);
        Reply::say(&lapsed)
    }
}

/// The same for a rider who had turned it down: E8.
#[derive(Default)]
pub(super) struct EndsOfTheUntaken {
    told: bool,
}

impl Trick for EndsOfTheUntaken {
    fn offers(&mut self, stage: &mut Stage, lane: &mut Lane) -> bool {
        // An offer of a late slot, so that an ACCEPT of an early one is not taken.
        if !self.told {
            self.told = true;
            for _ in 0..5 {
                let nobody = stage.no_id();
                lane.chain.step(nobody, Outcome::DriverCancelled);
            }
        }
        true
    }

    fn request(&mut self, stage: &mut Stage, _lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        let accept = stage.accept(0, request, 0, Prev::FIRST);
        let [lapsed, cancelled] = two_ends(stage, &accept);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E8, &[accept.id(), lapsed.id(), cancelled.id()]);
        stage.tell(request.from, &lapsed);
        stage.tell(request.from, &cancelled);
        Reply::say(&accept)
    }
}

/// Promises a slot, sends so many ACCEPTs of keys of the moment that the first one would
/// be pushed out of what a rider keeps, and promises the slot again: E1.
#[derive(Default)]
pub(super) struct WitnessFlush {
    car: Car<Keep>,
    victim: Option<Victim>,
    done: bool,
    keys: u32,
}

struct Victim {
    from: PeerKey,
    request: Signed<Request>,
    accept: Verified<Accept>,
    left: u32,
}

/// An honest car that never acknowledges.
#[derive(Default)]
pub(super) struct Keep;

impl Trick for Keep {}

impl WitnessFlush {
    /// More than anybody keeps (P20).
    const JUNK: u32 = 80;
    /// What a peer may say at once, and less (P20).
    const AT_ONCE: u32 = 30;
}

impl Adversary for WitnessFlush {
    fn pace(&self) -> hailmesh_types::Duration {
        hailmesh_types::Duration::from_secs(3)
    }

    fn on_timer(&mut self, stage: &mut Stage) {
        let Some(victim) = self.victim.as_mut() else {
            // One more offer would show the ACCEPT before it (E9).
            if self.keys.is_multiple_of(4) && !self.done {
                self.car.on_timer(stage);
            }
            self.keys += 1;
            return;
        };
        let now = victim.left.min(Self::AT_ONCE);
        victim.left -= now;
        for _ in 0..now {
            self.keys += 1;
            let junk = stage.accept(self.keys, &victim.request, 0, Prev::FIRST);
            stage.tell(victim.from, &junk);
        }
        if victim.left == 0 {
            let mut body = stage.accept_body(
                &victim.request,
                victim.accept.body().slot,
                victim.accept.body().prev.clone(),
            );
            body.eta = hailmesh_types::Duration::from_secs(90);
            let other = stage.sign(0, body);
            stage.attempt();
            stage.contradict(0, EvidenceKind::E1, &[victim.accept.id(), other.id()]);
            stage.tell(victim.from, &other);
            self.victim = None;
            self.done = true;
        }
    }

    fn on_request(&mut self, stage: &mut Stage, from: PeerKey, frame: &Frame) -> Option<Reply> {
        if self.done || self.victim.is_some() {
            return None;
        }
        let reply = self.car.on_request(stage, from, frame)?;
        if self.victim.is_none()
            && let Some(request) = super::words::said::<Request>(frame)
            && let Some(given) = self.car.lane.given.values().find(|given| given.request.id() == request.id())
        {
            let accept = given.accept.clone();
            self.victim = Some(Victim { from, request, accept, left: Self::JUNK });
        }
        Some(reply)
    }
}
