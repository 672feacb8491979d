//! Golden vectors (P25.2): files that fix every byte, and that any implementation can
//! read. This test writes them again and compares; `UPDATE_VECTORS=1` replaces them,
//! which is a change of the protocol.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use hailmesh_types::{Amount, Duration, NetworkName, Resolution, StatementId, Tariff};
use hailmesh_wire::evidence::{Severity, check};
use hailmesh_wire::{
    Accept, AnyStatement, Body, Complete, Confirm, Counter, Ed25519, Evidence, EvidenceKind, FareKind,
    Figures, NetworkId, Outcome, Purpose, Receipt, Request, SigningKey, Topic, Verified, agreement_id,
    board_hash, commit, fare_limit, final_fare, message_id, pow_ok, pow_search, prefixed, tariff_hash,
};
use serde_json::{Value, json};

use crate::evidence::{guilty, raw};
use crate::ride::{
    DRIVER, DRIVER_IDENTITY, ISSUER, Plan, RIDER, Ride, SECRET, STRANGER, amount, at, cell, dispute, network,
    network_name, openings, public, rating, release, sign, tariff, void,
};
use crate::samples::samples;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every character");
        text
    })
}

/// Compares a file with what it should hold.
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads its own golden files, and a human may replace them"
)]
fn golden(file: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let mut text = serde_json::to_string_pretty(value).expect("JSON without maps of odd keys");
    text.push('\n');
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if found != text {
        let line = found.lines().zip(text.lines()).position(|(found, made)| found != made).unwrap_or(0);
        panic!(
            "{} differs from line {}: the encoding has changed. If that is meant, it is a new version of the \
             protocol; before the first release run with UPDATE_VECTORS=1",
            path.display(),
            line + 1
        );
    }
}

#[test]
fn statements() {
    let statements: Vec<Value> = samples()
        .iter()
        .map(|sample| {
            let statement = &sample.statement;
            json!({
                "name": sample.name,
                "kind": statement.kind().code(),
                "network": network_name().as_str(),
                "seed": hex([sample.signer; 32]),
                "signer": statement.signer().to_string(),
                "id": statement.id().to_string(),
                "envelope": hex(statement.bytes()),
            })
        })
        .collect();
    golden("statements.json", &json!({ "statements": statements }));
}

#[test]
fn hashes() {
    let ride = Ride::honest(Plan::default());
    let (request, accept) = (ride.request.id(), ride.accept.id());
    let mut hashes = Vec::new();
    for name in ["main", "test", "a", "0123456789abcdef", "x-1"] {
        let name: NetworkName = name.parse().unwrap();
        hashes.push(
            json!({ "what": "network", "name": name.as_str(), "hash": hex(NetworkId::of(&name).as_bytes()) }),
        );
    }
    hashes.push(json!({
        "what": "agreement", "request": request.to_string(), "accept": accept.to_string(),
        "hash": agreement_id(&request, &accept).to_string(),
    }));
    for tariff in tariffs() {
        hashes.push(json!({
            "what": "tariff", "tariff": tariff_json(&tariff), "hash": tariff_hash(&tariff).to_string(),
        }));
    }
    for secret in [SECRET, [0; 16], [0xff; 16]] {
        hashes
            .push(json!({ "what": "board", "secret": hex(secret), "hash": board_hash(&secret).to_string() }));
    }
    for (purpose, opening) in [Purpose::Pickup, Purpose::Drop, Purpose::Vehicle].into_iter().zip(openings()) {
        hashes.push(json!({
            "what": "commit", "purpose": purpose.code(), "salt": hex(opening.salt), "content": hex(&opening.content),
            "hash": commit(purpose, &opening).to_string(),
        }));
    }
    for (index, bits) in [(0, 0), (cell(7).index(), 8), (0, 12)] {
        let pow = pow_search(network(), &public(DRIVER), index, at(0), bits, 0, 1 << 20).unwrap();
        assert!(pow_ok(network(), &public(DRIVER), index, at(0), &pow, bits));
        hashes.push(json!({
            "what": "pow", "network": network_name().as_str(), "signer": public(DRIVER).to_string(), "cell": index,
            "issued": at(0).as_millis(), "bits": bits, "pow": hex(pow),
        }));
    }
    let provider = cell(7).parent(Resolution::PROVIDER).index();
    let key = prefixed("hailmesh-cell-v1", &[network().as_bytes(), &provider.to_be_bytes()]);
    hashes.push(json!({
        "what": "cell", "network": network_name().as_str(), "cell": provider, "hash": hex(key),
    }));
    let digest = prefixed("hailmesh-digest-v1", &[&[0x5a; 16], public(DRIVER).as_bytes()]);
    hashes.push(json!({
        "what": "digest", "salt": hex([0x5a; 16]), "author": public(DRIVER).to_string(), "hash": hex(digest),
    }));
    let home = ride.offer.body().cell;
    let drivers = Topic::drivers(&network_name(), home).to_string();
    for (side, topic) in
        [("drivers", drivers.clone()), ("riders", Topic::riders(&network_name(), home).to_string())]
    {
        hashes.push(json!({
            "what": "topic", "network": network_name().as_str(), "side": side, "cell": cell(7).index(),
            "topic": topic,
        }));
    }
    hashes.push(json!({
        "what": "message_id", "topic": drivers.clone(), "message": hex(ride.offer.bytes()),
        "hash": hex(message_id(&drivers, ride.offer.bytes())),
    }));
    golden("hashes.json", &json!({ "hashes": hashes }));
}

