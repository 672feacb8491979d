//! P7, the rider's chain.

use hailmesh_market::handshake::{
    Binding, PastBinding, RiderChain, RiderEvent, RiderSend, RiderSlot, RiderState, RiderWrite,
};
use hailmesh_types::StatementId;
use hailmesh_wire::Outcome;

use super::{id, key};

type Said = (Vec<RiderWrite>, Vec<RiderSend>);

const ACCEPT: StatementId = id(2);
const CONFIRM: StatementId = id(3);
/// The driver, and somebody else.
const DRIVER: u8 = 1;
const OTHER: u8 = 2;

fn binding() -> Binding {
    Binding { accept: ACCEPT, driver: key(DRIVER), confirm: CONFIRM }
}

fn accepted(accept: StatementId, driver: u8, chosen: bool) -> RiderEvent {
    RiderEvent::Accept { accept, driver: key(driver), chosen, confirm: CONFIRM }
}

fn acked(confirm: StatementId, driver: u8) -> RiderEvent {
    RiderEvent::Ack { confirm, driver: key(driver) }
}

fn voided(accept: StatementId, driver: u8) -> RiderEvent {
    RiderEvent::Void { accept, driver: key(driver) }
}

fn completed(accept: StatementId, driver: u8, agreed: bool) -> RiderEvent {
    RiderEvent::Complete { accept, driver: key(driver), agreed }
}

fn step(chain: &mut RiderChain, event: RiderEvent) -> Said {
    let step = chain.transition(event);
    (step.writes, step.sends)
}

const fn nothing() -> Said {
    (vec![], vec![])
}

fn only(send: RiderSend) -> Said {
    (vec![], vec![send])
}

fn after(events: &[RiderEvent]) -> RiderChain {
    let mut chain = RiderChain::default();
    for event in events {
        chain.transition(*event);
    }
    chain
}

fn shopping() -> RiderChain {
    after(&[RiderEvent::Want])
}

fn committed() -> RiderChain {
    after(&[RiderEvent::Want, accepted(ACCEPT, DRIVER, true)])
}

fn firm() -> RiderChain {
    after(&[RiderEvent::Want, accepted(ACCEPT, DRIVER, true), acked(CONFIRM, DRIVER)])
}

fn boarded() -> RiderChain {
    let mut chain = firm();
    chain.transition(RiderEvent::Boarded { accept: ACCEPT });
    chain
}

/// Ended by a cancellation of the rider.
fn over() -> RiderChain {
    let mut chain = committed();
    chain.transition(RiderEvent::Cancel);
    chain
}

fn unchanged(chain: RiderChain, event: RiderEvent) -> Said {
    let mut then = chain.clone();
    let said = step(&mut then, event);
    assert_eq!(then, chain, "{event:?} changed something");
    said
}

fn ends(chain: RiderChain, event: RiderEvent, outcome: Outcome) -> Vec<RiderSend> {
    let mut then = chain;
    let (writes, sends) = step(&mut then, event);
    assert_eq!(writes, [RiderWrite::End { slot: 0, outcome }], "{event:?}");
    assert_eq!((then.slot, &then.state, then.binding()), (1, &RiderState::Idle, None));
    assert_eq!(then.past[&0], PastBinding { binding: binding(), outcome });
    assert!(then.released.is_empty());
    sends
}

#[test]
fn a_search_begins_and_ends() {
    let mut chain = RiderChain::default();
    assert_eq!(step(&mut chain, RiderEvent::Want), nothing(), "P7.1");
    assert_eq!(chain.state, RiderState::Shopping);
    assert_eq!(step(&mut chain, RiderEvent::Stop), only(RiderSend::WithdrawOffer), "P7.6");
    assert_eq!(chain, RiderChain::default());
    assert_eq!(unchanged(RiderChain::default(), RiderEvent::Stop), nothing());
}

