//! Every step of P13.7 and P13.8 stops what it is for, and nothing moves before a signature is checked.

mod common;

use common::*;
use ed25519_dalek::SigningKey;
use hailmesh_market::admission::{News, Stop};
use hailmesh_market::certificates::{CertRefusal, Level};
use hailmesh_market::journal::Role;
use hailmesh_market::limits::{Limits, Rate};
use hailmesh_market::output::Verdict;
use hailmesh_types::{PeerKey, PublicKey, Timestamp};
use hailmesh_wire::{
    CredentialMode, DecodeError, DriverOffer, Evidence, EvidenceKind, Extensions, Header, NetworkId,
    Revocation, Topic, Verified, pow_search,
};
use std::collections::BTreeSet;

/// A message that is to be stopped, and the node that stops it.
struct Case {
    node: Node,
    topic: Topic,
    source: PeerKey,
    bytes: Vec<u8>,
    check: fn(&Evidence) -> Result<(), DecodeError>,
}

fn offers() -> Topic {
    Topic::drivers(&network(), home())
}

fn case(node: Node, bytes: Vec<u8>) -> Case {
    Case { node, topic: offers(), source: peer(1), bytes, check: any_evidence }
}

fn plain() -> Node {
    Node::new(Limits::default())
}

fn issuer() -> SigningKey {
    key(1_000)
}

/// A node that knows an issuer.
fn guarded(limits: Limits) -> Node {
    Node::with(limits, 0, &[public(&issuer())])
}

fn genuine() -> DriverOffer {
    driver_offer(5, start(), home())
}

/// The offer of driver 1 with certificates of the issuer, changed by `change`.
fn certified(change: impl Fn(&mut DriverOffer)) -> Vec<u8> {
    let mut offer = certify(genuine(), &key(1), &key(2), &issuer());
    change(&mut offer);
    sign(&key(1), offer)
}

fn flip(mut bytes: Vec<u8>, position: usize) -> Vec<u8> {
    bytes[position] ^= 1;
    bytes
}

fn critical() -> Extensions {
    Extensions::new(vec![(0x8001, vec![1])]).unwrap()
}

fn evidence(kind: EvidenceKind, accused: &PublicKey, certs: Vec<Vec<u8>>) -> Vec<u8> {
    let statements = vec![sign(&key(1), genuine())];
    sign(&key(5_000), Evidence { kind, accused: *accused, statements, certs, ext: Extensions::NONE })
}

fn on_evidence(node: Node, bytes: Vec<u8>) -> Case {
    Case { topic: Topic::evidence(&network()), ..case(node, bytes) }
}

fn revocation(seq: u64, serials: Vec<u64>) -> Revocation {
    Revocation { seq, issued: start(), until: start() + secs(86_400), serials, ext: Extensions::NONE }
}

