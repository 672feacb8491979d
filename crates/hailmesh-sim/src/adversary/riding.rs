//! Riders who ask for what they do not want, take what is not theirs, and end what they
//! never had.

use std::collections::BTreeMap;

use hailmesh_types::{Amount, Duration, PeerKey, PublicKey, StatementId};
use hailmesh_wire::{
    Accept, Ack, AnyStatement, Attachment, Confirm, Cosign, DriverOffer, EvidenceKind, Extensions, Frame,
    Opening, Outcome, Request, Signed, Verified,
};

use super::Adversary;
use super::stage::{Reply, Stage};
use super::words::said;

/// Questions that wait for an answer, at the most.
const ASKED_MAX: usize = 256;

/// A REQUEST under a ride key of its own.
#[derive(Clone)]
struct Asked {
    key: u32,
    driver: PublicKey,
    request: Verified<Request>,
}

/// An ACCEPT that came of it.
pub(super) struct Caught {
    key: u32,
    driver: PublicKey,
    request: Verified<Request>,
    accept: Signed<Accept>,
}

impl Caught {
    fn peer(&self) -> PeerKey {
        self.driver.to_peer_key()
    }

    fn confirm(&self, stage: &mut Stage) -> (Verified<Confirm>, Frame) {
        stage.confirm(self.key, self.driver, &self.request, self.accept.id())
    }
}

/// Looks for drivers and asks them, with a new ride key each time.
#[derive(Default)]
struct Hunt {
    keys: u32,
    asked: BTreeMap<u64, Asked>,
}

impl Hunt {
    fn ask(&mut self, stage: &mut Stage, driver: &Signed<DriverOffer>) {
        self.keys += 1;
        self.ask_as(stage, driver, self.keys);
    }

    fn ask_as(&mut self, stage: &mut Stage, driver: &Signed<DriverOffer>, key: u32) {
        let request = stage.request(key, driver);
        let ask = stage.tell(driver.signer().to_peer_key(), &request);
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_first();
        }
        self.asked.insert(ask, Asked { key, driver: *driver.signer(), request });
    }

    fn ask_somebody(&mut self, stage: &mut Stage) {
        if let Some(driver) = stage.some_driver() {
            self.ask(stage, &driver);
        }
    }

    /// The ACCEPT in an answer.
    fn caught(&mut self, ask: u64, frame: &Frame) -> Option<Caught> {
        let Asked { key, driver, request } = self.asked.remove(&ask)?;
        let accept = said::<Accept>(frame).filter(|accept| *accept.signer() == driver)?;
        Some(Caught { key, driver, request, accept })
    }
}

/// Takes holds of drivers and never confirms.
#[derive(Default)]
pub(super) struct HoldGriefing(Hunt);

impl Adversary for HoldGriefing {
    fn pace(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn on_timer(&mut self, stage: &mut Stage) {
        stage.attempt();
        self.0.ask_somebody(stage);
    }
}

/// Asks one driver as fast as the wire lets it.
#[derive(Default)]
pub(super) struct ShoppingFlood(Hunt);

impl ShoppingFlood {
    const AT_ONCE: u32 = 50;
}

impl Adversary for ShoppingFlood {
    fn on_timer(&mut self, stage: &mut Stage) {
        let Some(driver) = stage.some_driver() else { return };
        for _ in 0..Self::AT_ONCE {
            stage.attempt();
            self.0.ask(stage, &driver);
        }
    }
}

/// What a program does with a ride that it has got hold of.
pub(super) trait Taker: Default + Send {
    /// Time between two rides.
    const PACE: Duration = Duration::from_secs(20);

    /// An ACCEPT has come; the CONFIRM that was sent for it, if one was.
    fn accepted(&mut self, stage: &mut Stage, caught: &Caught) -> Option<Verified<Confirm>>;

    /// Which of its CONFIRMs is meant when this one is acknowledged.
    fn meant(&self, confirm: StatementId) -> StatementId {
        confirm
    }

    /// The driver is firm.
    fn firm(&mut self, _stage: &mut Stage, _caught: &Caught, _confirm: &Verified<Confirm>) {}
}

/// A rider of that kind.
#[derive(Default)]
pub(super) struct Rider<T> {
    hunt: Hunt,
    taken: BTreeMap<StatementId, (Caught, Verified<Confirm>)>,
    taker: T,
}

impl<T: Taker> Rider<T> {
    fn hear(&mut self, stage: &mut Stage, frame: &Frame) {
        if let Some(ack) = said::<Ack>(frame)
            && let Some((caught, confirm)) = self.taken.remove(&self.taker.meant(ack.body().confirm_id))
        {
            self.taker.firm(stage, &caught, &confirm);
        }
    }
}

impl<T: Taker> Adversary for Rider<T> {
    fn pace(&self) -> Duration {
        T::PACE
    }

