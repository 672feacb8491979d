//! What a ride costs (P9): the same integers on both sides and for every later reader.
//!
//! [`Tariff::fare`] is the function of P9.1; here it meets the statements: what an ACCEPT
//! may say ([`fare_limit`]), what a COMPLETE must say ([`final_fare`],
//! [`check_complete`]) and what an end costs ([`cancel_fee`], [`no_show_fee`]).

use hailmesh_types::{Amount, Duration, FareBreakdown, FareError, MoneyError, Tariff};

use crate::{
    Accept, Complete, Counter, DecodeError, DriverOffer, FareItem, FareKind, ItemCode, Request, RideState,
    Role,
};

/// How long after `pickup_by` a rider may still be waiting before cancelling is free,
/// when the driver has not said ARRIVED (P9.5).
pub const LATE_GRACE: Duration = Duration::from_secs(120);

/// What was driven, as a COMPLETE states it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Metres.
    pub dist: u32,
    /// From BOARDED to the end.
    pub ride_time: Duration,
    /// From ARRIVED to BOARDED, 0 without either; more than an hour counts as an hour.
    pub wait: Duration,
}

/// A final fare with its items, ready for a COMPLETE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalFare {
    /// In the order of their codes; those of nothing are left out, unless all are.
    pub items: Vec<FareItem>,
    /// The sum, a discount subtracted.
    pub total: Amount,
    /// Whether it departs from what was agreed, so that only the user can consent.
    pub amended: bool,
}

/// The tariff that an offer binds its driver to; a withdrawn one binds to nothing.
#[must_use]
pub fn tariff_of(offer: &DriverOffer) -> Option<&Tariff> {
    offer.live.as_ref().map(|terms| &terms.tariff)
}

/// The most that an ACCEPT of this REQUEST may name (P9.2). `counter` is the COUNTER that
/// the REQUEST names, when it names one.
///
/// # Errors
/// When the fare of P9.1 is above the greatest amount.
pub fn fare_limit(
    tariff: &Tariff,
    request: &Request,
    counter: Option<&Counter>,
) -> Result<Amount, FareError> {
    let price = match counter {
        Some(counter) => counter.fare,
        None => tariff.fare(request.dist, request.ride_time, Duration::ZERO)?.total,
    };
    Ok(price.min(request.max_fare))
}

/// The final fare of P9.3 with its items. `countered` says whether the REQUEST named a
/// COUNTER: then the fare is settled like a fixed one. `extra` is what both agreed on
/// besides (tolls, a changed destination); it makes the fare an amended one (P9.4).
///
/// # Errors
/// When an item or the sum is above the greatest amount.
pub fn final_fare(
    tariff: &Tariff,
    request: &Request,
    accept: &Accept,
    countered: bool,
    figures: Figures,
    extra: Amount,
) -> Result<FinalFare, FareError> {
    let parts = Parts::of(tariff, request, accept, countered, figures)?;
    let total = sum(&[parts.ride, parts.waiting, extra])?;
    let items = [
        (ItemCode::Base, parts.metered.base),
        (ItemCode::Distance, parts.metered.distance),
        (ItemCode::Time, parts.metered.time),
        (ItemCode::Surge, parts.metered.surge),
        (ItemCode::MinimumTopUp, parts.metered.minimum_top_up),
        (ItemCode::Waiting, parts.waiting),
        (ItemCode::Extra, sum(&[parts.up, extra])?),
        (ItemCode::Discount, parts.down),
    ];
    let mut items: Vec<FareItem> = items
        .into_iter()
        .filter(|(_, amount)| *amount != Amount::ZERO)
        .map(|(code, amount)| FareItem { code, amount })
        .collect();
    if items.is_empty() {
        // A COMPLETE has at least one item, even when the ride costs nothing.
        items.push(FareItem { code: ItemCode::Base, amount: Amount::ZERO });
    }
    Ok(FinalFare { items, total, amended: extra != Amount::ZERO })
}