/// A message for every step.
fn cases() -> Vec<(Stop, Case)> {
    let good = sign(&key(1), genuine());
    let body = Header::peek(&good).unwrap().body;
    let mut all = vec![
        (Stop::None, case(plain(), good.clone())),
        (Stop::Size, case(plain(), vec![0; 1_025])),
        (Stop::Envelope, case(plain(), [good.as_slice(), &[0]].concat())),
        (Stop::Envelope, case(plain(), Vec::new())),
        (Stop::Body, case(plain(), flip(good.clone(), body.start + 16))),
        (Stop::Signature, case(plain(), flip(good.clone(), good.len() - 1))),
    ];
    // Another version, and an unknown kind.
    let mut other_version = good.clone();
    other_version[1] = 2;
    let mut unknown_kind = good.clone();
    unknown_kind[2] = 3;
    all.push((Stop::Unsupported, case(plain(), other_version)));
    all.push((Stop::Unsupported, case(plain(), unknown_kind)));

    // The topic: of another network, of riders, of evidence; the statement: of another network.
    let elsewhere = "other".parse().unwrap();
    let foreign = Verified::sign(&key(1), NetworkId::of(&elsewhere), genuine()).bytes().to_vec();
    all.push((Stop::Topic, case(plain(), foreign)));
    let riders = Topic::riders(&network(), home());
    for topic in [Topic::drivers(&elsewhere, home()), riders, Topic::evidence(&network())] {
        all.push((Stop::Topic, Case { topic, ..case(plain(), good.clone()) }));
    }
    all.push((Stop::Topic, case(plain(), sign(&issuer(), revocation(1, vec![])))));
    // A signer of small order: the envelope's head is 14 bytes.
    let mut weak = good.clone();
    weak[14..46].fill(0);
    weak[14] = 1;
    all.push((Stop::Key, case(plain(), weak)));
    let mut offer = genuine();
    offer.ext = critical();
    all.push((Stop::CriticalExtension, case(plain(), sign(&key(1), offer))));
    let far = cell_at("40.9,-73.9855".parse().unwrap(), 9);
    all.push((Stop::Cell, case(plain(), sign(&key(1), driver_offer(5, start(), far)))));

    // Time: 30 s of tolerance on both ends.
    for (stop, issued) in [
        (Stop::None, start() + secs(30)),
        (Stop::Future, start() + secs(31)),
        (Stop::None, start() - secs(150)),
        (Stop::Stale, start() - secs(151)),
    ] {
        all.push((stop, case(plain(), sign(&key(1), driver_offer(5, issued, home())))));
    }

    // Sequence.
    let heard = |limits| {
        let mut node = Node::new(limits);
        assert_eq!(node.hear(&sign(&key(1), genuine())).stop, Stop::None);
        node
    };
    all.push((Stop::Duplicate, case(heard(Limits::default()), good.clone())));
    all.push((
        Stop::OldSequence,
        case(heard(Limits::default()), sign(&key(1), driver_offer(4, start(), home()))),
    ));
    let mut fork = genuine();
    fork.ttl = secs(60);
    all.push((Stop::Equivocation, case(heard(Limits::default()), sign(&key(1), fork.clone()))));
    all.push((
        Stop::Signature,
        case(heard(Limits::default()), {
            let bytes = sign(&key(1), fork);
            let last = bytes.len() - 1;
            flip(bytes, last)
        }),
    ));

    // Bans: the key, the identity of a known certificate, the identity of an inline one.
    let mut node = plain();
    node.admission.ban(start(), &public(&key(1)), Some(start() + secs(1)), true);
    all.push((Stop::Banned, case(node, good.clone())));
    let mut node = guarded(Limits::default());
    node.admission.ban(start(), &public(&key(2)), None, true);
    all.push((Stop::Banned, case(node, certified(|_| {}))));
    let mut node = guarded(Limits::default());
    assert_eq!(node.hear(&certified(|offer| offer.seq = 1)).stop, Stop::None);
    node.admission.ban(start(), &public(&key(2)), None, true);
    all.push((Stop::Banned, case(node, certified(|offer| offer.certs.clear()))));
    let mut node = guarded(Limits::default());
    assert_eq!(node.hear(&certified(|offer| offer.seq = 1)).stop, Stop::None);
    let taken_back = sign(&issuer(), revocation(1, vec![3, 77]));
    assert_eq!(node.hear_on(&Topic::evidence(&network()), peer(1), &taken_back).stop, Stop::None);
    assert!(node.book.is_empty(), "an offer that relied on it is gone");
    all.push((Stop::Revoked, case(node, certified(|offer| offer.certs.clear()))));
    let mut node = guarded(Limits::default());
    assert_eq!(node.hear_on(&Topic::evidence(&network()), peer(1), &taken_back).stop, Stop::None);
    all.push((Stop::Revoked, case(node, certified(|_| {}))));

    // Budgets.
    let one = Rate { every_us: 1_000_000, burst: 1 };
    let busy = |limits: Limits, issuers: &[PublicKey]| {
        let mut node = Node::with(limits, 0, issuers);
        assert_eq!(node.hear(&sign(&key(3), genuine())).stop, Stop::None);
        node
    };
    all.push((Stop::PeerRate, case(busy(Limits { peer: one, ..Limits::default() }, &[]), good.clone())));
    all.push((
        Stop::PeerRate,
        case(busy(Limits { peer_topic: one, ..Limits::default() }, &[]), good.clone()),
    ));
    let strict = Limits { uncredentialed_pool: one, ..Limits::default() };
    all.push((Stop::PoolRate, case(busy(strict.clone(), &[public(&issuer())]), good.clone())));
    all.push((Stop::None, case(busy(strict.clone(), &[]), good.clone())));
    all.push((Stop::None, case(busy(strict, &[public(&issuer())]), certified(|_| {}))));
    let strict = Limits { verifications_per_s: 1, ..Limits::default() };
    all.push((Stop::VerificationRate, case(busy(strict, &[]), good.clone())));
    let mut node = plain();
    for seq in 1..=3 {
        assert_eq!(node.hear(&sign(&key(1), driver_offer(seq, start(), home()))).stop, Stop::None);
    }
    all.push((Stop::AuthorRate, case(node, good.clone())));

    all.extend(certificate_cases());
    all.extend(work_cases());

    // Room.
    let strict = Limits { uncredentialed_places: 1, ..Limits::default() };
    all.push((Stop::Share, case(busy(strict, &[public(&issuer())]), good.clone())));
    let strict = Limits { offers: 1, ..Limits::default() };
    all.push((Stop::Full, case(busy(strict, &[]), good.clone())));
    let strict = Limits { authors: 1, ..Limits::default() };
    all.push((Stop::Full, case(busy(strict, &[]), good)));

    all.extend(evidence_cases());
    all
}