    fn on_timer(&mut self, stage: &mut Stage) {
        self.hunt.ask_somebody(stage);
    }

    fn on_response(&mut self, stage: &mut Stage, ask: u64, frame: &Frame) {
        match self.hunt.caught(ask, frame) {
            Some(caught) => {
                if let Some(confirm) = self.taker.accepted(stage, &caught) {
                    if self.taken.len() >= ASKED_MAX {
                        self.taken.pop_first();
                    }
                    self.taken.insert(confirm.id(), (caught, confirm));
                }
            }
            None => self.hear(stage, frame),
        }
    }

    fn on_request(&mut self, stage: &mut Stage, _from: PeerKey, frame: &Frame) -> Option<Reply> {
        self.hear(stage, frame);
        Reply::now(&Frame::new(hailmesh_wire::FrameContent::None))
    }
}

/// Lets go of a ride, so that the next attack finds a free car.
fn let_go(stage: &mut Stage, caught: &Caught, confirm: &Verified<Confirm>) {
    let release =
        stage.release(caught.key, caught.driver, caught.accept.id(), Some(confirm), Outcome::RiderCancelled);
    stage.tell(caught.peer(), &release);
}

/// Lets go of an ACCEPT that it did not confirm.
fn turn_down(stage: &mut Stage, caught: &Caught) {
    let release = stage.release(caught.key, caught.driver, caught.accept.id(), None, Outcome::NotChosen);
    stage.tell(caught.peer(), &release);
}

/// Two CONFIRMs for one slot, both to the same driver: E2.
#[derive(Default)]
pub(super) struct TwoConfirms {
    /// The first CONFIRM of each second one.
    pairs: BTreeMap<StatementId, StatementId>,
}

impl Taker for TwoConfirms {
    fn accepted(&mut self, stage: &mut Stage, caught: &Caught) -> Option<Verified<Confirm>> {
        let (one, frame) = caught.confirm(stage);
        let (other, again) = caught.confirm(stage);
        stage.attempt();
        stage.contradict(caught.key, EvidenceKind::E2, &[one.id(), other.id()]);
        stage.send(caught.peer(), frame.encode());
        stage.send(caught.peer(), again.encode());
        self.pairs.insert(other.id(), one.id());
        Some(one)
    }

    fn meant(&self, confirm: StatementId) -> StatementId {
        self.pairs.get(&confirm).copied().unwrap_or(confirm)
    }

    fn firm(&mut self, stage: &mut Stage, caught: &Caught, confirm: &Verified<Confirm>) {
        let_go(stage, caught, confirm);
    }
}

/// The CONFIRM of a ride under another ride key than asked for it.
#[derive(Default)]
pub(super) struct AnothersConfirm;

impl Taker for AnothersConfirm {
    fn accepted(&mut self, stage: &mut Stage, caught: &Caught) -> Option<Verified<Confirm>> {
        let (_, frame) = stage.confirm(100_000, caught.driver, &caught.request, caught.accept.id());
        stage.attempt();
        stage.send(caught.peer(), frame.encode());
        turn_down(stage, caught);
        None
    }
}

/// A CONFIRM whose opening is of another place, and one without.
#[derive(Default)]
pub(super) struct BadOpening;

impl Taker for BadOpening {
    fn accepted(&mut self, stage: &mut Stage, caught: &Caught) -> Option<Verified<Confirm>> {
        let (confirm, mut frame) = caught.confirm(stage);
        let salt = stage.bytes();
        if let Some(Attachment::PickupOpening(opening)) = frame.attachments.first_mut() {
            *opening = Opening { salt, content: opening.content.clone() };
        }
        stage.attempt();
        stage.send(caught.peer(), frame.encode());
        stage.attempt();
        stage.tell(caught.peer(), &confirm);
        None
    }
}

/// Co-signs a fare that was never proposed.
#[derive(Default)]
pub(super) struct ForgedCosign;

impl Taker for ForgedCosign {
    fn accepted(&mut self, stage: &mut Stage, caught: &Caught) -> Option<Verified<Confirm>> {
        let (confirm, frame) = caught.confirm(stage);
        stage.send(caught.peer(), frame.encode());
        Some(confirm)
    }

