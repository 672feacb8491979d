//! Drivers who break what they agree to, or never meant it.

use std::collections::BTreeMap;
use std::ops::Deref;

use hailmesh_types::{Amount, Duration, Hash, PeerKey, StatementId};
use hailmesh_wire::{
    Accept, Ack, Confirm, EvidenceKind, Extensions, Frame, Outcome, Request, RideState, Signed, Status,
    StatusEntry, Verified,
};

use super::Adversary;
use super::stage::{Reply, Stage};
use super::words::{Chain, said};

/// ACCEPTs that are remembered.
const GIVEN_MAX: usize = 64;

/// An ACCEPT that was given, and to what.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) request: Signed<Request>,
    pub(super) accept: Verified<Accept>,
}

/// A car with an honest chain and honest offers, until its trick says otherwise.
#[derive(Default)]
pub(super) struct Car<T> {
    pub(super) lane: Lane,
    trick: T,
}

/// What every car has.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) chain: Chain,
    acks: BTreeMap<StatementId, Verified<Ack>>,
    pub(super) given: BTreeMap<StatementId, Given>,
}

impl Lane {
    /// Gives the ACCEPT of the open slot, which ends as if its hold had lapsed at once.
    pub(super) fn give(&mut self, stage: &mut Stage, request: &Signed<Request>) -> Verified<Accept> {
        let accept = stage.accept(0, request, self.chain.slot, self.chain.prev());
        self.keep(request, &accept);
        self.chain.step(accept.id(), Outcome::HoldLapsed);
        accept
    }

    pub(super) fn keep(&mut self, request: &Signed<Request>, accept: &Verified<Accept>) {
        if self.given.len() >= GIVEN_MAX {
            self.given.pop_first();
        }
        let given = Given { request: request.clone(), accept: accept.clone() };
        self.given.insert(accept.id(), given);
    }

    /// What a CONFIRM takes up.
    pub(super) fn taken(&self, confirm: &Signed<Confirm>) -> Option<Given> {
        self.given.get(&confirm.body().accept_id).cloned()
    }

    /// The ACK of a CONFIRM of the last slot, which then ends cancelled.
    pub(super) fn acknowledge(&mut self, stage: &mut Stage, confirm: &Signed<Confirm>) -> Option<Reply> {
        if let Some(ack) = self.acks.get(&confirm.id()) {
            return Reply::say(ack);
        }
        let given = self.taken(confirm)?;
        if self.chain.head() != Some(given.accept.id()) {
            return Reply::say(&stage.void(0, &given.accept, None, Outcome::HoldLapsed));
        }
        self.chain.amend(given.accept.id(), Outcome::DriverCancelled);
        let ack = stage.ack(0, confirm, given.accept.body().slot);
        self.acks.insert(confirm.id(), ack.clone());
        Reply::say(&ack)
    }
}

/// A statement of a rider, who said it, and the frame that it came in.
pub(super) struct Said<T> {
    pub(super) from: PeerKey,
    pub(super) frame: Frame,
    statement: Signed<T>,
}

impl<T> Deref for Said<T> {
    type Target = Signed<T>;

    fn deref(&self) -> &Signed<T> {
        &self.statement
    }
}

/// Where a car leaves the honest path.
pub(super) trait Trick: Default + Send {
    /// Whether it is on offer now.
    fn offers(&mut self, _stage: &mut Stage, _lane: &mut Lane) -> bool {
        true
    }

    /// Somebody wants a ride.
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        Reply::say(&lane.give(stage, request))
    }

    /// Somebody takes it.
    fn confirm(&mut self, _stage: &mut Stage, _lane: &mut Lane, _confirm: &Said<Confirm>) -> Option<Reply> {
        None
    }
}

impl<T: Trick> Adversary for Car<T> {
    fn on_timer(&mut self, stage: &mut Stage) {
        if self.trick.offers(stage, &mut self.lane) {
            let offer = self.lane.chain.offer(stage, 0);
            stage.publish_here(offer.bytes().clone());
        }
    }

