//! What the market adds to the primitives under it: admission against bare signature
//! checks, searching and moving against bare rstar on the same rectangles.
//!
//! `cargo bench -p hailmesh-market` runs the criterion groups and then a table of ratios,
//! each measured in alternating rounds within this one run, so that a slow machine or a
//! busy neighbour slows both sides.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock and its own memory"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use hailmesh_market::admission::{Admission, Stop};
use hailmesh_market::book::{EntryId, OfferBook};
use hailmesh_market::index::{SpatialIndex, Tenant};
use hailmesh_market::limits::{Limits, Rate};
use hailmesh_market::matching::{DriverWant, Query, search_drivers};
use hailmesh_types::{
    Cell, Class, Duration as Span, Features, GeoPoint, NetworkName, PeerKey, Resolution, Seats, Tariff,
    Timestamp,
};
use hailmesh_wire::{
    AcceptMode, AnyStatement, DecodeError, DriverOffer, DriverTerms, Evidence, Extensions, Header, NetworkId,
    Topic, Verified,
};
use rstar::{AABB, PointDistance, RTree, RTreeObject};

const CITY: usize = 100_000;
const ROUND: usize = 500;

/// A sequence of numbers that is the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A place in a city of 20 km by 20 km.
    fn place(&mut self) -> GeoPoint {
        let (lat, lon) = (40.66 + 0.18 * self.unit(), -74.10 + 0.2375 * self.unit());
        GeoPoint::from_degrees(lat, lon).unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).unwrap()
}

fn network() -> NetworkName {
    "bench".parse().unwrap()
}

fn author(number: usize) -> SigningKey {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SigningKey::from_bytes(&seed)
}

fn cell(place: GeoPoint) -> Cell {
    Cell::at(place, Resolution::PICKUP)
}

fn offer(signer: &SigningKey, seq: u64, issued: Timestamp, cell: Cell) -> Vec<u8> {
    let terms = DriverTerms {
        class: Class::STANDARD,
        seats: Seats::new(4).unwrap(),
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode: AcceptMode::Auto,
    };
    let address = hailmesh_wire::Address::new([4, 127, 0, 0, 1, 6, 31, 144]).unwrap();
    let offer = DriverOffer {
        seq,
        issued,
        ttl: Span::from_secs(120),
        cell,
        slot: 0,
        live: Some(terms),
        addrs: vec![address],
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        head: None,
        ext: Extensions::NONE,
    };
    Verified::sign(signer, NetworkId::of(&network()), offer).bytes().to_vec()
}

/// No rates: the cost of admission is asked for, not its refusals.
fn limits() -> Limits {
    let free = Rate { every_us: 1, burst: 1_000_000_000 };
    Limits { author: free, peer: free, peer_topic: free, verifications_per_s: u32::MAX, ..Limits::default() }
}

struct Node {
    admission: Admission,
    book: OfferBook,
}

fn no_evidence(_: &Evidence) -> Result<(), DecodeError> {
    Err(DecodeError::new("P18", "none here"))
}

impl Node {
    fn new() -> Self {
        let book = OfferBook::new(&limits());
        Self { admission: Admission::new(network(), 0, Vec::new(), limits()), book }
    }

    fn hear(&mut self, topic: &Topic, bytes: &[u8]) -> Stop {
        self.admission
            .judge(
                &mut self.book,
                now(),
                PeerKey::from_bytes([1; 32]),
                topic,
                &bytes.to_vec().into(),
                &no_evidence,
            )
            .stop
    }
}

/// A message with its topic.
type Message = (Topic, Vec<u8>);

/// Offers of these authors, one a millisecond: they are heard in the order in which they
/// were made, as on the air.
fn messages(
    numbers: &mut Numbers,
    authors: std::ops::Range<usize>,
    seq: u64,
    first: Timestamp,
) -> Vec<Message> {
    authors
        .zip(0..)
        .map(|(number, ms)| {
            let cell = cell(numbers.place());
            let issued = first + Span::from_millis(ms);
            (Topic::drivers(&network(), cell), offer(&author(number), seq, issued, cell))
        })
        .collect()
}

/// What a bare check of the same bytes needs.
struct Bare {
    key: [u8; 32],
    verifying: VerifyingKey,
    message: Vec<u8>,
    signature: Signature,
}

impl Bare {
    fn of(bytes: &[u8]) -> Self {
        let header = Header::peek(bytes).unwrap();
        let body = &bytes[header.body.clone()];
        let mut message = b"hailmesh-sig-v1\0".to_vec();
        message.extend([header.version, header.kind_code]);
        message.extend(header.network.as_bytes());
        message.extend(header.signer);
        message.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(body);
        let signature = Signature::from_slice(&bytes[header.signature.clone()]).unwrap();
        let verifying = VerifyingKey::from_bytes(&header.signer).unwrap();
        Self { key: header.signer, verifying, message, signature }
    }