#[test]
fn one_accept_is_chosen_and_the_others_never() {
    let mut chain = shopping();
    let (writes, sends) = step(&mut chain, accepted(ACCEPT, DRIVER, true));
    assert_eq!(writes, [RiderWrite::Bind { slot: 0, binding: binding() }], "P7.2");
    assert_eq!((sends, chain.binding()), (vec![RiderSend::Confirm(0)], Some(&binding())));
    for bound in [committed(), firm(), boarded()] {
        assert_eq!(unchanged(bound, accepted(ACCEPT, DRIVER, true)), only(RiderSend::Confirm(0)), "P7.8");
    }
    // P7.3, P7.7, P7.21: turned down while bound or searching, and never taken later.
    for (mut chain, chosen) in [(shopping(), false), (committed(), true), (firm(), true)] {
        let turned_down = only(RiderSend::NotChosen(id(9), key(OTHER)));
        assert_eq!(step(&mut chain, accepted(id(9), OTHER, chosen)), turned_down);
        assert!(chain.released.contains(&id(9)));
    }
    let mut chain = shopping();
    chain.transition(accepted(id(9), OTHER, false));
    let again = unchanged(chain, accepted(id(9), OTHER, true));
    assert_eq!(again, only(RiderSend::NotChosen(id(9), key(OTHER))), "P7.21");
    let mut idle = RiderChain::default();
    let late = step(&mut idle, accepted(id(9), OTHER, true));
    assert_eq!(late, only(RiderSend::NotChosen(id(9), key(OTHER))), "nobody searches");
}

#[test]
fn an_ack_of_the_driver_makes_it_firm() {
    let mut chain = committed();
    let (writes, sends) = step(&mut chain, acked(CONFIRM, DRIVER));
    assert_eq!(writes, [RiderWrite::Firm { slot: 0 }], "P7.9");
    assert_eq!(sends, [RiderSend::Nothing, RiderSend::WithdrawOffer]);
    assert_eq!(chain.state, RiderState::Firm { binding: binding(), boarded: false });
    assert_eq!(unchanged(firm(), acked(CONFIRM, DRIVER)), only(RiderSend::Nothing));
    for chain in [RiderChain::default(), shopping(), committed(), firm(), over()] {
        for event in [acked(id(9), DRIVER), acked(CONFIRM, OTHER)] {
            assert_eq!(unchanged(chain.clone(), event), nothing(), "{event:?}");
        }
    }
    assert_eq!(unchanged(over(), acked(CONFIRM, DRIVER)), only(RiderSend::End(0)), "P7.13");
}

#[test]
fn a_void_of_the_driver_ends_it() {
    for chain in [committed(), firm(), boarded()] {
        let sends = ends(chain.clone(), voided(ACCEPT, DRIVER), Outcome::CounterpartyVoid);
        assert_eq!(sends, [RiderSend::End(0)], "P7.10");
        for event in [voided(id(9), DRIVER), voided(ACCEPT, OTHER)] {
            assert_eq!(unchanged(chain.clone(), event), only(RiderSend::Nothing), "{event:?}");
        }
    }
    assert_eq!(unchanged(over(), voided(ACCEPT, DRIVER)), only(RiderSend::End(0)), "P7.13");
    assert_eq!(unchanged(over(), voided(ACCEPT, OTHER)), only(RiderSend::Nothing));
    assert_eq!(unchanged(shopping(), voided(ACCEPT, DRIVER)), only(RiderSend::Nothing));
}

#[test]
fn a_complete_is_agreed_to_or_disputed() {
    for chain in [firm(), boarded()] {
        let sends = ends(chain.clone(), completed(ACCEPT, DRIVER, true), Outcome::Completed);
        assert_eq!(sends, [RiderSend::End(0)], "P7.15");
        let said = unchanged(chain.clone(), completed(ACCEPT, DRIVER, false));
        assert_eq!(said, (vec![RiderWrite::Ride { slot: 0 }], vec![RiderSend::Dispute(0)]), "P7.16");
        for event in [completed(id(9), DRIVER, true), completed(ACCEPT, OTHER, true)] {
            assert_eq!(unchanged(chain.clone(), event), nothing(), "{event:?}");
        }
    }
    assert_eq!(unchanged(committed(), completed(ACCEPT, DRIVER, true)), nothing(), "not firm");
    assert_eq!(unchanged(over(), completed(ACCEPT, DRIVER, true)), only(RiderSend::End(0)), "P7.13");
    assert_eq!(unchanged(over(), completed(ACCEPT, OTHER, true)), nothing());
    assert_eq!(unchanged(over(), accepted(ACCEPT, DRIVER, true)), only(RiderSend::End(0)), "P7.13");
    assert_eq!(unchanged(over(), accepted(ACCEPT, OTHER, true)), nothing());
}

