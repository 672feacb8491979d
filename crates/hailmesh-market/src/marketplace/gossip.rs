//! Gossip in, and what is learned from it: offers, copies of the own key, evidence.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_types::{Duration, PublicKey, Timestamp};
use hailmesh_wire::{
    AnyStatement, DecodeError, Evidence, EvidenceKind, Heard, Subject, Topic, Verified, evidence,
};

use crate::admission::News;
use crate::book::{BookedDriver, Side};
use crate::certificates::Level;
use crate::handshake::RiderState;
use crate::input::MessageRef;
use crate::journal::{Record, Role, SlotRef};
use crate::output::{Event, Output, Verdict};

use super::timers::Timer;
use super::{Marketplace, PendingEvidence, TIDY_EVERY_MS};

/// Time between two looks for offers that have ended.
const EXPIRY_PAUSE: Duration = Duration::from_secs(10);
/// Evidence that waits to be gossiped, at the most.
const EVIDENCE_PENDING_MAX: usize = 256;

impl Marketplace {
    pub(super) fn on_gossip(&mut self, now: Timestamp, message: MessageRef, topic: &Topic, heard: &Heard) {
        if self.is_from_own_key(heard) {
            self.watch_for_copies(now, heard);
            return self.out(Output::Judge { message, verdict: Verdict::Ignore });
        }
        let (network, signatures) = (self.network, &*self.signatures);
        let check = |found: &Evidence| -> Result<(), DecodeError> {
            evidence::check(found, network, signatures).map(|_| ())
        };
        let mut news = std::mem::take(&mut self.news);
        let (book, source) = (&mut self.book, message.source);
        let stop = self.admission.judge_into(book, now, source, topic, heard, &check, &mut news);
        self.out(Output::Judge { message, verdict: stop.verdict() });
        self.on_news(now, news.drain(..));
        self.news = news;
    }

    pub(super) fn on_news(&mut self, now: Timestamp, news: impl IntoIterator<Item = News>) {
        for one in news {
            match one {
                News::Driver(booked) => {
                    // A refresh contradicts nothing that the one before it did not.
                    if !booked.repeats {
                        let found = self.witness.observe_offer(now, &booked.offer);
                        self.accuse(now, found);
                    }
                    self.watch_counterparty(now, &booked);
                    self.on_driver_heard(now, &booked);
                }
                News::Rider(booked) => self.on_rider_heard(now, &booked),
                // Two of one identity that overlap: E7.
                News::Shift(cert) => {
                    let found = self.witness.observe_cert(now, &cert);
                    self.accuse(now, found);
                }
                News::Withdrawn(..) => {}
                News::Equivocation { accused, first, second } => {
                    let both = vec![first.to_vec(), second.to_vec()];
                    let found = evidence::build(
                        EvidenceKind::E6,
                        accused,
                        both,
                        Vec::new(),
                        self.network,
                        &*self.signatures,
                    );
                    self.accuse(now, found.into_iter().collect());
                }
                News::Evidence(found) => self.note_evidence(now, &found),
                News::Revocation(_) | News::CertificateWanted(..) => {}
            }
        }
        self.arm_expiry(now);
        self.on_more_known(now);
    }

    pub(super) fn on_expiry(&mut self, now: Timestamp) {
        let ended = !self.book.expire(now).is_empty();
        if now.millis_since(self.tidied) >= TIDY_EVERY_MS {
            self.tidied = now;
            self.admission.expire(now);
        }
        if self.book.is_empty() {
            self.book.forget_authors(now);
        }
        self.arm_expiry(now);
        // With fewer offers known, the ring may have to widen.
        if ended {
            self.follow_ring(now);
        }
    }

