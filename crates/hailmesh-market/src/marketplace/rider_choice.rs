//! Which driver a rider asks, and when: the view, the policy over it, and the reach.

use std::sync::Arc;

use hailmesh_types::{Duration, PublicKey, Timestamp};
use hailmesh_wire::AcceptMode;

use crate::book::{BookedDriver, Side};
use crate::matching::{DriverWant, Exclusion, Explain, Policy, Query, Spot, View, search_drivers};
use crate::view::Choice;

use super::Marketplace;
use super::rider_search::Search;
use super::timers::Timer;

/// Drivers and waiting riders that a rider compares, at the most, itself included.
const VIEW_MAX: usize = 64;
/// Under the policies that compare views the greatest delay before a look, in decision
/// periods: a whole neighbourhood would look at once, and before news is round.
pub(super) const JITTER_PERIODS: u32 = 5;
/// Mean area of a resolution-7 cell, km² (P14.1).
const TOPIC_KM2: f64 = 5.161;

/// A driver that could be asked.
pub(super) struct Ranked {
    pub(super) booked: Arc<BookedDriver>,
    /// Expected drive to the pickup.
    pub(super) drive: Duration,
    /// From when on it is asked.
    pub(super) due: Timestamp,
}

impl Ranked {
    pub(super) fn is_human(&self) -> bool {
        let terms = self.booked.offer.body().live.as_ref();
        terms.is_some_and(|terms| terms.accept_mode == AcceptMode::Ask)
    }
}

/// What a rider sees of the drivers around it.
pub(super) struct Survey {
    /// In the order in which they are asked.
    pub(super) ranked: Vec<Ranked>,
    pub(super) explain: Explain,
    pub(super) near: Option<Duration>,
}

impl Marketplace {
    /// The drivers that could be asked, in order, and why the others are not.
    pub(super) fn survey(&self, now: Timestamp) -> Survey {
        let Some(search) = self.rider.as_ref().and_then(|rider| rider.search.as_ref()) else {
            return Survey { ranked: Vec::new(), explain: Explain::default(), near: None };
        };
        let wish = &search.wish;
        let (dist_m, ride_time) = self.trip(wish);
        let want = DriverWant {
            class: Some(wish.class),
            seats: wish.party,
            features: wish.features,
            max_fare: wish.max_fare,
            currency: wish.currency,
            dist_m: Some(dist_m),
            ride_time: Some(ride_time),
            min_level: self.driver_level(),
        };
        let exclude = |key: &PublicKey| {
            let asked = search.asks.values().any(|pending| pending.offer.key() == key);
            let newest = || self.book.driver(key).map_or(0, |booked| booked.offer.body().seq);
            let refused = search.refused.get(key).is_some_and(|refusal| refusal.holds(now, newest()));
            if asked || refused { Some(Exclusion::Busy) } else { self.never(key, now) }
        };
        let query = Query {
            near: *wish.from.expose(),
            radius_m: None,
            limit: VIEW_MAX,
            want,
            speed_kmh: self.config.speed_kmh,
            exclude: &exclude,
        };
        let report = search_drivers(&self.book, now, &query);
        let mut explain = report.explain;
        let near = self.near(now, Side::Drivers);
        let left = search.pickup_left(now);
        let mut ranked = Vec::with_capacity(report.candidates.len());
        for candidate in report.candidates {
            let drive = self.drive_to(&candidate.booked, search);
            if left.is_some_and(|left| drive > left) {
                *explain.excluded.entry(Exclusion::Late).or_insert(0) += 1;
                continue;
            }
            let mut due = self.due(now, near, drive, search, candidate.booked.since);
            if let Some(invited) = search.invited(candidate.booked.key()) {
                due = due.min(invited);
            }
            ranked.push(Ranked { booked: candidate.booked, drive, due });
        }
        ranked.sort_by_key(|one| (one.drive, *one.booked.key().as_bytes()));
        self.yield_to_others(now, &mut ranked, search);
        Survey { ranked, explain, near }
    }

