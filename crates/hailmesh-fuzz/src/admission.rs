//! Admission and the offer book (P13.7, P14, P20): gossip at any time, from anybody.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use hailmesh_market::admission::{Admission, Judgement, News, Stop};
use hailmesh_market::book::{OfferBook, Side};
use hailmesh_market::limits::{Limits, Rate};
use hailmesh_market::output::Verdict;
use hailmesh_market::{Config, Input as Told, Keys, Marketplace, MessageRef, Output, Role};
use hailmesh_types::{
    Cell, Class, Duration, Features, GeoPoint, NetworkName, PeerKey, PublicKey, Resolution, Seats, Tariff,
    Timestamp,
};
use hailmesh_wire::{
    AcceptMode, AnyStatement, Body, Credential, CredentialMode, DecodeError, DriverOffer, DriverTerms,
    Ed25519, Evidence, EvidenceKind, Extensions, Heard, NetworkId, Revocation, RiderOffer, RiderTerms, Roles,
    ShiftCert, Topic, Verified, evidence,
};

use crate::{Checked, Finding, Input, ensure, mutated, seal};

/// When every input begins.
const START_MS: u64 = 1_700_000_000_000;
/// Messages of one input at the most: what is found late is found with fewer, too.
const MESSAGES_MAX: usize = 48;
/// Authors that an input can let speak.
const AUTHORS: usize = 8;
/// Places at which something can be offered: two in one topic, its neighbour, the seam of
/// longitudes, a pole.
const PLACES: [&str; 5] =
    ["40.7580,-73.9855", "40.7590,-73.9845", "40.7061,-74.0087", "-17.0,179.99", "90,0"];

static SIGNERS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    let key = |number: usize| {
        let mut seed = [0x41; 32];
        seed[0] = u8::try_from(number).unwrap_or(0);
        SigningKey::from_bytes(&seed)
    };
    (0..AUTHORS + 3).map(key).collect()
});

fn issuer() -> &'static SigningKey {
    &SIGNERS[AUTHORS]
}

fn identity() -> &'static SigningKey {
    &SIGNERS[AUTHORS + 1]
}

fn network() -> NetworkName {
    "test".parse().expect("a name")
}

fn network_id() -> NetworkId {
    NetworkId::of(&network())
}

fn place(at: usize) -> GeoPoint {
    PLACES[at % PLACES.len()].parse().expect("a place")
}

/// What a line of the list says that the book is compared with.
#[derive(Debug, Clone)]
struct Line {
    side: Side,
    cell: Cell,
    expires: Timestamp,
    seq: u64,
    /// It had ended at some time that the node was told, before its clock went back: the book
    /// may have dropped it.
    faded: bool,
}

/// A node that hears gossip, a whole marketplace that hears the same, and a plain list.
struct Ear {
    admission: Admission,
    book: OfferBook,
    market: Marketplace,
    list: BTreeMap<PublicKey, Line>,
    limits: Limits,
    issuers: Vec<PublicKey>,
    now: Timestamp,
    /// Whether nothing is ever pushed out, so that book and list must be the same.
    is_roomy: bool,
}

/// Gossip as the input says.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, &|admission, book, heard| {
        admission.judge(book, heard.now, heard.source, &heard.topic, &heard.heard, &judge_evidence)
    })
}

/// What is heard.
#[derive(Debug, Clone)]
pub struct Hearing {
    /// When, by the clock of the node.
    pub now: Timestamp,
    /// From whom.
    pub source: PeerKey,
    /// Where.
    pub topic: Topic,
    /// What.
    pub heard: Heard,
}

/// The gate of the book: [`Admission::judge`], or a broken one of a test.
pub type Gate<'a> = &'a dyn Fn(&mut Admission, &mut OfferBook, &Hearing) -> Judgement;

fn judge_evidence(found: &Evidence) -> Result<(), DecodeError> {
    evidence::check(found, network_id(), &Ed25519).map(|_| ())
}