fn tariffs() -> Vec<Tariff> {
    let free = Tariff {
        base: 0,
        per_km: 0,
        per_min: 0,
        minimum: 0,
        wait_per_min: 0,
        wait_free: Duration::ZERO,
        cancel_fee: 0,
        no_show_fee: 0,
        ..Tariff::default()
    };
    let dear = Tariff {
        currency: "JPY".parse().unwrap(),
        base: 10_000_000,
        per_km: 10_000,
        per_min: 9_999,
        minimum: 10_000_000,
        wait_per_min: 10_000_000,
        surge: 5_000,
        ..Tariff::default()
    };
    let odd = Tariff {
        base: 1,
        per_km: 333,
        per_min: 77,
        minimum: 3,
        wait_per_min: 31,
        cancel_fee: 15,
        no_show_fee: 0,
        surge: 1_499,
        ..tariff()
    };
    let tariffs = vec![Tariff::default(), tariff(), free, dear, odd];
    assert!(tariffs.iter().all(|tariff| tariff.check().is_ok()));
    tariffs
}

fn tariff_json(tariff: &Tariff) -> Value {
    json!({
        "currency": tariff.currency.as_str(), "base": tariff.base, "per_km": tariff.per_km, "per_min": tariff.per_min,
        "minimum": tariff.minimum, "wait_per_min": tariff.wait_per_min, "wait_free": tariff.wait_free.as_millis(),
        "cancel_fee": tariff.cancel_fee, "cancel_free": tariff.cancel_free.as_millis(),
        "no_show_fee": tariff.no_show_fee, "surge": tariff.surge,
    })
}

#[test]
fn fares() {
    let mut fares = Vec::new();
    let mut limits = Vec::new();
    let mut finals = Vec::new();
    let ride = Ride::honest(Plan { countered: true, ..Plan::default() });
    for tariff in tariffs() {
        for (dist, ride_ms, wait_ms) in [
            (0, 0, 0),
            (1, 999, 180_001),
            (4_499, 600_499, 0),
            (6_200, 840_000, 300_000),
            (50_000, 3_600_000, 9_999_999),
        ] {
            let (ride_time, wait) = (Duration::from_millis(ride_ms), Duration::from_millis(wait_ms));
            let fare = tariff.fare(dist, ride_time, wait).ok().map(|fare| {
                json!({
                    "base": fare.base.minor(), "distance": fare.distance.minor(), "time": fare.time.minor(),
                    "surge": fare.surge.minor(), "minimum_top_up": fare.minimum_top_up.minor(),
                    "waiting": fare.waiting.minor(), "total": fare.total.minor(),
                })
            });
            fares.push(json!({
                "tariff": tariff_json(&tariff), "dist": dist, "ride_ms": ride_ms, "wait_ms": wait_ms, "fare": fare,
            }));
            let request = Request { dist, ride_time, ..ride.request.body().clone() };
            for counter in [None, Some(1_900), Some(5_000)] {
                let named = counter.map(|fare| Counter {
                    fare: amount(fare),
                    ..ride.counter.as_ref().unwrap().body().clone()
                });
                let limit = fare_limit(&tariff, &request, named.as_ref()).ok().map(Amount::minor);
                limits.push(json!({
                    "tariff": tariff_json(&tariff), "dist": dist, "ride_ms": ride_ms,
                    "max_fare": request.max_fare.minor(), "counter": counter, "limit": limit,
                }));
            }
            for (fare, fare_kind, countered, extra) in [
                (1_500, FareKind::Fixed, false, 0),
                (1_500, FareKind::Metered, false, 0),
                (1_900, FareKind::Fixed, true, 0),
                (900, FareKind::Metered, true, 250),
            ] {
                let accept = Accept { fare: amount(fare), fare_kind, ..ride.accept.body().clone() };
                let figures = Figures { dist: dist + 700, ride_time, wait };
                let result = final_fare(&tariff, &request, &accept, countered, figures, amount(extra));
                let result = result.ok().map(|fare| {
                    let items: Vec<_> = fare
                        .items
                        .iter()
                        .map(|item| json!([item.code.code(), item.amount.minor()]))
                        .collect();
                    json!({ "items": items, "total": fare.total.minor(), "amended": fare.amended })
                });
                finals.push(json!({
                    "tariff": tariff_json(&tariff), "asked_dist": dist, "asked_ride_ms": ride_ms, "fare": fare,
                    "fare_kind": fare_kind.code(), "countered": countered, "dist": figures.dist, "ride_ms": ride_ms,
                    "wait_ms": wait_ms, "extra": extra, "final": result,
                }));
            }
        }
    }
    golden("fares.json", &json!({ "fares": fares, "limits": limits, "finals": finals }));
}

