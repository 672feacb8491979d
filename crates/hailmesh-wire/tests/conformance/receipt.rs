//! P10: what verifies, what does not and by which clause, and what is proven.

use std::sync::Arc;

use hailmesh_types::{Amount, Duration, Hash, StatementId};
use hailmesh_wire::{
    Body, ClaimGrade, DecodeError, Extensions, Opening, Outcome, Prev, Purpose, Receipt, ReceiptFacts,
    RideState, Role, Roles, Status, StatusEntry, Verified,
};
use proptest::prelude::*;

use crate::ride::{
    DRIVER, DRIVER_IDENTITY, Draft, ISSUER, Plan, RIDER, RIDER_IDENTITY, Ride, STRANGER, amount, at, dispute,
    network_name, no_show, openings, public, rating, release, sign, void,
};

const OTHER: StatementId = StatementId::from_bytes([0xee; 32]);
const CERTIFIED: Plan = Plan { countered: false, metered: false, certified: true, extra: 0 };

fn with(statements: Vec<Arc<[u8]>>) -> Receipt {
    Receipt { network: network_name(), statements, certs: Vec::new(), openings: Vec::new() }
}

fn facts(receipt: &Receipt) -> ReceiptFacts {
    let again = Receipt::decode(&receipt.encode()).expect("a receipt reads what it writes");
    assert_eq!(&again, receipt);
    again.verify(&[]).unwrap()
}

fn clause(result: Result<ReceiptFacts, DecodeError>) -> &'static str {
    result.expect_err("this receipt is tampered with").clause
}