    fn check(&self) -> bool {
        let key = VerifyingKey::from_bytes(black_box(&self.key)).unwrap();
        key.verify_strict(&self.message, &self.signature).is_ok()
    }

    fn check_without_key(&self) -> bool {
        self.verifying.verify_strict(black_box(&self.message), &self.signature).is_ok()
    }
}

/// A rectangle in local metres, as a flat index would hold it.
#[derive(Clone, Copy, PartialEq)]
struct Flat {
    low: [f32; 2],
    high: [f32; 2],
    number: u32,
}

impl RTreeObject for Flat {
    type Envelope = AABB<[f32; 2]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.low, self.high)
    }
}

impl PointDistance for Flat {
    fn distance_2(&self, point: &[f32; 2]) -> f32 {
        self.envelope().distance_2(point)
    }
}

fn flat_point(lat: f64, lon: f64) -> [f32; 2] {
    let metres = 111_195.08;
    [((lon + 74.0) * metres * 40.75_f64.to_radians().cos()) as f32, ((lat - 40.75) * metres) as f32]
}

fn flat(cell: Cell, number: usize) -> Flat {
    let rect = cell.rects()[0];
    let (low, high) = (flat_point(rect.south, rect.west), flat_point(rect.north, rect.east));
    Flat { low, high, number: u32::try_from(number).unwrap() }
}

/// The same cars in both indexes.
struct City {
    cells: Vec<Cell>,
    cars: Vec<Tenant>,
    index: SpatialIndex,
    bare: RTree<Flat>,
}

impl City {
    fn new(numbers: &mut Numbers) -> Self {
        let cells: Vec<Cell> = (0..CITY).map(|_| cell(numbers.place())).collect();
        let mut keys = Numbers(5);
        let cars: Vec<Tenant> = (0..CITY)
            .map(|number| {
                let mut key = [0; 32];
                key[..8].copy_from_slice(&keys.next().to_be_bytes());
                Tenant::new(&key, EntryId::of(u32::try_from(number).unwrap()))
            })
            .collect();
        let mut index = SpatialIndex::new();
        for (car, cell) in cars.iter().zip(&cells) {
            index.insert(*cell, *car);
        }
        let bare =
            RTree::bulk_load(cells.iter().enumerate().map(|(number, cell)| flat(*cell, number)).collect());
        Self { cells, cars, index, bare }
    }

    fn nearest(&self, place: GeoPoint) -> usize {
        self.index.nearest(place).take(10).filter(|(car, _)| *car == black_box(EntryId::of(7))).count()
    }

    fn bare_nearest(&self, place: GeoPoint) -> u32 {
        let point = flat_point(place.lat(), place.lon());
        self.bare.nearest_neighbor_iter(point).take(10).map(|flat| flat.number).fold(0, u32::wrapping_add)
    }

    fn move_car(&mut self, number: usize, to: Cell) {
        assert!(self.index.remove(self.cells[number], self.cars[number]));
        self.index.insert(to, self.cars[number]);
    }

    fn bare_move(&mut self, from: &Flat, to: Flat) {
        self.bare.remove(from).unwrap();
        self.bare.insert(to);
    }
}

fn groups(criterion: &mut Criterion) {
    let mut numbers = Numbers(1);
    let batch = messages(&mut numbers, 0..64, 1, now());
    let bare: Vec<Bare> = batch.iter().map(|(_, bytes)| Bare::of(bytes)).collect();

    let mut group = criterion.benchmark_group("admission");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("64 × bare from_bytes and verify_strict", |b| {
        b.iter(|| bare.iter().filter(|one| one.check()).count());
    });
    group.bench_function("64 × valid offer", |b| {
        b.iter_batched_ref(
            Node::new,
            |node| batch.iter().filter(|(topic, bytes)| node.hear(topic, bytes) == Stop::None).count(),
            BatchSize::SmallInput,
        );
    });
    let stale = messages(&mut numbers, 0..64, 2, now() - Span::from_secs(300));
    group.bench_function("64 × stale offer", |b| {
        let mut node = Node::new();
        b.iter(|| stale.iter().filter(|(topic, bytes)| node.hear(topic, bytes) == Stop::Stale).count());
    });
    group.finish();

    let mut city = City::new(&mut numbers);
    let places: Vec<GeoPoint> = (0..ROUND).map(|_| numbers.place()).collect();
    let mut group = criterion.benchmark_group("index of 100,000");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("10 nearest", |b| {
        let mut turn = places.iter().cycle();
        b.iter(|| city.nearest(*turn.next().unwrap()));
    });
    group.bench_function("10 nearest, bare rstar", |b| {
        let mut turn = places.iter().cycle();
        b.iter(|| city.bare_nearest(*turn.next().unwrap()));
    });
    group.bench_function("move", |b| {
        let mut turn = 0;
        b.iter(|| {
            turn = (turn + 7_919) % CITY;
            let to = city.cells[(turn + 1) % CITY];
            city.move_car(turn, to);
            city.cells[turn] = to;
        });
    });
    group.finish();
}

