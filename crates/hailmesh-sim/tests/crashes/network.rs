//! The way between hosts: always the same time, except where a schedule says otherwise.

use std::collections::BTreeMap;

use hailmesh_wire::{AnyStatement, Frame, FrameContent, Kind};

use crate::plan::{Name, Net};
use crate::world::{Arrival, EXCHANGE_MS, NOBODY_MS};

/// How long anything is on its way.
const LATENCY_MS: u64 = 20;
/// How much later the second copy of a message comes.
const COPY_MS: u64 = 700;

/// Whether a scenario loses a statement of this kind at this time.
pub(crate) type Drops = fn(Kind, u64) -> bool;

/// Everything on its way.
pub(crate) struct Network {
    net: Net,
    drops: Option<Drops>,
    queue: BTreeMap<(u64, u64), Flight>,
    sequence: u64,
}

struct Flight {
    from: Option<Name>,
    to: Name,
    arrival: Arrival,
}

impl Network {
    pub(crate) fn new(net: Net, drops: Option<Drops>) -> Self {
        Self { net, drops, queue: BTreeMap::new(), sequence: 0 }
    }

    /// Puts something on its way that the schedule does not touch.
    pub(crate) fn put(&mut self, at_ms: u64, to: Name, arrival: Arrival) {
        self.fly(at_ms, None, to, arrival);
    }

    fn fly(&mut self, at_ms: u64, from: Option<Name>, to: Name, arrival: Arrival) {
        self.sequence += 1;
        self.queue.insert((at_ms, self.sequence), Flight { from, to, arrival });
    }

    pub(crate) fn gossip(&mut self, now_ms: u64, to: Name, arrival: Arrival) {
        self.fly(now_ms + LATENCY_MS, None, to, arrival);
    }

    /// A request of `from`, which is troubled until then, to whom, which is, too.
    /// `lost` is what the asker is told when it waits in vain.
    pub(crate) fn direct(
        &mut self,
        now_ms: u64,
        from: (Name, u64),
        to: Option<(Name, u64)>,
        arrival: Arrival,
        lost: Arrival,
    ) {
        let Some((to, troubled_ms)) = to else {
            return self.put(now_ms + NOBODY_MS, from.0, lost);
        };
        let (lands, twice) = self.fate(now_ms, troubled_ms, &arrival);
        match lands {
            Some(at_ms) => {
                if twice || (self.net == Net::Twice && now_ms < from.1) {
                    self.fly(at_ms + COPY_MS, Some(from.0), to, arrival.clone());
                }
                self.fly(at_ms, Some(from.0), to, arrival);
            }
            None => self.put(now_ms + EXCHANGE_MS, from.0, lost),
        }
    }

    /// An answer of `from` to whoever asked.
    pub(crate) fn answer(
        &mut self,
        now_ms: u64,
        from: Name,
        to: Option<(Name, u64)>,
        arrival: Arrival,
        lost: Arrival,
    ) {
        let Some((to, troubled_ms)) = to else { return };
        match self.fate(now_ms, troubled_ms, &arrival).0 {
            Some(at_ms) => self.fly(at_ms, Some(from), to, arrival),
            None => self.put(now_ms + EXCHANGE_MS, to, lost),
        }
    }

    /// When something lands that is for a host which is troubled until then, and whether it
    /// comes again.
    fn fate(&self, now_ms: u64, troubled_ms: u64, arrival: &Arrival) -> (Option<u64>, bool) {
        let frame = match arrival {
            Arrival::Request { frame, .. } | Arrival::Response { frame, .. } => frame,
            _ => return (Some(now_ms + LATENCY_MS), false),
        };
        if self.drops.is_some_and(|drops| kind_of(frame).is_some_and(|kind| drops(kind, now_ms))) {
            return (None, false);
        }
        let calm = (Some(now_ms + LATENCY_MS), false);
        if now_ms >= troubled_ms {
            return calm;
        }
        match self.net {
            Net::Calm => calm,
            Net::Lost => (None, false),
            Net::Twice => (calm.0, true),
            // The later it was said the earlier it comes.
            Net::Turned => (Some(troubled_ms + (troubled_ms - now_ms)), false),
        }
    }

    /// A host has crashed: what it said last meets the network of the schedule.
    pub(crate) fn crashed(&mut self, now_ms: u64, name: Name, troubled_ms: u64) {
        if self.net == Net::Calm {
            return;
        }
        let said = |flight: &Flight| {
            let direct = matches!(flight.arrival, Arrival::Request { .. } | Arrival::Response { .. });
            direct && flight.from == Some(name)
        };
        let flights: Vec<(u64, u64)> =
            self.queue.iter().filter(|(_, flight)| said(flight)).map(|(at, _)| *at).collect();
        for key in flights {
            let Some(flight) = self.queue.remove(&key) else { continue };
            match self.net {
                Net::Calm => {}
                Net::Lost => {
                    if let Arrival::Response { run, ask, peer, .. } = flight.arrival {
                        let lost = Arrival::Failed { run, ask, peer };
                        self.put(now_ms + EXCHANGE_MS, flight.to, lost);
                    }
                }
                Net::Twice => {
                    let again = flight.arrival.clone();
                    self.fly(troubled_ms + key.0 - now_ms, flight.from, flight.to, again);
                    self.queue.insert(key, flight);
                }
                Net::Turned => {
                    // After the last of what it is told meanwhile, and that in reverse, too.
                    let at_ms = 2 * troubled_ms - now_ms + COPY_MS - (key.0 - now_ms);
                    self.fly(at_ms, flight.from, flight.to, flight.arrival);
                }
            }
        }
    }

    /// When the next thing arrives.
    pub(crate) fn next(&self) -> Option<u64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Name, Arrival)> {
        let (_, flight) = self.queue.pop_first()?;
        Some((flight.to, flight.arrival))
    }

    /// Whether nobody waits for anything direct.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.queue.values().any(|flight| !matches!(flight.arrival, Arrival::Gossip { .. }))
    }
}

fn kind_of(frame: &[u8]) -> Option<Kind> {
    match Frame::decode(frame).ok()?.content {
        FrameContent::Statement(bytes) => Some(AnyStatement::decode(bytes).ok()?.kind()),
        _ => None,
    }
}
