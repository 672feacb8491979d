//! Ten people who know nobody but one relay.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use hailmesh_node::wire::{AnyStatement, Receipt, ReceiptFacts, RideState};
use hailmesh_types::{AgreementId, PublicKey, StatementId, Timestamp};

use crate::city::{DEADLINE, Person, Ride, Spec};

const DRIVERS: usize = 6;
const RIDERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_that_know_one_relay_are_all_matched_and_nobody_twice() {
    let relay = Spec::relay().start().await;
    let places = ["40.7580,-73.9855", "40.7561,-73.9872", "40.7602,-73.9840", "40.7577,-73.9801"];
    let mut riders = Vec::new();
    for _ in 0..RIDERS {
        riders.push(Spec::rider().knows(&relay).await.start().await);
    }
    join_all(riders.iter().map(Person::listens)).await;
    let mut drivers = Vec::new();
    for number in 0..DRIVERS {
        let spec = Spec::driver_at(places[number % places.len()]).knows(&relay).await;
        drivers.push(spec.start().await);
    }
    join_all(riders.iter().map(|rider| rider.sees_drivers(DRIVERS))).await;

    let rides = join_all(riders.iter().map(|rider| take_a_ride(rider, &drivers))).await;
    let taken: BTreeSet<usize> = rides.into_iter().collect();
    assert_eq!(taken.len(), RIDERS, "every rider has a driver of their own");

    let mut audit = Audit::default();
    for person in drivers.iter().chain(&riders) {
        audit.look_at(person).await;
    }
    assert_eq!(audit.faults(|_| true), [""; 0]);
    assert_eq!(audit.completed.len(), RIDERS);
    assert!(audit.completed.values().all(|copies| *copies == 2), "both sides hold a receipt");
    for person in drivers.into_iter().chain(riders).chain([relay]) {
        person.stop().await;
    }
}

/// Asks, and rides with whoever agrees; says with whom.
async fn take_a_ride(rider: &Person, drivers: &[Person]) -> usize {
    let asked = rider.request().await;
    let view = rider.until_agreed(asked).await;
    let key = view.counterparty;
    let mut number = None;
    for (candidate, driver) in drivers.iter().enumerate() {
        if driver.status().await.key == key {
            number = Some(candidate);
        }
    }
    let number = number.expect("one of the drivers");
    let ride = Ride::agreed(&drivers[number], rider, asked).await;
    tokio::time::timeout(DEADLINE, ride.finish(&drivers[number], rider)).await.expect("the ride ends");
    number
}

/// What all receipts together show.
#[derive(Default)]
pub(crate) struct Audit {
    /// ACCEPTs by the driver's slot that they use up.
    accepts: BTreeMap<(PublicKey, u64), BTreeSet<StatementId>>,
    /// CONFIRMs by the rider's slot.
    confirms: BTreeMap<(PublicKey, u64), BTreeSet<StatementId>>,
    /// When each key was bound by which agreement; without an end: for ever.
    bound: BTreeMap<PublicKey, BTreeMap<AgreementId, (Timestamp, Timestamp)>>,
    completed: BTreeMap<AgreementId, usize>,
}

impl Audit {
    pub(crate) async fn look_at(&mut self, person: &Person) {
        for view in person.node.rides().await.unwrap() {
            if !view.has_receipt {
                continue;
            }
            let receipt = person.receipt(view.ride).await;
            let facts = receipt.verify(&[]).expect("every receipt verifies");
            self.add(&receipt, &facts);
        }
    }

    /// One more receipt, of either side.
    pub(crate) fn add(&mut self, receipt: &Receipt, facts: &ReceiptFacts) {
        let mut last = facts.agreed_at;
        for bytes in &receipt.statements {
            let statement = AnyStatement::decode(bytes.clone()).unwrap();
            last = last.max(statement.issued().unwrap_or(last));
            match &statement {
                AnyStatement::Accept(accept) => {
                    let slot = (*accept.signer(), accept.body().slot);
                    self.accepts.entry(slot).or_default().insert(accept.id());
                }
                AnyStatement::Confirm(confirm) => {
                    let slot = (*confirm.signer(), confirm.body().slot);
                    self.confirms.entry(slot).or_default().insert(confirm.id());
                }
                _ => {}
            }
        }
        let until = if facts.cosigned || facts.ended.is_some() { last } else { Timestamp::MAX };
        for key in [facts.driver, facts.rider] {
            let span = (facts.agreed_at, until);
            self.bound.entry(key).or_default().insert(facts.agreement, span);
        }
        if facts.cosigned && facts.states.contains(&RideState::Completed) {
            *self.completed.entry(facts.agreement).or_default() += 1;
        }
    }

    /// Says what must not be, of the keys that count.
    pub(crate) fn faults(&self, counts: impl Fn(&PublicKey) -> bool) -> Vec<String> {
        let mut faults = Vec::new();
        for ((key, slot), signed) in self.accepts.iter().chain(&self.confirms) {
            if signed.len() > 1 && counts(key) {
                faults.push(format!("slot {slot} of {key:?} was promised twice"));
            }
        }
        for (key, spans) in self.bound.iter().filter(|(key, _)| counts(key)) {
            let mut spans: Vec<(Timestamp, Timestamp)> = spans.values().copied().collect();
            spans.sort_unstable();
            if !spans.windows(2).all(|pair| pair[0].1 <= pair[1].0) {
                faults.push(format!("{key:?} was bound twice at a time: {spans:?}"));
            }
        }
        faults
    }
}