#[test]
fn receipts() {
    let plain = Ride::honest(Plan::default());
    let full = Ride::honest(Plan { countered: true, certified: true, extra: 650, ..Plan::default() });
    let metered = Ride::honest(Plan { metered: true, certified: true, ..Plan::default() });
    let agreement = full.confirm.body().agreement_id;
    let mut rated = full.receipt();
    rated.statements.push(Arc::clone(rating(RIDER, DRIVER, agreement, 5).bytes()));
    rated.statements.push(Arc::clone(rating(DRIVER, RIDER, agreement, 4).bytes()));
    rated.openings = full.openings.clone();
    let with = |statements| Receipt { statements, ..plain.receipt() };
    let mut cancelled = plain.firm();
    cancelled.push(Arc::clone(sign(DRIVER, void(&plain.accept, Outcome::RiderReleased)).bytes()));
    cancelled.push(Arc::clone(sign(RIDER, release(&plain.accept, 0, Outcome::RiderCancelled)).bytes()));
    let mut alone = plain.statements();
    alone.pop();
    alone.push(Arc::clone(sign(DRIVER, void(&plain.accept, Outcome::CompletedUnilateral)).bytes()));
    alone.push(Arc::clone(dispute(RIDER, DRIVER, &plain).bytes()));
    let valid = [
        ("a completed ride", plain.receipt()),
        ("a completed ride with a COUNTER, certificates, openings and ratings", rated),
        ("a metered ride", metered.receipt()),
        ("an agreement alone", with(plain.agreement())),
        ("a cancelled ride", with(cancelled)),
        ("a ride that the driver ended alone", with(alone)),
    ];
    let valid: Vec<Value> = valid.iter().map(|(name, receipt)| valid_receipt(name, receipt)).collect();
    golden("receipts.json", &json!({ "valid": valid, "invalid": broken_receipts(&plain, &full) }));
}

fn valid_receipt(name: &str, receipt: &Receipt) -> Value {
    let facts = receipt.verify(&[public(ISSUER)]).unwrap_or_else(|error| panic!("{name}: {error}"));
    let states: Vec<&str> = facts.states.iter().map(|state| state.name()).collect();
    let ends: Vec<_> = facts.ends.iter().map(|(role, how)| json!([role.name(), how.code()])).collect();
    let rated: Vec<_> =
        facts.rated.iter().map(|(author, stars)| json!([author.to_string(), stars])).collect();
    json!({
        "name": name, "receipt": hex(receipt.encode()), "issuers": [public(ISSUER).to_string()],
        "facts": {
            "network": facts.network.as_str(), "driver": facts.driver.to_string(), "rider": facts.rider.to_string(),
            "driver_identity": facts.driver_identity.map(|key| key.to_string()),
            "rider_identity": facts.rider_identity.map(|key| key.to_string()),
            "driver_issuer": facts.driver_issuer.map(|key| key.to_string()),
            "agreement": facts.agreement.to_string(), "fare": facts.fare.0.minor(), "currency": facts.fare.1.as_str(),
            "fare_kind": facts.fare_kind.code(), "countered": facts.countered,
            "asked": facts.asked.map(Amount::minor), "total": facts.total.map(Amount::minor), "states": states,
            "ends": ends, "disputed": facts.disputed, "rated": rated,
        },
    })
}