/// The clause by which a ride tampered with by `hook` fails.
fn tampered(plan: Plan, hook: impl FnMut(Draft<'_>)) -> &'static str {
    clause(Ride::tampered(plan, hook).receipt().verify(&[public(ISSUER)]))
}

fn add<T: Body>(ride: &Ride, statement: &Verified<T>) -> Receipt {
    let statements = ride.statements().into_iter().chain([Arc::clone(statement.bytes())]);
    Receipt::assemble(network_name(), statements, Vec::new(), Vec::new())
}

#[test]
fn completed_rides_verify_whatever_their_terms() {
    for countered in [false, true] {
        for metered in [false, true] {
            for certified in [false, true] {
                for extra in [0, 650] {
                    let plan = Plan { countered, metered, certified, extra };
                    let ride = Ride::honest(plan);
                    let facts = facts(&ride.receipt());
                    assert_eq!(facts.driver, public(DRIVER));
                    assert_eq!(facts.rider, public(RIDER));
                    assert_eq!(facts.countered, countered);
                    assert_eq!(facts.total, Some(ride.complete.body().total));
                    assert_eq!(facts.driver_issuer, certified.then(|| public(ISSUER)));
                    assert_eq!(facts.driver_identity, certified.then(|| public(DRIVER_IDENTITY)));
                    assert_eq!(facts.rider_identity, certified.then(|| public(RIDER_IDENTITY)));
                    assert_eq!(facts.rider_issuer, None);
                }
            }
        }
    }
}

#[test]
fn facts_of_a_completed_ride() {
    use RideState::{Arrived, Committed, Completed, Firm, Held, InProgress, Requested};
    let ride = Ride::honest(Plan::default());
    let facts = facts(&ride.receipt());
    assert_eq!(facts.states, [Requested, Held, Committed, Firm, Arrived, InProgress, Completed]);
    assert!(
        facts.agreed && facts.firm && facts.arrived && facts.boarded && facts.completed && facts.cosigned
    );
    assert_eq!(facts.ended, Some((Role::Rider, Outcome::Completed)));
    assert_eq!(facts.agreement, ride.confirm.body().agreement_id);
    assert_eq!(facts.fare.0, ride.accept.body().fare);
    assert_eq!(facts.fare.1.as_str(), "USD");
    assert_eq!(facts.agreed_at, at(1_300));
    assert!(!facts.disputed && facts.rated.is_empty());
}

#[test]
fn an_agreement_alone_is_a_receipt() {
    let ride = Ride::honest(Plan::default());
    let facts = facts(&with(ride.agreement()));
    assert_eq!(facts.states.last(), Some(&RideState::Committed));
    assert!(facts.agreed && !facts.firm && facts.ended.is_none() && facts.total.is_none());
    // Typical sizes, so that a change of encoding is noticed (P10.1).
    let size = ride.receipt().encode().len();
    assert!((2_000..3_500).contains(&size), "{size} bytes");
}

#[test]
fn ends_say_who_and_how() {
    let ride = Ride::honest(Plan::default());
    let end = |voided: Option<Outcome>, released: Option<Outcome>| {
        let mut statements = ride.firm();
        statements.extend(voided.map(|how| Arc::clone(sign(DRIVER, void(&ride.accept, how)).bytes())));
        statements.extend(released.map(|how| Arc::clone(sign(RIDER, release(&ride.accept, 0, how)).bytes())));
        let facts = facts(&with(statements));
        (facts.ended, facts.states.last().copied())
    };
    use Outcome::{CounterpartyVoid, DriverCancelled, NoAck, NoShowClaimed, RiderCancelled, RiderReleased};
    assert_eq!(
        end(Some(DriverCancelled), Some(CounterpartyVoid)),
        (Some((Role::Driver, DriverCancelled)), Some(RideState::Cancelled))
    );
    assert_eq!(
        end(Some(RiderReleased), Some(RiderCancelled)),
        (Some((Role::Rider, RiderCancelled)), Some(RideState::Cancelled))
    );
    assert_eq!(end(None, Some(NoAck)), (Some((Role::Rider, NoAck)), Some(RideState::Released)));
    assert_eq!(
        end(Some(NoShowClaimed), None),
        (Some((Role::Driver, NoShowClaimed)), Some(RideState::NoShow))
    );
    assert_eq!(end(None, None), (None, Some(RideState::Firm)));
}

#[test]
fn claims_of_no_show_are_graded() {
    let ride = Ride::honest(Plan::default());
    let agreement = ride.confirm.body().agreement_id;
    let status = sign(
        RIDER,
        Status {
            to: public(DRIVER),
            issued: at(1_000_000),
            nonce: [1; 16],
            reply_to: None,
            entries: vec![StatusEntry {
                agreement_id: agreement,
                state: RideState::Arrived,
                own_last: ride.confirm.id(),
                heard_last: Some(ride.arrived.id()),
            }],
            ext: Extensions::NONE,
        },
    );
    let claim = |heard: Option<Vec<u8>>, answer: bool| {
        let mut body = no_show(RIDER, agreement);
        body.arrived_id = Some(ride.arrived.id());
        body.heard = heard;
        let claim = sign(DRIVER, body);
        let mut statements = ride.firm();
        statements.push(Arc::clone(ride.arrived.bytes()));
        statements.push(Arc::clone(sign(DRIVER, void(&ride.accept, Outcome::NoShowClaimed)).bytes()));
        if answer {
            let mut body = release(&ride.accept, 0, Outcome::CounterpartyVoid);
            body.ref_id = Some(claim.id());
            statements.push(Arc::clone(sign(RIDER, body).bytes()));
        }
        statements.push(Arc::clone(claim.bytes()));
        facts(&with(statements)).no_shows
    };
    assert_eq!(claim(None, false), [(Role::Driver, ClaimGrade::G0)]);
    assert_eq!(claim(Some(status.bytes().to_vec()), false), [(Role::Driver, ClaimGrade::G1)]);
    assert_eq!(claim(Some(status.bytes().to_vec()), true), [(Role::Driver, ClaimGrade::G2)]);
    // The driver's own word on what the rider's node knew is worth nothing.
    let own = sign(DRIVER, Status { to: public(RIDER), ..status.body().clone() });
    assert_eq!(claim(Some(own.bytes().to_vec()), false), [(Role::Driver, ClaimGrade::G0)]);
}

#[test]
fn ratings_count_once_and_cancel_each_other() {
    let ride = Ride::honest(Plan::default());
    let agreement = ride.confirm.body().agreement_id;
    let good = rating(RIDER, DRIVER, agreement, 5);
    assert_eq!(facts(&add(&ride, &good)).rated, [(public(RIDER), 5)]);
    let bad = rating(RIDER, DRIVER, agreement, 1);
    let mut both = add(&ride, &good);
    both.statements.push(Arc::clone(bad.bytes()));
    assert!(facts(&both).rated.is_empty());
    // A ride that was not completed is not rated.
    let mut statements = ride.firm();
    statements.push(Arc::clone(good.bytes()));
    assert!(facts(&with(statements)).rated.is_empty());
    assert!(facts(&add(&ride, &dispute(RIDER, DRIVER, &ride))).disputed);
}

#[test]
fn openings_are_shown_only_when_they_fit() {
    let ride = Ride::honest(Plan::default());
    let mut receipt = ride.receipt();
    receipt.openings = ride.openings.clone();
    facts(&receipt);
    receipt.openings[0].1.salt[0] ^= 1;
    assert_eq!(clause(receipt.verify(&[])), "P2.7");
    receipt.openings = vec![(Purpose::Pickup, ride.openings[1].1.clone())];
    assert_eq!(clause(receipt.verify(&[])), "P2.7");
    receipt.openings = vec![ride.openings[0].clone(), ride.openings[0].clone()];
    assert_eq!(clause(receipt.verify(&[])), "P10.1");
}

#[test]
fn container_and_envelopes() {
    let ride = Ride::honest(Plan::default());
    let good = ride.receipt().encode();
    assert_eq!(good[0], 0x83);
    let mut longer = vec![0x98, 0x03];
    longer.extend_from_slice(&good[1..]);
    assert_eq!(Receipt::decode(&longer).unwrap_err().clause, "P2.4");
    let mut surplus = good.clone();
    surplus.push(0);
    assert_eq!(Receipt::decode(&surplus).unwrap_err().clause, "P2.4");
    let mut version = good.clone();
    version[1] = 2;
    assert_eq!(Receipt::decode(&version).unwrap_err().clause, "P10.1");
    assert_eq!(Receipt::decode(&vec![0; 20_000]).unwrap_err().clause, "P10.1");
    let mut name = good;
    name[3] = b'T';
    assert_eq!(Receipt::decode(&name).unwrap_err().clause, "P2.12");

    let change = |index: usize, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut receipt = ride.receipt();
        let mut bytes = receipt.statements[index].to_vec();
        edit(&mut bytes);
        receipt.statements[index] = bytes.into();
        clause(receipt.verify(&[]))
    };
    let envelope_longer = |bytes: &mut Vec<u8>| {
        bytes[0] = 0x98;
        bytes.insert(1, 6);
    };
    assert_eq!(change(1, &envelope_longer), "P2.4");
    assert_eq!(change(2, &|bytes| bytes[1] = 2), "P25.1");
    assert_eq!(change(2, &|bytes| *bytes.last_mut().unwrap() ^= 1), "P2.8");
    // The neutral element as a key: every signature of nothing would fit.
    let weak = |bytes: &mut Vec<u8>| {
        let signer = bytes.windows(2).position(|pair| pair == [0x58, 0x20]).unwrap() + 2;
        bytes[signer..signer + 32].fill(0);
        bytes[signer] = 1;
    };
    assert_eq!(change(3, &weak), "P2.8");
}

#[test]
fn order_and_completeness() {
    let ride = Ride::honest(Plan::default());
    let mut receipt = ride.receipt();
    receipt.statements.swap(2, 3);
    assert_eq!(clause(receipt.verify(&[])), "P10.2");
    let mut receipt = ride.receipt();
    receipt.statements.remove(0);
    assert_eq!(clause(receipt.verify(&[])), "P10.2");
    let mut receipt = ride.receipt();
    receipt.statements.insert(5, Arc::clone(ride.ack.bytes()));
    assert_eq!(clause(receipt.verify(&[])), "P10.2");
    let mut receipt = ride.receipt();
    receipt.statements.truncate(3);
    assert_eq!(clause(receipt.verify(&[])), "P10.1");
    let mut receipt = ride.receipt();
    receipt.network = "main".parse().unwrap();
    assert_eq!(clause(receipt.verify(&[])), "P2.7");
}

/// A way to break a receipt, and the clause that names it.
type Tampering = (&'static str, fn(Draft<'_>));