#[test]
fn the_rider_ends_what_it_may_end() {
    let end = vec![RiderSend::End(0)];
    assert_eq!(ends(committed(), RiderEvent::DoubtEnded, Outcome::NoAck), end, "P7.11");
    for chain in [committed(), firm()] {
        assert_eq!(ends(chain, RiderEvent::Cancel, Outcome::RiderCancelled), end, "P7.12");
    }
    let no_show = ends(firm(), RiderEvent::NoShow, Outcome::NoShowClaimed);
    assert_eq!(no_show, [RiderSend::NoShow(0), RiderSend::End(0)], "P7.18");
    assert_eq!(ends(boarded(), RiderEvent::EndAlone, Outcome::CompletedUnilateral), end, "P7.17");
    let mut turned_down = committed();
    turned_down.transition(accepted(id(9), OTHER, true));
    assert_eq!(ends(turned_down, RiderEvent::Cancel, Outcome::RiderCancelled), end, "what was released goes");
    use RiderEvent::{Boarded, Cancel, DoubtEnded, EndAlone, NoShow, Stop, Want};
    let board = Boarded { accept: ACCEPT };
    for (chain, events) in [
        (RiderChain::default(), &[DoubtEnded, Cancel, NoShow, board, EndAlone][..]),
        (shopping(), &[Want, DoubtEnded, Cancel, NoShow, board, EndAlone]),
        (committed(), &[Want, Stop, NoShow, board, EndAlone]),
        (firm(), &[Want, Stop, DoubtEnded, EndAlone]),
        (boarded(), &[Want, Stop, DoubtEnded, Cancel, NoShow]),
    ] {
        for event in events {
            assert_eq!(unchanged(chain.clone(), *event), nothing(), "{event:?}");
        }
    }
}

#[test]
fn boarding_counts_once_and_for_its_own_ride() {
    let mut chain = firm();
    let said = step(&mut chain, RiderEvent::Boarded { accept: ACCEPT });
    assert_eq!(said, (vec![RiderWrite::Ride { slot: 0 }], vec![RiderSend::Nothing]), "P7.14");
    assert_eq!(chain.state, RiderState::Firm { binding: binding(), boarded: true });
    assert_eq!(unchanged(chain, RiderEvent::Boarded { accept: ACCEPT }), only(RiderSend::Nothing));
    assert_eq!(unchanged(firm(), RiderEvent::Boarded { accept: id(9) }), only(RiderSend::Nothing));
}

#[test]
fn a_restart_goes_on_where_the_journal_ends() {
    let slot = |slot, firm, ended| RiderSlot { slot, binding: binding(), firm, boarded: true, ended };
    assert_eq!(RiderChain::from_journal([]), RiderChain::default());
    let cancelled = Some(Outcome::RiderCancelled);
    let chain = RiderChain::from_journal([slot(0, true, cancelled), slot(1, true, cancelled)]);
    assert_eq!((chain.slot, &chain.state, chain.past.len()), (2, &RiderState::Idle, 2));
    assert_eq!(chain.past_by_accept(&ACCEPT).unwrap().0, 1, "the last one");
    assert_eq!(chain.past_by_accept(&id(9)), None);
    let chain = RiderChain::from_journal([slot(0, true, cancelled), slot(1, false, None)]);
    assert_eq!((chain.slot, &chain.state), (1, &RiderState::Committed(binding())));
    let chain = RiderChain::from_journal([slot(3, true, None)]);
    assert_eq!((chain.slot, chain.state), (3, RiderState::Firm { binding: binding(), boarded: true }));
}
