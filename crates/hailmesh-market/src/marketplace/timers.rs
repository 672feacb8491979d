//! Timers as values: when to be called again, and why (P12).

use hailmesh_types::{StatementId, Timestamp};

use crate::journal::{RideId, SlotRef};

/// Why a marketplace wants to be called. At most one of each value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A driver's hold ends (P6.10).
    Hold(SlotRef),
    /// A rider's doubt ends (P7.11).
    Doubt(SlotRef),
    /// The outbox has something due (P11.3).
    Outbox,
    /// STATUS to the other side of an agreement (P8.8).
    Status(SlotRef),
    /// Nobody co-signed (P6.18).
    Cosign(SlotRef),
    /// EN_ROUTE is due after FIRM (P8.2).
    EnRoute(SlotRef),
    /// The other side of a firm ride may be told where we are (P8.10).
    Share,
    /// A REQUEST was not answered in time (P7.4).
    Ask(StatementId),
    /// The next parallel REQUEST may go out (P5.8).
    Hedge,
    /// The search is looked at again.
    Decide,
    /// The rider takes the best of the ACCEPTs it compared (P7.23).
    Compare,
    /// The rider makes itself known (P5.13).
    OpenAfter,
    /// The rider's patience is over (P7.6).
    Patience,
    /// The driver answers the best of the REQUESTs it collected (P6.22).
    Collect,
    /// A ride that waits for its user's answer is too old (P5.9).
    Pending(RideId),
    /// The driver looks for waiting riders (P5.11).
    Invite,
    /// The own offer is to be published (P13.9).
    Publish,
    /// The own offer is to be withdrawn (P6.21).
    Withdraw,
    /// The published cell may have to change (P14.3).
    Position,
    /// A topic is to be left (P13.2).
    Ring,
    /// A driver begins to listen again, or sees whether it has to listen at all.
    Listen,
    /// Offers in the book expire.
    Expiry,
    /// Evidence is to be gossiped (P18.3).
    Evidence,
    /// The shift key ends its life (P17.4).
    Rotate,
    /// Small things to be remembered that nothing waits for.
    Flush,
}

/// A table of timers: a handful.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    /// The next one last.
    set: Vec<(Timestamp, Timer)>,
    /// A copy of that one: nobody is to look there for nothing.
    next: Option<(Timestamp, Timer)>,
    /// Whether [`Timer::Expiry`] is among them, which every message asks.
    expiry: bool,
}

impl Timers {
    /// Whether [`Timer::Expiry`] is set.
    pub(super) const fn has_expiry(&self) -> bool {
        self.expiry
    }

    /// To be called after every change.
    fn note(&mut self, timer: Timer, is_set: bool) {
        self.next = self.set.last().copied();
        if timer == Timer::Expiry {
            self.expiry = is_set;
        }
    }

    /// Sets a timer; one of the same value is replaced.
    pub(super) fn set(&mut self, timer: Timer, at: Timestamp) {
        if let Some(position) = self.set.iter().position(|(_, set)| *set == timer) {
            if self.set[position].0 == at {
                return;
            }
            self.set.remove(position);
        }
        let position = self.set.partition_point(|later| *later > (at, timer));
        if self.set.len() == self.set.capacity() {
            self.set.reserve_exact(2);
        }
        self.set.insert(position, (at, timer));
        self.note(timer, true);
    }

    /// Sets a timer unless it is set for an earlier time.
    pub(super) fn set_by(&mut self, timer: Timer, at: Timestamp) {
        if self.set.iter().all(|(earlier, set)| *set != timer || *earlier > at) {
            self.set(timer, at);
        }
    }

    /// Sets or clears.
    pub(super) fn set_or_clear(&mut self, timer: Timer, at: Option<Timestamp>) {
        match at {
            Some(at) => self.set(timer, at),
            None => self.clear(timer),
        }
    }

    /// Clears a timer.
    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(position) = self.set.iter().position(|(_, set)| *set == timer) {
            self.set.remove(position);
            self.note(timer, false);
        }
    }

    /// The next timer.
    pub(super) const fn next(&self) -> Option<(Timestamp, Timer)> {
        self.next
    }

    /// Takes the next timer that is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next?.0 > now {
            return None;
        }
        let (_, timer) = self.set.pop()?;
        self.note(timer, false);
        Some(timer)
    }
}
