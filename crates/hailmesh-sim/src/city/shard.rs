//! Some of the hosts, run by one thread at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use hailmesh_market::Input;
use hailmesh_wire::Topic;

use super::engine::Shared;
use super::host::{Arrival, Gossiped, Host, Outgoing, Person, What};
use super::hostile::Judged;
use super::link::{Draws, is_cut};
use crate::outcome::RideOutcome;

/// A marketplace that wants to be woken more often than this in one window goes round in
/// circles.
const ROUNDS_MAX: u32 = 100_000;

/// Delays of gossip are counted up to this, milliseconds.
const DELAY_MAX_MS: usize = 10_000;

/// A window of time: `start_ms` to `until_ms`, the end excluded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) index: u64,
    pub(super) length_ms: u64,
}

impl Window {
    pub(super) const fn start_ms(self) -> u64 {
        self.index * self.length_ms
    }

    pub(super) const fn until_ms(self) -> u64 {
        (self.index + 1) * self.length_ms
    }
}

/// A delivery to come. Gossip, which is nearly all of it, stays small.
struct Delivery {
    at_ms: u64,
    host: u32,
    /// Breaks ties in the order in which things were sent.
    order: u64,
    what: Slim,
}

enum Slim {
    Gossip(Arc<Gossiped>),
    Other(Box<Arrival>),
}

/// The hosts whose number leaves the same remainder.
pub(super) struct Shard {
    of: u32,
    length_ms: u64,
    hosts: Vec<Option<Box<Host>>>,
    listeners: BTreeMap<Topic, Vec<u32>>,
    inbox: BTreeMap<u64, Vec<Delivery>>,
    wakes: BTreeMap<u64, Vec<u32>>,
    pub(super) out: Vec<Outgoing>,
    /// Rides of riders whose nodes have ended.
    pub(super) finished: Vec<RideOutcome>,
    pub(super) events: u64,
    pub(super) restarts: u64,
    pub(super) node_ms: u64,
    pub(super) delivered: u64,
    pub(super) delivered_bytes: u64,
    /// How many gossip messages took so many milliseconds, the last also longer ones.
    pub(super) delays: Vec<u64>,
    /// What became of the gossip of attackers.
    pub(super) judged: Judged,
}

impl Shard {
    pub(super) fn new(of: u32, length_ms: u64) -> Self {
        Self {
            of,
            length_ms,
            hosts: Vec::new(),
            listeners: BTreeMap::new(),
            inbox: BTreeMap::new(),
            wakes: BTreeMap::new(),
            out: Vec::new(),
            finished: Vec::new(),
            events: 0,
            restarts: 0,
            node_ms: 0,
            delivered: 0,
            delivered_bytes: 0,
            delays: Vec::new(),
            judged: Judged::new(),
        }
    }

    /// A host that will start at its `back_ms`.
    pub(super) fn add(&mut self, host: Host) {
        let place = (host.id / self.of) as usize;
        if self.hosts.len() <= place {
            self.hosts.resize_with(place + 1, || None);
        }
        let (id, at) = (host.id, host.back_ms.unwrap_or(0));
        self.hosts[place] = Some(Box::new(host));
        self.wake(id, at);
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().flatten().map(|host| &**host)
    }

    /// The window of the next thing to happen.
    pub(super) fn next(&self) -> Option<u64> {
        let inbox = self.inbox.keys().next();
        let wakes = self.wakes.keys().next();
        [inbox, wakes].into_iter().flatten().min().copied()
    }

    pub(super) fn deliver(&mut self, at_ms: u64, host: u32, order: u64, arrival: Arrival) {
        let what = Slim::Other(Box::new(arrival));
        self.enqueue(Delivery { at_ms, host, order, what });
    }

    fn enqueue(&mut self, delivery: Delivery) {
        self.inbox.entry(delivery.at_ms / self.length_ms).or_default().push(delivery);
    }

    fn wake(&mut self, host: u32, at_ms: u64) {
        self.wakes.entry(at_ms / self.length_ms).or_default().push(host);
    }

    /// Puts a gossip message on its way to everybody here who listens.
    fn spread(&mut self, shared: &Shared, message: &Gossiped, order: u64, listeners: u32) {
        let Some(here) = self.listeners.get(&message.topic) else { return };
        // A copy of the shard's own: threads do not share its count.
        let own = Arc::new(message.clone());
        let settings = shared.at(message.at_ms);
        let cut = !settings.partitions.is_empty();
        for host in here {
            if *host == message.from
                || (cut && is_cut(settings, shared.seed, message.from, *host, message.at_ms))
                || shared.is_eclipsed(message.from, *host)
            {
                continue;
            }
            let mut draws = Draws::of(shared.seed, order, u64::from(message.from), u64::from(*host));
            // What does not verify goes no further than to the author's own peers.
            if !message.passes_on && draws.unit() * f64::from(listeners) > f64::from(settings.overlay.flood) {
                continue;
            }
            let Some(delay) = settings.overlay.delay_ms(settings, listeners, &mut draws) else { continue };
            self.delivered += 1;
            self.delivered_bytes += message.heard.bytes().len() as u64;
            count_delay(&mut self.delays, delay);
            let late = shared.late_ms(message.from, *host, message.at_ms, &mut draws);
            let at_ms = message.at_ms + u64::from(delay + late);
            let what = Slim::Gossip(Arc::clone(&own));
            self.inbox.entry(at_ms / self.length_ms).or_default().push(Delivery {
                at_ms,
                host: *host,
                order,
                what,
            });
        }
    }

