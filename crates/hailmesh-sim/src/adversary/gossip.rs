//! Lies that everybody hears: offers that contradict themselves, old ones, foreign ones,
//! too many of them, and silence.

use hailmesh_types::{Cell, Duration, NetworkName, PublicKey, Resolution};
use hailmesh_wire::{EvidenceKind, Extensions, NetworkId, Role, ShiftCert, Verified};

use super::Adversary;
use super::stage::Stage;
use super::words::Chain;

/// Two offers under one sequence number: E6.
#[derive(Default)]
pub(super) struct TwoStories {
    seq: u64,
}

impl Adversary for TwoStories {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let body = stage.driver_offer(self.seq, 0, None);
        let mut dearer = body.clone();
        if let Some(terms) = dearer.live.as_mut() {
            terms.tariff.base += 1;
        }
        let (one, other) = (stage.sign(0, body), stage.sign(0, dearer));
        stage.attempt();
        stage.contradict(0, EvidenceKind::E6, &[one.id(), other.id()]);
        stage.publish_here(one.bytes().clone());
        stage.publish_here(other.bytes().clone());
    }
}

/// The same as somebody who wants a ride.
#[derive(Default)]
pub(super) struct RiderTwoStories {
    seq: u64,
}

impl Adversary for RiderTwoStories {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let body = stage.rider_offer(self.seq);
        let mut other = body.clone();
        if let Some(terms) = other.live.as_mut() {
            terms.attempt += 1;
        }
        let (one, other) = (stage.sign(0, body), stage.sign(0, other));
        stage.attempt();
        stage.contradict(0, EvidenceKind::E6, &[one.id(), other.id()]);
        stage.publish_here(one.bytes().clone());
        stage.publish_here(other.bytes().clone());
    }
}

/// Two offers with one open slot that name different ACCEPTs before it: E9.
#[derive(Default)]
pub(super) struct ForkedHeads {
    seq: u64,
}

impl Adversary for ForkedHeads {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 2;
        let slot = self.seq / 2;
        let (head, other) = (stage.no_id(), stage.no_id());
        let (body, later) = (
            stage.driver_offer(self.seq - 1, slot, Some(head)),
            stage.driver_offer(self.seq, slot, Some(other)),
        );
        let (one, other) = (stage.sign(0, body), stage.sign(0, later));
        stage.attempt();
        stage.contradict(0, EvidenceKind::E9, &[one.id(), other.id()]);
        stage.publish_here(one.bytes().clone());
        stage.publish_here(other.bytes().clone());
    }
}

/// One identity that drives two shifts at once: E7.
#[derive(Default)]
pub(super) struct OverlappingShifts {
    round: u32,
}

impl OverlappingShifts {
    /// A first offer of a shift key with its certificate.
    fn shift(
        stage: &mut Stage,
        identity: u32,
        shift: u32,
        serial: u64,
    ) -> Verified<hailmesh_wire::DriverOffer> {
        let now = stage.now();
        let subject = stage.public(shift);
        let cert = ShiftCert {
            serial,
            issued: now,
            subject,
            role: Role::Driver,
            from: now,
            until: now + Duration::from_secs(8 * 3_600),
            cred_id: None,
            replaces: None,
            ext: Extensions::NONE,
        };
        let cert = stage.sign(identity, cert);
        let mut body = stage.driver_offer(1, 0, None);
        body.cert_id = Some(cert.id());
        body.certs = vec![cert.bytes().to_vec()];
        stage.sign(shift, body)
    }
}

impl Adversary for OverlappingShifts {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.round += 1;
        let identity = 3 * self.round;
        let one = Self::shift(stage, identity, identity + 1, 1);
        let other = Self::shift(stage, identity, identity + 2, 2);
        stage.attempt();
        stage.contradict(identity, EvidenceKind::E7, &[one.id(), other.id()]);
        stage.publish_here(one.bytes().clone());
        stage.publish_here(other.bytes().clone());
    }
}

/// Sequence numbers that fall: a disk that was set back, or somebody who would like an
/// old offer to count again.
#[derive(Default)]
pub(super) struct SequenceRollback {
    turn: u64,
}

impl Adversary for SequenceRollback {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.turn += 1;
        let seq = match self.turn % 2 {
            1 => 1_000 + self.turn,
            _ => {
                stage.attempt();
                1_000 - self.turn.min(900)
            }
        };
        let body = stage.driver_offer(seq, 0, None);
        let offer = stage.sign(0, body);
        stage.publish_here(offer.bytes().clone());
    }
}

/// Says again what others said minutes before.
#[derive(Default)]
pub(super) struct StaleReplay;

impl Adversary for StaleReplay {
    fn on_timer(&mut self, stage: &mut Stage) {
        let old: Vec<_> = stage.kept().iter().take(4).cloned().collect();
        for (topic, heard) in old {
            stage.attempt();
            stage.publish(topic, heard.bytes().clone());
        }
    }
}

