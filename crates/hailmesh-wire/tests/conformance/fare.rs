//! P9: limits, final fares and fees.

use hailmesh_types::{Amount, Duration, Tariff};
use hailmesh_wire::{
    Accept, Complete, Counter, FareItem, FareKind, Figures, ItemCode, Request, RideState, Role, cancel_fee,
    check_complete, fare_limit, final_fare, items_total, no_show_fee,
};
use proptest::prelude::*;

use crate::ride::{Plan, Ride, amount, tariff};

fn story(plan: Plan) -> (Request, Accept, Complete) {
    let ride = Ride::honest(plan);
    (ride.request.body().clone(), ride.accept.body().clone(), ride.complete.body().clone())
}

fn counter(fare: u64) -> Counter {
    let ride = Ride::honest(Plan { countered: true, ..Plan::default() });
    Counter { fare: amount(fare), ..ride.counter.unwrap().body().clone() }
}

#[test]
fn the_limit_is_the_least_of_price_and_purse() {
    let (mut request, _, _) = story(Plan::default());
    // 250 + 744 + 420 = 1414, times 1.2 = 1696.8.
    assert_eq!(fare_limit(&tariff(), &request, None), Ok(amount(1_697)));
    assert_eq!(fare_limit(&tariff(), &request, Some(&counter(1_900))), Ok(amount(1_900)));
    request.max_fare = amount(1_500);
    assert_eq!(fare_limit(&tariff(), &request, None), Ok(amount(1_500)));
    assert_eq!(fare_limit(&tariff(), &request, Some(&counter(1_900))), Ok(amount(1_500)));
}

#[test]
fn a_fixed_fare_is_the_agreed_one_plus_waiting() {
    let (_, accept, complete) = story(Plan::default());
    // Two minutes beyond the free three, at 30 a minute.
    assert_eq!(complete.total, accept.fare.checked_add(amount(60)).unwrap());
    assert!(complete.items.iter().all(|item| !matches!(item.code, ItemCode::Extra | ItemCode::Discount)));
}

#[test]
fn a_countered_fare_is_reached_by_an_extra_or_a_discount() {
    let (request, mut accept, complete) = story(Plan { countered: true, ..Plan::default() });
    assert_eq!(complete.total, amount(1_960));
    assert!(complete.items.contains(&FareItem { code: ItemCode::Extra, amount: amount(1_900 - 1_697) }));
    assert_eq!(check_complete(&tariff(), &request, &accept, true, &complete), Ok(true));
    accept.fare = amount(1_000);
    let fare = final_fare(&tariff(), &request, &accept, true, Figures::default(), Amount::ZERO).unwrap();
    assert_eq!(fare.total, amount(1_000));
    assert!(fare.items.contains(&FareItem { code: ItemCode::Discount, amount: amount(697) }));
}

#[test]
fn a_metered_fare_is_cut_at_the_agreed_one() {
    let (request, accept, complete) = story(Plan { metered: true, ..Plan::default() });
    // 250 + 726 + 451 (15 min 1 s, rounded half up) = 1427, times 1.2 = 1712.
    assert!(complete.items.contains(&FareItem { code: ItemCode::Discount, amount: amount(1_712 - 1_697) }));
    assert_eq!(complete.total, amount(1_757));
    let short = Figures { dist: 1_000, ride_time: Duration::from_secs(120), wait: Duration::ZERO };
    let fare = final_fare(&tariff(), &request, &accept, false, short, Amount::ZERO).unwrap();
    assert_eq!(fare.total, tariff().fare(1_000, Duration::from_secs(120), Duration::ZERO).unwrap().total);
}

#[test]
fn an_extra_needs_the_user() {
    let (request, accept, complete) = story(Plan { extra: 650, ..Plan::default() });
    assert!(complete.amended);
    assert_eq!(complete.total, amount(1_697 + 60 + 650));
    assert_eq!(check_complete(&tariff(), &request, &accept, false, &complete), Ok(false));
    let silent = Complete { amended: false, ..complete };
    let error = check_complete(&tariff(), &request, &accept, false, &silent).unwrap_err();
    assert_eq!(error.clause, "P9.3");
}

#[test]
fn a_complete_that_does_not_add_up_is_refused() {
    let (request, accept, complete) = story(Plan::default());
    let check = |complete: &Complete| {
        check_complete(&tariff(), &request, &accept, false, complete).map_err(|error| error.clause)
    };
    assert_eq!(check(&complete), Ok(true));
    let mut wrong = complete.clone();
    wrong.items[0].amount = amount(1);
    assert_eq!(check(&wrong), Err("P9.4"));
    let mut wrong = complete.clone();
    wrong.wait = Duration::from_secs(600);
    assert_eq!(check(&wrong), Err("P9.3"));
    // The right total, made of an extra that nobody agreed on.
    let mut wrong = complete.clone();
    wrong.items[0].amount = wrong.items[0].amount.saturating_sub(amount(100));
    wrong.items.push(FareItem { code: ItemCode::Extra, amount: amount(100) });
    assert_eq!(check(&wrong), Err("P9.4"));
    // How items 1 to 6 are split is the driver's business.
    let mut other = complete;
    other.items = vec![FareItem { code: ItemCode::Base, amount: other.total }];
    assert_eq!(check(&other), Ok(true));
}