/// In the order of P10.4.
const TAMPERINGS: [Tampering; 12] = [
    ("P8.9", |draft| {
        if let Draft::DriverCert(cert) = draft {
            cert.until = at(1_000);
        }
    }),
    ("P4.5", |draft| {
        if let Draft::Request(request) = draft {
            request.offer_id = OTHER;
        }
    }),
    ("P4.6", |draft| {
        if let Draft::Accept(accept) = draft {
            accept.tariff_hash = Hash::from_bytes([0; 32]);
        }
    }),
    ("P2.6", |draft| {
        if let Draft::Confirm(confirm) = draft {
            confirm.agreement_id = hailmesh_wire::agreement_id(&OTHER, &OTHER);
        }
    }),
    ("P5.6", |draft| {
        if let Draft::Arrived(arrived) = draft {
            arrived.to = public(STRANGER);
        }
    }),
    ("P9.2", |draft| {
        if let Draft::Accept(accept) = draft {
            accept.fare = amount(1_698);
        }
    }),
    ("P3.8", |draft| {
        if let Draft::Accept(accept) = draft {
            accept.prev = Prev { outcome: Outcome::HoldLapsed, accept_id: Some(OTHER), proof: None };
        }
    }),
    ("P3.8", |draft| {
        if let Draft::Confirm(confirm) = draft {
            confirm.slot = 1;
        }
    }),
    ("P4.8", |draft| {
        if let Draft::Ack(ack) = draft {
            ack.confirm_id = OTHER;
        }
    }),
    ("P8.4", |draft| {
        if let Draft::Boarded(boarded) = draft {
            boarded.board_secret = [0; 16];
        }
    }),
    ("P9.4", |draft| {
        if let Draft::Complete(complete) = draft {
            complete.items.pop();
        }
    }),
    ("P9.3", |draft| {
        if let Draft::Cosign(cosign) = draft {
            cosign.total = amount(1);
        }
    }),
];