/// As [`run`] with this gate.
///
/// # Errors
/// What did not hold.
pub fn run_with(bytes: &[u8], gate: Gate<'_>) -> Checked {
    let mut input = Input::new(bytes);
    let mut ear = Ear::new(&mut input)?;
    let mut said: Vec<(Topic, Vec<u8>)> = Vec::new();
    for _ in 0..MESSAGES_MAX {
        if input.is_empty() {
            break;
        }
        ear.time_passes(&mut input);
        if input.chance(24) {
            ear.tidies(&mut input)?;
        }
        let (topic, bytes) = message(ear.now, &said, &mut input);
        let source = PeerKey::from_bytes([1 + input.byte() % 3; 32]);
        said.push((topic.clone(), bytes.clone()));
        let hearing = Hearing { now: ear.now, source, topic, heard: Heard::new(bytes) };
        ear.hears(&hearing, gate)?;
        ear.is_within_bounds()?;
        ear.agrees_with_the_list(&mut input)?;
    }
    Ok(())
}

/// Limits that a few messages can fill, or none that they could.
fn limits(is_roomy: bool) -> Limits {
    let free = Rate { every_us: 1, burst: 1_000_000 };
    if is_roomy {
        return Limits {
            author: free,
            uncredentialed_pool: free,
            peer_topic: free,
            peer: free,
            peer_evidence: free,
            evidence_rate: free,
            verifications_per_s: 1_000_000,
            ..Limits::default()
        };
    }
    Limits {
        offers_per_cell: 3,
        offers: 4,
        uncredentialed_percent: 25,
        uncredentialed_places: 1,
        authors: 5,
        certificates: 2,
        bans: 2,
        evidence: 2,
        peer_buckets: 2,
        identities: 2,
        peer_topic: Rate::per_second(5, 8),
        verifications_per_s: 4,
        ..Limits::default()
    }
}

impl Ear {
    fn new(input: &mut Input<'_>) -> Result<Self, Finding> {
        let is_roomy = input.chance(128);
        let issuers =
            if input.chance(128) { vec![issuer().verifying_key().into()] } else { Vec::<PublicKey>::new() };
        let limits = limits(is_roomy);
        let now = Timestamp::from_millis(START_MS).expect("a time");
        let config = Config {
            network: network(),
            pow_bits: 0,
            issuers: issuers.clone(),
            limits: limits.clone(),
            ..Config::default()
        };
        let keys = Keys {
            role: Some(Role::Rider),
            identity: SIGNERS[AUTHORS + 2].clone(),
            transport: None,
            lost: false,
            new_host: false,
        };
        let market = Marketplace::new(config, keys, [5; 32], now)
            .map_err(|error| Finding(format!("limits that are refused: {error}")))?;
        let admission = Admission::new(network(), 0, issuers.clone(), limits.clone());
        let book = OfferBook::new(&limits);
        Ok(Self { admission, book, market, list: BTreeMap::new(), limits, issuers, now, is_roomy })
    }

    /// Mostly a little, sometimes a jump of up to two days, ahead or back.
    fn time_passes(&mut self, input: &mut Input<'_>) {
        self.now = match input.below(12) {
            0..=5 => self.now + Duration::from_millis(u32::from(input.byte())),
            6..=8 => self.now + Duration::from_millis(u32::from(input.short()) * 4),
            9 => self.now + Duration::from_secs(u32::from(input.short()) * 3),
            10 => self.now - Duration::from_secs(u32::from(input.short()) * 3),
            _ => self.now,
        };
    }

    /// What a node does now and then.
    fn tidies(&mut self, input: &mut Input<'_>) -> Checked {
        match input.below(4) {
            0 => {
                for (key, side) in self.book.expire(self.now) {
                    let line = self.list.remove(&key);
                    let ended =
                        line.as_ref().is_none_or(|line| line.side == side && line.expires <= self.now);
                    ensure(ended || !self.is_roomy, || format!("taken out before its end: {line:?}"))?;
                }
                let now = self.now;
                self.list.retain(|_, line| line.expires > now);
            }
            1 => self.admission.expire(self.now),
            2 => self.book.forget_authors(self.now),
            _ => {
                for key in self.admission.purge(&mut self.book, self.now) {
                    self.list.remove(&key);
                }
            }
        }
        Ok(())
    }

