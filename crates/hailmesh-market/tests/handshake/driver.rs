//! P6, the driver's lane.

use hailmesh_market::handshake::{
    DriverEvent, DriverLane, DriverSend, DriverSlot, DriverWrite, Guard, Held, LaneState, PastSlot,
};
use hailmesh_types::StatementId;
use hailmesh_wire::{Outcome, RejectReason};

use super::{id, key};

type Said = (Vec<DriverWrite>, Vec<DriverSend>);

const REQUEST: StatementId = id(1);
const ACCEPT: StatementId = id(2);
const CONFIRM: StatementId = id(3);
const COMPLETE: StatementId = id(4);
const COSIGN: StatementId = id(5);
const RELEASE: StatementId = id(6);
/// The rider, and somebody else.
const RIDER: u8 = 1;
const OTHER: u8 = 2;

fn held() -> Held {
    Held { request: REQUEST, accept: ACCEPT, rider: key(RIDER) }
}

fn asked(request: StatementId, guard: Guard) -> DriverEvent {
    DriverEvent::Request { request, rider: key(RIDER), guard, accept: ACCEPT }
}

fn confirmed(confirm: StatementId, accept: StatementId, rider: u8) -> DriverEvent {
    DriverEvent::Confirm { confirm, accept, rider: key(rider), sound: true, opened: true }
}

fn released(accept: StatementId, rider: u8) -> DriverEvent {
    DriverEvent::Release { release: RELEASE, accept, rider: key(rider) }
}

fn cosigned(accept: StatementId, complete: StatementId, rider: u8, same_total: bool) -> DriverEvent {
    DriverEvent::Cosign { cosign: COSIGN, accept, complete, rider: key(rider), same_total }
}

fn step(lane: &mut DriverLane, event: DriverEvent) -> Said {
    let step = lane.transition(event);
    (step.writes, step.sends)
}

fn end(outcome: Outcome, proof: Option<StatementId>) -> Vec<DriverWrite> {
    vec![DriverWrite::End { slot: 0, outcome, proof }]
}

fn reject(about: StatementId, reason: RejectReason) -> Said {
    (vec![], vec![DriverSend::Reject(about, reason)])
}

const fn heard() -> Said {
    (vec![], vec![])
}

/// A lane that went through these events.
fn after(events: &[DriverEvent]) -> DriverLane {
    let mut lane = DriverLane::default();
    for event in events {
        lane.transition(*event);
    }
    lane
}

fn holding() -> DriverLane {
    after(&[asked(REQUEST, Guard::Pass)])
}

fn firm() -> DriverLane {
    after(&[asked(REQUEST, Guard::Pass), confirmed(CONFIRM, ACCEPT, RIDER)])
}

fn boarded() -> DriverLane {
    let mut lane = firm();
    lane.transition(DriverEvent::Boarded);
    lane
}

fn completing() -> DriverLane {
    let mut lane = boarded();
    lane.transition(DriverEvent::Complete { complete: COMPLETE });
    lane
}

/// What an event does in a state, and that a lane which it does not change stays as it is.
fn unchanged(lane: DriverLane, event: DriverEvent) -> Said {
    let mut then = lane.clone();
    let said = step(&mut then, event);
    assert_eq!(then, lane, "{event:?} changed something");
    said
}

/// That an event ends slot 0 so, and that the next one is open.
fn ends(
    lane: DriverLane,
    event: DriverEvent,
    outcome: Outcome,
    proof: Option<StatementId>,
) -> Vec<DriverSend> {
    let (mut then, confirm) = (lane.clone(), matches!(lane.state, LaneState::Firm { .. }).then_some(CONFIRM));
    let (writes, sends) = step(&mut then, event);
    assert_eq!(writes, end(outcome, proof), "{event:?}");
    assert_eq!((then.slot, &then.state, then.held()), (1, &LaneState::Free, None));
    assert_eq!(then.past[&0], PastSlot { held: held(), confirm, outcome, proof });
    sends
}

