//! Who listens to which offers: to the other side as far around as there is need to, to
//! the own side in the own cell, and farther where riders outnumber cars. Whoever is busy
//! needs to hear none: a driver stops listening until shortly before it is expected to be
//! free, a rider until it is bound no more.

use hailmesh_types::{Cell, Duration, GeoPoint, Timestamp};
use hailmesh_wire::{DriverOffer, RiderOffer, Topic};

use crate::book::Side;
use crate::journal::SlotRef;
use crate::output::Output;
use crate::position::{RingChange, Width};

use super::Marketplace;
use super::deal::Deal;
use super::timers::Timer;

/// A shorter absence is not worth the joining: peers that prune a topic are not grafted
/// again for a minute (P13.2).
const AWAY_LEAST: Duration = Duration::from_secs(60);

/// Below so many live offers of the other side a node listens farther around (P13.2),
/// unless it knows as many of its own: a car among cars has nothing to gain from more cars.
const SPARSE: usize = 8;
/// From so many live offers within this distance on a node listens to what is near only.
const CROWD: usize = 100;
const CROWD_M: f64 = 1_500.0;
/// Once it listens less far, so much less must be there before it listens farther again:
/// topics are not left and joined in turn.
const SLACK: usize = 2;
/// How long a free driver among many does not listen to the others, and by how much that
/// varies.
const REST: Duration = Duration::from_secs(180);
const REST_VARIES: Duration = Duration::from_secs(60);
/// How long it listens before it judges what is there.
const LOOK: Duration = Duration::from_secs(15);
/// A car that has been free for so long looks for riders farther away...
const LEFT_OVER: Duration = Duration::from_secs(20);
/// ... if fewer than this wait within [`CROWD_M`].
const LEFT_OVER_RIDERS: usize = 4;
/// A rider who has waited as long listens farther, if fewer than this wait within
/// [`CROWD_M`]: where more do, cars farther away look for them.
const WAITING_RIDERS: usize = 24;
/// A car that has just become free is likely to be taken before it makes sense to leave.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a node that listens again takes what it knew for what is there.
const REMEMBERED: Duration = Duration::from_secs(20);

impl Marketplace {
    /// How far around its cell this node listens.
    pub(super) fn listening_width(&self, now: Timestamp, cell: Cell) -> Width {
        // Nearer cars than this one hear who wants a ride farther away.
        if self.is_resting(now) {
            return Width::Near;
        }
        let width = self.ring.width();
        let slack = |now_less: bool| if now_less { SLACK } else { 1 };
        let (sparse, crowd) = (slack(width != Width::Wide), slack(width == Width::Near));
        let is_sparse = [self.partners(), self.side()]
            .into_iter()
            .all(|side| self.book.live_count(side, now) < SPARSE / sparse);
        // Its book is empty because it did not listen, not because nobody is there.
        let remembers = self.driver.as_ref().is_some_and(|driver| now < driver.woke + REMEMBERED);
        if is_sparse && !(remembers && width < Width::Wide) {
            return Width::Wide;
        }
        let here = cell.centre();
        if self.is_left_over(now, here) || self.has_waited(now, here) {
            return Width::Wide;
        }
        let near = || self.cars_near(now, here) + self.riders_near(now, here);
        if self.book.len() >= CROWD / 2 && near() >= CROWD / crowd { Width::Near } else { Width::Usual }
    }

    /// Free cars within [`CROWD_M`].
    fn cars_near(&self, now: Timestamp, here: GeoPoint) -> usize {
        let known = self.book.count_within::<DriverOffer>(here, CROWD_M, now);
        if self.side() == Side::Drivers { self.extrapolate(known) } else { known }
    }

    /// Waiting riders within [`CROWD_M`].
    fn riders_near(&self, now: Timestamp, here: GeoPoint) -> usize {
        let known = self.book.count_within::<RiderOffer>(here, CROWD_M, now);
        if self.side() == Side::Riders { self.extrapolate(known) } else { known }
    }

    /// Of its own side a node hears its cell, which is two thirds of what is near.
    fn extrapolate(&self, known: usize) -> usize {
        if self.own_ring.width() == Width::Home { known + known / 2 } else { known }
    }