#[test]
fn every_tampering_is_named_by_its_clause() {
    for (clause, tamper) in TAMPERINGS {
        assert_eq!(tampered(CERTIFIED, tamper), clause);
    }
}

#[test]
fn the_first_failure_is_the_one_that_is_named() {
    // The last two belong to one step: the COSIGN is looked at first.
    for (index, (first, tamper)) in TAMPERINGS[..10].iter().enumerate() {
        for (_, also) in &TAMPERINGS[index + 1..] {
            let both = tampered(CERTIFIED, |mut draft| {
                also(reborrow(&mut draft));
                tamper(draft);
            });
            assert_eq!(both, *first);
        }
    }
}

fn reborrow<'s>(draft: &'s mut Draft<'_>) -> Draft<'s> {
    match draft {
        Draft::Offer(body) => Draft::Offer(body),
        Draft::Counter(body) => Draft::Counter(body),
        Draft::Request(body) => Draft::Request(body),
        Draft::Accept(body) => Draft::Accept(body),
        Draft::Confirm(body) => Draft::Confirm(body),
        Draft::Ack(body) => Draft::Ack(body),
        Draft::Arrived(body) => Draft::Arrived(body),
        Draft::Boarded(body) => Draft::Boarded(body),
        Draft::Complete(body) => Draft::Complete(body),
        Draft::Cosign(body) => Draft::Cosign(body),
        Draft::DriverCert(body) => Draft::DriverCert(body),
        Draft::RiderCert(body) => Draft::RiderCert(body),
        Draft::Credential(body) => Draft::Credential(body),
    }
}