#[test]
fn a_request_binds_an_open_slot_or_is_refused() {
    let mut lane = DriverLane::default();
    let bound = step(&mut lane, asked(REQUEST, Guard::Pass));
    assert_eq!(
        bound,
        (vec![DriverWrite::Bind { slot: 0, held: held() }], vec![DriverSend::Accept(0)]),
        "P6.1"
    );
    assert_eq!((&lane.state, lane.held()), (&LaneState::Held(held()), Some(&held())));
    let free = DriverLane::default;
    assert_eq!(
        unchanged(free(), asked(REQUEST, Guard::Refuse(RejectReason::Tariff))),
        reject(REQUEST, RejectReason::Tariff),
        "P6.2"
    );
    assert_eq!(
        unchanged(free(), asked(REQUEST, Guard::Counter)),
        (vec![], vec![DriverSend::Counter(REQUEST)])
    );
    for lane in [holding(), firm(), boarded()] {
        for guard in [Guard::Pass, Guard::Counter, Guard::Refuse(RejectReason::Tariff)] {
            let again = unchanged(lane.clone(), asked(REQUEST, guard));
            assert_eq!(again, (vec![], vec![DriverSend::Accept(0)]), "P6.3");
            let another = unchanged(lane.clone(), asked(id(9), guard));
            assert_eq!(another, reject(id(9), RejectReason::Busy), "P6.5");
        }
    }
}

#[test]
fn a_request_whose_slot_has_ended_hears_how() {
    let mut lapsed = holding();
    lapsed.transition(DriverEvent::HoldEnded);
    assert_eq!(
        unchanged(lapsed.clone(), asked(REQUEST, Guard::Pass)),
        (vec![], vec![DriverSend::Void(0)]),
        "P6.4"
    );
    let mut completed = completing();
    completed.transition(cosigned(ACCEPT, COMPLETE, RIDER, true));
    assert_eq!(
        unchanged(completed, asked(REQUEST, Guard::Pass)),
        reject(REQUEST, RejectReason::Ended),
        "P6.4"
    );
    assert_eq!(step(&mut lapsed, asked(id(9), Guard::Pass)).1, [DriverSend::Accept(1)], "the next slot");
}

#[test]
fn a_confirm_of_the_rider_makes_it_firm() {
    let mut lane = holding();
    let (writes, sends) = step(&mut lane, confirmed(CONFIRM, ACCEPT, RIDER));
    assert_eq!(writes, [DriverWrite::Firm { slot: 0, confirm: CONFIRM }], "P6.6");
    assert_eq!(sends, [DriverSend::Ack(0), DriverSend::WithdrawOffer]);
    assert_eq!(lane.held(), Some(&held()));
    for (sound, opened) in [(false, true), (true, false), (false, false)] {
        let event =
            DriverEvent::Confirm { confirm: CONFIRM, accept: ACCEPT, rider: key(RIDER), sound, opened };
        assert_eq!(unchanged(holding(), event), reject(CONFIRM, RejectReason::Bad), "P6.7");
    }
    let ack = vec![DriverSend::Ack(0)];
    assert_eq!(unchanged(firm(), confirmed(CONFIRM, ACCEPT, RIDER)), (vec![], ack.clone()), "P6.8");
    let other = DriverWrite::Contradiction { slot: 0, confirm: id(9) };
    assert_eq!(unchanged(firm(), confirmed(id(9), ACCEPT, RIDER)), (vec![other], ack), "P6.9");
    for lane in [DriverLane::default(), holding(), firm(), boarded()] {
        let unknown = reject(CONFIRM, RejectReason::Unknown);
        assert_eq!(unchanged(lane, confirmed(CONFIRM, id(9), RIDER)), unknown, "P6.13");
    }
    for lane in [holding(), firm()] {
        let unknown = reject(CONFIRM, RejectReason::Unknown);
        assert_eq!(unchanged(lane, confirmed(CONFIRM, ACCEPT, OTHER)), unknown, "not its rider");
    }
}