    fn on_request(&mut self, stage: &mut Stage, from: PeerKey, frame: &Frame) -> Option<Reply> {
        if let Some(statement) = said::<Request>(frame) {
            let said = Said { from, frame: frame.clone(), statement };
            return self.trick.request(stage, &mut self.lane, &said);
        }
        if let Some(statement) = said::<Confirm>(frame) {
            let said = Said { from, frame: frame.clone(), statement };
            return self.trick.confirm(stage, &mut self.lane, &said);
        }
        Reply::now(&Frame::new(hailmesh_wire::FrameContent::None))
    }
}

/// Offers rides where no car is, and never answers.
#[derive(Default)]
pub(super) struct Ghost;

impl Trick for Ghost {
    fn request(&mut self, stage: &mut Stage, _lane: &mut Lane, _request: &Said<Request>) -> Option<Reply> {
        stage.attempt();
        None
    }
}

/// Agrees to every request, and never acknowledges.
#[derive(Default)]
pub(super) struct AcceptAndVanish;

impl Trick for AcceptAndVanish {
    fn confirm(&mut self, stage: &mut Stage, _lane: &mut Lane, _confirm: &Said<Confirm>) -> Option<Reply> {
        stage.attempt();
        None
    }
}

/// Is firm, and never comes.
#[derive(Default)]
pub(super) struct AckAndVanish;

impl Trick for AckAndVanish {
    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        stage.attempt();
        lane.acknowledge(stage, confirm)
    }
}

/// Answers when nobody waits any more.
#[derive(Default)]
pub(super) struct SlowReader;

impl SlowReader {
    const AFTER: Duration = Duration::from_millis(9_500);
}

impl Trick for SlowReader {
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        stage.attempt();
        let reply = Reply::say(&lane.give(stage, request))?;
        Some(Reply { after: Self::AFTER, ..reply })
    }
}

/// Promises one slot to everybody who asks, acknowledges all of them, and goes on with
/// the first: E1 where one node has both, E9 where a later offer shows the other.
#[derive(Default)]
pub(super) struct DoubleAccept {
    accepts: Vec<Given>,
}

impl DoubleAccept {
    fn promise(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Signed<Request>) -> Verified<Accept> {
        let accept = stage.accept(0, request, lane.chain.slot, lane.chain.prev());
        if !self.accepts.is_empty() {
            stage.attempt();
        }
        for other in &self.accepts {
            stage.contradict(0, EvidenceKind::E1, &[other.accept.id(), accept.id()]);
        }
        lane.keep(request, &accept);
        self.accepts.push(Given { request: request.clone(), accept: accept.clone() });
        accept
    }

    fn acknowledge(stage: &mut Stage, lane: &Lane, confirm: &Signed<Confirm>) -> Option<Reply> {
        let given = lane.taken(confirm)?;
        Reply::say(&stage.ack(0, confirm, given.accept.body().slot))
    }
}

impl Trick for DoubleAccept {
    fn offers(&mut self, stage: &mut Stage, lane: &mut Lane) -> bool {
        let riders = |accepts: &[Given]| {
            accepts.iter().any(|given| given.request.signer() != accepts[0].request.signer())
        };
        if self.accepts.len() < 2 || !riders(&self.accepts) {
            return true;
        }
        // The next offer shows the first ACCEPT, and that gives the others away.
        let accepts = std::mem::take(&mut self.accepts);
        lane.chain.step(accepts[0].accept.id(), Outcome::DriverCancelled);
        let offer = lane.chain.offer(stage, 0);
        for other in &accepts[1..] {
            stage.contradict(0, EvidenceKind::E9, &[offer.id(), other.accept.id()]);
        }
        stage.publish_here(offer.bytes().clone());
        false
    }

    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        Reply::say(&self.promise(stage, lane, request))
    }

    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        Self::acknowledge(stage, lane, confirm)
    }
}

/// The same, and never offers again: its victims do not find each other (P24.7).
#[derive(Default)]
pub(super) struct SilentDoubleAccept(DoubleAccept);