#[test]
fn certificates() {
    let cases: [Tampering; 6] = [
        ("P16.2", |draft| {
            if let Draft::DriverCert(cert) = draft {
                cert.subject = public(STRANGER);
            }
        }),
        ("P16.2", |draft| {
            if let Draft::RiderCert(cert) = draft {
                cert.role = Role::Driver;
                cert.until = at(0) + Duration::from_secs(3_600);
            }
        }),
        ("P16.1", |draft| {
            if let Draft::Credential(credential) = draft {
                credential.roles = Roles::RIDER;
            }
        }),
        ("P16.2", |draft| {
            if let Draft::Credential(credential) = draft {
                credential.until = at(3_600_000);
            }
        }),
        ("P16.2", |draft| {
            if let Draft::Credential(credential) = draft {
                credential.subject = public(STRANGER);
            }
        }),
        ("P8.9", |draft| {
            if let Draft::RiderCert(cert) = draft {
                cert.from = at(1_001);
            }
        }),
    ];
    for (clause, tamper) in cases {
        assert_eq!(tampered(CERTIFIED, tamper), clause);
    }
    let receipt = Ride::honest(CERTIFIED).receipt();
    assert!(receipt.verify(&[public(STRANGER), public(ISSUER)]).is_ok());
    assert_eq!(clause(receipt.verify(&[public(STRANGER)])), "P16.1");
    // A certificate of somebody else.
    let mut foreign = Ride::honest(Plan::default()).receipt();
    foreign.certs = receipt.certs;
    assert!(foreign.verify(&[]).is_err());
}

#[test]
fn names_and_parties() {
    let cases: [Tampering; 9] = [
        ("P4.6", |draft| {
            if let Draft::Accept(accept) = draft {
                accept.offer_id = OTHER;
            }
        }),
        ("P2.6", |draft| {
            if let Draft::Accept(accept) = draft {
                accept.request_id = OTHER;
            }
        }),
        ("P2.6", |draft| {
            if let Draft::Confirm(confirm) = draft {
                confirm.accept_id = OTHER;
            }
        }),
        ("P2.6", |draft| {
            if let Draft::Cosign(cosign) = draft {
                cosign.accept_id = OTHER;
            }
        }),
        ("P5.6", |draft| {
            if let Draft::Accept(accept) = draft {
                accept.to = public(STRANGER);
            }
        }),
        ("P4.7", |draft| {
            if let Draft::Confirm(confirm) = draft {
                confirm.drop_commit = None;
            }
        }),
        ("P4.8", |draft| {
            if let Draft::Ack(ack) = draft {
                ack.slot = 1;
            }
        }),
        ("P4.8", |draft| {
            if let Draft::Cosign(cosign) = draft {
                cosign.slot = 1;
            }
        }),
        ("P9.3", |draft| {
            if let Draft::Cosign(cosign) = draft {
                cosign.complete_id = OTHER;
            }
        }),
    ];
    for (clause, tamper) in cases {
        assert_eq!(tampered(Plan::default(), tamper), clause);
    }
    // Signed by somebody else altogether.
    let ride = Ride::honest(Plan::default());
    let mut receipt = ride.receipt();
    receipt.statements[5] = Arc::clone(sign(STRANGER, ride.arrived.body().clone()).bytes());
    assert_eq!(clause(receipt.verify(&[])), "P5.6");
    // The REQUEST names a COUNTER that is not there.
    let ride = Ride::honest(Plan { countered: true, ..Plan::default() });
    let mut receipt = ride.receipt();
    receipt.statements.remove(1);
    assert_eq!(clause(receipt.verify(&[])), "P5.10");
}

#[test]
fn fares_and_ends() {
    let amend = |draft: Draft<'_>| {
        if let Draft::Complete(complete) = draft {
            complete.items[0].amount = amount(complete.items[0].amount.minor() + 100);
            complete.total = amount(complete.total.minor() + 100);
        }
    };
    assert_eq!(tampered(Plan::default(), amend), "P9.3");
    // Without a COSIGN it is only what the driver asks.
    let ride = Ride::tampered(Plan::default(), amend);
    let mut statements = ride.statements();
    statements.pop();
    let claimed = facts(&with(statements));
    assert_eq!(claimed.asked, Some(amount(1_857)));
    assert!(claimed.total.is_none() && claimed.completed && !claimed.cosigned);

    let ride = Ride::honest(Plan::default());
    let both = add(&ride, &sign(RIDER, release(&ride.accept, 0, Outcome::CompletedUnilateral)));
    assert_eq!(clause(both.verify(&[])), "P18.1");
    let mut denied = ride.firm();
    denied.push(Arc::clone(sign(DRIVER, void(&ride.accept, Outcome::HoldLapsed)).bytes()));
    assert_eq!(clause(with(denied).verify(&[])), "P18.1");
    let mut secret = void(&ride.accept, Outcome::CompletedUnilateral);
    secret.board_secret = Some([1; 16]);
    let mut statements = ride.firm();
    statements.push(Arc::clone(sign(DRIVER, secret).bytes()));
    assert_eq!(clause(with(statements).verify(&[])), "P8.4");
    // A COSIGN that comes after the driver has ended alone is kept (P6.19).
    let late = add(&ride, &sign(DRIVER, void(&ride.accept, Outcome::CompletedUnilateral)));
    assert_eq!(facts(&late).ended, Some((Role::Rider, Outcome::Completed)));
}