    fn firm(&mut self, stage: &mut Stage, caught: &Caught, confirm: &Verified<Confirm>) {
        let cosign = Cosign {
            to: caught.driver,
            issued: stage.now(),
            agreement_id: confirm.body().agreement_id,
            accept_id: caught.accept.id(),
            complete_id: stage.no_id(),
            slot: 0,
            total: Amount::ZERO,
            ext: Extensions::NONE,
        };
        let cosign = stage.sign(caught.key, cosign);
        stage.attempt();
        stage.tell(caught.peer(), &cosign);
        let_go(stage, caught, confirm);
    }
}

/// Ends a firm ride in two ways: E8.
#[derive(Default)]
pub(super) struct ContradictoryReleases;

impl Taker for ContradictoryReleases {
    fn accepted(&mut self, stage: &mut Stage, caught: &Caught) -> Option<Verified<Confirm>> {
        let (confirm, frame) = caught.confirm(stage);
        stage.send(caught.peer(), frame.encode());
        Some(confirm)
    }

    fn firm(&mut self, stage: &mut Stage, caught: &Caught, confirm: &Verified<Confirm>) {
        let accept = caught.accept.id();
        let one = stage.release(caught.key, caught.driver, accept, Some(confirm), Outcome::RiderCancelled);
        let other = stage.release(caught.key, caught.driver, accept, Some(confirm), Outcome::NoAck);
        stage.attempt();
        stage.contradict(caught.key, EvidenceKind::E8, &[one.id(), other.id()]);
        stage.tell(caught.peer(), &one);
        stage.tell(caught.peer(), &other);
    }
}

/// One ride key, two drivers, one slot, both confirmed, and nobody at the kerb. Neither
/// driver holds both CONFIRMs (P24.7).
#[derive(Default)]
pub(super) struct TwoDrivers(Hunt);

impl Adversary for TwoDrivers {
    fn pace(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn on_timer(&mut self, stage: &mut Stage) {
        let drivers = stage.drivers();
        self.0.keys += 1;
        let key = self.0.keys;
        for driver in drivers.iter().rev().take(2) {
            self.0.ask_as(stage, driver, key);
        }
    }

    fn on_response(&mut self, stage: &mut Stage, ask: u64, frame: &Frame) {
        let Some(caught) = self.0.caught(ask, frame) else { return };
        let (_, frame) = caught.confirm(stage);
        stage.attempt();
        stage.send(caught.peer(), frame.encode());
    }
}

/// Shows one driver the CONFIRM that another one's ACCEPT deserves.
#[derive(Default)]
pub(super) struct WrongDriver(Hunt);

impl Adversary for WrongDriver {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.0.ask_somebody(stage);
    }

    fn on_response(&mut self, stage: &mut Stage, ask: u64, frame: &Frame) {
        let Some(caught) = self.0.caught(ask, frame) else { return };
        let (_, meant) = caught.confirm(stage);
        for other in stage.drivers().into_iter().filter(|other| *other.signer() != caught.driver).take(3) {
            let peer = other.signer().to_peer_key();
            // Word for word, and in the other's name.
            stage.attempt();
            stage.send(peer, meant.encode());
            let (_, turned) = stage.confirm(caught.key, *other.signer(), &caught.request, caught.accept.id());
            stage.attempt();
            stage.send(peer, turned.encode());
        }
        turn_down(stage, &caught);
    }
}

/// Releases, cosigns and confirms what others agreed on: a driver's offers name the
/// ACCEPT before the open slot.
#[derive(Default)]
pub(super) struct ForgedRelease {
    keys: u32,
}

impl Adversary for ForgedRelease {
    fn on_timer(&mut self, stage: &mut Stage) {
        let heads: Vec<(PublicKey, StatementId)> = stage
            .kept()
            .iter()
            .rev()
            .filter_map(|(_, heard)| match heard.statement() {
                Ok(AnyStatement::DriverOffer(offer)) => Some((*offer.signer(), offer.body().head?)),
                _ => None,
            })
            .take(6)
            .collect();
        for (driver, accept) in heads {
            self.keys += 1;
            let release = stage.release(self.keys, driver, accept, None, Outcome::NotChosen);
            stage.attempt();
            stage.tell(driver.to_peer_key(), &release);
            let cosign = Cosign {
                to: driver,
                issued: stage.now(),
                agreement_id: hailmesh_types::AgreementId::from_bytes(stage.bytes()),
                accept_id: accept,
                complete_id: stage.no_id(),
                slot: 0,
                total: Amount::ZERO,
                ext: Extensions::NONE,
            };
            let cosign = stage.sign(self.keys, cosign);
            stage.attempt();
            stage.tell(driver.to_peer_key(), &cosign);
        }
    }
}
