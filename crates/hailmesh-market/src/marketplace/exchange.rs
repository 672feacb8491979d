//! Exchanges: frames in and out, and the order of checks (P5).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hailmesh_types::{Duration, PeerKey, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{
    Address, AnyStatement, AnyVerified, Attachment, Body, Frame, FrameContent, Kind, RejectReason, Verified,
};

use crate::input::{AskId, ExchangeId, Origin};
use crate::journal::{Record, Role, SlotRef};
use crate::limits::Limits;
use crate::output::Output;

use super::Marketplace;

/// An exchange of ours that is on its way.
pub(super) struct Ask {
    pub(super) peer: PeerKey,
    pub(super) about: About,
}

/// What an exchange of ours is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
    /// A row of the outbox.
    Row(StatementId, Kind),
    /// A REQUEST of the search.
    Request(StatementId),
    /// A BOARD_ASK for this slot.
    Board(SlotRef),
    /// Anything whose answer changes nothing by itself.
    Once,
}

/// What is known while one frame is worked on, and the answer that grows meanwhile.
pub(super) struct Turn {
    pub(super) peer: Option<PeerKey>,
    /// Who signed the statement that is worked on.
    pub(super) signer: Option<PublicKey>,
    exchange: Option<ExchangeId>,
    reply: Option<Frame>,
    deferred: bool,
    pub(super) attachments: Vec<Attachment>,
    /// What a response answers.
    pub(super) about: Option<About>,
}

impl Turn {
    /// Nobody asked: a timer, or the own user.
    pub(super) const fn own() -> Self {
        Self {
            peer: None,
            signer: None,
            exchange: None,
            reply: None,
            deferred: false,
            attachments: Vec::new(),
            about: None,
        }
    }

    /// Nobody asked, but what is said goes to this peer.
    pub(super) fn toward(peer: PeerKey, signer: PublicKey) -> Self {
        Self { peer: Some(peer), signer: Some(signer), ..Self::own() }
    }

    /// Whether a peer waits for an answer.
    pub(super) const fn is_asked(&self) -> bool {
        self.exchange.is_some() && self.reply.is_none()
    }

    /// Whether what is worked on came as an answer, which is never answered (P5.5).
    pub(super) const fn is_answer(&self) -> bool {
        self.about.is_some()
    }

    /// An exchange that was put off is taken up again.
    pub(super) fn resumed(peer: PeerKey, exchange: ExchangeId) -> Self {
        Self { peer: Some(peer), exchange: Some(exchange), ..Self::own() }
    }

    /// Answers unless there is an answer already.
    pub(super) fn answer(&mut self, frame: Frame) {
        self.reply.get_or_insert(frame);
    }

    pub(super) fn refuse(&mut self, reason: RejectReason) {
        self.answer(Frame::new(FrameContent::Refused(reason)));
    }

    pub(super) fn nothing(&mut self) {
        self.answer(Frame::new(FrameContent::None));
    }

    /// The answer will be given later, in [`Turn::resumed`].
    pub(super) fn defer(&mut self) -> Option<ExchangeId> {
        self.deferred = true;
        self.exchange
    }

    /// Whether a statement for `peer` can go as the answer.
    fn answers(&self, peer: &PeerKey) -> bool {
        self.exchange.is_some() && self.reply.is_none() && self.peer.as_ref() == Some(peer)
    }
}

/// Answers that are given again to the same statement (P6.2).
#[derive(Default)]
pub(super) struct Sticky {
    by_statement: BTreeMap<StatementId, Vec<u8>>,
    order: VecDeque<(Timestamp, StatementId)>,
}

impl Sticky {
    fn get(&self, statement: &StatementId) -> Option<&Vec<u8>> {
        self.by_statement.get(statement)
    }

    pub(super) fn put(&mut self, now: Timestamp, statement: StatementId, frame: Vec<u8>, limits: &Limits) {
        self.by_statement.insert(statement, frame);
        self.order.push_back((now, statement));
        while let Some((at, oldest)) = self.order.front().copied() {
            let old = now.millis_since(at) > u64::from(limits.sticky_span.as_millis());
            if !old && self.order.len() <= limits.sticky_answers {
                break;
            }
            self.order.pop_front();
            self.by_statement.remove(&oldest);
        }
    }
}