#[test]
fn a_ride_for_nothing_still_has_an_item() {
    let (request, mut accept, _) = story(Plan::default());
    accept.fare = Amount::ZERO;
    let free = Tariff { base: 0, per_km: 0, per_min: 0, minimum: 0, ..tariff() };
    let fare = final_fare(&free, &request, &accept, false, Figures::default(), Amount::ZERO).unwrap();
    assert_eq!(fare.items, [FareItem { code: ItemCode::Base, amount: Amount::ZERO }]);
}

#[test]
fn terms_of_an_end() {
    let tariff = tariff();
    let (soon, later) = (Duration::from_secs(120), Duration::from_secs(121));
    let fee = |by, phase, since, late| cancel_fee(&tariff, by, phase, since, late).map(Amount::minor);
    assert_eq!(fee(Role::Driver, RideState::Arrived, later, false), Some(0));
    assert_eq!(fee(Role::Rider, RideState::Committed, later, false), Some(0));
    assert_eq!(fee(Role::Rider, RideState::Firm, soon, false), Some(0));
    assert_eq!(fee(Role::Rider, RideState::Firm, later, false), Some(300));
    assert_eq!(fee(Role::Rider, RideState::Arrived, later, false), Some(300));
    assert_eq!(fee(Role::Rider, RideState::EnRoute, later, true), Some(0));
    assert_eq!(fee(Role::Rider, RideState::InProgress, soon, false), None, "nobody cancels after boarding");
    assert_eq!(fee(Role::Driver, RideState::Completed, soon, false), None);
    assert_eq!(no_show_fee(&tariff, Role::Driver).minor(), 500);
    assert_eq!(no_show_fee(&tariff, Role::Rider).minor(), 0);
}

prop_compose! {
    fn any_tariff()(
        rates in prop::array::uniform5(0..=2_000_u32),
        wait_free_ms in 0..=900_000_u32,
        surge in 1_000..=5_000_u16,
    ) -> Tariff {
        let [base, per_km, per_min, minimum, wait_per_min] = rates;
        let wait_free = Duration::from_millis(wait_free_ms);
        Tariff { base, per_km, per_min, minimum, wait_per_min, wait_free, surge, ..Tariff::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Items add up, no ride costs more than was agreed plus waiting plus extras, and a
    /// fare that is not amended is co-signed by itself.
    #[test]
    fn final_fares_keep_what_was_agreed(
        tariff in any_tariff(),
        asked in (0..=100_000_u32, 0..=7_200_000_u32),
        driven in (0..=200_000_u32, 0..=14_400_000_u32, 0..=7_200_000_u32),
        purse in 0..=1_000_000_u64,
        share in 0..=100_u64,
        counter_fare in prop::option::of(0..=1_000_000_u64),
        metered in any::<bool>(),
        extra in prop_oneof![Just(0_u64), 1..=10_000_u64],
    ) {
        let (mut request, mut accept, mut complete) = story(Plan::default());
        request.dist = asked.0;
        request.ride_time = Duration::from_millis(asked.1);
        request.max_fare = amount(purse);
        let counter = counter_fare.map(counter);
        let limit = fare_limit(&tariff, &request, counter.as_ref()).unwrap();
        prop_assert!(limit <= request.max_fare);
        if let Some(counter) = &counter {
            prop_assert!(limit <= counter.fare);
        }
        accept.fare = amount(limit.minor() * share / 100);
        accept.fare_kind = if metered { FareKind::Metered } else { FareKind::Fixed };
        let figures = Figures {
            dist: driven.0,
            ride_time: Duration::from_millis(driven.1),
            wait: Duration::from_millis(driven.2),
        };
        let countered = counter.is_some();
        let fare = final_fare(&tariff, &request, &accept, countered, figures, amount(extra)).unwrap();
        prop_assert_eq!(items_total(&fare.items), Some(fare.total));
        prop_assert_eq!(fare.amended, extra > 0);
        let waiting = tariff.fare(0, Duration::ZERO, figures.wait).unwrap().waiting;
        let most = accept.fare.minor() + waiting.minor() + extra;
        prop_assert!(fare.total.minor() <= most);
        if !metered || countered {
            prop_assert_eq!(fare.total.minor(), most);
        }
        let mut codes: Vec<u8> = fare.items.iter().map(|item| item.code.code()).collect();
        let sorted = codes.clone();
        codes.sort_unstable();
        codes.dedup();
        prop_assert_eq!(&codes, &sorted, "each code once, in order");

        complete.dist = figures.dist;
        complete.ride_time = figures.ride_time;
        complete.wait = figures.wait;
        complete.items = fare.items;
        complete.total = fare.total;
        complete.amended = fare.amended;
        prop_assert_eq!(check_complete(&tariff, &request, &accept, countered, &complete), Ok(extra == 0));
        // One unit more, and it is not what was agreed.
        complete.total = amount(complete.total.minor() + 1);
        complete.items[0].amount = amount(complete.items[0].amount.minor() + 1);
        let is_discount = complete.items[0].code == ItemCode::Discount;
        if extra == 0 && !is_discount {
            let error = check_complete(&tariff, &request, &accept, countered, &complete).unwrap_err();
            prop_assert!(error.clause == "P9.3" || error.clause == "P9.4");
        }
    }
}