    fn hears(&mut self, hearing: &Hearing, gate: Gate<'_>) -> Checked {
        for line in self.list.values_mut() {
            line.faded |= line.expires <= self.now;
        }
        let before = self.book.len();
        let judgement = gate(&mut self.admission, &mut self.book, hearing);
        let bytes = hearing.heard.bytes();
        ensure(judgement.verdict == judgement.stop.verdict(), || format!("another verdict: {judgement:?}"))?;
        let is_forged = !seal::fits(bytes);
        if judgement.stop == Stop::None {
            self.deserves(hearing, is_forged)?;
        }
        if judgement.verdict != Verdict::Ignore {
            self.is_plain_to_anybody(hearing, judgement.stop)?;
        }
        if is_forged {
            ensure(judgement.news.is_empty() && self.book.len() <= before, || {
                format!("a forged message makes news: {:?}", judgement.stop)
            })?;
        }
        let evicts = judgement.news.iter().any(|one| matches!(one, News::Evidence(_) | News::Revocation(_)));
        for one in judgement.news {
            self.notes(one);
        }
        if evicts {
            for key in self.list.keys().copied().collect::<Vec<_>>() {
                if self.book.driver(&key).is_none() && self.book.rider(&key).is_none() {
                    self.list.remove(&key);
                }
            }
        }
        self.market_hears(hearing, is_forged)
    }

    /// What was let in was signed, on time, and belongs where it was said.
    fn deserves(&self, hearing: &Hearing, is_forged: bool) -> Checked {
        ensure(!is_forged, || "a forged message is let in".to_owned())?;
        let statement = AnyStatement::decode(hearing.heard.bytes().to_vec())
            .map_err(|error| Finding(format!("let in, and not to be read: {error}")))?;
        ensure(statement.network() == network_id(), || "let in from another network".to_owned())?;
        let (cell, made, ttl) = match &statement {
            AnyStatement::DriverOffer(offer) => (offer.body().cell, offer.body().issued, offer.body().ttl),
            AnyStatement::RiderOffer(offer) => (offer.body().cell, offer.body().issued, offer.body().ttl),
            _ => {
                return ensure(hearing.topic == Topic::evidence(&network()), || {
                    "on another topic".to_owned()
                });
            }
        };
        let topic = match statement {
            AnyStatement::DriverOffer(_) => Topic::drivers(&network(), cell),
            _ => Topic::riders(&network(), cell),
        };
        ensure(topic == hearing.topic, || format!("an offer of {topic} is let in on {}", hearing.topic))?;
        let tolerance = self.limits.clock_tolerance;
        ensure(made <= self.now + tolerance && self.now <= made + ttl + tolerance, || {
            format!("let in at {:?}, made at {made:?} for {ttl:?}", self.now)
        })
    }

    /// P13.6: rejected is only what the peer that passed it on could have known from the
    /// bytes and the topic, so that everybody else rejects it as well, whatever they have
    /// heard before and whatever their clock says. And what is passed on here nobody rejects.
    fn is_plain_to_anybody(&self, hearing: &Hearing, stop: Stop) -> Checked {
        let made = AnyStatement::decode(hearing.heard.bytes().to_vec()).ok().and_then(|one| one.issued());
        let mut admission = Admission::new(network(), 0, self.issuers.clone(), limits(true));
        let mut book = OfferBook::new(&self.limits);
        let now = made.unwrap_or(self.now);
        let source = PeerKey::from_bytes([9; 32]);
        let other = admission.judge(&mut book, now, source, &hearing.topic, &hearing.heard, &judge_evidence);
        if stop == Stop::None {
            return ensure(other.verdict != Verdict::Reject, || {
                format!("taken here and passed on, rejected elsewhere as {:?}", other.stop)
            });
        }
        // Whether evidence is of use is asked before it is checked, which costs more.
        let needs_acquaintance = matches!(other.stop, Stop::EvidenceIrrelevant | Stop::RevocationIrrelevant);
        ensure(other.verdict == Verdict::Reject || needs_acquaintance, || {
            format!("rejected here as {stop:?}, taken elsewhere as {:?}", other.stop)
        })
    }

    fn notes(&mut self, news: News) {
        match news {
            News::Driver(booked) => {
                let body = booked.offer.body();
                let line = Line {
                    side: Side::Drivers,
                    cell: body.cell,
                    expires: booked.expires(),
                    seq: body.seq,
                    faded: false,
                };
                self.list.insert(*booked.key(), line);
            }
            News::Rider(booked) => {
                let body = booked.offer.body();
                let line = Line {
                    side: Side::Riders,
                    cell: body.cell,
                    expires: booked.expires(),
                    seq: body.seq,
                    faded: false,
                };
                self.list.insert(*booked.key(), line);
            }
            News::Withdrawn(key, _) => {
                self.list.remove(&key);
            }
            _ => {}
        }
    }

