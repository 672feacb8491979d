//! Questions to the marketplace: they change nothing.

use hailmesh_market::book::Side;
use hailmesh_market::matching::{Candidate, DriverWant, Query, RiderWant, eta_over};
use hailmesh_market::{RideId, RideView, Snapshot};
use hailmesh_types::{GeoPoint, SEATS_MAX, Seats, Timestamp};
use hailmesh_wire::{DriverOffer, RiderOffer};
use tokio::sync::oneshot;

use super::{Effect, Engine};
use crate::error::NodeError;
use crate::search::{Quote, QuoteRequest, SearchAnswer, SearchItem, SearchRequest};
use crate::status::{Problem, Seen};

/// Roads are longer than great circles; as the market estimates a ride.
const DETOUR: f64 = 1.3;
/// Most answers to a search.
const ITEMS_MAX: usize = 500;

type Reply<T> = oneshot::Sender<Result<T, NodeError>>;

/// A question.
pub(crate) enum Reading {
    Core(oneshot::Sender<Core>),
    Search(Box<SearchRequest>, Reply<SearchAnswer>),
    Quote(Box<QuoteRequest>, Reply<Vec<Quote>>),
    Rides(Reply<Vec<RideView>>),
    Ride(RideId, Reply<Option<RideView>>),
    Receipt(RideId, Reply<Option<Vec<u8>>>),
}

/// What the loop knows for a status.
pub(crate) struct Core {
    pub(crate) snapshot: Snapshot,
    pub(crate) now: Timestamp,
    pub(crate) connected_ms: Option<u64>,
    pub(crate) uptime_ms: u64,
    pub(crate) store_healthy: bool,
    pub(crate) last_error: Option<Problem>,
    pub(crate) seen: Seen,
    pub(crate) positioned: bool,
}

impl Engine {
    pub(super) async fn read(&mut self, reading: Reading) {
        // Whoever asked may be gone: then nobody is told.
        match reading {
            Reading::Core(reply) => drop(reply.send(self.core())),
            Reading::Search(request, reply) => drop(reply.send(self.search(&request))),
            Reading::Quote(request, reply) => drop(reply.send(self.quote(&request))),
            Reading::Rides(reply) => self.when_durable(reply, |engine, now| engine.market.rides(now)).await,
            Reading::Ride(ride, reply) => {
                self.when_durable(reply, |engine, now| engine.market.ride(ride, now)).await
            }
            Reading::Receipt(ride, reply) => {
                self.when_durable(reply, |engine, _| engine.market.receipt(ride)).await
            }
        }
    }