    /// Runs everything that happens here in a window.
    pub(super) fn run(&mut self, shared: &Shared, window: Window, gossip: &[Spread]) {
        for spread in gossip {
            self.spread(shared, &spread.message, spread.order, spread.listeners);
        }
        let mut arrivals = self.inbox.remove(&window.index).unwrap_or_default();
        arrivals.sort_unstable_by_key(|delivery| (delivery.host, delivery.at_ms, delivery.order));
        let mut woken = self.wakes.remove(&window.index).unwrap_or_default();
        woken.sort_unstable();
        woken.dedup();
        let mut woken = woken.into_iter().peekable();
        let mut arrivals = arrivals.into_iter().peekable();
        loop {
            let next = [arrivals.peek().map(|delivery| delivery.host), woken.peek().copied()];
            let Some(id) = next.into_iter().flatten().min() else { return };
            woken.next_if_eq(&id);
            let place = (id / self.of) as usize;
            let Some(mut host) = self.hosts.get_mut(place).and_then(Option::take) else {
                while let Some(delivery) = arrivals.next_if(|delivery| delivery.host == id) {
                    self.bounce(delivery);
                }
                continue;
            };
            let mine = std::iter::from_fn(|| arrivals.next_if(|delivery| delivery.host == id));
            run_host(shared, window, &mut host, mine);
            self.settle(window, host);
        }
    }

    /// Nobody is there any more: an exchange fails, everything else is lost.
    fn bounce(&mut self, delivery: Delivery) {
        if let Slim::Other(arrival) = delivery.what
            && let Arrival::Request { from, run, ask, .. } = *arrival
        {
            let what = What::Fail { to: from, run, ask };
            self.out.push(Outgoing { at_ms: delivery.at_ms, from: delivery.host, number: u32::MAX, what });
        }
    }

    /// Takes a host back after its turn.
    fn settle(&mut self, window: Window, mut host: Box<Host>) {
        for (topic, joins) in std::mem::take(&mut host.joined) {
            let list = self.listeners.entry(topic).or_default();
            match (list.binary_search(&host.id), joins) {
                (Err(place), true) => list.insert(place, host.id),
                (Ok(place), false) => {
                    list.remove(place);
                }
                _ => {}
            }
        }
        // Most turns say nothing, and many thousand hosts are not to keep room for those that
        // say much.
        self.out.append(&mut std::mem::take(&mut host.out));
        self.events += std::mem::take(&mut host.events);
        self.restarts += u64::from(std::mem::take(&mut host.restarts));
        for (what, count) in std::mem::take(&mut host.judged) {
            *self.judged.entry(what).or_default() += count;
        }
        let next = next_ms(&host);
        if matches!(&host.person, Person::Rider(person) if person.done) {
            host.stop(window.until_ms());
            for (topic, _) in host.joined.drain(..) {
                if let Some(list) = self.listeners.get_mut(&topic)
                    && let Ok(place) = list.binary_search(&host.id)
                {
                    list.remove(place);
                }
            }
            self.out.append(&mut host.out);
            self.node_ms += window.until_ms().saturating_sub(host.started_ms);
            if let Person::Rider(person) = &host.person {
                self.finished.push(person.outcome);
            }
            return;
        }
        if next < u64::MAX && next != host.wake_ms {
            host.wake_ms = next;
            self.wake(host.id, next);
        }
        let place = (host.id / self.of) as usize;
        self.hosts[place] = Some(host);
    }
}

/// A gossip message, with how many listen to its topic.
pub(super) struct Spread {
    pub(super) message: Gossiped,
    pub(super) order: u64,
    pub(super) listeners: u32,
}

fn count_delay(delays: &mut Vec<u64>, delay_ms: u32) {
    let place = (delay_ms as usize).min(DELAY_MAX_MS);
    if delays.len() <= place {
        delays.resize(place + 1, 0);
    }
    delays[place] += 1;
}

fn next_ms(host: &Host) -> u64 {
    let fate = host.fate_ms();
    [host.timer_ms(), host.person_ms(), Some(fate)].into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// Everything that happens to one host in a window, in order of time; at one time first
/// its fate, then what arrives, then its own timers, then its person.
fn run_host(shared: &Shared, window: Window, host: &mut Host, arrivals: impl Iterator<Item = Delivery>) {
    let mut arrivals = arrivals.peekable();
    let mut cursor = window.start_ms();
    for _ in 0..ROUNDS_MAX {
        let fate = host.fate_ms().max(cursor);
        let arrival = arrivals.peek().map_or(u64::MAX, |delivery| delivery.at_ms.max(cursor));
        let timer = host.timer_ms().map_or(u64::MAX, |at| at.max(cursor));
        let person = host.person_ms().map_or(u64::MAX, |at| at.max(cursor));
        let next = fate.min(arrival).min(timer).min(person);
        if next >= window.until_ms() {
            return;
        }
        cursor = next;
        if next == fate {
            host.meet_fate(shared, cursor);
        } else if next == arrival {
            let Some(delivery) = arrivals.next() else { return };
            match delivery.what {
                Slim::Gossip(message) => host.arrive(shared, cursor, Arrival::Gossip(message)),
                Slim::Other(arrival) => host.arrive(shared, cursor, *arrival),
            }
        } else if next == timer {
            host.input(shared, cursor, Input::Timeout);
        } else {
            host.person_acts(shared, cursor);
        }
    }
    let text = format!("host {} wants to be woken for ever at {cursor} ms", host.id);
    host.say(cursor, What::Violation(text));
}