fn certificate_cases() -> Vec<(Stop, Case)> {
    let node = || guarded(Limits::default());
    let mut all = vec![(Stop::None, case(node(), certified(|_| {})))];
    // The leaf is for somebody else, for another role, of another time, of no use.
    let other = certify(genuine(), &key(8), &key(2), &issuer());
    all.push((Stop::Certificate, case(node(), sign(&key(1), other))));
    let swap_leaf = |change: &dyn Fn(&mut hailmesh_wire::ShiftCert)| {
        let mut cert = shift_cert(&public(&key(1)), None);
        change(&mut cert);
        let cert = Verified::sign(&key(2), network_id(), cert);
        certified(|offer| {
            offer.cert_id = Some(cert.id());
            offer.certs = vec![cert.bytes().to_vec()];
        })
    };
    all.push((Stop::None, case(node(), swap_leaf(&|_| {}))));
    all.push((Stop::Certificate, case(node(), swap_leaf(&|cert| cert.role = hailmesh_wire::Role::Rider))));
    all.push((Stop::Certificate, case(node(), swap_leaf(&|cert| cert.from = start() + secs(1)))));
    all.push((Stop::CertificateExtension, case(node(), swap_leaf(&|cert| cert.ext = critical()))));
    all.push((Stop::Certificate, case(node(), certified(|offer| drop(offer.certs.remove(0))))));
    // What no leaf asks for.
    let extra = credential(&public(&key(9)), CredentialMode::Accountable, 5);
    let extra = sign(&issuer(), extra);
    all.push((Stop::Certificate, case(node(), certified(|offer| offer.certs[1].clone_from(&extra)))));
    // Pseudonymous credentials name the signer itself.
    let pseudonymous = |subject: &PublicKey, mode| {
        let vouched = Verified::sign(&issuer(), network_id(), credential(subject, mode, 6));
        certified(|offer| {
            offer.cert_id = Some(vouched.id());
            offer.certs = vec![vouched.bytes().to_vec()];
        })
    };
    let own = public(&key(1));
    all.push((Stop::None, case(node(), pseudonymous(&own, CredentialMode::Pseudonymous))));
    all.push((Stop::Certificate, case(node(), pseudonymous(&own, CredentialMode::Accountable))));
    all.push((Stop::Certificate, case(node(), pseudonymous(&public(&key(9)), CredentialMode::Pseudonymous))));
    // It has ended by this clock, though it covered `issued`.
    let brief = swap_leaf(&|cert| cert.until = start());
    let mut late = node();
    late.now = start() + secs(1);
    all.push((Stop::CertificateExpired, case(late, brief)));
    // At odds with a certificate that is known here and that the forwarder need not know.
    let mut acquainted = node();
    assert_eq!(acquainted.hear(&certified(|_| {})).stop, Stop::None);
    let known = certify(genuine(), &key(1), &key(2), &issuer()).cert_id;
    let borrowed = sign(&key(3), DriverOffer { cert_id: known, ..genuine() });
    all.push((Stop::CertificateNotShown, case(acquainted, borrowed)));
    // Its signature is wrong: the offer is signed over it.
    let forged = certified(|offer| {
        let last = offer.certs[1].len() - 1;
        offer.certs[1][last] ^= 1;
    });
    all.push((Stop::CertificateSignature, case(node(), forged)));
    all
}

