//! What is rejected is what the peer that passed it on could have known (P13.6): everybody
//! rejects it, whatever they have heard before, and nobody rejects what is passed on here.

mod common;

use std::collections::BTreeSet;

use common::*;
use hailmesh_market::admission::Stop;
use hailmesh_market::limits::Limits;
use hailmesh_market::output::Verdict;
use hailmesh_wire::DriverOffer;

#[test]
fn names_are_unique_and_verdicts_follow_what_the_forwarder_could_know() {
    let names: BTreeSet<&str> = Stop::ALL.iter().map(|stop| stop.name()).collect();
    assert_eq!(names.len(), Stop::ALL.len());
    let rejected: Vec<&str> =
        Stop::ALL.iter().filter(|stop| stop.verdict() == Verdict::Reject).map(|stop| stop.name()).collect();
    assert_eq!(
        rejected,
        [
            "size",
            "envelope",
            "wrong_topic",
            "key",
            "body",
            "wrong_cell",
            "certificate",
            "work_wrong",
            "signature",
            "certificate_signature",
            "evidence_wrong"
        ]
    );
}

fn guarded() -> Node {
    Node::with(Limits::default(), 0, &[public(&key(1_000))])
}

fn certified(number: u32) -> DriverOffer {
    certify(driver_offer(5, start(), home()), &key(number), &key(2), &key(1_000))
}

#[test]
fn nobody_is_blamed_for_a_certificate_that_only_the_listener_knows() {
    let mut acquainted = guarded();
    let first = certified(1);
    let cert_id = first.cert_id;
    assert_eq!(acquainted.hear(&sign(&key(1), first)).stop, Stop::None);
    // Another key names the certificate of the first, and does not show it.
    let borrowed = sign(&key(3), DriverOffer { cert_id, ..driver_offer(5, start(), home()) });
    let (here, elsewhere) = (acquainted.hear(&borrowed), guarded().hear(&borrowed));
    assert_eq!((here.verdict, here.stop), (Verdict::Ignore, Stop::CertificateNotShown));
    assert_eq!(elsewhere.verdict, Verdict::Accept, "who does not know it passes it on");
    // Shown, it is plain to everybody.
    let shown = sign(&key(3), certified(1));
    assert_eq!(
        (acquainted.hear(&shown).stop, guarded().hear(&shown).stop),
        (Stop::Certificate, Stop::Certificate)
    );
}

#[test]
fn what_is_passed_on_needs_no_certificate_that_only_the_listener_knows() {
    let mut acquainted = guarded();
    assert_eq!(acquainted.hear(&sign(&key(1), certified(1))).stop, Stop::None);
    // Only the credential comes along: who does not know the SHIFT_CERT cannot place it.
    let mut offer = certified(1);
    (offer.seq, offer.certs) = (6, vec![offer.certs.remove(1)]);
    let half = sign(&key(1), offer);
    assert_eq!(
        (acquainted.hear(&half).stop, guarded().hear(&half).stop),
        (Stop::Certificate, Stop::Certificate)
    );
}