impl Trick for SilentDoubleAccept {
    fn offers(&mut self, _stage: &mut Stage, _lane: &mut Lane) -> bool {
        self.0.accepts.len() < 2
    }

    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        Reply::say(&self.0.promise(stage, lane, request))
    }

    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        DoubleAccept::acknowledge(stage, lane, confirm)
    }
}

/// Agrees under another tariff than the offered one: E5a.
#[derive(Default)]
pub(super) struct BaitTariff;

impl Trick for BaitTariff {
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        let mut body = stage.accept_body(request, lane.chain.slot, lane.chain.prev());
        body.tariff_hash = Hash::from_bytes(stage.bytes());
        let accept = stage.sign(0, body);
        lane.chain.step(accept.id(), Outcome::HoldLapsed);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E5a, &[request.body().offer_id, accept.id()]);
        Reply::say(&accept)
    }
}

/// Agrees at a higher fare than the offer allows: E5b.
#[derive(Default)]
pub(super) struct BaitFare;

impl Trick for BaitFare {
    fn request(&mut self, stage: &mut Stage, lane: &mut Lane, request: &Said<Request>) -> Option<Reply> {
        let mut body = stage.accept_body(request, lane.chain.slot, lane.chain.prev());
        body.fare = Amount::from_minor(body.fare.minor() + 500).unwrap_or(Amount::MAX);
        let accept = stage.sign(0, body);
        lane.chain.step(accept.id(), Outcome::HoldLapsed);
        stage.attempt();
        stage.contradict(0, EvidenceKind::E5b, &[accept.id()]);
        Reply::say(&accept)
    }
}

/// Says in STATUS what never was: that the ride is over, that statements were heard that
/// nobody made. Cancels in the end.
#[derive(Default)]
pub(super) struct LyingStatus {
    firm: Vec<(PeerKey, Signed<Confirm>, u32)>,
}

impl Trick for LyingStatus {
    fn offers(&mut self, stage: &mut Stage, lane: &mut Lane) -> bool {
        for (peer, confirm, told) in std::mem::take(&mut self.firm) {
            if told >= 2 {
                if let Some(given) = lane.taken(&confirm) {
                    let void = stage.void(0, &given.accept, Some(&confirm), Outcome::DriverCancelled);
                    stage.tell(peer, &void);
                }
                continue;
            }
            let state = if told == 0 { RideState::Completed } else { RideState::Cancelled };
            let (own_last, heard_last) = (stage.no_id(), Some(stage.no_id()));
            let nonce = stage.bytes();
            let entry =
                StatusEntry { agreement_id: confirm.body().agreement_id, state, own_last, heard_last };
            let status = Status {
                to: *confirm.signer(),
                issued: stage.now(),
                nonce,
                reply_to: None,
                entries: vec![entry],
                ext: Extensions::NONE,
            };
            let status = stage.sign(0, status);
            stage.attempt();
            stage.tell(peer, &status);
            self.firm.push((peer, confirm, told + 1));
        }
        true
    }

    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        if !self.firm.iter().any(|(_, known, _)| known.id() == confirm.id()) {
            self.firm.push((confirm.from, Signed::clone(confirm), 0));
        }
        lane.acknowledge(stage, confirm)
    }
}

/// Passes the CONFIRM of an honest rider on to an honest driver, places and all.
#[derive(Default)]
pub(super) struct ReplayedConfirm;

impl Trick for ReplayedConfirm {
    fn confirm(&mut self, stage: &mut Stage, lane: &mut Lane, confirm: &Said<Confirm>) -> Option<Reply> {
        // Not what another of its kind has passed on.
        if confirm.body().to != stage.public(0) {
            return None;
        }
        for driver in stage.drivers().into_iter().take(4) {
            stage.attempt();
            stage.send(driver.signer().to_peer_key(), confirm.frame.encode());
        }
        let given = lane.taken(confirm)?;
        Reply::say(&stage.void(0, &given.accept, None, Outcome::HoldLapsed))
    }
}