/// A receipt of each kind that must not verify, with its clause.
fn broken_receipts(plain: &Ride, full: &Ride) -> Vec<Value> {
    let other = StatementId::from_bytes([0xee; 32]);
    let replaced = |index: usize, bytes: &Arc<[u8]>| {
        let mut receipt = plain.receipt();
        receipt.statements[index] = Arc::clone(bytes);
        receipt
    };
    let added = |bytes: &Arc<[u8]>| {
        let mut receipt = plain.receipt();
        receipt.statements.push(Arc::clone(bytes));
        receipt
    };
    let mut forged = plain.accept.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut disorder = plain.receipt();
    disorder.statements.swap(4, 5);
    let mut headless = plain.receipt();
    headless.statements.remove(0);
    let mut elsewhere = plain.receipt();
    elsewhere.network = "main".parse().unwrap();
    let mut uncertain = full.receipt();
    uncertain.statements.remove(1);
    let mut misplaced = plain.receipt();
    misplaced.openings = vec![(Purpose::Drop, openings()[0].clone())];
    let dear = sign(DRIVER, Accept { fare: amount(1_698), ..plain.accept.body().clone() });
    let confirm = Confirm {
        accept_id: dear.id(),
        agreement_id: agreement_id(&plain.request.id(), &dear.id()),
        ..plain.confirm.body().clone()
    };
    let dear_agreement =
        vec![plain.offer.bytes(), plain.request.bytes(), dear.bytes(), sign(RIDER, confirm).bytes()]
            .into_iter()
            .cloned()
            .collect();
    let ack = sign(DRIVER, hailmesh_wire::Ack { confirm_id: other, ..plain.ack.body().clone() });
    let boarded =
        sign(DRIVER, hailmesh_wire::Boarded { board_secret: [0; 16], ..plain.boarded.body().clone() });
    let cosign = sign(RIDER, hailmesh_wire::Cosign { total: amount(1), ..plain.cosign.body().clone() });
    let complete = sign(DRIVER, Complete { total: amount(1), ..plain.complete.body().clone() });
    let both = sign(RIDER, release(&plain.accept, 0, Outcome::CompletedUnilateral));
    let arrived = sign(STRANGER, plain.arrived.body().clone());
    let request = sign(RIDER, Request { offer_id: other, ..plain.request.body().clone() });
    let confirm = sign(RIDER, Confirm { accept_id: other, ..plain.confirm.body().clone() });
    let slot = sign(RIDER, Confirm { slot: 1, ..plain.confirm.body().clone() });
    let mut ahead = Receipt { statements: plain.agreement(), ..plain.receipt() };
    ahead.statements[3] = Arc::clone(slot.bytes());
    let cases: Vec<(&str, Receipt)> = vec![
        ("a forged signature", replaced(2, &forged.into())),
        ("statements out of order", disorder),
        ("no offer", headless),
        ("another network", elsewhere),
        ("another offer", replaced(1, request.bytes())),
        ("no COUNTER", uncertain),
        ("another ACCEPT", replaced(3, confirm.bytes())),
        ("a stranger's statement", replaced(5, arrived.bytes())),
        ("too high a fare", Receipt { statements: dear_agreement, ..plain.receipt() }),
        ("a slot without the one before", ahead),
        ("an ACK of another CONFIRM", replaced(4, ack.bytes())),
        ("another boarding secret", replaced(6, boarded.bytes())),
        ("a COSIGN of another total", replaced(8, cosign.bytes())),
        ("a COSIGN of another COMPLETE", replaced(7, complete.bytes())),
        ("two ends of one rider", {
            let mut receipt = plain.receipt();
            receipt.statements.push(Arc::clone(both.bytes()));
            receipt
        }),
        ("an opening of something else", misplaced),
        ("a kind that does not belong", added(plain.offer.bytes())),
    ];
    cases
        .into_iter()
        .map(|(name, receipt)| {
            let error = receipt.verify(&[public(ISSUER)]).expect_err(name);
            json!({ "name": name, "receipt": hex(receipt.encode()), "clause": error.clause })
        })
        .collect()
}