impl Marketplace {
    /// A peer asks.
    pub(super) fn on_request(&mut self, now: Timestamp, exchange: ExchangeId, peer: PeerKey, frame: &[u8]) {
        let mut turn = Turn::resumed(peer, exchange);
        match Frame::decode(frame) {
            Err(_) => {
                self.blame(Some(peer));
                turn.refuse(RejectReason::Bad);
            }
            Ok(_) if !self.exchanges.take(&peer, now) => turn.refuse(RejectReason::Rate),
            Ok(frame) => {
                turn.attachments = frame.attachments;
                match frame.content {
                    FrameContent::Statement(bytes) => self.receive(now, &mut turn, bytes),
                    FrameContent::Position(position) => self.on_position(now, &mut turn, &position),
                    _ => turn.refuse(RejectReason::Bad),
                }
                self.receive_attached(now, &turn);
            }
        }
        self.conclude(turn);
    }

    /// Gives the answer of a turn, if one is due.
    pub(super) fn conclude(&mut self, turn: Turn) {
        let Some(exchange) = turn.exchange.filter(|_| !turn.deferred) else { return };
        let refused = || Frame::new(FrameContent::Refused(RejectReason::Unknown));
        let frame = turn.reply.unwrap_or_else(refused).encode();
        self.out(Output::Reply { exchange, frame });
    }

    /// A peer answers.
    pub(super) fn on_response(&mut self, now: Timestamp, id: AskId, peer: PeerKey, frame: &[u8]) {
        let Some(ask) = self.asks.remove(&id) else { return };
        if ask.peer != peer {
            return;
        }
        self.outbox.landed(id);
        let mut turn = Turn { peer: Some(peer), about: Some(ask.about), ..Turn::own() };
        match Frame::decode(frame) {
            Err(_) => self.on_ask_failed(now, ask.about, "an answer that cannot be read"),
            Ok(frame) => {
                turn.attachments = frame.attachments;
                match frame.content {
                    FrameContent::Statement(bytes) => self.receive(now, &mut turn, bytes),
                    FrameContent::None => self.on_heard(now, &turn, ask.about),
                    FrameContent::Wait { ms } => self.on_wait(now, ask.about, ms),
                    FrameContent::Refused(reason) => self.on_refused(now, ask.about, reason),
                    FrameContent::Position(_) => {}
                }
                self.receive_attached(now, &turn);
            }
        }
        self.arm_outbox();
    }

    pub(super) fn on_send_failed(&mut self, now: Timestamp, id: AskId) {
        let Some(ask) = self.asks.remove(&id) else { return };
        self.outbox.landed(id);
        self.on_ask_failed(now, ask.about, "not reachable");
        self.arm_outbox();
    }

    fn on_ask_failed(&mut self, now: Timestamp, about: About, why: &'static str) {
        match about {
            About::Request(request) => self.on_request_failed(now, request, why),
            About::Board(slot) => self.on_boarding_refused(slot, "the rider cannot be reached"),
            About::Row(..) | About::Once => {}
        }
    }

    /// NONE: heard, nothing to add (P5.5).
    fn on_heard(&mut self, now: Timestamp, turn: &Turn, about: About) {
        match about {
            // ACCEPT and CONFIRM are only answered by what follows them.
            About::Row(_, Kind::Accept | Kind::Confirm) | About::Once => {}
            About::Row(id, Kind::Boarded) => {
                self.take_drop_opening(id, turn);
                self.heard(now, &id);
            }
            About::Row(id, _) => self.heard(now, &id),
            About::Board(slot) => self.on_board_answer(now, slot, turn),
            About::Request(request) => self.on_request_failed(now, request, "no answer"),
        }
    }

    fn on_refused(&mut self, now: Timestamp, about: About, reason: RejectReason) {
        match about {
            About::Request(request) => self.on_request_refused(now, request, reason, Duration::ZERO),
            About::Board(slot) => self.on_boarding_refused(slot, "the rider's node refused"),
            About::Row(..) | About::Once => {}
        }
    }