#[test]
fn a_hold_ends_by_itself_or_by_its_rider() {
    assert_eq!(ends(holding(), DriverEvent::HoldEnded, Outcome::HoldLapsed, None), [], "P6.10");
    let void = [DriverSend::Void(0)];
    assert_eq!(ends(holding(), released(ACCEPT, RIDER), Outcome::NotChosen, Some(RELEASE)), void, "P6.11");
    assert_eq!(ends(firm(), released(ACCEPT, RIDER), Outcome::RiderReleased, Some(RELEASE)), void, "P6.12");
    assert_eq!(ends(boarded(), released(ACCEPT, RIDER), Outcome::CompletedUnilateral, None), void, "P6.12");
    for lane in [DriverLane::default(), holding(), firm(), boarded()] {
        let unknown = reject(RELEASE, RejectReason::Unknown);
        assert_eq!(unchanged(lane.clone(), released(id(9), RIDER)), unknown, "another ACCEPT");
        assert_eq!(unchanged(lane, released(ACCEPT, OTHER)), unknown, "another rider");
    }
}

#[test]
fn what_comes_after_the_end_is_answered_by_its_outcome() {
    let mut voided = holding();
    voided.transition(DriverEvent::Cancel);
    let mut completed = completing();
    completed.transition(cosigned(ACCEPT, COMPLETE, RIDER, true));
    for late in [confirmed(CONFIRM, ACCEPT, RIDER), released(ACCEPT, RIDER)] {
        assert_eq!(unchanged(voided.clone(), late), (vec![], vec![DriverSend::Void(0)]), "P6.13");
        assert_eq!(unchanged(completed.clone(), late), (vec![], vec![DriverSend::Nothing]), "P6.13");
    }
    for late in [confirmed(CONFIRM, ACCEPT, OTHER), released(ACCEPT, OTHER)] {
        assert_eq!(unchanged(voided.clone(), late), heard(), "not its rider");
        assert_eq!(unchanged(completed.clone(), late), heard(), "not its rider");
    }
    // P6.19
    for (lane, complete, same) in [(&voided, id(9), false), (&completed, COMPLETE, true)] {
        let kept = vec![DriverWrite::Keep { slot: 0, statement: COSIGN }];
        let said = unchanged(lane.clone(), cosigned(ACCEPT, complete, RIDER, same));
        assert_eq!(said, (kept, vec![DriverSend::Nothing]));
        let unknown = reject(COSIGN, RejectReason::Unknown);
        assert_eq!(unchanged(lane.clone(), cosigned(ACCEPT, complete, OTHER, same)), unknown);
        assert_eq!(unchanged(lane.clone(), cosigned(id(9), complete, RIDER, same)), unknown);
    }
}

#[test]
fn a_cosign_ends_what_it_names_and_nothing_else() {
    let cosign = Some(COSIGN);
    let agreed = cosigned(ACCEPT, COMPLETE, RIDER, true);
    assert_eq!(ends(completing(), agreed, Outcome::Completed, cosign), [DriverSend::Nothing], "P6.17");
    let mut twice = completing();
    twice.transition(DriverEvent::Complete { complete: id(9) });
    for complete in [COMPLETE, id(9)] {
        let agreed = cosigned(ACCEPT, complete, RIDER, true);
        assert_eq!(ends(twice.clone(), agreed, Outcome::Completed, cosign), [DriverSend::Nothing]);
    }
    let bad = reject(COSIGN, RejectReason::Bad);
    assert_eq!(unchanged(completing(), cosigned(ACCEPT, id(9), RIDER, true)), bad, "no such COMPLETE");
    assert_eq!(unchanged(completing(), cosigned(ACCEPT, COMPLETE, RIDER, false)), bad, "another total");
    let unknown = reject(COSIGN, RejectReason::Unknown);
    for event in [cosigned(id(9), COMPLETE, RIDER, true), cosigned(ACCEPT, COMPLETE, OTHER, true)] {
        assert_eq!(unchanged(completing(), event), unknown, "{event:?}");
    }
    assert_eq!(unchanged(holding(), agreed), unknown, "nothing is complete before it is firm");
}