/// Checks a COMPLETE against what was agreed (P9.3) and says whether the rider's node may
/// co-sign it without asking (P9.4): `false` means that the driver amended the fare, and
/// that it is the user who decides.
///
/// # Errors
/// P9.4 when the items do not add up to the total, or hold an extra that nobody needs,
/// P9.3 when the fare is said to be the agreed one and is not. Such a COMPLETE is not
/// acceptable as it stands; a driver who wants that fare sends it as an amended one.
pub fn check_complete(
    tariff: &Tariff,
    request: &Request,
    accept: &Accept,
    countered: bool,
    complete: &Complete,
) -> Result<bool, DecodeError> {
    if items_total(&complete.items) != Some(complete.total) {
        return Err(DecodeError::new("P9.4", format!("the items do not add up to {}", complete.total)));
    }
    if complete.amended {
        return Ok(false);
    }
    let Complete { dist, ride_time, wait, .. } = *complete;
    let parts = Parts::of(tariff, request, accept, countered, Figures { dist, ride_time, wait })
        .map_err(|error| DecodeError::new("P9.3", error.to_string()))?;
    let total =
        sum(&[parts.ride, parts.waiting]).map_err(|error| DecodeError::new("P9.3", error.to_string()))?;
    if complete.total != total {
        let found = complete.total;
        return Err(DecodeError::new("P9.3", format!("total {found}: expected {total}, or an amended fare")));
    }
    let extra = complete.items.iter().find(|item| item.code == ItemCode::Extra);
    let extra = extra.map_or(Amount::ZERO, |item| item.amount);
    if extra != parts.up {
        let what = format!("an extra of {extra} in a fare that is not amended: expected {}", parts.up);
        return Err(DecodeError::new("P9.4", what));
    }
    Ok(true)
}

/// The sum of the items of a final fare, a discount subtracted; nothing when that is
/// below zero or above the greatest amount.
#[must_use]
pub fn items_total(items: &[FareItem]) -> Option<Amount> {
    let mut plus = 0_u64;
    let mut minus = 0_u64;
    for item in items {
        let side = if item.code == ItemCode::Discount { &mut minus } else { &mut plus };
        *side = side.checked_add(item.amount.minor())?;
    }
    Amount::from_minor(plus.checked_sub(minus)?).ok()
}

/// What it costs to cancel (P9.5); nothing is returned when nobody can cancel any more:
/// after boarding and after an end.
///
/// `phase` is where the ride stands for the one who cancels, `since_ack` the time since
/// ACK, `late` whether it is more than [`LATE_GRACE`] past `pickup_by` without ARRIVED.
/// Elapsed time is each side's word: a difference is a dispute, never evidence.
#[must_use]
pub fn cancel_fee(
    tariff: &Tariff,
    by: Role,
    phase: RideState,
    since_ack: Duration,
    late: bool,
) -> Option<Amount> {
    let before_ack = match phase {
        RideState::Requested | RideState::Held | RideState::Committed => true,
        RideState::Firm | RideState::EnRoute | RideState::Arrived => false,
        _ => return None,
    };
    if by == Role::Driver || before_ack || late || since_ack <= tariff.cancel_free {
        return Some(Amount::ZERO);
    }
    Some(fee(tariff.cancel_fee))
}

/// What the claimant of a no-show claims (P9.6): a driver its fee, a rider nothing.
#[must_use]
pub fn no_show_fee(tariff: &Tariff, claimant: Role) -> Amount {
    match claimant {
        Role::Driver => fee(tariff.no_show_fee),
        Role::Rider => Amount::ZERO,
    }
}

/// P4.4 keeps fees far below the greatest amount; a tariff nobody checked gets the most.
fn fee(minor: u32) -> Amount {
    Amount::from_minor(minor.into()).unwrap_or(Amount::MAX)
}

/// A final fare before extras.
struct Parts {
    /// Items 1 to 5.
    metered: FareBreakdown,
    /// What the ride costs without waiting.
    ride: Amount,
    /// Item 6.
    waiting: Amount,
    /// What lifts items 1 to 5 to `ride`: in item 7.
    up: Amount,
    /// What cuts items 1 to 5 to `ride`: item 8.
    down: Amount,
}

impl Parts {
    fn of(
        tariff: &Tariff,
        request: &Request,
        accept: &Accept,
        countered: bool,
        figures: Figures,
    ) -> Result<Self, FareError> {
        let is_fixed = countered || accept.fare_kind == FareKind::Fixed;
        let (dist, ride_time) =
            if is_fixed { (request.dist, request.ride_time) } else { (figures.dist, figures.ride_time) };
        let metered = tariff.fare(dist, ride_time, Duration::ZERO)?;
        let ride = if is_fixed { accept.fare } else { metered.total.min(accept.fare) };
        let waiting = tariff.fare(0, Duration::ZERO, figures.wait)?.waiting;
        let (up, down) = (ride.saturating_sub(metered.total), metered.total.saturating_sub(ride));
        Ok(Self { metered, ride, waiting, up, down })
    }
}

fn sum(amounts: &[Amount]) -> Result<Amount, FareError> {
    let total: u128 = amounts.iter().map(|amount| u128::from(amount.minor())).sum();
    let small = u64::try_from(total).map_err(|_| MoneyError::Amount(total))?;
    Ok(Amount::from_minor(small)?)
}