#[test]
fn assembling_needs_no_order_and_leaves_out_what_does_not_belong() {
    let ride = Ride::honest(Plan { countered: true, certified: true, ..Plan::default() });
    let expected = ride.receipt();
    let foreign = sign(DRIVER, no_show(RIDER, ride.confirm.body().agreement_id));
    let old = sign(DRIVER, hailmesh_wire::Complete { total: Amount::ZERO, ..ride.complete.body().clone() });
    let mut pool = ride.statements();
    pool.push(Arc::clone(old.bytes()));
    pool.extend(pool.clone());
    pool.extend(ride.certs.iter().cloned());
    pool.push(Arc::from(&b"junk"[..]));
    pool.reverse();
    assert_eq!(Receipt::assemble(network_name(), pool, ride.certs.clone(), Vec::new()), expected);
    // More than fits: what both have signed stays.
    let many = (0..200_u32).map(|n| {
        let mut body = foreign.body().clone();
        body.issued = at(n);
        body.heard = Some(vec![0; 400]);
        Arc::clone(sign(DRIVER, body).bytes())
    });
    let pool = many.chain(ride.statements());
    let openings = [Purpose::Pickup, Purpose::Drop, Purpose::Vehicle].into_iter().zip(openings()).collect();
    let receipt = Receipt::assemble(network_name(), pool, ride.certs.clone(), openings);
    assert_eq!(receipt.statements.len(), 16);
    facts(&receipt);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// No byte of a receipt can be changed.
    #[test]
    fn every_byte_counts(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let ride = Ride::honest(CERTIFIED);
        let mut receipt = ride.receipt();
        receipt.openings = ride.openings.clone();
        let mut bytes = receipt.encode();
        let place = at.index(bytes.len());
        bytes[place] ^= flip;
        let verdict = Receipt::decode(&bytes).and_then(|receipt| receipt.verify(&[public(ISSUER)]));
        prop_assert!(verdict.is_err(), "byte {place}");
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Receipt::decode(&bytes).is_err());
        let part: Arc<[u8]> = bytes.into();
        let receipt = Receipt {
            network: network_name(),
            statements: vec![Arc::clone(&part); 4],
            certs: vec![part],
            openings: vec![(Purpose::Drop, Opening { salt: [0; 32], content: Vec::new() })],
        };
        prop_assert!(receipt.verify(&[]).is_err());
    }

    /// Any subset of a ride's statements is refused or proves only what is in it.
    #[test]
    fn subsets_prove_only_what_they_hold(keep in prop::collection::vec(any::<bool>(), 9)) {
        let ride = Ride::honest(Plan::default());
        let kept: Vec<_> = ride.statements().into_iter().zip(&keep).filter(|(_, keep)| **keep).collect();
        let statements: Vec<_> = kept.into_iter().map(|(bytes, _)| bytes).collect();
        let receipt = Receipt { statements, ..ride.receipt() };
        let is_whole = keep[..4].iter().all(|kept| *kept) && (keep[7] || !keep[8]);
        match receipt.verify(&[]) {
            Ok(facts) => {
                prop_assert!(is_whole);
                prop_assert_eq!((facts.firm, facts.arrived), (keep[4], keep[5]));
                prop_assert_eq!((facts.completed, facts.cosigned), (keep[7], keep[8]));
                prop_assert_eq!(facts.total.is_some(), keep[8]);
            }
            Err(error) => prop_assert!(!is_whole, "{error}"),
        }
    }
}