    /// A row of the outbox was heard. Nothing waits for the record of it.
    pub(super) fn heard(&mut self, now: Timestamp, statement: &StatementId) {
        if self.outbox.done(statement) {
            self.flush_later(now);
        }
    }

    /// Rows of a slot were heard, because what answers them has come.
    pub(super) fn heard_where(&mut self, now: Timestamp, slot: &SlotRef, which: impl Fn(Kind) -> bool) {
        if self.outbox.done_where(slot, which) {
            self.flush_later(now);
        }
    }

    fn flush_later(&mut self, now: Timestamp) {
        let pause = self.config.timers.outbox_max;
        self.timers.set_by(super::Timer::Flush, now + pause);
    }

    /// Further statements come as if each had come alone, and are never answered (P5.3).
    fn receive_attached(&mut self, now: Timestamp, turn: &Turn) {
        let further: Vec<Vec<u8>> = turn
            .attachments
            .iter()
            .filter_map(|attachment| match attachment {
                Attachment::Statement(bytes) => Some(bytes.clone()),
                _ => None,
            })
            .take(hailmesh_wire::limits::ATTACHED_STATEMENTS_MAX)
            .collect();
        for bytes in further {
            let mut alone = Turn { peer: turn.peer, attachments: turn.attachments.clone(), ..Turn::own() };
            alone.attachments.retain(|attachment| !matches!(attachment, Attachment::Statement(_)));
            self.receive(now, &mut alone, bytes);
        }
    }

    /// One signed statement, in the order of checks of P5.6.
    fn receive(&mut self, now: Timestamp, turn: &mut Turn, bytes: Vec<u8>) {
        let statement = match AnyStatement::decode(bytes) {
            Ok(statement) => statement,
            // Another version, or a kind that this one does not know.
            Err(error) if error.clause == "P25.1" || error.what.contains("unknown kind") => {
                return turn.refuse(RejectReason::Unsupported);
            }
            Err(_) => {
                self.blame(turn.peer);
                return turn.refuse(RejectReason::Bad);
            }
        };
        if statement.network() != self.network {
            return turn.refuse(RejectReason::Bad);
        }
        let Some(to) = statement.to().copied() else { return turn.refuse(RejectReason::Unsupported) };
        if statement.ext().unknown_critical().is_some() {
            return turn.refuse(RejectReason::Unsupported);
        }
        if !self.is_own(&to) {
            return turn.refuse(RejectReason::Unknown);
        }
        if !self.is_fresh(now, &statement) {
            return turn.refuse(RejectReason::Expired);
        }
        if let Some(answer) = self.sticky.get(&statement.id()).and_then(|frame| Frame::decode(frame).ok()) {
            return turn.answer(answer);
        }
        if let AnyStatement::Request(request) = &statement
            && let Err(reason) = self.request_admission(now, turn, request.body(), request.signer())
        {
            return turn.refuse(reason);
        }
        let Ok(statement) = statement.verify_with(&*self.signatures) else {
            self.blame(turn.peer);
            return turn.refuse(RejectReason::Bad);
        };
        turn.signer = Some(*statement.signer());
        self.dispatch(now, turn, statement);
    }

    /// Freshness of what is only an invitation to do something (P5.6).
    fn is_fresh(&self, now: Timestamp, statement: &AnyStatement) -> bool {
        let lasts = match statement {
            AnyStatement::Request(request) => request.body().ttl,
            AnyStatement::Invite(invite) => invite.body().valid,
            AnyStatement::Counter(counter) => counter.body().valid,
            _ => return true,
        };
        let slack = self.config.limits.clock_tolerance;
        statement.issued().is_some_and(|issued| issued <= now + slack && now <= issued + lasts + slack)
    }

