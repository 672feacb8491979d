//! Comparing ACCEPTs (P7.23): a rider may keep good ones for a moment and take the best.
//!
//! The moment is short and at the drivers' cost, since each of them is held meanwhile. So
//! nobody further is asked once one has agreed, and the choice is made as soon as no
//! REQUEST is open any more. Which REQUESTs are open together is what `hedge_step` and
//! `hedge_max` say: with the defaults of both, most first ACCEPTs come alone.

use hailmesh_types::{Currency, Duration, Timestamp};
use hailmesh_wire::{Accept, Verified};

use crate::journal::SlotRef;

use super::Marketplace;
use super::exchange::Turn;
use super::rider_search::Pending;
use super::timers::Timer;

/// An ACCEPT in hand: good, and neither taken nor turned down yet.
pub(super) struct Offered {
    pending: Pending,
    accept: Verified<Accept>,
}

impl Offered {
    fn currency(&self) -> Option<Currency> {
        Some(self.pending.offer.offer.body().live.as_ref()?.tariff.currency)
    }
}

impl Marketplace {
    /// Keeps a good ACCEPT for comparison; gives it back when nothing is compared.
    pub(super) fn keep_offered(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        pending: Pending,
        accept: &Verified<Accept>,
    ) -> Result<(), Pending> {
        let span = self.config.timers.compare;
        if span == Duration::ZERO || !self.is_shopping() {
            return Err(pending);
        }
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else {
            return Err(pending);
        };
        if search.offered.is_empty() {
            self.timers.set(Timer::Compare, now + span);
        }
        search.offered.push(Offered { pending, accept: accept.clone() });
        turn.nothing();
        self.shop(now);
        Ok(())
    }

    /// Whether this very ACCEPT is in hand already: it came again.
    pub(super) fn is_offered(&self, accept: &Verified<Accept>) -> bool {
        let search = self.rider.as_ref().and_then(|rider| rider.search.as_ref());
        search.is_some_and(|search| search.offered.iter().any(|one| one.accept.id() == accept.id()))
    }

    /// Whether somebody has agreed, so that nobody further is asked. The choice is made
    /// here if no further ACCEPT can come.
    pub(super) fn compare(&mut self, now: Timestamp) -> bool {
        let search = self.rider.as_ref().and_then(|rider| rider.search.as_ref());
        let Some(search) = search.filter(|search| !search.offered.is_empty()) else { return false };
        if !search.asks.is_empty() {
            return true;
        }
        self.choose(now);
        // If none of them could be taken after all, the search goes on.
        !self.is_shopping()
    }

    /// Takes the best ACCEPT in hand: the lowest fare, then the earliest arrival, then the
    /// first that came. Fares in another currency than that of the first ACCEPT cannot be
    /// compared and come last. The others are turned down (P7.2).
    pub(super) fn choose(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Compare);
        let mut offered = self.take_offered();
        let Some(currency) = offered.first().map(Offered::currency) else { return };
        offered.sort_by_key(|one| {
            let body = one.accept.body();
            (one.currency() != currency, body.fare, body.eta)
        });
        for Offered { pending, accept } in offered {
            self.take_accept(now, &mut Turn::own(), Some(&pending), &accept);
        }
    }

    /// The time to compare is over.
    pub(super) fn on_compared(&mut self, now: Timestamp) {
        self.choose(now);
        // If none of them could be taken after all.
        self.shop(now);
    }

    /// Turns down what is in hand (P7.6).
    pub(super) fn release_offered(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Compare);
        for Offered { pending, accept } in self.take_offered() {
            let key = *pending.request.signer();
            let Some(chain) = self.rider.as_mut().and_then(|rider| rider.chains.get_mut(&key)) else {
                continue;
            };
            let (id, driver) = (accept.id(), *accept.signer());
            let event =
                crate::handshake::RiderEvent::Accept { accept: id, driver, chosen: false, confirm: id };
            let step = chain.chain.transition(event);
            let slot = SlotRef { key, lane: 0, slot: chain.chain.slot };
            self.ride_sends(now, &mut Turn::own(), slot, &step.sends);
        }
    }

    fn take_offered(&mut self) -> Vec<Offered> {
        let search = self.rider.as_mut().and_then(|rider| rider.search.as_mut());
        search.map(|search| std::mem::take(&mut search.offered)).unwrap_or_default()
    }
}