#[test]
fn the_driver_ends_what_it_may_end() {
    let void = vec![DriverSend::Void(0)];
    for lane in [holding(), firm()] {
        assert_eq!(ends(lane, DriverEvent::Cancel, Outcome::DriverCancelled, None), void, "P6.14");
    }
    let mut arrived = firm();
    assert_eq!(step(&mut arrived, DriverEvent::Arrived), (vec![DriverWrite::Ride { slot: 0 }], vec![]));
    let sends = ends(arrived.clone(), DriverEvent::NoShow, Outcome::NoShowClaimed, None);
    assert_eq!(sends, [DriverSend::NoShow(0), DriverSend::Void(0)], "P6.15");
    assert_eq!(step(&mut arrived, DriverEvent::Boarded), (vec![DriverWrite::Ride { slot: 0 }], vec![]));
    assert_eq!(ends(completing(), DriverEvent::EndAlone, Outcome::CompletedUnilateral, None), void, "P6.18");
    // P6.23: everything else is nothing.
    let complete = DriverEvent::Complete { complete: COMPLETE };
    for (lane, events) in [
        (
            DriverLane::default(),
            &[
                DriverEvent::HoldEnded,
                DriverEvent::Cancel,
                DriverEvent::NoShow,
                DriverEvent::Arrived,
                DriverEvent::Boarded,
                complete,
                DriverEvent::EndAlone,
            ][..],
        ),
        (
            holding(),
            &[
                DriverEvent::NoShow,
                DriverEvent::Arrived,
                DriverEvent::Boarded,
                complete,
                DriverEvent::EndAlone,
            ],
        ),
        (firm(), &[DriverEvent::HoldEnded, DriverEvent::NoShow, complete, DriverEvent::EndAlone]),
        (
            boarded(),
            &[
                DriverEvent::HoldEnded,
                DriverEvent::Cancel,
                DriverEvent::NoShow,
                DriverEvent::Arrived,
                DriverEvent::Boarded,
                DriverEvent::EndAlone,
            ],
        ),
        (arrived, &[DriverEvent::Cancel, DriverEvent::NoShow, DriverEvent::Arrived, DriverEvent::Boarded]),
    ] {
        for event in events {
            assert_eq!(unchanged(lane.clone(), *event), heard(), "{event:?}");
        }
    }
}

#[test]
fn a_restart_goes_on_where_the_journal_ends() {
    let slot = |slot, confirm, ended| DriverSlot {
        slot,
        held: held(),
        confirm,
        arrived: true,
        boarded: true,
        completes: vec![COMPLETE],
        ended,
    };
    assert_eq!(DriverLane::from_journal([]), DriverLane::default());
    let ended = |number, outcome| slot(number, Some(CONFIRM), Some((outcome, Some(RELEASE))));
    let lane = DriverLane::from_journal([ended(0, Outcome::RiderReleased), ended(1, Outcome::RiderReleased)]);
    assert_eq!((lane.slot, &lane.state, lane.past.len()), (2, &LaneState::Free, 2));
    let (outcome, proof) = (Outcome::RiderReleased, Some(RELEASE));
    assert_eq!(lane.past[&1], PastSlot { held: held(), confirm: Some(CONFIRM), outcome, proof });
    assert_eq!(lane.past_by_accept(&ACCEPT).unwrap().0, 1, "the last one");
    assert_eq!(lane.past_by_accept(&id(9)), None);
    let lane = DriverLane::from_journal([ended(0, Outcome::HoldLapsed), slot(1, None, None)]);
    assert_eq!((lane.slot, &lane.state), (1, &LaneState::Held(held())));
    let lane = DriverLane::from_journal([slot(3, Some(CONFIRM), None)]);
    let (arrived, boarded, completes) = (true, true, vec![COMPLETE]);
    let state = LaneState::Firm { held: held(), confirm: CONFIRM, arrived, boarded, completes };
    assert_eq!((lane.slot, lane.state), (3, state));
}