/// Statements of another network: one's own signed for it, others' with its name put in.
#[derive(Default)]
pub(super) struct CrossNetwork {
    seq: u64,
}

impl Adversary for CrossNetwork {
    fn on_timer(&mut self, stage: &mut Stage) {
        let Ok(elsewhere) = "elsewhere".parse::<NetworkName>() else { return };
        let elsewhere = NetworkId::of(&elsewhere);
        self.seq += 1;
        let body = stage.driver_offer(self.seq, 0, None);
        let key = stage.key(0);
        let foreign = Verified::sign_with(stage.signatures(), &key, elsewhere, body);
        stage.attempt();
        stage.publish_here(foreign.bytes().clone());
        let Some((topic, heard)) = stage.some_message() else { return };
        let own = stage.network();
        let at = heard.bytes().windows(8).position(|window| window == own.as_bytes());
        if let Some(at) = at {
            let mut bytes = heard.bytes().to_vec();
            bytes[at..at + 8].copy_from_slice(elsewhere.as_bytes());
            stage.attempt();
            stage.publish(topic, bytes);
        }
    }
}

/// Offers from hours ahead, which would never end.
#[derive(Default)]
pub(super) struct FromTheFuture {
    seq: u64,
}

impl Adversary for FromTheFuture {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let mut body = stage.driver_offer(self.seq, 0, None);
        body.issued = body.issued + Duration::from_secs(3_600);
        let offer = stage.sign(0, body);
        stage.attempt();
        stage.publish_here(offer.bytes().clone());
    }
}

/// Offers on topics where they do not belong.
#[derive(Default)]
pub(super) struct WrongTopic {
    seq: u64,
}

impl Adversary for WrongTopic {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let here = stage.cell();
        let mut body = stage.driver_offer(self.seq, 0, None);
        let elsewhere = here.parent(Resolution::TOPIC).disk(3);
        let far = elsewhere.last().map_or(here, |cell| Cell::at(cell.centre(), Resolution::PICKUP));
        body.cell = far;
        let offer = stage.sign(0, body);
        stage.attempt();
        stage.publish_here(offer.bytes().clone());
        stage.attempt();
        stage.publish_evidence(offer.bytes().clone());
        // A direct statement has no business in gossip.
        if let Some(driver) = stage.some_driver() {
            let request = stage.request(0, &driver);
            stage.attempt();
            stage.publish_here(request.bytes().clone());
        }
    }
}

/// A crowd of drivers who are not there.
#[derive(Default)]
pub(super) struct Sybils {
    turn: u64,
}

impl Sybils {
    const CROWD: u32 = 30;
}

impl Adversary for Sybils {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.turn += 1;
        for key in 1..=Self::CROWD {
            let mut body = stage.driver_offer(self.turn, 0, None);
            body.cell = Cell::at(stage.near(), Resolution::DRIVER);
            let topic = stage.drivers_topic(body.cell);
            let offer = stage.sign(key, body);
            stage.attempt();
            stage.publish(topic, offer.bytes().clone());
        }
    }
}

/// Stands around a victim, passes nothing on, and tells it what was true once.
#[derive(Default)]
pub(super) struct Eclipse {
    chain: Chain,
}

impl Adversary for Eclipse {
    fn forwards(&self) -> bool {
        false
    }

    fn on_timer(&mut self, stage: &mut Stage) {
        stage.attempt();
        let offer = self.chain.offer(stage, 0);
        stage.publish_here(offer.bytes().clone());
        let old: Vec<_> = stage.kept().iter().take(2).cloned().collect();
        for (topic, heard) in old {
            stage.publish(topic, heard.bytes().clone());
        }
    }
}

/// INVITEs to everybody who waits, again and again, with offers that were never made.
#[derive(Default)]
pub(super) struct InviteSpam {
    chain: Chain,
}

impl Adversary for InviteSpam {
    fn on_timer(&mut self, stage: &mut Stage) {
        let offer = self.chain.offer(stage, 0);
        stage.publish_here(offer.bytes().clone());
        for wish in stage.riders().into_iter().take(8) {
            let Some(peer) = wish.body().live.as_ref().map(|terms| terms.peer) else { continue };
            for _ in 0..6 {
                let to: PublicKey = *wish.signer();
                let offer_id = if stage.draw(2) == 0 { offer.id() } else { stage.no_id() };
                let body = hailmesh_wire::Invite {
                    to,
                    issued: stage.now(),
                    rider_offer_id: wish.id(),
                    offer_id,
                    slot: stage.draw(4),
                    eta: Duration::from_secs(30),
                    valid: Duration::from_secs(10),
                    ext: Extensions::NONE,
                };
                let invite = stage.sign(0, body);
                stage.attempt();
                stage.tell(peer, &invite);
            }
        }
    }
}