    fn dispatch(&mut self, now: Timestamp, turn: &mut Turn, statement: AnyVerified) {
        match statement {
            // To a driver.
            AnyVerified::Request(request) => self.on_ride_request(now, turn, request),
            AnyVerified::Confirm(confirm) => self.on_confirm(now, turn, confirm),
            AnyVerified::Release(release) => self.on_release(now, turn, release),
            AnyVerified::Cosign(cosign) => self.on_cosign(now, turn, cosign),
            AnyVerified::ChainAsk(ask) => self.on_chain_ask(now, turn, &ask),
            // To a rider.
            AnyVerified::Accept(accept) => self.on_accept(now, turn, accept),
            AnyVerified::Ack(ack) => self.on_ack(now, turn, ack),
            AnyVerified::Void(void) => self.on_void(now, turn, void),
            AnyVerified::Counter(counter) => self.on_counter(now, turn, counter),
            AnyVerified::Invite(invite) => self.on_invite(now, turn, &invite),
            AnyVerified::EnRoute(en_route) => self.on_en_route(now, turn, en_route),
            AnyVerified::Arrived(arrived) => self.on_arrived(now, turn, arrived),
            AnyVerified::BoardAsk(ask) => self.on_board_ask(now, turn, &ask),
            AnyVerified::Boarded(boarded) => self.on_boarded(now, turn, boarded),
            AnyVerified::Complete(complete) => self.on_complete(now, turn, complete),
            // To either.
            AnyVerified::Reject(reject) => self.on_reject(now, turn, &reject),
            AnyVerified::Status(status) => self.on_status(now, turn, status),
            AnyVerified::NoShow(no_show) => {
                let agreement = no_show.body().agreement_id;
                self.on_opinion(now, turn, &agreement, &no_show);
            }
            AnyVerified::Dispute(dispute) => {
                let agreement = dispute.body().agreement_id;
                self.on_opinion(now, turn, &agreement, &dispute);
            }
            AnyVerified::Rating(rating) => {
                let agreement = rating.body().agreement_id;
                self.on_opinion(now, turn, &agreement, &rating);
            }
            AnyVerified::DriverOffer(_)
            | AnyVerified::RiderOffer(_)
            | AnyVerified::Evidence(_)
            | AnyVerified::Revocation(_)
            | AnyVerified::Credential(_)
            | AnyVerified::ShiftCert(_) => turn.refuse(RejectReason::Unsupported),
        }
    }

    /// Whether a key is one that this node signs with, or signed with.
    pub(super) fn is_own(&self, key: &PublicKey) -> bool {
        self.driver.as_ref().is_some_and(|driver| driver.holds(key))
            || self.rider.as_ref().is_some_and(|rider| rider.chains.contains_key(key))
    }

    pub(super) fn origin(&self, peer: Option<PeerKey>) -> Option<Origin> {
        self.peers.get(&peer?).map(|peer| peer.origin)
    }

    // ---- on the way out ----