    /// Offers that have ended are not shown by the book, so that there is no hurry to take
    /// them out.
    fn arm_expiry(&mut self, now: Timestamp) {
        if self.timers.has_expiry() {
            return;
        }
        if let Some(next) = self.book.next_expiry() {
            self.timers.set(Timer::Expiry, next.max(now + EXPIRY_PAUSE));
        } else if self.book.authors() > 0 {
            // A node that does not listen any more need not remember for ever whom it heard.
            self.timers.set(Timer::Expiry, now + self.config.limits.author_grace.max(EXPIRY_PAUSE));
        }
    }

    pub(super) fn on_peer_subscribed(&mut self, now: Timestamp, topic: Topic) {
        if topic.network() != &self.config.network {
            return;
        }
        if self.role.is_none() {
            return self.follow_listener(topic);
        }
        match (topic.subject(), self.side()) {
            (Subject::Drivers(cell), Side::Drivers) | (Subject::Riders(cell), Side::Riders) => {
                self.refresh_for_listener(now, cell);
            }
            _ => {}
        }
    }

    /// A relay listens where its peers do, so that they reach each other through it.
    fn follow_listener(&mut self, topic: Topic) {
        let most = self.config.limits.topics;
        let has_room = self.followed.len() + self.topics() < most.saturating_sub(1);
        if has_room && self.followed.insert(topic.clone(), ()).is_none() {
            self.out(Output::Subscribe(topic));
        }
    }

    // ---- copies of the own key ----

    fn is_from_own_key(&self, heard: &Heard) -> bool {
        let Ok(header) = heard.header() else { return false };
        let driver = self.driver.as_ref().is_some_and(|driver| driver.key.as_bytes() == &header.signer);
        driver
            || self
                .rider
                .as_ref()
                .is_some_and(|rider| rider.chains.keys().any(|key| key.as_bytes() == &header.signer))
    }

    /// P11.9: a verified offer of an own key with a number that was not used here.
    fn watch_for_copies(&mut self, now: Timestamp, heard: &Heard) {
        let Ok(statement) = heard.statement() else { return };
        if let Some(driver) = self.driver.as_ref() {
            let AnyStatement::DriverOffer(offer) = statement else { return };
            let Ok(offer) = offer.clone().verify_with(&*self.signatures) else { return };
            let body = offer.body();
            let open = driver.lane.slot + u64::from(!driver.is_free());
            let ours = body.seq <= driver.seq && body.slot <= open;
            if *offer.signer() == driver.key && offer.network() == self.network && !ours {
                let key = driver.key;
                self.on_cloned(now, key);
            }
        } else if let Some(rider) = self.rider.as_ref()
            && let AnyStatement::RiderOffer(offer) = statement
            && let Ok(offer) = offer.clone().verify_with(&*self.signatures)
            && let Some(chain) = rider.chains.get(offer.signer())
            && offer.network() == self.network
            && offer.body().seq > chain.seq
        {
            let key = *offer.signer();
            self.on_cloned(now, key);
        }
    }