/// What an operation costs and what the primitive under it costs, µs, and the median of
/// the ratios of neighbouring rounds, which a load that comes and goes disturbs least.
struct Pair {
    ours: f64,
    bare: f64,
    ratio: f64,
    /// The ratio of the fastest rounds: without what else the machine is doing.
    undisturbed: f64,
}

impl Pair {
    /// One line of the table, with the bound that the ratio has to keep.
    fn print(&self, what: &str, bound: &str) {
        let Self { ours, bare, ratio, undisturbed } = self;
        println!(
            "{what:<52} {ours:>7.3} µs, bare {bare:>7.3} µs: {ratio:.3}, undisturbed {undisturbed:.3} ({bound})"
        );
    }
}

/// Microseconds for one of `n` that took `elapsed`.
fn each(elapsed: Duration, n: usize) -> f64 {
    elapsed.as_secs_f64() * 1e6 / n as f64
}

/// Runs the two in turn, `rounds` times `n` operations each.
fn in_turn<S>(
    rounds: usize,
    n: usize,
    state: &mut S,
    mut ours: impl FnMut(&mut S, usize),
    mut bare: impl FnMut(&mut S, usize),
) -> Pair {
    let mut times: Vec<(f64, f64)> = Vec::new();
    for round in 0..rounds {
        let start = Instant::now();
        bare(state, round);
        let bare_time = each(start.elapsed(), n);
        let start = Instant::now();
        ours(state, round);
        times.push((each(start.elapsed(), n), bare_time));
    }
    let median = |pick: &dyn Fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = times.iter().map(pick).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let fastest = |pick: &dyn Fn(&(f64, f64)) -> f64| times.iter().map(pick).fold(f64::INFINITY, f64::min);
    Pair {
        ours: median(&|pair| pair.0),
        bare: median(&|pair| pair.1),
        ratio: median(&|pair| pair.0 / pair.1),
        undisturbed: fastest(&|pair| pair.0) / fastest(&|pair| pair.1),
    }
}

fn ratios() {
    println!("\nratios, medians of alternating rounds of {ROUND} in this run");
    memory();
    admission_ratios();
    index_ratios();
}

fn admission_ratios() {
    const ROUNDS: usize = 41;
    let mut numbers = Numbers(2);
    let mut node = Node::new();
    // A city of 10,000 is booked already.
    let long_ago = now() - Span::from_secs(60);
    for (topic, bytes) in messages(&mut numbers, 0..10_000, 1, long_ago) {
        assert_eq!(node.hear(&topic, &bytes), Stop::None);
    }
    let rounds: Vec<Vec<Message>> = (0..ROUNDS)
        .map(|round| {
            let first = (round % 20) * ROUND;
            let issued = long_ago + Span::from_millis(10_000 + (round * ROUND) as u32);
            messages(&mut numbers, first..first + ROUND, 2 + round as u64, issued)
        })
        .collect();
    let bare: Vec<Vec<Bare>> =
        rounds.iter().map(|round| round.iter().map(|(_, bytes)| Bare::of(bytes)).collect()).collect();
    let count_good = |round: &[Bare], check: fn(&Bare) -> bool| round.iter().filter(|one| check(one)).count();
    let hear_all = |node: &mut Node, round: &[Message], expected: Stop| {
        for (topic, bytes) in round {
            assert_eq!(node.hear(topic, bytes), expected);
        }
    };
    let admitted = in_turn(
        ROUNDS,
        ROUND,
        &mut node,
        |node, round| hear_all(node, &rounds[round], Stop::None),
        |_, round| {
            black_box(count_good(&bare[round], Bare::check));
        },
    );
    admitted.print("admit a valid offer / from_bytes + verify_strict", "rate ≥ 85 %: ≤ 1.176");
    let keys = in_turn(
        ROUNDS,
        ROUND,
        &mut (),
        |(), round| {
            black_box(count_good(&bare[round], Bare::check));
        },
        |(), round| {
            black_box(count_good(&bare[round], Bare::check_without_key));
        },
    );
    let ratio = admitted.ratio * keys.ratio;
    let undisturbed = admitted.undisturbed * keys.undisturbed;
    Pair { ours: admitted.ours, bare: keys.bare, ratio, undisturbed }
        .print("admit a valid offer / verify_strict alone", "for information");

    let forge = |(topic, bytes): &Message| (topic.clone(), with_broken_signature(bytes));
    let forged: Vec<Message> = rounds[0].iter().map(forge).collect();
    let forged_bare: Vec<Bare> = forged.iter().map(|(_, bytes)| Bare::of(bytes)).collect();
    let mut fresh = Node::new();
    let pair = in_turn(
        ROUNDS,
        ROUND,
        &mut fresh,
        |node, _| hear_all(node, &forged, Stop::Signature),
        |_, _| {
            black_box(count_good(&forged_bare, Bare::check));
        },
    );
    pair.print("refuse a forged offer / from_bytes + verify_strict", "the checks up to its own");

    let decode_all = |round: &[Message]| {
        for (_, bytes) in round {
            black_box(AnyStatement::decode(bytes.as_slice()).unwrap());
        }
    };
    let stale = messages(&mut numbers, 0..ROUND, 99, now() - Span::from_secs(300));
    let pair = in_turn(
        ROUNDS,
        ROUND,
        &mut node,
        |node, _| hear_all(node, &stale, Stop::Stale),
        |_, _| decode_all(&stale),
    );
    pair.print("ignore a stale offer / decode", "the checks up to its own");
    let last = rounds.last().unwrap();
    let pair = in_turn(
        ROUNDS,
        ROUND,
        &mut node,
        |node, _| hear_all(node, last, Stop::Duplicate),
        |_, _| decode_all(last),
    );
    pair.print("ignore a duplicate / decode", "the checks up to its own");
}

