//! What a marketplace shows of itself: rides, receipts, searches, a snapshot.

use std::sync::Arc;

use hailmesh_types::{Amount, NetworkName, Private, PublicKey, Text, Timestamp};
use hailmesh_wire::{DriverOffer, DropPlace, Kind, Purpose, Receipt, RiderOffer, VehicleCard};

use crate::book::Side;
use crate::handshake::LaneState;
use crate::journal::{RideId, Role, SecretPurpose};
use crate::matching::{DriverWant, Query, RiderWant, SearchReport, search_drivers, search_riders};
use crate::position::PublishedPosition;
use crate::view::{RideView, Snapshot};

use super::deal::{Deal, Said};
use super::ride::crockford;
use super::{Halt, Marketplace, Ride};

impl Marketplace {
    /// Every ride that is remembered, newest first.
    #[must_use]
    pub fn rides(&self, now: Timestamp) -> Vec<RideView> {
        self.rides.keys().rev().filter_map(|ride| self.ride(*ride, now)).collect()
    }

    /// One ride.
    #[must_use]
    pub fn ride(&self, ride: RideId, now: Timestamp) -> Option<RideView> {
        let entry = self.rides.get(&ride)?;
        let deal = entry.slot.and_then(|slot| self.deals.get(&slot));
        let pending = self.driver.as_ref().and_then(|driver| driver.pending.get(&ride));
        let with = pending.map(|pending| *pending.request.signer());
        let mut view = view_of(ride, entry, deal, with);
        view.sharing = deal.is_some_and(|deal| self.shares_with(deal));
        view.cancel_fee = deal
            .filter(|deal| deal.ended.is_none() && !deal.is_boarded())
            .map(|deal| self.fee_to_cancel(now, deal.slot()));
        Some(view)
    }

    /// The receipt of a ride as a file (P10), without openings.
    #[must_use]
    pub fn receipt(&self, ride: RideId) -> Option<Vec<u8>> {
        let slot = self.rides.get(&ride)?.slot?;
        let deal = self.deals.get(&slot)?;
        let mut certs: Vec<Arc<[u8]>> = Vec::new();
        if let Some(cert) =
            self.driver.as_ref().filter(|driver| driver.key == slot.key).and_then(|d| d.cert.as_ref())
        {
            certs.push(Arc::clone(cert.bytes()));
        } else if let Some(id) = deal.offer.body().cert_id
            && let Some(bytes) = self.admission.certificates().bytes_of(&id)
        {
            certs.push(bytes.into());
        }
        receipt_of(deal, &self.config.network, certs)
    }

    /// Drivers around a place, and why the others are not among them.
    #[must_use]
    pub fn search_drivers(&self, now: Timestamp, query: Query<'_, DriverWant>) -> SearchReport<DriverOffer> {
        let (ask, speed_kmh) = (query.exclude, self.config.speed_kmh);
        let exclude = |key: &hailmesh_types::PublicKey| ask(key).or_else(|| self.never(key, now));
        let query = Query { exclude: &exclude, speed_kmh, ..query };
        search_drivers(&self.book, now, &query)
    }

    /// Waiting riders around a place, and why the others are not among them.
    #[must_use]
    pub fn search_riders(&self, now: Timestamp, query: Query<'_, RiderWant>) -> SearchReport<RiderOffer> {
        let (ask, speed_kmh) = (query.exclude, self.config.speed_kmh);
        let exclude = |key: &hailmesh_types::PublicKey| ask(key).or_else(|| self.never(key, now));
        let query = Query { exclude: &exclude, speed_kmh, ..query };
        search_riders(&self.book, now, &query)
    }

    /// What this node heard, and what became of it.
    #[must_use]
    pub const fn admission_stats(&self) -> &crate::admission::AdmissionStats {
        self.admission.stats()
    }