#[test]
fn evidence() {
    let sealed = |evidence: Evidence| hex(sign(STRANGER, evidence).bytes());
    let mut valid = Vec::new();
    let mut invalid = Vec::new();
    for case in guilty() {
        let evidence = raw(case.kind, case.accused, &case.statements);
        let finding = check(&evidence, network(), &Ed25519).unwrap();
        valid.push(json!({
            "name": case.name, "network": network_name().as_str(), "kind": case.kind.code(),
            "accused": case.accused.to_string(), "permanent": finding.severity == Severity::PermanentBan,
            "counted": finding.counted, "envelope": sealed(evidence.clone()),
        }));
        let mut refuse = |name: &str, evidence: Evidence| {
            let error = check(&evidence, network(), &Ed25519).expect_err(name);
            invalid.push(json!({
                "name": format!("{}: {name}", case.name), "network": network_name().as_str(),
                "clause": error.clause, "envelope": sealed(evidence),
            }));
        };
        refuse(
            "against somebody else",
            Evidence { accused: public(DRIVER_IDENTITY + 40), ..evidence.clone() },
        );
        let other = if case.kind == EvidenceKind::E8 { EvidenceKind::E6 } else { EvidenceKind::E8 };
        refuse("as another kind", Evidence { kind: other, ..evidence.clone() });
        let mut forged = evidence;
        *forged.statements[0].last_mut().unwrap() ^= 1;
        refuse("with a forged signature", forged);
    }
    golden("evidence.json", &json!({ "valid": valid, "invalid": invalid }));
}