    /// The whole marketplace judges alike, forged or not, and shows nothing that has ended.
    fn market_hears(&mut self, hearing: &Hearing, is_forged: bool) -> Checked {
        let message = MessageRef { id: [0; 16], source: hearing.source };
        let (topic, heard) = (hearing.topic.clone(), hearing.heard.clone());
        self.market.handle_input(self.now, Told::Gossip { message, topic, heard });
        let mut verdicts = Vec::new();
        while let Some(output) = self.market.poll_output() {
            if let Output::Judge { verdict, .. } = output {
                verdicts.push(verdict);
            }
        }
        ensure(verdicts.len() == 1, || format!("{} verdicts on one message", verdicts.len()))?;
        ensure(!is_forged || verdicts != [Verdict::Accept], || "the marketplace takes a forgery".to_owned())?;
        let shown = self.market.snapshot(self.now);
        ensure(shown.drivers + shown.riders <= self.limits.offers, || {
            format!("{} offers shown", shown.drivers)
        })?;
        if self.market.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
            self.market.handle_input(self.now, Told::Timeout);
            while self.market.poll_output().is_some() {}
        }
        Ok(())
    }

    /// P20: no structure is beyond its limit.
    fn is_within_bounds(&self) -> Checked {
        let limits = &self.limits;
        let mut by_topic: BTreeMap<Cell, usize> = BTreeMap::new();
        let cells = self.book.drivers().map(|one| one.offer.body().cell);
        for cell in cells.chain(self.book.riders().map(|one| one.offer.body().cell)) {
            *by_topic.entry(cell.parent(Resolution::TOPIC)).or_default() += 1;
        }
        let fullest = by_topic.values().copied().max().unwrap_or(0);
        for (what, found, limit) in [
            ("offers", self.book.len(), limits.offers),
            ("offers in a cell", fullest, limits.offers_per_cell),
            ("authors", self.book.authors(), limits.authors),
            ("certificates", self.admission.certificates().len(), limits.certificates),
            ("bans", self.admission.bans(), limits.bans),
        ] {
            ensure(found <= limit, || format!("{found} {what}: at most {limit} are allowed (P20)"))?;
        }
        Ok(())
    }

    /// The book says what a plain list says; a book that has to push offers out says nothing
    /// that the list does not.
    fn agrees_with_the_list(&self, input: &mut Input<'_>) -> Checked {
        let now = self.now;
        let booked = self.book.drivers().map(|one| (*one.key(), one.offer.body().seq, Side::Drivers));
        let booked =
            booked.chain(self.book.riders().map(|one| (*one.key(), one.offer.body().seq, Side::Riders)));
        for (key, seq, side) in booked {
            let line = self.list.get(&key);
            ensure(line.is_some_and(|line| (line.seq, line.side) == (seq, side)), || {
                format!("the book holds offer {seq} of {key}, the list {line:?}")
            })?;
        }
        let near = place(input.below(PLACES.len()));
        for side in [Side::Drivers, Side::Riders] {
            let held = |key: &PublicKey| self.book.driver(key).is_some() || self.book.rider(key).is_some();
            let mut listed: Vec<(PublicKey, Cell)> = self
                .list
                .iter()
                .filter(|(key, line)| line.side == side && line.expires > now && (!line.faded || held(key)))
                .map(|(key, line)| (*key, line.cell))
                .collect();
            listed.sort_by(|a, b| {
                let centre = |cell: &Cell| cell.bounds(near).centre_m;
                centre(&a.1).total_cmp(&centre(&b.1)).then(a.0.cmp(&b.0))
            });
            let shown: Vec<(PublicKey, Timestamp)> = match side {
                Side::Drivers => {
                    self.book.nearest_drivers(near, now).map(|(one, _)| (*one.key(), one.expires())).collect()
                }
                Side::Riders => {
                    self.book.nearest_riders(near, now).map(|(one, _)| (*one.key(), one.expires())).collect()
                }
            };
            ensure(shown.iter().all(|(_, expires)| *expires > now), || {
                "an offer is shown after its end".to_owned()
            })?;
            let shown: Vec<PublicKey> = shown.into_iter().map(|(key, _)| key).collect();
            let listed: Vec<PublicKey> = listed.into_iter().map(|(key, _)| key).collect();
            if self.is_roomy {
                ensure(shown == listed, || {
                    format!("{side:?}: the index says {shown:?}, the list {listed:?}")
                })?;
                let count = self.book.live_count(side, now);
                ensure(count == listed.len(), || format!("{count} live offers, {} listed", listed.len()))?;
            } else {
                ensure(shown.iter().all(|key| listed.contains(key)), || "shown and not listed".to_owned())?;
            }
        }
        Ok(())
    }
}