    /// The marketplace at a glance.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let driver = self.driver.as_ref();
        let search = self.rider.as_ref().and_then(|rider| rider.search.as_ref());
        let state = match (driver, self.role) {
            (Some(driver), _) => match driver.lane.state {
                LaneState::Held(_) => "held",
                LaneState::Firm { .. } => "firm",
                LaneState::Free if driver.online => "free",
                LaneState::Free => "offline",
            },
            (None, Some(Role::Rider)) => self.rider_state(),
            (None, _) => "relay",
        };
        let offer = match (driver, search) {
            (Some(driver), _) if driver.live => {
                driver.offers.last().map(|offer| (offer.body().seq, offer.body().issued))
            }
            (None, Some(search)) => {
                search.offer.as_ref().map(|offer| (offer.body().seq, offer.body().issued))
            }
            _ => None,
        };
        let cell = driver.and_then(|driver| driver.position.as_ref().and_then(PublishedPosition::cell));
        let stats = self.admission.stats();
        let last_offer = self.book.last_heard(Side::Drivers).max(self.book.last_heard(Side::Riders));
        Snapshot {
            role: self.role,
            key: driver.map(|driver| driver.key).or_else(|| search.map(|search| search.key)),
            peer: self.transport,
            cell: cell.map(Private),
            state,
            slot: driver.map_or(0, |driver| driver.lane.slot),
            offer,
            drivers: self.book.live_count(Side::Drivers, now),
            riders: self.book.live_count(Side::Riders, now),
            heard: stats.heard(),
            stopped: stats.stopped(),
            late: stats.late(),
            accepted: stats.accepted(),
            last_offer,
            topics: self.topics() + self.followed.len() + 1,
            away: self.driver.as_ref().is_some_and(|driver| driver.away)
                || self.is_resting(now)
                || self.rider.as_ref().is_some_and(|rider| rider.away),
            peers: self.peers.len(),
            outbox: self.outbox.len(),
            bans: self.admission.bans(),
            evidence: self.evidence_count,
            open_rides: self.rides.values().filter(|ride| !ride.state.is_over()).count(),
            started: self.started,
            halted: self.halted.map(|halt| match halt {
                Halt::Cloned => "this home was copied or rolled back: its key signs nothing any more",
                Halt::Shutdown => "the node is shutting down",
            }),
        }
    }

    /// The fare that an offer would ask for a ride, minor units; nothing when it is
    /// above every bound.
    #[must_use]
    pub fn quote(
        &self,
        offer: &DriverOffer,
        dist_m: u32,
        ride_time: hailmesh_types::Duration,
    ) -> Option<Amount> {
        let terms = offer.live.as_ref()?;
        let fare = terms.tariff.fare(dist_m, ride_time, hailmesh_types::Duration::ZERO).ok()?;
        Some(fare.total)
    }

    /// What a rider is called when a wish does not say.
    #[must_use]
    pub fn rider_name(&self) -> &Text<32> {
        &self.config.rider_name
    }
}

/// What the records of a ride, and its deal if it has one, show its user. What depends
/// on the moment (sharing, the fee to cancel) is left out.
pub(super) fn view_of(ride: RideId, entry: &Ride, deal: Option<&Deal>, with: Option<PublicKey>) -> RideView {
    let secret = deal.and_then(|deal| deal.boarding_secret()).filter(|_| entry.role == Role::Rider);
    let code = deal.and_then(|deal| deal.secrets.get(&SecretPurpose::Code));
    let code = code.map(|code| Private(String::from_utf8_lossy(code.expose()).into_owned()));
    let pickup = deal.and_then(|deal| deal.pickup());
    let drop = deal.and_then(|deal| DropPlace::from_opening(&deal.opening(SecretPurpose::Drop)?).ok());
    let vehicle =
        deal.and_then(|deal| VehicleCard::from_opening(&deal.opening(SecretPurpose::Vehicle)?).ok());
    let contact = pickup.as_ref().map(|place| {
        let text = |text: &dyn std::fmt::Display| text.to_string();
        Private([text(&place.name), text(&place.phone), text(&place.note)])
    });
    RideView {
        ride,
        role: entry.role,
        state: entry.state,
        counterparty: deal.map(|deal| deal.counterparty()).or(with),
        agreement: deal.map(|deal| deal.bound.agreement),
        fare: deal.map(|deal| (deal.bound.fare, deal.bound.currency)),
        total: deal.and_then(|deal| deal.total()),
        created: entry.created,
        history: entry.history.clone(),
        eta: deal.and_then(|deal| deal.eta),
        settle_ms: entry.settle_ms,
        asked: entry.asked,
        boarding_code: code,
        boarding_secret: secret.map(|secret| Private(crockford(&secret))),
        pickup: pickup.map(|place| Private(place.point)),
        drop: drop.map(|place| Private(place.point)),
        contact,
        vehicle: vehicle.map(Private),
        seen_at: deal.and_then(|deal| Some((deal.seen?.point, deal.seen?.at))),
        sharing: false,
        has_receipt: deal.is_some_and(|deal| deal.confirm.is_some()),
        cancel_fee: None,
        no_match: entry.no_match.clone(),
        choice: entry.choice.clone(),
    }
}

/// The receipt of a deal, if there is anything to prove.
pub(super) fn receipt_of(deal: &Deal, network: &NetworkName, certs: Vec<Arc<[u8]>>) -> Option<Vec<u8>> {
    let confirm = deal.confirm.as_ref()?.id();
    let ended = deal.ended.and_then(|ended| ended.proof);
    let belongs = |kind: Kind| !matches!(kind, Kind::Status | Kind::EnRoute | Kind::Reject);
    // Of repeated statements only the one that counts: the CONFIRM that was acknowledged
    // and the end that ended it, whatever contradicts them (P10.2); of COMPLETEs the one
    // that was co-signed, which need not be the last (P6.17); else the last of its side.
    let counts = |said: &Said| match said.kind {
        Kind::Complete => true,
        Kind::Confirm => said.id == confirm,
        _ if ended == Some(said.id) => true,
        kind => {
            let alike = |other: &&Said| other.kind == kind && other.own == said.own;
            let ends = deal.said.iter().filter(alike).any(|other| ended == Some(other.id));
            !ends && deal.last_said(kind, said.own).is_some_and(|last| last.id == said.id)
        }
    };
    let statements = deal.said.iter().filter(|said| belongs(said.kind) && counts(said));
    let bytes: Vec<Arc<[u8]>> = statements.map(|said| Arc::clone(&said.bytes)).collect();
    Some(Receipt::assemble(network.clone(), bytes, certs, Vec::<(Purpose, _)>::new()).encode())
}