/// Envelopes that every reader refuses.
#[test]
fn refused() {
    let offer = Ride::honest(Plan::default()).offer;
    let good = offer.bytes().to_vec();
    // The head of an envelope: 86 01 01 48 network 58 20 signer 58 len body 58 40 signature.
    let (body_at, signer_at) = (1 + 1 + 1 + 9 + 34, 1 + 1 + 1 + 9 + 2);
    assert_eq!((good[0], good[signer_at - 2], good[body_at]), (0x86, 0x58, 0x58));
    let edit = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let body = offer.body().encode_body();
    let mut cases = vec![
        ("cut short", edit(&|bytes| bytes.truncate(100))),
        ("a byte too many", edit(&|bytes| bytes.push(0))),
        ("a longer form of the array", edit(&|bytes| drop(bytes.splice(0..1, [0x98, 6])))),
        ("a longer form of the version", edit(&|bytes| drop(bytes.splice(1..2, [0x18, 1])))),
        (
            "an array without an end",
            edit(&|bytes| {
                bytes[0] = 0x9f;
                bytes.push(0xff);
            }),
        ),
        ("a map", edit(&|bytes| bytes[0] = 0xa3)),
        (
            "seven elements",
            edit(&|bytes| {
                bytes[0] = 0x87;
                bytes.push(0);
            }),
        ),
        ("another version", edit(&|bytes| bytes[1] = 2)),
        ("an unknown kind", edit(&|bytes| bytes[2] = 3)),
        ("another kind", edit(&|bytes| bytes[2] = 2)),
        ("another network", edit(&|bytes| bytes[4] ^= 1)),
        (
            "a weak key",
            edit(&|bytes| {
                bytes[signer_at..signer_at + 32].fill(0);
                bytes[signer_at] = 1;
            }),
        ),
        (
            "a key in its second encoding",
            edit(&|bytes| {
                bytes[signer_at..signer_at + 32].fill(0xff);
                bytes[signer_at] = 0xee;
                bytes[signer_at + 31] = 0x7f;
            }),
        ),
        (
            "a key off the curve",
            edit(&|bytes| {
                bytes[signer_at..signer_at + 32].fill(0);
                bytes[signer_at] = 2;
            }),
        ),
        ("a changed signature", edit(&|bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("a changed body", edit(&|bytes| bytes[body_at + 3] ^= 1)),
    ];
    // Bodies that are really signed and break the bounds.
    let signed = |body: &[u8]| seal(&key_of(DRIVER), 0x01, body);
    let swap = |range: std::ops::Range<usize>, with: &[u8]| {
        let mut changed = body.clone();
        changed.splice(range, with.iter().copied());
        changed
    };
    // 8a seq issued(9) ttl(5) status cell(9) slot ...
    let seq = 1..2;
    let ttl = 11..16;
    let status = 16..17;
    let slot = 26..27;
    assert_eq!((body[1], body[11], body[16], body[26]), (7, 0x1a, 1, 0));
    cases.extend([
        ("seq 0", signed(&swap(seq.clone(), &[0]))),
        ("seq in a longer form", signed(&swap(seq.clone(), &[0x18, 7]))),
        ("seq as null", signed(&swap(seq.clone(), &[0xf6]))),
        ("seq as a negative number", signed(&swap(seq.clone(), &[0x20]))),
        ("seq as a float", signed(&swap(seq.clone(), &[0xf9, 0x47, 0x00]))),
        ("seq with a tag", signed(&swap(seq, &[0xc0, 7]))),
        ("too long a ttl", signed(&swap(ttl.clone(), &[0x1a, 0x00, 0x01, 0xd4, 0xc1]))),
        ("too short a ttl", signed(&swap(ttl, &[0x19, 0x27, 0x0f]))),
        ("an unknown status", signed(&swap(status.clone(), &[3]))),
        ("withdrawn with terms", signed(&swap(status, &[2]))),
        ("a cell that is none", signed(&swap(17..26, &[0x1b, 0, 0, 0, 0, 0, 0, 0, 1]))),
        ("slot 1 without a head", signed(&swap(slot, &[1]))),
        (
            "a field too many",
            signed(&{
                let mut changed = body.clone();
                changed[0] = 0x80 | 18;
                let fields = usize::from(body[0] & 0x1f);
                changed.extend(std::iter::repeat_n(0xf6, 18 - fields));
                changed
            }),
        ),
        (
            "a null at the end",
            signed(&{
                let mut changed = body.clone();
                changed[0] += 1;
                changed.push(0xf6);
                changed
            }),
        ),
        (
            "an empty array",
            signed(&{
                let mut changed = body.clone();
                changed[0] += 1;
                changed.push(0x80);
                changed
            }),
        ),
        (
            "a required field cut off",
            signed(&{
                let mut changed = body.clone();
                changed[0] -= 1;
                changed.pop();
                changed
            }),
        ),
        ("extensions out of order", signed(&with_ext(&body, &[0x82, 0x82, 2, 0x40, 0x82, 1, 0x40]))),
        ("no extension", signed(&with_ext(&body, &[0x80]))),
    ]);
    let refused: Vec<Value> = cases
        .into_iter()
        .map(|(name, bytes)| {
            let verdict = AnyStatement::decode(bytes.clone()).and_then(AnyStatement::verify);
            let error = verdict.expect_err(name);
            json!({ "name": name, "envelope": hex(bytes), "clause": error.clause })
        })
        .collect();
    golden("refused.json", &json!({ "refused": refused }));
}

fn key_of(n: u8) -> SigningKey {
    crate::ride::key(n)
}

/// The body of an offer with something at index 16.
fn with_ext(body: &[u8], ext: &[u8]) -> Vec<u8> {
    let fields = usize::from(body[0] & 0x1f);
    let mut changed = body.to_vec();
    changed[0] = 0x80 | 17;
    changed.extend(std::iter::repeat_n(0xf6, 16 - fields));
    changed.extend_from_slice(ext);
    changed
}

/// An envelope around any bytes, really signed: written by hand, since the crate makes
/// none that it would refuse.
fn seal(key: &SigningKey, kind: u8, body: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer as _;
    let signer = key.verifying_key().to_bytes();
    let mut message = b"hailmesh-sig-v1\0".to_vec();
    message.extend_from_slice(&[1, kind]);
    message.extend_from_slice(network().as_bytes());
    message.extend_from_slice(&signer);
    message.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    message.extend_from_slice(body);
    let signature = key.sign(&message).to_bytes();
    let mut bytes = vec![0x86, 1, kind, 0x48];
    bytes.extend_from_slice(network().as_bytes());
    bytes.extend_from_slice(&[0x58, 0x20]);
    bytes.extend_from_slice(&signer);
    assert!((24..256).contains(&body.len()), "two bytes of length");
    bytes.extend_from_slice(&[0x58, u8::try_from(body.len()).unwrap()]);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&[0x58, 0x40]);
    bytes.extend_from_slice(&signature);
    bytes
}

#[test]
fn an_envelope_written_by_hand_is_the_same() {
    let offer = Ride::honest(Plan::default()).offer;
    assert_eq!(seal(&key_of(DRIVER), 0x01, &offer.body().encode_body()), offer.bytes().to_vec());
    let _: Verified<_> = offer;
}