fn with_broken_signature(bytes: &[u8]) -> Vec<u8> {
    let mut broken = bytes.to_vec();
    // In the scalar, the lower half: the point stays one, so that all of it is checked.
    let in_scalar = broken.len() - 32;
    broken[in_scalar] ^= 1;
    broken
}

fn index_ratios() {
    const ROUNDS: usize = 31;
    let mut numbers = Numbers(3);
    let mut city = City::new(&mut numbers);
    println!("index: {CITY} offers in {} cells", city.index.occupied_cells());
    let places: Vec<Vec<GeoPoint>> =
        (0..ROUNDS).map(|_| (0..ROUND).map(|_| numbers.place()).collect()).collect();
    let pair = in_turn(
        ROUNDS,
        ROUND,
        &mut city,
        |city, round| {
            for place in &places[round] {
                black_box(city.nearest(*place));
            }
        },
        |city, round| {
            for place in &places[round] {
                black_box(city.bare_nearest(*place));
            }
        },
    );
    pair.print("10 nearest of 100,000 / bare rstar, same rectangles", "≤ 2");

    // A car moves some hundred metres; geometry of the bare side is made beforehand.
    let moves: Vec<Vec<(usize, Cell, Flat, Flat)>> = {
        let mut cells = city.cells.clone();
        (0..ROUNDS)
            .map(|_| {
                (0..ROUND)
                    .map(|_| {
                        let number = (numbers.next() % CITY as u64) as usize;
                        let around = cells[number].disk(2);
                        let to = around[(numbers.next() % around.len() as u64) as usize];
                        let from = std::mem::replace(&mut cells[number], to);
                        (number, to, flat(from, number), flat(to, number))
                    })
                    .collect()
            })
            .collect()
    };
    let pair = in_turn(
        ROUNDS,
        ROUND,
        &mut city,
        |city, round| {
            for (number, to, ..) in &moves[round] {
                city.move_car(*number, *to);
                city.cells[*number] = *to;
            }
        },
        |city, round| {
            for (.., from, to) in &moves[round] {
                city.bare_move(from, *to);
            }
        },
    );
    pair.print("move an offer / bare rstar remove + insert", "≤ 2");
}

fn memory() {
    let resident_kib = || {
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()));
        pages.map(|pages| pages * 4)
    };
    let mut numbers = Numbers(4);
    let batch = messages(&mut numbers, 0..20_000, 1, now());
    let before = resident_kib();
    let mut node = Node::new();
    for (topic, bytes) in &batch {
        assert_eq!(node.hear(topic, bytes), Stop::None);
    }
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        let bytes = after.saturating_sub(before) * 1_024 / batch.len() as u64;
        println!("memory: about {bytes} bytes resident per booked offer, sequence table and index included");
    }
    let query = Query {
        near: numbers.place(),
        radius_m: Some(3_000),
        limit: 10,
        want: DriverWant::default(),
        speed_kmh: 20,
        exclude: &|_| None,
    };
    let start = Instant::now();
    for _ in 0..ROUND {
        black_box(search_drivers(&node.book, now(), &query));
    }
    println!("search with explanation, 10 within 3 km of 20,000: {:.3} µs", each(start.elapsed(), ROUND));
    println!("an empty book and admission: {} + {} bytes", size_of::<OfferBook>(), size_of::<Admission>());
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    groups(&mut criterion);
    criterion.final_summary();
    // Under `--test` and `--list` nobody wants to wait for figures.
    if !std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        ratios();
    }
}