    /// Under the policies that look at the other riders too: the driver that the policy
    /// gives comes first, and the others are left to whom it gives them, for a while.
    fn yield_to_others(&self, now: Timestamp, ranked: &mut [Ranked], search: &Search) {
        let policy = self.config.policy;
        if policy == Policy::Nearest || ranked.is_empty() {
            return;
        }
        let here = *search.wish.from.expose();
        let others = self.book.nearest_riders(here, now).take(VIEW_MAX - 1);
        let others: Vec<_> = others.map(|(booked, _)| booked).collect();
        let keys = std::iter::once(*search.key.as_bytes())
            .chain(others.iter().map(|booked| *booked.key().as_bytes()))
            .collect();
        let drivers = ranked.iter().map(|one| *one.booked.key().as_bytes()).collect();
        let view = View::new(keys, drivers, |rider, driver| {
            let one = &ranked[driver];
            let offer = one.booked.offer.body();
            let Some(rider) = rider.checked_sub(1) else { return Some(one.drive) };
            let wanted = others[rider].offer.body();
            let suits = offer.live.as_ref()?.class == wanted.live.as_ref()?.class;
            suits.then(|| self.travel.drive(Spot::Cell(offer.cell), Spot::Cell(wanted.cell)))
        });
        let mine = policy.driver_for(&view, 0);
        let span = self.config.timers.yield_span;
        for (index, one) in ranked.iter_mut().enumerate() {
            if mine != Some(index) {
                one.due = one.due.max(one.booked.since.max(search.started) + span);
            }
        }
        if let Some(mine) = mine {
            ranked[..=mine].rotate_right(1);
        }
    }

    /// A driver's offer came in while this rider searches: no more is computed than when
    /// that driver's turn comes.
    pub(super) fn on_driver_heard(&mut self, now: Timestamp, booked: &BookedDriver) {
        if !self.is_shopping() {
            return;
        }
        let near = self.near(now, Side::Drivers);
        let Some(search) = self.rider.as_ref().and_then(|rider| rider.search.as_ref()) else { return };
        let drive = self.drive_to(booked, search);
        if search.pickup_left(now).is_some_and(|left| drive > left) {
            return;
        }
        let due = self.due(now, near, drive, search, booked.since);
        let period = self.config.timers.decision_period;
        let soonest = search.looked.map_or(now, |looked| looked + period);
        let jitter = match self.config.policy {
            Policy::Nearest => Duration::ZERO,
            _ => self.jitter(period.saturating_mul(JITTER_PERIODS)),
        };
        self.timers.set_by(Timer::Decide, due.max(soonest).max(now + jitter));
    }

    /// Where waiting for a better partner begins to pay; see [`Reach`].
    ///
    /// [`Reach`]: crate::matching::Reach
    pub(super) fn near(&self, now: Timestamp, partner: Side) -> Option<Duration> {
        let reach = self.config.reach();
        // Each side is known as far around as it is listened to.
        let flow_per_km2 = |side: Side| {
            let ring = if side == self.side() { &self.own_ring } else { &self.ring };
            if ring.is_empty() && side == self.side() {
                return 0.0; // what is left in the book is of before
            }
            #[expect(clippy::cast_precision_loss, reason = "at most 64 topics")]
            let area_km2 = ring.len().max(1) as f64 * TOPIC_KM2;
            let without = usize::from(side == partner);
            self.book.flow_per_s(now, side, without, reach.turnover) / area_km2
        };
        let flow = flow_per_km2(Side::Drivers) + flow_per_km2(Side::Riders);
        reach.near(flow, self.config.speed_kmh)
    }

    fn drive_to(&self, booked: &BookedDriver, search: &Search) -> Duration {
        let from = Spot::Cell(booked.offer.body().cell);
        self.travel.drive(from, Spot::Point(*search.wish.from.expose()))
    }

    fn due(
        &self,
        now: Timestamp,
        near: Option<Duration>,
        drive: Duration,
        search: &Search,
        since: Timestamp,
    ) -> Timestamp {
        let together = search.started.max(since).min(now);
        self.config.reach().due(near, drive, together, search.started)
    }

    /// Remembers why this driver is asked.
    pub(super) fn note_choice(&mut self, now: Timestamp, chosen: &Ranked, survey: &Survey) {
        let Some(search) = self.rider.as_ref().and_then(|rider| rider.search.as_ref()) else { return };
        let (ride, started) = (search.ride, search.started);
        let together = Duration::between(started.max(chosen.booked.since), now);
        let waited = Duration::between(started, now);
        let choice = Choice {
            driver: *chosen.booked.key(),
            policy: self.config.policy,
            drive: chosen.drive,
            limit: survey.near.map(|near| self.config.reach().limit(near, together, waited)),
            candidates: survey.ranked.len(),
            explain: survey.explain.clone(),
        };
        if let Some(entry) = self.rides.get_mut(&ride) {
            entry.choice = Some(choice);
        }
    }
}

impl Search {
    /// How long a pickup may still take; none: as long as it does.
    pub(super) fn pickup_left(&self, now: Timestamp) -> Option<Duration> {
        let within = self.wish.pickup_within?;
        Some(within.saturating_sub(Duration::between(self.started, now)))
    }
}
