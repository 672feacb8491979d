//! The tables of evidence and bans are bounded, and nobody fills them with what costs nothing
//! (P20).

mod common;

use common::*;
use hailmesh_market::limits::Limits;
use hailmesh_wire::EvidenceKind;

/// A node that knows an issuer.
fn guarded(limits: Limits) -> Node {
    Node::with(limits, 0, &[public(&key(1_000))])
}

#[test]
fn the_evidence_table_gives_way_to_evidence_against_the_credentialed() {
    let mut node = guarded(Limits { evidence: 2, ..unhurried() });
    for accused in 10..14 {
        node.admission.punish(start(), &public(&key(accused)), None, false, EvidenceKind::E1);
    }
    let known =
        |node: &Node, accused| node.admission.knows_evidence(&public(&key(accused)), EvidenceKind::E1);
    let unbacked = |node: &Node| (10..14).filter(|accused| known(node, *accused)).count();
    assert_eq!(unbacked(&node), 2);
    let identity = public(&key(2));
    let permanent = node.admission.punish(start(), &public(&key(1)), Some(&identity), true, EvidenceKind::E1);
    assert_eq!(permanent, None);
    assert!(known(&node, 2), "filed under the identity");
    assert_eq!(unbacked(&node), 1);
    node.admission.punish(start(), &public(&key(3)), None, true, EvidenceKind::E6);
    node.admission.punish(start(), &public(&key(10)), None, false, EvidenceKind::E2);
    assert!(known(&node, 2), "evidence against the credentialed stays");
    assert_eq!(unbacked(&node), 0);
}

#[test]
fn nobody_fills_the_tables_of_evidence_and_bans_with_keys_that_cost_nothing() {
    // With and without issuers: the newest evidence against such keys takes effect always,
    // and after a day it can be told again.
    let limits = || Limits { evidence: 3, bans: 3, ..unhurried() };
    for mut node in [guarded(limits()), Node::new(limits())] {
        let is_credentialed = node.admission.certificates().issuers().is_empty();
        for accused in 10..20 {
            let now = start() + secs(accused);
            let kind = EvidenceKind::E1;
            node.admission.punish(now, &public(&key(accused)), None, is_credentialed, kind);
            assert!(node.admission.knows_evidence(&public(&key(accused)), kind), "{accused}");
            assert!(node.admission.is_banned(&public(&key(accused)), None, now), "{accused}");
            assert!(node.admission.bans() <= 3);
        }
        node.admission.expire(start() + secs(86_400 + 30));
        assert!(!node.admission.knows_evidence(&public(&key(19)), EvidenceKind::E1));
    }
}