    /// Answers when what the answer shows is durable: a ride that was seen firm stays it.
    async fn when_durable<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        look: impl FnOnce(&Self, Timestamp) -> T,
    ) {
        if let Some(halt) = &self.halt {
            let _ = reply.send(Err(halt.error()));
            return;
        }
        let seen = look(self, self.clock.now());
        self.queue.push(Effect::Reply(Box::new(move |failure| {
            let _ = reply.send(failure.map_or(Ok(seen), Err));
        })));
        self.flush().await;
    }

    fn core(&self) -> Core {
        let now = self.clock.now();
        Core {
            snapshot: self.snapshot(),
            now,
            connected_ms: self.connected_since.map(|since| now.millis_since(since)),
            uptime_ms: u64::try_from(self.clock.uptime().as_millis()).unwrap_or(u64::MAX),
            store_healthy: self.halt.is_none(),
            last_error: self.last_error.clone(),
            seen: self.seen.clone(),
            positioned: self.said.position.is_some(),
        }
    }

    fn place(&self, near: Option<GeoPoint>) -> Result<GeoPoint, NodeError> {
        near.or(self.said.position).ok_or_else(|| {
            NodeError::BadInput("near: this node has no position yet, so LAT,LON is needed".to_owned())
        })
    }

    fn search(&self, request: &SearchRequest) -> Result<SearchAnswer, NodeError> {
        let near = self.place(request.near)?;
        if !(1..=ITEMS_MAX).contains(&request.limit) {
            return Err(NodeError::BadInput(format!("limit {}: expected 1 to {ITEMS_MAX}", request.limit)));
        }
        let now = self.clock.now();
        let (items, explain) = match request.side {
            Side::Drivers => {
                let want = DriverWant {
                    class: request.class,
                    seats: request.seats.unwrap_or(Seats::ONE),
                    max_fare: request.max_fare,
                    ..DriverWant::default()
                };
                let report =
                    self.market.search_drivers(now, around(near, request.radius_m, request.limit, want));
                (
                    report.candidates.iter().filter_map(|found| driver_item(now, found)).collect(),
                    report.explain,
                )
            }
            Side::Riders => {
                let want = RiderWant {
                    class: request.class,
                    seats: request.seats.unwrap_or(most_seats()),
                    features: hailmesh_types::Features::from_bits(u32::MAX),
                    tariff: None,
                    min_level: hailmesh_market::certificates::Level::L0,
                };
                let report =
                    self.market.search_riders(now, around(near, request.radius_m, request.limit, want));
                (
                    report.candidates.iter().filter_map(|found| rider_item(now, found)).collect::<Vec<_>>(),
                    report.explain,
                )
            }
        };
        Ok(SearchAnswer { items, explain, peers: self.peers.len(), now, hint: None })
    }

    fn quote(&self, request: &QuoteRequest) -> Result<Vec<Quote>, NodeError> {
        let metres = request.from.distance_m(request.to) * DETOUR;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most half the globe")]
        let dist_m = metres.round() as u32;
        let ride_time = eta_over(metres / DETOUR, self.config.speed_kmh);
        let want = DriverWant {
            class: Some(request.class),
            seats: request.seats,
            features: request.features,
            dist_m: Some(dist_m),
            ride_time: Some(ride_time),
            ..DriverWant::default()
        };
        let report =
            self.market.search_drivers(self.clock.now(), around(request.from, None, ITEMS_MAX, want));
        let quotes = report.candidates.iter().filter_map(|found| {
            let terms = found.booked.offer.body().live.as_ref()?;
            Some(Quote {
                driver: *found.booked.key(),
                fare: found.fare?,
                currency: terms.tariff.currency,
                eta: found.eta,
                accept_mode: terms.accept_mode,
                dist_m,
                ride_time,
            })
        });
        let mut quotes: Vec<Quote> = quotes.collect();
        quotes.sort_by_key(|quote| (quote.currency, quote.fare, quote.eta, quote.driver));
        Ok(quotes)
    }
}

fn driver_item(now: Timestamp, found: &Candidate<DriverOffer>) -> Option<SearchItem> {
    let offer = found.booked.offer.body();
    let terms = offer.live.as_ref()?;
    Some(SearchItem {
        author: *found.booked.key(),
        side: Side::Drivers,
        cell: offer.cell,
        bounds: found.bounds,
        eta: found.eta,
        class: terms.class,
        seats: terms.seats,
        features: terms.features,
        tariff: Some(terms.tariff),
        accept_mode: Some(terms.accept_mode),
        max_fare: None,
        age_ms: now.millis_since(offer.issued),
        expires_ms: found.booked.expires().millis_since(now),
    })
}

fn rider_item(now: Timestamp, found: &Candidate<RiderOffer>) -> Option<SearchItem> {
    let offer = found.booked.offer.body();
    let terms = offer.live.as_ref()?;
    Some(SearchItem {
        author: *found.booked.key(),
        side: Side::Riders,
        cell: offer.cell,
        bounds: found.bounds,
        eta: found.eta,
        class: terms.class,
        seats: terms.seats,
        features: terms.features,
        tariff: None,
        accept_mode: None,
        max_fare: terms.max_fare,
        age_ms: now.millis_since(offer.issued),
        expires_ms: found.booked.expires().millis_since(now),
    })
}

/// A search in which nobody is left out for reasons of its own; the marketplace has its
/// own speed and leaves out whom it never deals with.
fn around<W>(near: GeoPoint, radius_m: Option<u32>, limit: usize, want: W) -> Query<'static, W> {
    Query { near, radius_m, limit, want, speed_kmh: 0, exclude: &|_| None }
}

fn most_seats() -> Seats {
    Seats::new(SEATS_MAX).unwrap_or(Seats::ONE)
}