    /// Whether this is a free car that hardly anybody near waits for, and not because of
    /// other free cars: riders who are worth a longer drive wait farther away.
    fn is_left_over(&self, now: Timestamp, here: GeoPoint) -> bool {
        let Some(driver) = self.driver.as_ref().filter(|driver| driver.online && driver.is_free()) else {
            return false;
        };
        now >= driver.free_since + LEFT_OVER
            && self.riders_near(now, here) < self.few(LEFT_OVER_RIDERS)
            && self.cars_near(now, here) < self.config.idle_crowd
    }

    /// Whether this is a rider who has waited for a while, and not because of other riders:
    /// cars that are worth waiting for stand farther away.
    fn has_waited(&self, now: Timestamp, here: GeoPoint) -> bool {
        let search = self.rider.as_ref().and_then(|rider| rider.search.as_ref());
        search.is_some_and(|search| now >= search.started + LEFT_OVER)
            && self.riders_near(now, here) < self.few(WAITING_RIDERS)
    }

    /// So many are few; twice as many for whoever listens to two rings because of them.
    fn few(&self, number: usize) -> usize {
        if self.ring.width() == Width::Wide { number * SLACK } else { number }
    }

    /// A quarter more is known than when the ring was last looked at: that may be enough to
    /// listen less far around.
    pub(super) fn on_more_known(&mut self, now: Timestamp) {
        if self.book.len() >= self.ring_known + (self.ring_known / 4).max(SPARSE) {
            self.ring_known = self.book.len();
            if self.driver.is_some() && self.book.live_count(Side::Drivers, now) >= self.config.idle_crowd {
                self.rest_from_crowd(now);
            }
            // Whoever started again in the middle of a ride knew nobody then.
            self.rest(now);
            if self.is_firm_rider() {
                self.rest_rider();
            }
            self.follow_ring(now);
        }
    }

    /// How far around it this node listens to its own side; none: not at all for now.
    ///
    /// What others of its side offer tells a node how many compete, and by listening it
    /// passes on what its neighbours say. Its own cell is enough for both while cars are
    /// plenty. Where more riders wait than cars are free everything depends on how many
    /// compete around, and there is less to hear of cars.
    pub(super) fn own_width(&self, now: Timestamp, cell: Cell, width: Width) -> Option<Width> {
        if self.is_resting(now) {
            return None;
        }
        // Nobody counts who is near where there are too few in all.
        if self.extrapolate(self.book.live_count(Side::Riders, now)) < SPARSE {
            return Some(Width::Home);
        }
        let here = cell.centre();
        let (cars, riders) = (self.cars_near(now, here), self.riders_near(now, here));
        let slack = if self.own_ring.width() == Width::Home { 1 } else { SLACK };
        Some(if riders * slack > cars && riders >= SPARSE { width } else { Width::Home })
    }

    /// Whether this is a free car among so many that it does not listen to them.
    pub(super) fn is_resting(&self, now: Timestamp) -> bool {
        self.driver.as_ref().is_some_and(|driver| now < driver.crowded_until)
    }

    /// A free car among so many free cars leaves their topics for a while; riders it goes on
    /// hearing. It looks again when [`Timer::Listen`] is due, and joins them for that.
    fn rest_from_crowd(&mut self, now: Timestamp) {
        let Some(driver) = self.driver.as_ref() else { return };
        if !driver.online || !driver.is_free() {
            return;
        }
        let Some(here) = driver.cell().map(Cell::centre) else { return };
        let stays = self.config.timers.listen_ahead == Duration::ZERO;
        let few = || self.cars_near(now, here) < self.config.idle_crowd;
        let pause = if stays || !driver.live || few() {
            LOOK
        } else {
            let pause = REST.saturating_add(self.jitter(REST_VARIES));
            if let Some(driver) = self.driver.as_mut() {
                driver.crowded_until = now + pause;
            }
            let change = self.own_ring.leave_all();
            self.join_and_leave(self.side(), change);
            pause
        };
        self.timers.set(Timer::Listen, now + pause);
    }

