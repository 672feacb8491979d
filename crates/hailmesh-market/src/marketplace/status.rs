//! STATUS: what each side knows of an agreement, and what it lacks (P8.8).

use hailmesh_types::{Duration, StatementId, Timestamp};
use hailmesh_wire::{
    Attachment, Extensions, Frame, Kind, Purpose, RejectReason, RideState, Status, StatusEntry, Verified,
    commit,
};

use crate::journal::{Record, Role, SecretPurpose, SlotRef};
use crate::output::Output;

use super::Marketplace;
use super::deal::{Deal, opening_bytes};
use super::exchange::{About, Turn};
use super::timers::Timer;

/// Statements that one STATUS brings along (P8.8).
const ATTACHED_MAX: usize = 4;

impl Marketplace {
    pub(super) fn on_status_due(&mut self, now: Timestamp, slot: SlotRef) {
        let Some(deal) = self.deals.get(&slot).filter(|deal| deal.ended.is_none()) else { return };
        let silent = now.millis_since(deal.heard) > u64::from(self.config.timers.unreach.as_millis());
        let (ride, peer, addrs) = (deal.bound.ride, deal.peer(), deal.addrs.clone());
        let before = Duration::between(deal.heard, now).saturating_sub(self.config.timers.status);
        // Said once, in the period in which it becomes true.
        if silent && before <= self.config.timers.unreach {
            self.say_to_user(&format!(
                "ride {ride}: the other side has been out of reach for {} s; it can be cancelled without blame",
                self.config.timers.unreach.as_millis() / 1_000
            ));
        }
        if self.peers.contains_key(&peer) {
            self.send_status(now, slot);
        } else {
            self.out(Output::Dial { peer, addrs });
        }
        self.timers.set(Timer::Status(slot), now + self.config.timers.status);
    }

    /// Tells the other side of a slot what is known of it.
    pub(super) fn send_status(&mut self, now: Timestamp, slot: SlotRef) {
        let nonce = self.random();
        let Some(deal) = self.deals.get(&slot) else { return };
        let (peer, addrs, to) = (deal.peer(), deal.addrs.clone(), deal.counterparty());
        let Some(entry) = entry_of(deal) else { return };
        let body =
            Status { to, issued: now, nonce, reply_to: None, entries: vec![entry], ext: Extensions::NONE };
        let Some(signing) = self.signing_for(&slot.key) else { return };
        let status = self.sign(&signing, body);
        let frame = Frame::statement(status.bytes());
        self.say(&mut Turn::own(), peer, addrs, frame, About::Once);
    }

    /// STATUS never changes a state; only the statements that it brings do.
    pub(super) fn on_status(&mut self, now: Timestamp, turn: &mut Turn, status: Verified<Status>) {
        let asks = status.body().reply_to.is_none();
        if asks && !self.statuses.take(status.signer(), now) {
            return turn.refuse(RejectReason::Rate);
        }
        let mut entries = Vec::new();
        let mut attached = Vec::new();
        let mut own_key = None;
        for entry in &status.body().entries {
            let slot = self.deal_by_agreement(&entry.agreement_id).filter(|slot| {
                let deal = self.deals.get(slot);
                slot.key == status.body().to
                    && deal.is_some_and(|deal| deal.counterparty() == *status.signer())
            });
            let Some(slot) = slot else {
                entries.push(StatusEntry {
                    agreement_id: entry.agreement_id,
                    state: RideState::Unknown,
                    own_last: status.id(),
                    heard_last: None,
                });
                continue;
            };
            own_key = Some(slot);
            self.follow_peer(now, slot, turn.peer);
            self.take_status(now, slot, entry, &status, &mut attached);
            self.take_opening(slot, turn);
            entries.extend(self.deals.get(&slot).and_then(entry_of));
        }
        if !asks {
            return;
        }
        let Some(slot) = own_key else { return turn.refuse(RejectReason::Unknown) };
        let body = Status {
            to: *status.signer(),
            issued: now,
            nonce: self.random(),
            reply_to: Some(status.body().nonce),
            entries,
            ext: Extensions::NONE,
        };
        let Some(signing) = self.signing_for(&slot.key) else { return turn.nothing() };
        let reply = self.sign(&signing, body);
        let mut frame = Frame::statement(reply.bytes());
        for bytes in attached.into_iter().take(ATTACHED_MAX) {
            frame = frame.with(Attachment::Statement(bytes));
        }
        if let Some(opening) = self.status_opening(slot, turn) {
            frame = frame.with(opening);
        }
        turn.answer(frame);
    }

