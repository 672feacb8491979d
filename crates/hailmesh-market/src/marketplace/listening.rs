//! Whoever is busy does not need to hear offers: a driver stops listening until shortly
//! before it is expected to be free, a rider until it is bound no more.

use hailmesh_types::{Cell, Duration, Timestamp};
use hailmesh_wire::{DriverOffer, RiderOffer, Topic};

use crate::book::Side;
use crate::journal::SlotRef;
use crate::output::Output;
use crate::position::Width;

use super::Marketplace;
use super::timers::Timer;

/// A shorter absence is not worth the joining: peers that prune a topic are not grafted
/// again for a minute (P13.2).
const AWAY_LEAST: Duration = Duration::from_secs(60);

/// Below so many live offers of the other side a node listens farther around (P13.2),
/// unless it knows so many in all: a car among cars has nothing to gain from more cars.
const SPARSE: usize = 8;
const SPARSE_IN_ALL: usize = 64;
/// From so many live offers within this distance on a node listens to what is near only.
const CROWD: usize = 100;
const CROWD_M: f64 = 1_500.0;
/// Once it listens less far, so much less must be there before it listens farther again:
/// topics are not left and joined in turn.
const SLACK: usize = 2;

impl Marketplace {
    /// How far around its cell this node listens.
    pub(super) fn listening_width(&self, now: Timestamp, cell: Cell) -> Width {
        let other = if self.driver.is_some() { Side::Riders } else { Side::Drivers };
        let width = self.ring.width();
        let slack = |now_less: bool| if now_less { SLACK } else { 1 };
        let (sparse, crowd) = (slack(width != Width::Wide), slack(width == Width::Near));
        let all = self.book.len();
        if self.book.live_count(other, now) < SPARSE / sparse && all < SPARSE_IN_ALL / sparse {
            return Width::Wide;
        }
        let here = cell.centre();
        let near = || {
            self.book.count_within::<DriverOffer>(here, CROWD_M, now)
                + self.book.count_within::<RiderOffer>(here, CROWD_M, now)
        };
        if all >= CROWD / crowd && near() >= CROWD / crowd { Width::Near } else { Width::Usual }
    }

    /// A quarter more is known than when the ring was last looked at: that may be enough to
    /// listen less far around.
    pub(super) fn on_more_known(&mut self, now: Timestamp) {
        if self.book.len() >= self.ring_known + (self.ring_known / 4).max(SPARSE) {
            self.ring_known = self.book.len();
            self.follow_ring(now);
        }
    }

    /// The ride of this slot is firm, or its rider has boarded: when it should end. The
    /// estimates are the ACCEPT's and the REQUEST's own.
    pub(super) fn expect_end(&mut self, now: Timestamp, slot: SlotRef, boarded: bool) {
        let Some(deal) = self.deals.get(&slot) else { return };
        let pickup = if boarded { Duration::ZERO } else { deal.accept.body().eta };
        let ends = now + pickup.saturating_add(deal.request.body().ride_time);
        let Some(driver) = self.driver.as_mut() else { return };
        driver.ride_ends = Some(ends);
        if driver.away {
            self.timers.set(Timer::Listen, (ends - self.config.timers.listen_ahead).max(now));
        } else if boarded {
            self.rest(now);
        }
    }

    /// Leaves the topics of offers when there is time for it and others are there to pass
    /// gossip on; evidence is still heard.
    pub(super) fn rest(&mut self, now: Timestamp) {
        let ahead = self.config.timers.listen_ahead;
        if ahead == Duration::ZERO || self.book.len() < self.config.listen_crowd {
            return;
        }
        let Some(driver) = self.driver.as_mut() else { return };
        let Some(until) = driver.ride_ends.map(|ends| ends - ahead) else { return };
        if driver.is_free() || driver.away || until < now + AWAY_LEAST {
            return;
        }
        driver.away = true;
        for cell in self.ring.leave_all().leave {
            let topic = Topic::offers(&self.config.network, cell);
            self.out(Output::Unsubscribe(topic));
        }
        self.timers.clear(Timer::Ring);
        self.timers.set(Timer::Listen, until);
    }

    /// A rider who is firm looks for nobody: it leaves the topics of offers under the same
    /// conditions as a driver, and joins them again when it is bound no more. What its
    /// driver is up to it learns from STATUS (P8.8).
    pub(super) fn rest_rider(&mut self) {
        let crowded = self.book.len() >= self.config.listen_crowd;
        if self.config.timers.listen_ahead == Duration::ZERO || !crowded {
            return;
        }
        let Some(rider) = self.rider.as_mut() else { return };
        rider.away = true;
        for cell in self.ring.leave_all().leave {
            let topic = Topic::offers(&self.config.network, cell);
            self.out(Output::Unsubscribe(topic));
        }
        self.timers.clear(Timer::Ring);
    }

    /// Joins the topics around again: the ride is about to end, or has ended early.
    pub(super) fn listen_again(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Listen);
        let Some(driver) = self.driver.as_mut() else { return };
        if std::mem::take(&mut driver.away) {
            self.follow_ring(now);
        }
    }
}
