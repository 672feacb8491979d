//! What a statement costs, against the bare signature in the same run. The ratios at the
//! end say more than the times, which are those of the machine.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration as Wall;

use criterion::{Criterion, criterion_group};
use ed25519_dalek::{Signature, Signer};
use hailmesh_types::{Cell, Class, Duration, Features, NetworkName, Resolution, Seats, Tariff, Timestamp};
use hailmesh_wire::{
    AcceptMode, Body, DriverOffer, DriverTerms, Extensions, NetworkId, Signed, SigningKey, Verified, prefixed,
};

thread_local! {
    /// Mean time of an iteration by name, nanoseconds, as the run finds them.
    static MEANS: RefCell<Vec<(&'static str, f64)>> = const { RefCell::new(Vec::new()) };
}

fn offer() -> DriverOffer {
    let place = "40.7580,-73.9855".parse().expect("a place on the globe");
    DriverOffer {
        seq: 1_000,
        issued: Timestamp::from_millis(1_900_000_000_000).expect("a time of the protocol"),
        ttl: Duration::from_secs(120),
        cell: Cell::at(place, Resolution::PICKUP),
        slot: 7,
        live: Some(DriverTerms {
            class: Class::STANDARD,
            seats: Seats::ONE,
            features: Features::NONE,
            tariff: Tariff::default(),
            accept_mode: AcceptMode::Auto,
        }),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        head: Some(hailmesh_types::StatementId::from_bytes([7; 32])),
        ext: Extensions::NONE,
    }
}

/// Measures with criterion and once more for the table of ratios.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures wall time; nothing here reaches the crate"
)]
fn measure<T>(criterion: &mut Criterion, name: &'static str, mut work: impl FnMut() -> T) {
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let began = std::time::Instant::now();
            for _ in 0..rounds {
                black_box(work());
            }
            let took = began.elapsed();
            if rounds > 0 {
                let mean = took.as_secs_f64() * 1e9 / rounds as f64;
                MEANS.with_borrow_mut(|means| match means.iter_mut().find(|(known, _)| *known == name) {
                    // The least of the means is the one that others disturbed least.
                    Some((_, least)) => *least = least.min(mean),
                    None => means.push((name, mean)),
                });
            }
            took
        });
    });
}

fn wire(criterion: &mut Criterion) {
    let key = SigningKey::from_bytes(&[1; 32]);
    let network = NetworkId::of(&NetworkName::default());
    let signed = Verified::sign(&key, network, offer());
    let bytes = Arc::clone(signed.bytes());
    let body = offer();
    let raw = body.encode_body();
    let message = [&b"hailmesh-sig-v1\0"[..], &[0; 46], &raw].concat();
    let signature: Signature = key.sign(&message);
    let public = key.verifying_key();
    println!("a DRIVER_OFFER of {} bytes, its body {}", bytes.len(), raw.len());

    measure(criterion, "bare verify_strict", || public.verify_strict(&message, &signature).is_ok());
    measure(criterion, "bare sign", || key.sign(&message));
    measure(criterion, "decode", || Signed::<DriverOffer>::decode(Arc::clone(&bytes)).is_ok());
    measure(criterion, "decode and verify", || {
        Signed::<DriverOffer>::decode(Arc::clone(&bytes)).and_then(Signed::verify).is_ok()
    });
    let decoded = Signed::<DriverOffer>::decode(Arc::clone(&bytes)).expect("what was just signed");
    measure(criterion, "verify once more", || decoded.clone().verify().is_ok());
    measure(criterion, "encode body", || body.encode_body());
    measure(criterion, "encode and sign", || Verified::sign(&key, network, body.clone()));
    measure(criterion, "id", || prefixed("hailmesh-id-v1", &[&message[16..]]));
}

fn ratios() {
    MEANS.with_borrow(|means| {
        let of =
            |name: &str| means.iter().find(|(known, _)| *known == name).map_or(f64::NAN, |(_, mean)| *mean);
        let (verify, sign) = (of("bare verify_strict"), of("bare sign"));
        println!();
        println!("{:<20} {:>10} {:>18} {:>12}", "", "µs", "of verify_strict", "of sign");
        for (name, mean) in means {
            println!("{name:<20} {:>10.2} {:>17.3}x {:>11.3}x", mean / 1e3, mean / verify, mean / sign);
        }
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Wall::from_secs(2)).warm_up_time(Wall::from_millis(500));
    targets = wire
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratios();
}