    /// Says a frame to a peer: as the answer of this turn where that fits, else in an
    /// exchange of our own.
    pub(super) fn say(
        &mut self,
        turn: &mut Turn,
        peer: PeerKey,
        addrs: Vec<Address>,
        frame: Frame,
        about: About,
    ) -> Option<AskId> {
        if turn.answers(&peer) {
            turn.answer(frame);
            return None;
        }
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, Ask { peer, about });
        self.out(Output::Send { ask, peer, addrs, frame: frame.encode() });
        Some(ask)
    }

    /// Says a stored statement of a slot with what belongs to it, and notes that in the
    /// outbox if it is there.
    pub(super) fn say_stored(&mut self, now: Timestamp, turn: &mut Turn, slot: SlotRef, id: StatementId) {
        let Some(deal) = self.deals.get(&slot) else { return };
        let Some(said) = deal.said.iter().find(|said| said.id == id) else { return };
        let (kind, bytes) = (said.kind, Arc::clone(&said.bytes));
        let (peer, addrs) = (deal.peer(), deal.addrs.clone());
        let frame = self.dressed(slot, kind, &peer, &bytes);
        let about = if self.outbox.contains(&id) { About::Row(id, kind) } else { About::Once };
        let ask = self.say(turn, peer, addrs, frame, about);
        let periods = self.config.timers;
        self.outbox.sent(&id, ask, now, &periods);
        self.arm_outbox();
    }

    /// A stored statement with the openings that go with it, where P5.4 allows them.
    fn dressed(&self, slot: SlotRef, kind: Kind, peer: &PeerKey, bytes: &Arc<[u8]>) -> Frame {
        use crate::journal::SecretPurpose;
        let frame = Frame::statement(bytes);
        let Some(deal) = self.deals.get(&slot) else { return frame };
        let opening = match kind {
            // Only on a connection whose peer is the driver's shift key.
            Kind::Confirm if *peer == deal.counterparty().to_peer_key() => {
                deal.opening(SecretPurpose::Pickup).map(Attachment::PickupOpening)
            }
            // Only to the peer that brought the CONFIRM: `deal.peer` is that one.
            Kind::Ack => deal.opening(SecretPurpose::Vehicle).map(Attachment::VehicleOpening),
            _ => None,
        };
        match opening {
            Some(opening) => frame.with(opening),
            None => frame,
        }
    }

    /// Sends what the outbox has due.
    pub(super) fn send_due(&mut self, now: Timestamp) {
        let periods = self.config.timers;
        for row in self.outbox.due(now) {
            let addrs = self.deals.get(&row.slot).map(|deal| deal.addrs.clone()).unwrap_or_default();
            let frame = self.dressed(row.slot, row.kind, &row.peer, &row.bytes);
            let about = About::Row(row.statement, row.kind);
            let ask = self.say(&mut Turn::own(), row.peer, addrs, frame, about);
            self.outbox.sent(&row.statement, ask, now, &periods);
        }
        self.arm_outbox();
    }

    /// Signs and gives a refusal; the same again for ten minutes (P6.2).
    #[expect(clippy::too_many_arguments, reason = "a refusal says all of these")]
    pub(super) fn reject(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        signing: &ed25519_dalek::SigningKey,
        to: PublicKey,
        about: StatementId,
        reason: RejectReason,
        slot: Option<u64>,
    ) {
        self.reject_until(now, turn, signing, to, about, reason, slot, Duration::ZERO);
    }

    /// As [`Marketplace::reject`], saying after which time it is worth asking again.
    #[expect(clippy::too_many_arguments, reason = "the fields of one statement")]
    pub(super) fn reject_until(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        signing: &ed25519_dalek::SigningKey,
        to: PublicKey,
        about: StatementId,
        reason: RejectReason,
        slot: Option<u64>,
        retry: Duration,
    ) {
        let body = hailmesh_wire::Reject {
            to,
            issued: now,
            about,
            reason,
            slot,
            retry,
            ext: hailmesh_wire::Extensions::NONE,
        };
        let statement = self.sign(signing, body);
        let frame = Frame::statement(statement.bytes());
        // What the asker can mend, or was too early for, is looked at afresh next time.
        if !matches!(reason, RejectReason::Bad | RejectReason::Unknown) {
            self.sticky.put(now, about, frame.encode(), &self.config.limits);
        }
        match turn.peer {
            Some(peer) => {
                self.say(turn, peer, Vec::new(), frame, About::Once);
            }
            None => turn.answer(frame),
        }
    }

    /// Keeps a statement of the other side with the slot, unless it is there already.
    pub(super) fn note_theirs<T: Body>(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        statement: &Verified<T>,
    ) -> Option<Record> {
        let deal = self.deals.get_mut(&slot)?;
        deal.heard = now;
        deal.note(statement, false)
    }

    /// The other side of a slot speaks through this peer now. It has proved to be that
    /// side by signing, so that is where answers go, after a restart too (W12). One that
    /// moves oftener than P20 allows is followed with what it says later.
    pub(super) fn follow_peer(&mut self, now: Timestamp, slot: SlotRef, peer: Option<PeerKey>) {
        let (Some(peer), Some(deal)) = (peer, self.deals.get_mut(&slot)) else { return };
        // A driver's transport identity is its key (P3.1): nobody else speaks for it.
        if deal.role() == Role::Driver
            && deal.bound.peer != peer
            && self.moves.take(&deal.bound.counterparty, now)
        {
            deal.bound.peer = peer;
            self.outbox.redirect(&slot, peer, now);
            self.persist(vec![Record::Peer { slot, peer }]);
            self.arm_outbox();
        }
    }
}