    /// The side that this node is on.
    pub(super) const fn side(&self) -> Side {
        if self.driver.is_some() { Side::Drivers } else { Side::Riders }
    }

    /// The side that this node looks for.
    pub(super) const fn partners(&self) -> Side {
        if self.driver.is_some() { Side::Riders } else { Side::Drivers }
    }

    /// The topic of offers of a side there.
    pub(super) fn offer_topic(&self, side: Side, cell: Cell) -> Topic {
        match side {
            Side::Drivers => Topic::drivers(&self.config.network, cell),
            Side::Riders => Topic::riders(&self.config.network, cell),
        }
    }

    /// How many topics of offers are joined.
    pub(super) fn topics(&self) -> usize {
        self.ring.len() + self.own_ring.len()
    }

    pub(super) fn join_and_leave(&mut self, side: Side, change: RingChange) {
        for cell in change.join {
            self.out(Output::Subscribe(self.offer_topic(side, cell)));
        }
        for cell in change.leave {
            self.out(Output::Unsubscribe(self.offer_topic(side, cell)));
        }
    }

    /// Leaves all topics of offers.
    fn leave_topics(&mut self) {
        let (others, own) = (self.ring.leave_all(), self.own_ring.leave_all());
        self.join_and_leave(self.partners(), others);
        self.join_and_leave(self.side(), own);
        self.timers.clear(Timer::Ring);
    }

    /// The ride of this slot is firm, or its rider has boarded: when it should end. The
    /// estimates are the ACCEPT's and the REQUEST's own.
    pub(super) fn expect_end(&mut self, now: Timestamp, slot: SlotRef) {
        let Some(deal) = self.deals.get(&slot) else { return };
        let Some(firm) = deal.firm_at else { return };
        let boarded = deal.is_boarded();
        let starts = deal.boarded_at.unwrap_or_else(|| firm + deal.accept.body().eta);
        let ends = starts + deal.request.body().ride_time;
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
        // An offer that is still out is withdrawn first.
        if driver.is_free() || driver.live || driver.away || until < now + AWAY_LEAST {
            return;
        }
        self.stop_listening(until);
    }

    /// Leaves the topics of offers until then.
    fn stop_listening(&mut self, until: Timestamp) {
        if let Some(driver) = self.driver.as_mut() {
            driver.away = true;
        }
        self.leave_topics();
        self.timers.set(Timer::Listen, until);
    }

    fn is_firm_rider(&self) -> bool {
        let bound = self.rider.as_ref().and_then(|rider| rider.bound());
        bound.and_then(|slot| self.deals.get(&slot)).is_some_and(Deal::is_firm)
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
        self.leave_topics();
    }

    /// Joins the topics around again: the ride is about to end, or has ended early.
    pub(super) fn listen_again(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Listen);
        let Some(driver) = self.driver.as_mut() else { return };
        if std::mem::take(&mut driver.away) {
            driver.woke = now;
            driver.crowded_until = Timestamp::MIN;
            self.follow_ring(now);
        }
        self.judge_crowd_later(now);
    }

    /// A free driver looks in a while whether it has to listen at all.
    pub(super) fn judge_crowd_later(&mut self, now: Timestamp) {
        let Some(driver) = self.driver.as_ref().filter(|driver| driver.is_free()) else { return };
        let seen_all = driver.woke + LOOK;
        self.timers.set(Timer::Listen, seen_all.max(now + SETTLE));
    }

    /// A rider looks in a while whether it has to listen farther.
    pub(super) fn listen_farther_later(&mut self, now: Timestamp) {
        self.timers.set(Timer::Listen, now + LEFT_OVER);
    }

    /// It is time to listen again, or to see whether there is need to.
    pub(super) fn on_listen_due(&mut self, now: Timestamp) {
        if self.is_shopping() {
            self.timers.set(Timer::Listen, now + LEFT_OVER);
            return self.follow_ring(now);
        }
        if self.driver.as_ref().is_some_and(|driver| driver.away) {
            self.listen_again(now);
        } else {
            self.rest_from_crowd(now);
            self.follow_ring(now);
        }
    }
}
