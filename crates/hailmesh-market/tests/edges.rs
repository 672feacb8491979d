//! Admission at the edges of its rules: the last byte that fits, the ban of somebody else, the
//! certificate that is no news.

mod common;

use std::collections::BTreeSet;

use common::*;
use ed25519_dalek::SigningKey;
use hailmesh_market::admission::{News, Stop};
use hailmesh_market::limits::{Limits, Rate};
use hailmesh_wire::limits::STATEMENT_BYTES_MAX;
use hailmesh_wire::{
    CredentialMode, Evidence, EvidenceKind, Extensions, Revocation, RiderOffer, Role, ShiftCert, Topic,
    Verified,
};

fn issuer() -> SigningKey {
    key(1_000)
}

/// A node that knows an issuer.
fn guarded(limits: Limits) -> Node {
    Node::with(limits, 0, &[public(&issuer())])
}

fn offer_of(driver: u32, seq: u64) -> Vec<u8> {
    sign(&key(driver), driver_offer(seq, start(), home()))
}

#[test]
fn the_longest_message_is_read_and_one_byte_more_is_not() {
    let mut node = guarded(Limits::default());
    assert_eq!(node.hear(&vec![0; STATEMENT_BYTES_MAX]).stop, Stop::Envelope);
    assert_eq!(node.hear(&vec![0; STATEMENT_BYTES_MAX + 1]).stop, Stop::Size);
}

#[test]
fn a_ban_is_of_whom_it_names_alone() {
    let mut node = guarded(Limits::default());
    node.admission.ban(start(), &public(&key(9)), None, true);
    assert_eq!(node.admission.bans(), 1);
    assert_eq!(node.hear(&offer_of(1, 1)).stop, Stop::None);
    assert_eq!(node.hear(&offer_of(9, 1)).stop, Stop::Banned);
}

#[test]
fn a_ban_of_a_key_nobody_vouches_for_gives_way_to_the_next() {
    let until = Some(start() + secs(3_600));
    for (mut node, is_credentialed) in [
        (guarded(Limits { bans: 1, ..Limits::default() }), false),
        (Node::new(Limits { bans: 1, ..Limits::default() }), true),
    ] {
        node.admission.ban(start(), &public(&key(1)), None, is_credentialed);
        node.admission.ban(start() + secs(1), &public(&key(2)), until, is_credentialed);
        assert!(node.admission.is_banned(&public(&key(2)), None, start() + secs(2)));
        assert!(!node.admission.is_banned(&public(&key(1)), None, start() + secs(2)));
    }
}

#[test]
fn the_banned_use_up_nobodys_rate() {
    let one = Rate { every_us: 1_000_000, burst: 1 };
    let mut node = guarded(Limits { peer: one, ..Limits::default() });
    node.admission.ban(start(), &public(&key(9)), None, true);
    for seq in 1..5 {
        assert_eq!(node.hear(&offer_of(9, seq)).stop, Stop::Banned);
    }
    assert_eq!(node.hear(&offer_of(1, 1)).stop, Stop::None, "the peer has its token still");
}

#[test]
fn evidence_is_known_for_as_long_as_its_ban_lasts() {
    let mut node = guarded(Limits::default());
    let (accused, kind) = (public(&key(10)), EvidenceKind::E1);
    node.admission.punish(start(), &accused, None, false, kind);
    for (later, is_known) in [(60, true), (86_399, true), (86_400, false)] {
        let now = start() + secs(later);
        node.admission.expire(now);
        assert_eq!(node.admission.knows_evidence(&accused, kind), is_known, "{later}");
        assert_eq!(node.admission.is_banned(&accused, None, now), is_known, "{later}");
    }
}

#[test]
fn a_drivers_certificate_is_news_once_and_a_riders_never() {
    let mut node = guarded(Limits::default());
    let shifts = |news: &[News]| news.iter().filter(|news| matches!(news, News::Shift(_))).count();
    for (seq, expected) in [(1, 1), (2, 0)] {
        let offer = certify(driver_offer(seq, start(), home()), &key(1), &key(2), &issuer());
        let judgement = node.hear(&sign(&key(1), offer));
        assert_eq!((judgement.stop, shifts(&judgement.news)), (Stop::None, expected), "seq {seq}");
    }
    let vouched = credential(&public(&key(4)), CredentialMode::Accountable, 78);
    let vouched = Verified::sign(&issuer(), network_id(), vouched);
    let cert = ShiftCert { role: Role::Rider, ..shift_cert(&public(&key(3)), Some(&vouched)) };
    let cert = Verified::sign(&key(4), network_id(), cert);
    let wish = RiderOffer {
        cert_id: Some(cert.id()),
        certs: vec![cert.bytes().to_vec(), vouched.bytes().to_vec()],
        ..rider_offer(1, start(), cell_at(times_square(), 8))
    };
    let topic = Topic::riders(&network(), home());
    let judgement = node.hear_on(&topic, peer(1), &sign(&key(3), wish));
    assert_eq!((judgement.stop, shifts(&judgement.news)), (Stop::None, 0));
    assert!(matches!(judgement.news[..], [News::Rider(_)]), "{:?}", judgement.news);
}

