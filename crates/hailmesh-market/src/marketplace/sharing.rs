//! Live positions of the parties to a firm ride (P8.10): unsigned, never stored, only to
//! the other party and only over a direct connection. A driver's flows from FIRM on; a
//! rider's only while its user shares it.

use hailmesh_types::{Duration, GeoPoint, Private, Timestamp};
use hailmesh_wire::{Frame, FrameContent, Position, RejectReason};

use crate::command::{Answer, CommandError};
use crate::input::Origin;
use crate::journal::{Role, SlotRef};
use crate::output::Event;

use super::Marketplace;
use super::deal::Deal;
use super::exchange::{About, Turn};
use super::timers::Timer;

/// Least time between two positions to the other side.
const APART: Duration = Duration::from_secs(5);
/// How long after FIRM the first position follows: by then the other side is firm, too.
const AFTER_FIRM: Duration = Duration::from_secs(1);
/// What is stated of an accuracy that nobody measured, metres.
const ACCURACY_M: u16 = 10;

/// A place and when somebody was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) point: Private<GeoPoint>,
    pub(super) at: Timestamp,
}

impl Marketplace {
    /// The user says whether the driver of its firm ride may see where it is. What was
    /// said ends with the ride.
    pub(super) fn share(&mut self, now: Timestamp, on: bool) -> Result<Answer, CommandError> {
        let Some(rider) = self.rider.as_mut() else {
            return Err(CommandError::WrongRole(match self.role {
                Some(_) => "a driver's position goes to the rider of a firm ride by itself",
                None => "a relay has no position to share",
            }));
        };
        rider.sharing = on;
        self.share_position(now);
        Ok(Answer::Done)
    }

    /// Notes where this node is now, and tells whoever may know.
    pub(super) fn moved(&mut self, now: Timestamp, point: Private<GeoPoint>) {
        self.here = Some(Seen { point, at: now });
        self.share_position(now);
    }

    /// A ride is firm: from now on its other side may be told.
    pub(super) fn begin_sharing(&mut self, now: Timestamp) {
        self.timers.set(Timer::Share, now + AFTER_FIRM);
    }

    /// A ride is over: what was seen is forgotten, and so is the consent.
    pub(super) fn end_sharing(&mut self, slot: &SlotRef) {
        if let Some(deal) = self.deals.get_mut(slot) {
            deal.seen = None;
        }
        self.timers.clear(Timer::Share);
        if let Some(rider) = self.rider.as_mut() {
            rider.sharing = self.config.share_position;
        }
    }

    /// Whether this node tells the other side of a deal where it is.
    pub(super) fn shares_with(&self, deal: &Deal) -> bool {
        let willing = match deal.role() {
            Role::Driver => true,
            Role::Rider => self.rider.as_ref().is_some_and(|rider| rider.sharing),
        };
        willing && deal.is_firm()
    }

    /// Tells the other side of the firm ride where this node is, if there is news for it.
    pub(super) fn share_position(&mut self, now: Timestamp) {
        let Some(Seen { point, at }) = self.here else { return };
        let Some(deal) = self.deals.values().find(|deal| self.shares_with(deal)) else { return };
        let (slot, peer, agreement_id) = (deal.slot(), deal.peer(), deal.bound.agreement);
        if deal.told.is_some_and(|(_, measured)| measured >= at) {
            return;
        }
        if let Some((last, _)) = deal.told
            && last + APART > now
        {
            return self.timers.set(Timer::Share, last + APART);
        }
        // Not through others: what a relay carries, it carries for somebody else.
        let direct = |origin| !matches!(origin, Origin::Relay(_));
        if !self.origin(Some(peer)).is_some_and(direct) {
            return;
        }
        if let Some(deal) = self.deals.get_mut(&slot) {
            deal.told = Some((now, at));
        }
        let point = *point.expose();
        let position = Position { agreement_id, point, heading: 0, speed: 0, accuracy: ACCURACY_M, time: at };
        let frame = Frame::new(FrameContent::Position(position));
        self.say(&mut Turn::own(), peer, Vec::new(), frame, About::Once);
    }

    /// The other side says where it is.
    pub(super) fn on_position(&mut self, now: Timestamp, turn: &mut Turn, position: &Position) {
        let rate = self.config.limits.position;
        let slot = self.deal_by_agreement(&position.agreement_id);
        let deal = slot.and_then(|slot| self.deals.get_mut(&slot));
        let Some(deal) = deal.filter(|deal| deal.is_firm() && Some(deal.peer()) == turn.peer) else {
            return turn.refuse(RejectReason::Unknown);
        };
        if !deal.positions.take(rate, now) {
            return turn.refuse(RejectReason::Rate);
        }
        deal.heard = now;
        let at = position.time.min(now);
        // One that was overtaken on the way is no news.
        if deal.seen.is_none_or(|seen| seen.at <= at) {
            deal.seen = Some(Seen { point: Private(position.point), at });
            let ride = deal.bound.ride;
            self.notify(Event::Seen { ride });
        }
        turn.nothing();
    }
}