    /// P7.19: the driver of a live agreement says that it is available, with a later
    /// slot: ask at once what it means.
    fn watch_counterparty(&mut self, now: Timestamp, booked: &BookedDriver) {
        let offer = booked.offer.body();
        let slots: Vec<SlotRef> = self
            .deals
            .values_mut()
            .filter(|deal| {
                deal.role() == Role::Rider && deal.counterparty() == *booked.key() && deal.ended.is_none()
            })
            .map(|deal| {
                if !offer.addrs.is_empty() {
                    deal.addrs.clone_from(&offer.addrs);
                }
                (deal.slot(), offer.is_live() && offer.slot > deal.accept.body().slot)
            })
            .filter(|(_, suspicious)| *suspicious)
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            self.send_status(now, slot);
        }
    }

    // ---- evidence ----

    /// Stores, bans and, in a while, gossips what the witness has found.
    pub(super) fn accuse(&mut self, now: Timestamp, found: Vec<Evidence>) {
        for evidence in found {
            let identity = self.book.driver(&evidence.accused).and_then(|booked| booked.identity().copied());
            self.store_evidence(now, evidence, identity);
        }
    }

    fn store_evidence(&mut self, now: Timestamp, found: Evidence, identity: Option<PublicKey>) {
        let (accused, kind) = (found.accused, found.kind);
        if self.admission.knows_evidence(identity.as_ref().unwrap_or(&accused), kind) || self.is_own(&accused)
        {
            return;
        }
        // A throw-away key: the report must not show who rode (P18.3).
        let seed = self.random();
        let statement = self.sign(&SigningKey::from_bytes(&seed), found);
        let until = self.ban(now, &accused, identity, kind);
        let bytes = Arc::clone(statement.bytes());
        let mut records =
            vec![Record::Evidence { accused, kind: kind.code(), bytes: Arc::clone(&bytes), at: now }];
        records.extend(bans(accused, identity, until));
        self.persist(records);
        self.evidence_count += 1;
        self.notify(Event::Evidence { accused, kind: kind.code() });
        if evidence::gossipable(kind) && self.evidence.len() < EVIDENCE_PENDING_MAX {
            let delay = self.jitter(self.config.timers.evidence);
            self.evidence.push(PendingEvidence { at: now + delay, bytes });
            self.timers.set_by(Timer::Evidence, now + delay);
        }
    }

    fn ban(
        &mut self,
        now: Timestamp,
        accused: &PublicKey,
        identity: Option<PublicKey>,
        kind: EvidenceKind,
    ) -> Option<Timestamp> {
        let level = self.book.driver(accused).map_or(Level::L0, |booked| booked.level);
        // Where no issuer is configured nobody is credentialed, and a ban is for good
        // or a day by its kind alone.
        let credentialed = level >= Level::L2 || self.config.issuers.is_empty();
        let until = self.admission.punish(now, accused, identity.as_ref(), credentialed, kind);
        // The key as well: an accuser could name a throw-away identity for it.
        self.admission.ban(now, accused, until, credentialed);
        self.admission.purge(&mut self.book, now);
        until
    }

    /// Evidence that admission has checked and drawn its consequence from.
    fn note_evidence(&mut self, now: Timestamp, found: &Verified<Evidence>) {
        let body = found.body();
        self.admission.purge(&mut self.book, now);
        let identity = self.book.driver(&body.accused).and_then(|booked| booked.identity().copied());
        let until = self.ban(now, &body.accused, identity, body.kind);
        let bytes = Arc::clone(found.bytes());
        let mut records =
            vec![Record::Evidence { accused: body.accused, kind: body.kind.code(), bytes, at: now }];
        records.extend(bans(body.accused, identity, until));
        self.persist(records);
        self.evidence_count += 1;
        self.notify(Event::Evidence { accused: body.accused, kind: body.kind.code() });
    }

    pub(super) fn gossip_evidence(&mut self, now: Timestamp) {
        let topic = Topic::evidence(&self.config.network);
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.evidence).into_iter().partition(|pending| pending.at <= now);
        self.evidence = later;
        for pending in due {
            self.out(Output::Publish { topic: topic.clone(), bytes: pending.bytes });
        }
        if let Some(next) = self.evidence.iter().map(|pending| pending.at).min() {
            self.timers.set(Timer::Evidence, next);
        }
    }

    pub(super) fn rider_state(&self) -> &'static str {
        let Some(rider) = self.rider.as_ref() else { return "offline" };
        let live = rider.chains.values().find(|chain| chain.chain.state != RiderState::Idle);
        match live.map(|chain| &chain.chain.state) {
            None | Some(RiderState::Idle) => "idle",
            Some(RiderState::Shopping) => "shopping",
            Some(RiderState::Committed(_)) => "committed",
            Some(RiderState::Firm { .. }) => "firm",
        }
    }
}

/// The records of a ban: of the key, and of the identity behind it.
fn bans(
    accused: PublicKey,
    identity: Option<PublicKey>,
    until: Option<Timestamp>,
) -> impl Iterator<Item = Record> {
    std::iter::once(accused).chain(identity).map(move |key| Record::Ban { key, until })
}