fn work_cases() -> Vec<(Stop, Case)> {
    let node = || Node::with(Limits::default(), 8, &[public(&issuer())]);
    let topic_cell = home().parent(hailmesh_types::Resolution::TOPIC).index();
    let pow = pow_search(network_id(), &public(&key(1)), topic_cell, start(), 8, 0, 100_000).unwrap();
    let mut wrong = pow;
    wrong[0] ^= 0x80;
    let with = |pow| sign(&key(1), DriverOffer { pow, ..genuine() });
    let known_by_name = certified(|offer| offer.certs.clear());
    vec![
        (Stop::None, case(node(), with(Some(pow)))),
        (Stop::WorkWrong, case(node(), with(Some(wrong)))),
        (Stop::WorkMissing, case(node(), with(None))),
        (Stop::None, case(node(), certified(|_| {}))),
        (Stop::CertificateUnknown, case(node(), known_by_name.clone())),
        (Stop::WorkMissing, case(Node::with(Limits::default(), 8, &[]), known_by_name)),
    ]
}

fn evidence_cases() -> Vec<(Stop, Case)> {
    let accused = public(&key(1));
    let heard = |limits| {
        let mut node = Node::new(limits);
        assert_eq!(node.hear(&sign(&key(1), genuine())).stop, Stop::None);
        node
    };
    let topic = Topic::evidence(&network());
    let refuse: fn(&Evidence) -> Result<(), DecodeError> =
        |_| Err(DecodeError::new("P18.1", "shows nothing"));
    let message = evidence(EvidenceKind::E1, &accused, vec![]);
    let mut known = heard(Limits::default());
    assert_eq!(known.hear_on(&topic, peer(1), &message).stop, Stop::None);
    let seldom = Limits { peer_evidence: Rate { every_us: 1_000_000, burst: 1 }, ..Limits::default() };
    let mut hurried = heard(seldom);
    assert_eq!(hurried.hear_on(&topic, peer(1), &message).stop, Stop::None);
    let last = message.len() - 1;
    let credentialed = certify(genuine(), &key(1), &key(2), &issuer()).certs;
    let mut crowded = guarded(Limits { evidence: 1, ..Limits::default() });
    let weighty = evidence(EvidenceKind::E1, &accused, credentialed.clone());
    assert_eq!(crowded.hear_on(&topic, peer(1), &weighty).stop, Stop::None);
    let newer = |seq| sign(&issuer(), revocation(seq, vec![1]));
    let mut informed = guarded(Limits::default());
    assert_eq!(informed.hear_on(&topic, peer(1), &newer(2)).stop, Stop::None);
    let mut outdated = revocation(1, vec![1]);
    outdated.until = start() - secs(1);
    outdated.issued = start() - secs(60);
    vec![
        (Stop::None, on_evidence(heard(Limits::default()), message.clone())),
        (Stop::EvidenceKnown, on_evidence(known, message.clone())),
        (Stop::EvidenceIrrelevant, on_evidence(plain(), message.clone())),
        (
            Stop::None,
            on_evidence(
                guarded(Limits::default()),
                evidence(EvidenceKind::E1, &accused, credentialed.clone()),
            ),
        ),
        (Stop::EvidenceRate, on_evidence(hurried, evidence(EvidenceKind::E2, &accused, vec![]))),
        (Stop::Full, on_evidence(crowded, evidence(EvidenceKind::E2, &accused, credentialed))),
        (
            Stop::EvidenceWrong,
            Case { check: refuse, ..on_evidence(heard(Limits::default()), message.clone()) },
        ),
        (
            Stop::EvidenceWrong,
            on_evidence(heard(Limits::default()), evidence(EvidenceKind::E5b, &accused, vec![])),
        ),
        (Stop::Signature, on_evidence(heard(Limits::default()), flip(message, last))),
        (Stop::Size, on_evidence(plain(), vec![0; 4_097])),
        (Stop::None, on_evidence(guarded(Limits::default()), newer(1))),
        (Stop::RevocationIrrelevant, on_evidence(plain(), newer(1))),
        (Stop::RevocationIrrelevant, on_evidence(informed, newer(2))),
        (Stop::RevocationIrrelevant, on_evidence(guarded(Limits::default()), sign(&issuer(), outdated))),
        (
            Stop::Signature,
            on_evidence(guarded(Limits::default()), {
                let bytes = newer(1);
                let last = bytes.len() - 1;
                flip(bytes, last)
            }),
        ),
    ]
}

