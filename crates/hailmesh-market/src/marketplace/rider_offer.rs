//! The rider's own offer: being found while searching (P5.13).

use hailmesh_types::{Cell, Timestamp};
use hailmesh_wire::{Extensions, RiderOffer, RiderTerms, Topic};

use crate::journal::{Record, Role};
use crate::output::{Event, Output};

use super::Marketplace;
use super::keys::SEQ_BLOCK;
use super::timers::Timer;

impl Marketplace {
    /// Makes the search known, unless the wish says not to.
    pub(super) fn open_search(&mut self, now: Timestamp) {
        if !self.is_shopping() {
            return;
        }
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else { return };
        self.timers.clear(Timer::OpenAfter);
        if search.wish.open && !search.opened {
            search.opened = true;
            self.publish_rider_offer(now);
        }
    }

    /// Publishes the wish, coarsely: cell, class, seats, and the limit if there is one.
    pub(super) fn publish_rider_offer(&mut self, now: Timestamp) {
        let search = self.rider.as_ref().and_then(|rider| rider.search.as_ref());
        let Some((key, from)) = search.map(|search| (search.key, search.wish.from)) else { return };
        if !self.has_worked_for_offer(&key, Cell::at(*from.expose(), self.config.rider_precision), now) {
            return;
        }
        let Some(seq) = self.rider_seq() else { return };
        let Some(rider) = self.rider.as_ref() else { return };
        let Some(search) = rider.search.as_ref().filter(|search| !search.paused) else { return };
        let Some(chain) = rider.chains.get(&search.key) else { return };
        let wish = &search.wish;
        let cell = Cell::at(*wish.from.expose(), self.config.rider_precision);
        let body = RiderOffer {
            seq,
            issued: now,
            ttl: self.config.timers.offer_ttl,
            cell,
            slot: chain.chain.slot,
            live: Some(RiderTerms {
                class: wish.class,
                seats: wish.party,
                features: wish.features,
                attempt: search.attempt,
                max_fare: wish.max_fare.zip(wish.currency),
                peer: self.transport,
            }),
            addrs: self.addresses.clone(),
            cert_id: None,
            certs: Vec::new(),
            pow: self.work_for_offer(&search.key, cell, now),
            ext: Extensions::NONE,
        };
        let offer = self.sign(&chain.signing, body);
        let topic = Topic::riders(&self.config.network, cell);
        let bytes = offer.bytes().clone();
        if let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) {
            search.offer = Some(offer);
        }
        self.out(Output::Publish { topic, bytes });
        self.notify(Event::OfferPublished { role: Role::Rider, seq });
        let refresh = self.refresh_after(now);
        self.timers.set(Timer::Publish, refresh);
    }

    /// Withdraws the wish if it is out.
    pub(super) fn withdraw_rider_offer(&mut self, now: Timestamp) {
        let out = self.rider.as_ref().and_then(|rider| rider.search.as_ref()).and_then(|s| s.offer.clone());
        let Some(live) = out.filter(|_| self.halted.is_none()) else { return };
        let Some(seq) = self.rider_seq() else { return };
        let Some(rider) = self.rider.as_ref() else { return };
        let Some(chain) = rider.chains.get(live.signer()) else { return };
        let body = RiderOffer {
            seq,
            issued: now,
            ttl: self.config.timers.offer_ttl,
            cell: live.body().cell,
            slot: live.body().slot,
            live: None,
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: live.body().pow,
            ext: Extensions::NONE,
        };
        let offer = self.sign(&chain.signing, body);
        let topic = Topic::riders(&self.config.network, live.body().cell);
        if let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) {
            search.offer = None;
        }
        self.out(Output::Publish { topic, bytes: offer.bytes().clone() });
        self.notify(Event::OfferWithdrawn { role: Role::Rider });
        self.timers.clear(Timer::Publish);
    }

    /// The next sequence number of the ride key (W10): a search publishes little, so
    /// one block is all that it ever reserves.
    fn rider_seq(&mut self) -> Option<u64> {
        let rider = self.rider.as_mut()?;
        let key = rider.search.as_ref()?.key;
        let chain = rider.chains.get_mut(&key)?;
        chain.seq += 1;
        let seq = chain.seq;
        if seq >= chain.seq_limit {
            chain.seq_limit = seq + SEQ_BLOCK;
            let below = chain.seq_limit;
            self.persist(vec![Record::SeqReserved { key, below }]);
        }
        Some(seq)
    }
}