/// Something said on some topic: mostly an offer that is really signed, sometimes changed,
/// said again, said elsewhere, or nothing that anybody would say.
fn message(now: Timestamp, said: &[(Topic, Vec<u8>)], input: &mut Input<'_>) -> (Topic, Vec<u8>) {
    let (mut topic, mut bytes) = match input.below(16) {
        0 => match input.pick(said) {
            Some(again) => again.clone(),
            None => (Topic::evidence(&network()), Vec::new()),
        },
        1 => (Topic::evidence(&network()), evidence_of(said, input)),
        2 => (Topic::evidence(&network()), revocation(now, input)),
        3 => (Topic::drivers(&network(), cell(input)), input.take(96).to_vec()),
        4..=9 => driver_offer(now, input),
        _ => rider_offer(now, input),
    };
    if input.chance(40) {
        let donor = input.pick(said).map_or(&[][..], |(_, bytes)| bytes);
        bytes = mutated(&bytes, donor, input);
    }
    if input.chance(16) {
        topic = match input.below(3) {
            0 => Topic::drivers(&network(), cell(input)),
            1 => Topic::riders(&network(), cell(input)),
            _ => Topic::drivers(&"other".parse().expect("a name"), cell(input)),
        };
    }
    (topic, bytes)
}

fn cell(input: &mut Input<'_>) -> Cell {
    let resolution = 7 + u8::try_from(input.below(4)).unwrap_or(0);
    Cell::at(place(input.below(PLACES.len())), Resolution::new(resolution).expect("7 to 10"))
}

/// About now, as far as clocks go, and sometimes much earlier or later.
fn issued(now: Timestamp, input: &mut Input<'_>) -> Timestamp {
    match input.below(10) {
        0 => now + Duration::from_millis(u32::from(input.short())),
        1 => now - Duration::from_secs(u32::from(input.byte())),
        2 => now + Duration::from_secs(u32::from(input.short())),
        3 => now - Duration::from_millis(u32::from(input.short()) * 4),
        _ => now,
    }
}