#[test]
fn an_offer_that_ends_at_this_moment_is_not_booked() {
    for (issued, booked) in [(start() - secs(120), 0), (start() - secs(119), 1)] {
        let mut node = guarded(Limits::default());
        let judgement = node.hear(&sign(&key(1), driver_offer(1, issued, home())));
        assert_eq!((judgement.stop, node.book.len(), judgement.news.len()), (Stop::None, booked, booked));
    }
}

#[test]
fn every_step_has_a_name_and_a_clause_of_its_own_and_is_counted() {
    let names: BTreeSet<&str> = Stop::ALL.iter().map(|stop| stop.name()).collect();
    assert_eq!(names.len(), Stop::ALL.len());
    for stop in Stop::ALL {
        assert!(stop.name().bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{}", stop.name());
        assert!(stop.clause().starts_with("P13."), "{}", stop.clause());
    }
    let mut node = guarded(Limits::default());
    for bytes in [offer_of(1, 1), offer_of(1, 1), offer_of(2, 1), vec![0; 9], vec![1; 9]] {
        node.hear(&bytes);
    }
    let stats = node.admission.stats();
    assert_eq!((stats.heard(), stats.accepted(), stats.count(Stop::Envelope)), (5, 2, 2));
    assert_eq!(stats.stopped(), [("duplicate", 1), ("envelope", 2)].into());
}

#[test]
fn evidence_against_a_key_that_somebody_vouches_for_later_stays() {
    let mut node = guarded(Limits { evidence: 2, ..Limits::default() });
    let kind = EvidenceKind::E1;
    for is_credentialed in [false, true, false] {
        node.admission.punish(start(), &public(&key(10)), None, is_credentialed, kind);
    }
    for accused in [11, 12, 13] {
        node.admission.punish(start() + secs(accused), &public(&key(accused)), None, false, kind);
    }
    assert!(node.admission.knows_evidence(&public(&key(10)), kind));
    assert!(node.admission.knows_evidence(&public(&key(13)), kind) && !known(&node, 11) && !known(&node, 12));
}

fn known(node: &Node, accused: u32) -> bool {
    node.admission.knows_evidence(&public(&key(accused)), EvidenceKind::E1)
}

#[test]
fn some_evidence_bans_for_good_and_some_for_a_day() {
    use EvidenceKind::{E1, E2, E3, E4a, E4b, E4c, E4d, E5a, E5b, E6, E7, E8, E9};
    let mut node = guarded(Limits::default());
    let day = Some(start() + secs(86_400));
    for kind in [E1, E2, E3, E4a, E4b, E4c, E7, E9] {
        assert_eq!(node.admission.punish(start(), &public(&key(1)), None, true, kind), None, "{kind:?}");
        assert_eq!(node.admission.punish(start(), &public(&key(2)), None, false, kind), day, "{kind:?}");
    }
    for kind in [E4d, E5a, E5b, E6, E8] {
        assert_eq!(node.admission.punish(start(), &public(&key(1)), None, true, kind), day, "{kind:?}");
    }
}

#[test]
fn evidence_with_a_certificate_of_a_later_version_is_no_fault_of_who_passes_it_on() {
    let mut node = guarded(Limits::default());
    let cert = ShiftCert {
        ext: Extensions::new(vec![(0x8001, vec![1])]).unwrap(),
        ..shift_cert(&public(&key(1)), None)
    };
    let certs = vec![sign(&key(2), cert)];
    let evidence = Evidence {
        kind: EvidenceKind::E1,
        accused: public(&key(1)),
        statements: vec![offer_of(1, 1)],
        certs,
        ext: Extensions::NONE,
    };
    let judgement = node.hear_on(&Topic::evidence(&network()), peer(1), &sign(&key(5), evidence));
    assert_eq!(judgement.stop, Stop::CertificateExtension);
}

#[test]
fn revocations_have_the_rate_of_evidence() {
    let one = Rate { every_us: 1_000_000, burst: 1 };
    let revocation = |seq| Revocation {
        seq,
        issued: start(),
        until: start() + secs(86_400),
        serials: vec![seq],
        ext: Extensions::NONE,
    };
    for limits in [
        Limits { peer_evidence: one, ..Limits::default() },
        Limits { evidence_rate: one, ..Limits::default() },
    ] {
        let mut node = guarded(limits);
        let stops: Vec<Stop> = (1..4)
            .map(|seq| {
                node.now = start() + hailmesh_types::Duration::from_millis(u32::from(seq == 3) * 1_000);
                let bytes = sign(&issuer(), revocation(seq));
                node.hear_on(&Topic::evidence(&network()), peer(1), &bytes).stop
            })
            .collect();
        assert_eq!(stops, [Stop::None, Stop::EvidenceRate, Stop::None]);
    }
}