/// What a node knows, apart from counters and the buckets of peers.
#[derive(Debug, Default, PartialEq)]
struct Knowledge {
    authors: usize,
    bans: usize,
    certificates: usize,
    booked: usize,
    drivers: Vec<(PublicKey, u64, Level)>,
}

fn knowledge(node: &Node) -> Knowledge {
    let drivers = node.book.drivers();
    Knowledge {
        authors: node.book.authors(),
        bans: node.admission.bans(),
        certificates: node.admission.certificates().len(),
        booked: node.book.len(),
        drivers: drivers.map(|booked| (*booked.key(), booked.offer.body().seq, booked.level)).collect(),
    }
}

#[test]
fn every_step_stops_what_it_is_for() {
    let mut seen = BTreeSet::new();
    for (number, (stop, case)) in cases().into_iter().enumerate() {
        let Case { mut node, topic, source, bytes, check } = case;
        let before = knowledge(&node);
        let counted = node.admission.stats().count(stop);
        let judgement = node.admission.judge(&mut node.book, node.now, source, &topic, &bytes.into(), &check);
        assert_eq!(judgement.stop, stop, "case {number}");
        assert_eq!(judgement.verdict, stop.verdict(), "case {number}");
        assert_eq!(node.admission.stats().count(stop), counted + 1);
        if stop == Stop::None {
            assert_eq!(judgement.verdict, Verdict::Accept);
        } else {
            assert_eq!(knowledge(&node), before, "case {number}: {} moved something", stop.name());
        }
        seen.insert(stop);
    }
    let missing: Vec<&str> =
        Stop::ALL.iter().filter(|stop| !seen.contains(stop)).map(|stop| stop.name()).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn forgeries_cost_their_victim_nothing() {
    let mut node = guarded(Limits { verifications_per_s: 1_000_000, ..Limits::default() });
    for number in 0..500_u32 {
        let mut offer = driver_offer(u64::MAX, start(), home());
        offer.slot = 0;
        offer.ttl = secs(10 + number % 100);
        let bytes = sign(&key(1), offer);
        let last = bytes.len() - 1;
        let source = peer(u8::try_from(number % 200).unwrap());
        let stop = node.hear_on(&offers(), source, &flip(bytes, last)).stop;
        assert_eq!(stop, Stop::Signature);
    }
    assert_eq!(knowledge(&node), Knowledge::default());
    for seq in 1..=3 {
        let bytes = sign(&key(1), driver_offer(seq, start(), home()));
        assert_eq!(node.hear_on(&offers(), peer(201), &bytes).stop, Stop::None, "seq {seq}");
    }
}

#[test]
fn a_full_book_costs_rate_but_no_sequence_number() {
    let mut node = Node::new(Limits { offers: 1, ..Limits::default() });
    assert_eq!(node.hear(&sign(&key(3), genuine())).stop, Stop::None);
    let bytes = sign(&key(1), genuine());
    assert_eq!(node.hear(&bytes).stop, Stop::Full);
    assert_eq!(node.book.authors(), 1);
    node.now = start() + secs(119);
    let later = sign(&key(1), driver_offer(5, node.now, home()));
    assert_eq!(node.hear(&later).stop, Stop::None, "a longer life is worth more");
}

#[test]
fn equivocation_yields_both_offers() {
    let mut node = plain();
    let first = sign(&key(1), genuine());
    let mut other = genuine();
    other.ttl = secs(60);
    let second = sign(&key(1), other);
    assert_eq!(node.hear(&first).stop, Stop::None);
    let judgement = node.hear(&second);
    assert_eq!(judgement.verdict, Verdict::Ignore);
    let expected =
        News::Equivocation { accused: public(&key(1)), first: first.into(), second: second.into() };
    assert_eq!(judgement.news, [expected]);
    assert_eq!(node.book.driver(&public(&key(1))).unwrap().offer.body().ttl, secs(120), "the first stands");
}

#[test]
fn one_withdrawal_per_slot_is_free() {
    let mut node = plain();
    for seq in 1..=3 {
        assert_eq!(node.hear(&sign(&key(1), driver_offer(seq, start(), home()))).stop, Stop::None);
    }
    let withdrawal = |seq| DriverOffer { live: None, ..driver_offer(seq, start(), home()) };
    let judgement = node.hear(&sign(&key(1), withdrawal(4)));
    assert_eq!(judgement.news, [News::Withdrawn(public(&key(1)), hailmesh_market::book::Side::Drivers)]);
    assert!(node.book.is_empty());
    assert_eq!(node.hear(&sign(&key(1), withdrawal(5))).stop, Stop::AuthorRate);
    node.now = start() + secs(10);
    let back = driver_offer(6, node.now, home());
    assert_eq!(node.hear(&sign(&key(1), back)).stop, Stop::None);
}

#[test]
fn an_offer_that_ended_within_the_tolerance_is_forwarded_but_not_booked() {
    let mut node = plain();
    let judgement = node.hear(&sign(&key(1), driver_offer(5, start() - secs(130), home())));
    assert_eq!((judgement.verdict, judgement.news.len(), node.book.len()), (Verdict::Accept, 0, 0));
}

#[test]
fn the_sequence_table_is_bounded_and_forgets_in_time() {
    let mut node = Node::new(Limits { authors: 50, ..unhurried() });
    for author in 0..200 {
        let stop = node.hear(&sign(&key(author), genuine())).stop;
        assert_eq!(stop == Stop::None, author < 50, "{author}: {stop:?}");
        assert!(node.book.authors() <= 50);
    }
    // The known ones go on.
    assert_eq!(node.hear(&sign(&key(7), driver_offer(6, start(), home()))).stop, Stop::None);
    // 120 s of life and 60 s of memory.
    node.now = start() + secs(179);
    let at = node.now;
    assert_eq!(node.hear(&sign(&key(300), driver_offer(1, at, home()))).stop, Stop::Full);
    node.now = start() + secs(180);
    assert_eq!(node.hear(&sign(&key(300), driver_offer(1, at, home()))).stop, Stop::None);
    assert_eq!(node.book.authors(), 1);
}

#[test]
fn the_certificate_cache_is_bounded_and_keeps_what_is_used() {
    let mut node = guarded(Limits { certificates: 8, ..unhurried() });
    let hear = |node: &mut Node, driver: u32, seq, inline: bool| {
        let offer =
            certify(driver_offer(seq, start(), home()), &key(driver), &key(10_000 + driver), &issuer());
        let certs = if inline { offer.certs.clone() } else { Vec::new() };
        let judgement = node.hear(&sign(&key(driver), DriverOffer { certs, ..offer }));
        assert_eq!(judgement.stop, Stop::None);
        node.book.driver(&public(&key(driver))).unwrap().level
    };
    assert_eq!(hear(&mut node, 1, 1, false), Level::L0, "a name alone is not enough");
    assert_eq!(hear(&mut node, 1, 2, true), Level::L2);
    for seq in 0..20 {
        let other = 100 + u32::try_from(seq).unwrap();
        assert_eq!(hear(&mut node, other, 1, true), Level::L2);
        assert_eq!(hear(&mut node, 1, 3 + seq, false), Level::L2, "used, so kept");
        assert!(node.admission.certificates().len() <= 8);
    }
    assert_eq!(hear(&mut node, 100, 2, false), Level::L0, "forgotten");
}

#[test]
fn levels_come_from_issuers_and_receipts() {
    let mut node = guarded(Limits::default());
    let offer = certify(genuine(), &key(1), &key(2), &issuer());
    let level = |node: &mut Node| {
        let (signer, certs) = (public(&key(1)), &offer.certs);
        node.admission
            .verify_certificates(start(), &signer, Role::Driver, start(), offer.cert_id, certs)
            .unwrap()
    };
    assert_eq!(level(&mut node).level, Level::L2);
    assert_eq!(level(&mut node).identity, Some(public(&key(2))));
    node.admission.remember(&public(&key(2)), Level::L1);
    assert_eq!(level(&mut node).level, Level::L2);
    node.admission.remember(&public(&key(2)), Level::L3);
    assert_eq!(level(&mut node).level, Level::L3);
    let mut stranger = plain();
    assert_eq!(level(&mut stranger).level, Level::L0, "nobody configured the issuer here");
    stranger.admission.remember(&public(&key(2)), Level::L3);
    assert_eq!(level(&mut stranger).level, Level::L1, "receipts alone make no credential");
}

#[test]
fn certificates_of_requests_are_checked_the_same_way() {
    let mut node = guarded(Limits::default());
    let offer = certify(genuine(), &key(1), &key(2), &issuer());
    let mut check = |now: Timestamp, signer: u32, role| {
        let signer = public(&key(signer));
        node.admission.verify_certificates(now, &signer, role, start(), offer.cert_id, &offer.certs)
    };
    assert!(check(start(), 1, Role::Driver).is_ok());
    assert!(matches!(check(start(), 3, Role::Driver), Err(CertRefusal::Invalid(_))));
    assert!(matches!(check(start(), 1, Role::Rider), Err(CertRefusal::Invalid(_))));
    assert!(matches!(check(start() + secs(12 * 3_600), 1, Role::Driver), Err(CertRefusal::Expired(_))));
}

#[test]
fn evidence_bans_whoever_stands_behind_the_key() {
    let mut node = guarded(Limits::default());
    let offer = certify(genuine(), &key(1), &key(2), &issuer());
    assert_eq!(node.hear(&sign(&key(1), offer.clone())).stop, Stop::None);
    let topic = Topic::evidence(&network());
    let message = evidence(EvidenceKind::E1, &public(&key(1)), offer.certs);
    let judgement = node.hear_on(&topic, peer(1), &message);
    assert!(matches!(judgement.news[..], [News::Evidence(_)]));
    assert!(node.book.is_empty(), "the offer is gone");
    // The next shift key of the same person is banned as well, for good.
    node.now = start() + secs(86_400);
    let far_future = node.now;
    assert!(node.admission.is_banned(&public(&key(3)), Some(&public(&key(2))), far_future));
    assert!(!node.admission.is_banned(&public(&key(1)), None, far_future), "a ban hits the identity");
}

#[test]
fn an_identity_nobody_vouches_for_shields_no_key() {
    let mut node = plain();
    assert_eq!(node.hear(&sign(&key(1), genuine())).stop, Stop::None);
    let scapegoat = Verified::sign(&key(66), network_id(), shift_cert(&public(&key(1)), None));
    let message = evidence(EvidenceKind::E1, &public(&key(1)), vec![scapegoat.bytes().to_vec()]);
    assert_eq!(node.hear_on(&Topic::evidence(&network()), peer(1), &message).stop, Stop::None);
    assert!(node.admission.is_banned(&public(&key(1)), None, start()));
    assert!(!node.admission.is_banned(&public(&key(66)), None, start()));
    // Nobody vouches for the key: the ban lapses after a day.
    assert!(!node.admission.is_banned(&public(&key(1)), None, start() + secs(86_400)));
}

#[test]
fn an_offer_with_an_invite_needs_no_topic() {
    let mut node = plain();
    let bytes = sign(&key(1), genuine());
    let judgement = node.admission.admit_direct(&mut node.book, start(), peer(1), &bytes.clone().into());
    assert!(matches!(judgement.news[..], [News::Driver(_)]));
    assert!(node.book.driver(&public(&key(1))).is_some());
    assert_eq!(
        node.admission.admit_direct(&mut node.book, start(), peer(1), &bytes.clone().into()).stop,
        Stop::Duplicate
    );
    assert_eq!(
        node.admission.admit_direct(&mut node.book, start(), peer(1), &vec![0; 2_000].into()).stop,
        Stop::Size
    );
}

#[test]
fn an_offer_with_an_invite_comes_in_when_gossip_of_its_author_is_used_up() {
    let mut node = plain();
    for seq in 1..=3 {
        assert_eq!(node.hear(&sign(&key(1), driver_offer(seq, start(), home()))).stop, Stop::None);
    }
    let fresh = sign(&key(1), driver_offer(4, start(), home()));
    assert_eq!(node.hear(&fresh).stop, Stop::AuthorRate);
    let judgement = node.admission.admit_direct(&mut node.book, start(), peer(1), &fresh.into());
    assert!(matches!(judgement.news[..], [News::Driver(_)]), "{judgement:?}");
    assert_eq!(node.book.driver(&public(&key(1))).unwrap().offer.body().seq, 4);
}

#[test]
fn offers_that_are_old_on_arrival_are_counted() {
    let mut node = plain();
    node.now = start() + secs(30);
    assert_eq!(node.hear(&sign(&key(1), driver_offer(1, start(), home()))).stop, Stop::None);
    assert_eq!(node.admission.stats().late(), 0, "within the tolerance of clocks");
    node.now = start() + secs(31);
    assert_eq!(node.hear(&sign(&key(2), driver_offer(1, start(), home()))).stop, Stop::None);
    let direct = sign(&key(3), driver_offer(1, start(), home()));
    assert_eq!(
        node.admission.admit_direct(&mut node.book, node.now, peer(1), &direct.into()).stop,
        Stop::None
    );
    let stats = node.admission.stats();
    assert_eq!((stats.late(), stats.accepted()), (1, 3));
}

#[test]
fn a_flood_of_throwaway_keys_is_bounded_and_leaves_room_for_the_credentialed() {
    let limits = Limits { offers_per_cell: 100, offers: 200, authors: 300, ..Limits::default() };
    let mut node = guarded(limits);
    let mut accepted = 0;
    for number in 0..2_000_u32 {
        node.now = start() + hailmesh_types::Duration::from_millis(number * 2);
        let bytes = sign(&key(number), driver_offer(1, node.now, home()));
        accepted += u32::from(node.hear_on(&offers(), peer((number % 20) as u8), &bytes).stop == Stop::None);
        assert!(node.book.len() <= 100 && node.book.authors() <= 300);
    }
    // The pool gives 20 at once and 10 a second for 4 seconds; the share is 64 places.
    assert!((55..=64).contains(&accepted), "{accepted}");
    let offer = certify(driver_offer(1, node.now, home()), &key(9_001), &key(9_002), &issuer());
    assert_eq!(node.hear_on(&offers(), peer(99), &sign(&key(9_001), offer)).stop, Stop::None);
}

#[test]
fn familiar_identities_are_bounded() {
    let mut node = Node::new(Limits { identities: 2, ..Limits::default() });
    for identity in 1..=3 {
        node.admission.remember(&public(&key(identity)), Level::L1);
    }
    let mut level = |identity: u32| {
        let key = public(&key(identity));
        node.admission.verify_certificates(start(), &key, Role::Rider, start(), None, &[]).unwrap().level
    };
    assert_eq!([level(1), level(2), level(3)], [Level::L1, Level::L1, Level::L0]);
}

#[test]
fn a_certificate_that_only_has_a_name_is_asked_for() {
    let bytes = certified(|offer| offer.certs.clear());
    let wanted =
        News::CertificateWanted(certify(genuine(), &key(1), &key(2), &issuer()).cert_id.unwrap(), peer(1));
    let mut node = guarded(Limits::default());
    let judgement = node.hear(&bytes);
    assert_eq!(judgement.stop, Stop::None);
    assert!(judgement.news.contains(&wanted), "{:?}", judgement.news);
    let mut strict = Node::with(Limits::default(), 8, &[public(&issuer())]);
    assert_eq!(strict.hear(&bytes).news, [wanted]);
    assert_eq!(plain().hear(&bytes).news.len(), 1, "nobody asks where no issuer counts");
}