fn author(input: &mut Input<'_>) -> &'static SigningKey {
    &SIGNERS[input.below(AUTHORS)]
}

fn sign<T: Body>(key: &SigningKey, body: T) -> Vec<u8> {
    Verified::sign(key, network_id(), body).bytes().to_vec()
}

fn driver_offer(now: Timestamp, input: &mut Input<'_>) -> (Topic, Vec<u8>) {
    let (key, cell, made) = (author(input), cell(input), issued(now, input));
    let terms = DriverTerms {
        class: Class::STANDARD,
        seats: Seats::new(4).expect("seats"),
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode: AcceptMode::Auto,
    };
    let is_live = !input.chance(40);
    let mut offer = DriverOffer {
        seq: 1 + u64::from(input.byte() % 16),
        issued: made,
        ttl: Duration::from_secs(10 + u32::from(input.byte()) % 111),
        cell,
        slot: 0,
        live: is_live.then_some(terms),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        head: None,
        ext: Extensions::NONE,
    };
    if is_live && input.chance(96) {
        let (cert, credential) = certificates(key, input);
        offer.cert_id = Some(cert.id());
        offer.certs = match input.below(4) {
            0 => Vec::new(),
            1 => vec![cert.bytes().to_vec()],
            _ => vec![cert.bytes().to_vec(), credential.bytes().to_vec()],
        };
        if let Some(bytes) = offer.certs.last_mut().filter(|_| input.chance(24)) {
            let bit = input.below(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    if input.chance(12) {
        offer.ext = Extensions::new(vec![(0x8000 | input.short(), vec![1])]).unwrap_or(Extensions::NONE);
    }
    (Topic::drivers(&network(), cell), sign(key, offer))
}

/// A SHIFT_CERT of the one identity for a key, and its CREDENTIAL.
fn certificates(key: &SigningKey, input: &mut Input<'_>) -> (Verified<ShiftCert>, Verified<Credential>) {
    let start = Timestamp::from_millis(START_MS).expect("a time");
    let credential = Credential {
        serial: u64::from(input.byte() % 3),
        issued: start - Duration::from_secs(3_600),
        mode: CredentialMode::Accountable,
        subject: identity().verifying_key().into(),
        roles: Roles::BOTH,
        from: start - Duration::from_secs(3_600),
        until: start + Duration::from_secs(10 * 86_400),
        classes: Vec::new(),
        vehicle_commit: None,
        ext: Extensions::NONE,
    };
    let credential = Verified::sign(issuer(), network_id(), credential);
    let named = if input.chance(16) { author(input) } else { key };
    let cert = ShiftCert {
        serial: 1,
        issued: start - Duration::from_secs(60),
        subject: named.verifying_key().into(),
        role: hailmesh_wire::Role::Driver,
        from: start - Duration::from_secs(60),
        until: start + Duration::from_secs(11 * 3_600),
        cred_id: Some(credential.id()),
        replaces: None,
        ext: Extensions::NONE,
    };
    (Verified::sign(identity(), network_id(), cert), credential)
}

fn rider_offer(now: Timestamp, input: &mut Input<'_>) -> (Topic, Vec<u8>) {
    let (key, cell, made) = (author(input), cell(input), issued(now, input));
    let terms = RiderTerms {
        class: Class::STANDARD,
        seats: Seats::ONE,
        features: Features::NONE,
        attempt: 1,
        max_fare: None,
        peer: PeerKey::from_bytes([9; 32]),
    };
    let offer = RiderOffer {
        seq: 1 + u64::from(input.byte() % 16),
        issued: made,
        ttl: Duration::from_secs(10 + u32::from(input.byte()) % 111),
        cell,
        slot: 0,
        live: (!input.chance(40)).then_some(terms),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        ext: Extensions::NONE,
    };
    (Topic::riders(&network(), cell), sign(key, offer))
}

/// EVIDENCE made of what was said before: mostly none.
fn evidence_of(said: &[(Topic, Vec<u8>)], input: &mut Input<'_>) -> Vec<u8> {
    let mut statements = Vec::new();
    for _ in 0..2 {
        statements
            .extend(input.pick(said).map(|(_, bytes)| bytes.clone()).filter(|bytes| bytes.len() <= 1_024));
    }
    let accused = author(input).verifying_key().into();
    let kind = if input.chance(64) { EvidenceKind::E9 } else { EvidenceKind::E6 };
    let evidence = Evidence { kind, accused, statements, certs: Vec::new(), ext: Extensions::NONE };
    // Bounds of an EVIDENCE are for whoever signs one.
    if Evidence::decode_body(&evidence.encode_body()).is_err() {
        return Vec::new();
    }
    sign(author(input), evidence)
}

fn revocation(now: Timestamp, input: &mut Input<'_>) -> Vec<u8> {
    let key = if input.chance(64) { author(input) } else { issuer() };
    let body = Revocation {
        seq: 1 + u64::from(input.byte() % 4),
        issued: now,
        until: now + Duration::from_secs(86_400),
        serials: vec![u64::from(input.byte() % 3)],
        ext: Extensions::NONE,
    };
    sign(key, body)
}

/// Inputs to begin with.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    // Roomy or not, with an issuer or not; then offers of each side by several authors.
    let mut seeds = Vec::new();
    for (name, head) in
        [("roomy", [255, 0]), ("tight", [0, 0]), ("vouched", [255, 255]), ("tight-vouched", [0, 255])]
    {
        let mut bytes = head.to_vec();
        for author in 0..6_u8 {
            // Time, no tidying, an offer, its author, cell, time, sequence and life.
            bytes.extend([
                0,
                5,
                0,
                4 + author,
                author,
                author,
                author % 5,
                9,
                0,
                author,
                60,
                0,
                0,
                0,
                0,
                0,
                0,
            ]);
        }
        seeds.push((name.to_owned(), bytes));
    }
    seeds
}