    /// What the other side has heard is done; what it lacks is sent again.
    fn take_status(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        entry: &StatusEntry,
        status: &Verified<Status>,
        attached: &mut Vec<Vec<u8>>,
    ) {
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        deal.heard = now;
        deal.status_heard = Some(now);
        let own: Vec<(StatementId, Vec<u8>, Kind)> =
            deal.own_said().map(|said| (said.id, said.bytes.to_vec(), said.kind)).collect();
        let heard = entry.heard_last.and_then(|last| own.iter().position(|(id, _, _)| *id == last));
        // P9.7: a STATUS that names our ARRIVED is worth keeping.
        let arrived =
            heard.is_some_and(|last| own[..=last].iter().any(|(_, _, kind)| *kind == Kind::Arrived));
        let is_kept = deal.last_said(Kind::Status, false).is_some();
        let keep = arrived && !is_kept && deal.role() == Role::Driver;
        let record: Option<Record> = if keep { deal.note(status, false) } else { None };
        self.persist_some(record);
        let lacking = heard.map_or(0, |last| last + 1);
        for (id, _, _) in own.iter().take(lacking) {
            self.heard(now, id);
        }
        // A HOLD_LAPSED is only told to whoever asks (P6.10): STATUS does ask.
        attached.extend(own.into_iter().skip(lacking).map(|(_, bytes, _)| bytes));
    }

    /// The opening that the peer needs at this stage of the ride (P8.7), if it may have it.
    fn status_opening(&self, slot: SlotRef, turn: &Turn) -> Option<Attachment> {
        let deal = self.deals.get(&slot)?;
        match deal.role() {
            Role::Rider if turn.peer != Some(deal.counterparty().to_peer_key()) => None,
            Role::Rider if deal.is_boarded() => {
                deal.opening(SecretPurpose::Drop).map(Attachment::DropOpening)
            }
            Role::Rider => deal.opening(SecretPurpose::Pickup).map(Attachment::PickupOpening),
            Role::Driver if deal.firm_at.is_some() && turn.peer == Some(deal.peer()) => {
                deal.opening(SecretPurpose::Vehicle).map(Attachment::VehicleOpening)
            }
            _ => None,
        }
    }

    /// An opening that this side lacks: the destination comes with boarding, the vehicle with
    /// ACK, and both with a STATUS where what should have brought them was lost.
    pub(super) fn take_opening(&mut self, slot: SlotRef, turn: &Turn) {
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        let lacks = |purpose| !deal.secrets.contains_key(&purpose);
        let found = turn.attachments.iter().find_map(|attachment| match (deal.role(), attachment) {
            (Role::Driver, Attachment::DropOpening(opening)) if deal.is_boarded() => {
                let right = deal
                    .confirm
                    .as_ref()
                    .is_some_and(|confirm| Deal::opens(confirm.body(), Purpose::Drop, opening));
                (right && lacks(SecretPurpose::Drop)).then_some((SecretPurpose::Drop, opening))
            }
            (Role::Rider, Attachment::VehicleOpening(opening)) if deal.firm_at.is_some() => {
                let right = commit(Purpose::Vehicle, opening) == deal.accept.body().vehicle_commit;
                (right && lacks(SecretPurpose::Vehicle)).then_some((SecretPurpose::Vehicle, opening))
            }
            _ => None,
        });
        if let Some((purpose, opening)) = found {
            let record = deal.keep(purpose, opening_bytes(opening));
            self.persist(vec![record]);
        }
    }

    fn persist_some(&mut self, record: Option<Record>) {
        if let Some(record) = record {
            self.persist(vec![record]);
        }
    }
}

fn entry_of(deal: &Deal) -> Option<StatusEntry> {
    let own_last = deal.own_said().next_back()?.id;
    let heard_last = deal.last_heard().map(|said| said.id);
    Some(StatusEntry { agreement_id: deal.bound.agreement, state: deal.state(), own_last, heard_last })
}
