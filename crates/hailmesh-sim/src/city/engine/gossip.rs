//! Gossip: who listens, what is published, and what somebody who sees everything knows
//! of offers.

use std::collections::BTreeSet;
use std::sync::Arc;

use hailmesh_wire::{AnyStatement, Body, Heard, Signed, Topic, message_id};

use super::Engine;
use crate::city::host::{Arrival, Gossiped};
use crate::city::hostile::is_sound;
use crate::city::link::Draws;
use crate::city::shard::{Shard, Spread};

impl Engine {
    pub(super) fn joined(&mut self, shards: &mut [Shard], at_ms: u64, from: u32, topic: Topic) {
        let list = self.listeners.entry(topic.clone()).or_default();
        let Err(place) = list.binary_search(&from) else { return };
        list.insert(place, from);
        let (least, most) = self.shared.settings.latency_ms;
        let all = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let mut draws = Draws::of(self.shared.seed, self.order, u64::from(from), 0x6a01);
        let mut greeters = BTreeSet::new();
        for _ in 0..self.shared.settings.overlay.greeters {
            greeters.insert(list[draws.between(0, all - 1) as usize]);
        }
        let peer = self.peer(from);
        // Who offers nothing there has nothing to say to a newcomer.
        let offers = self.offers.get(&topic);
        greeters.retain(|greeter| offers.is_some_and(|offers| offers.contains_key(greeter)));
        for greeter in greeters {
            if greeter != from {
                let at_ms = at_ms + u64::from(draws.between(least, most));
                let subscribed = Arrival::Subscribed { peer, topic: topic.clone() };
                self.deliver(shards, at_ms, greeter, subscribed);
            }
        }
    }

    pub(super) fn publish(&mut self, at_ms: u64, from: u32, topic: Topic, bytes: Arc<[u8]>) {
        let listeners = self.listeners.get(&topic).map_or(0, Vec::len);
        let id = message_id(&topic.to_string(), &bytes);
        let heard = Heard::new(bytes);
        self.note_offer(at_ms, from, &topic, &heard);
        self.note_certificates(from, &heard);
        let passes_on = self.shared.hostile(from).is_none() || is_sound(&heard, &*self.shared.signatures);
        let message = Gossiped { from, topic, heard, id, at_ms, passes_on };
        let listeners = u32::try_from(listeners).unwrap_or(u32::MAX);
        self.gossip.push(Spread { message, order: self.order, listeners });
    }

    /// What somebody who sees everything knows about live offers.
    fn note_offer(&mut self, at_ms: u64, from: u32, topic: &Topic, heard: &Heard) {
        // What an attacker offers is no part of the view that a node should have.
        if self.shared.hostile(from).is_some() {
            return;
        }
        let (live, ttl) = match heard.statement() {
            Ok(AnyStatement::DriverOffer(offer)) => (offer.body().is_live(), offer.body().ttl),
            Ok(AnyStatement::RiderOffer(offer)) => (offer.body().live.is_some(), offer.body().ttl),
            _ => return,
        };
        // An author has one live offer, on one topic.
        if self.offers_on.get(&from).is_some_and(|before| before != topic) {
            self.forget_offer(from);
        }
        self.offers_on.entry(from).or_insert_with(|| topic.clone());
        let offers = self.offers.entry(topic.clone()).or_default();
        if live {
            let since = offers.get(&from).map_or(at_ms, |(since, _)| *since);
            offers.insert(from, (since, at_ms + u64::from(ttl.as_millis())));
        } else {
            offers.remove(&from);
        }
    }

    pub(super) fn forget_offer(&mut self, author: u32) {
        if let Some(offers) = self.offers_on.remove(&author).and_then(|topic| self.offers.get_mut(&topic)) {
            offers.remove(&author);
        }
    }

    /// An author sends the same certificate with many of its offers: it is read once, and
    /// every host that hears one of them keeps the same.
    fn note_certificates(&mut self, from: u32, heard: &Heard) {
        let known = self.certificates.get(&from).map_or(&[][..], |known| known);
        let read = match heard.statement() {
            Ok(AnyStatement::DriverOffer(offer)) => certificates_of(offer, known),
            Ok(AnyStatement::RiderOffer(offer)) => certificates_of(offer, known),
            _ => return,
        };
        if !read.is_empty() && *read != *known {
            self.certificates.insert(from, read);
        }
    }
}

/// The certificates inside an offer, those that are known as they are known.
fn certificates_of<T: Body>(offer: &Signed<T>, known: &[AnyStatement]) -> Box<[AnyStatement]> {
    offer.know_certificates(known);
    let number = offer.body().certs().len();
    (0..number).filter_map(|index| offer.certificate(index)?.ok().cloned()).collect()
}
