//! The fare function (P9): the same integers on both sides.

use crate::{Amount, Currency, Duration, MoneyError};

/// Greatest rate or fee per unit, in minor units (P4.4).
const RATE_MAX: u32 = 10_000_000;
/// Greatest free waiting time (P4.4).
const WAIT_FREE_MAX_MS: u32 = 900_000;
/// Greatest waiting time that is charged (P9.3).
const WAIT_MAX_MS: u32 = 3_600_000;
/// Bounds of the time in which a rider cancels for nothing (P4.4).
const CANCEL_FREE_MS: std::ops::RangeInclusive<u32> = 30_000..=600_000;
/// Surge of one, in thousandths.
pub const SURGE_ONE: u16 = 1_000;
/// Greatest surge, in thousandths (P4.4).
pub const SURGE_MAX: u16 = 5_000;

/// What a driver charges (P4.4). Rates are minor units of `currency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tariff {
    /// Currency of every amount.
    pub currency: Currency,
    /// For getting in.
    pub base: u32,
    /// For a kilometre.
    pub per_km: u32,
    /// For a minute under way.
    pub per_min: u32,
    /// The least that a ride costs, before waiting.
    pub minimum: u32,
    /// For a minute of waiting beyond `wait_free`.
    pub wait_per_min: u32,
    /// Waiting that costs nothing, at most 15 min.
    pub wait_free: Duration,
    /// What a rider owes who cancels late, at most 5 × max(minimum, base).
    pub cancel_fee: u32,
    /// How long after ACK a rider cancels for nothing, 30 s to 10 min.
    pub cancel_free: Duration,
    /// What a rider owes who does not come, at most 5 × max(minimum, base).
    pub no_show_fee: u32,
    /// Factor on base, distance and time, in thousandths, 1,000 to 5,000.
    pub surge: u16,
}

/// A value of a tariff outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tariff {field} {value}: expected {min} to {max}")]
pub struct TariffError {
    /// The field as P4.4 names it.
    pub field: &'static str,
    /// What was found.
    pub value: u64,
    /// Least allowed.
    pub min: u64,
    /// Most allowed.
    pub max: u64,
}

/// A fare that cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FareError {
    /// The result is more than a statement can say.
    #[error("fare: {0}")]
    TooMuch(#[from] MoneyError),
}

/// The parts of a fare (P9.1); `total` is their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FareBreakdown {
    /// Item 1.
    pub base: Amount,
    /// Item 2.
    pub distance: Amount,
    /// Item 3.
    pub time: Amount,
    /// Item 4: what surge adds.
    pub surge: Amount,
    /// Item 5: what lifts the ride to the minimum.
    pub minimum_top_up: Amount,
    /// Item 6.
    pub waiting: Amount,
    /// The fare.
    pub total: Amount,
}

impl FareBreakdown {
    /// The fare without waiting.
    #[must_use]
    pub fn ride(&self) -> Amount {
        self.total.saturating_sub(self.waiting)
    }
}

impl Default for Tariff {
    /// The example tariff of the documentation: 2.50 + 1.20 a km + 0.30 a minute, at
    /// least 5.00 USD; three minutes of waiting free, cancelling free for two.
    fn default() -> Self {
        Self {
            currency: Currency::USD,
            base: 250,
            per_km: 120,
            per_min: 30,
            minimum: 500,
            wait_per_min: 30,
            wait_free: Duration::from_secs(180),
            cancel_fee: 300,
            cancel_free: Duration::from_secs(120),
            no_show_fee: 500,
            surge: SURGE_ONE,
        }
    }
}

/// `a / b` rounded half up (P9.1).
const fn rd(a: u128, b: u128) -> u128 {
    (2 * a + b) / (2 * b)
}

fn amount(minor: u128) -> Result<Amount, FareError> {
    let small = u64::try_from(minor).map_err(|_| MoneyError::Amount(minor))?;
    Ok(Amount::from_minor(small)?)
}

impl Tariff {
    /// Checks the bounds of P4.4.
    ///
    /// # Errors
    /// The first field outside its bounds.
    pub fn check(&self) -> Result<(), TariffError> {
        let within = |field, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(TariffError { field, value, min, max }) }
        };
        for (field, value) in [
            ("base", self.base),
            ("per_km", self.per_km),
            ("per_min", self.per_min),
            ("minimum", self.minimum),
            ("wait_per_min", self.wait_per_min),
        ] {
            within(field, value.into(), 0, RATE_MAX.into())?;
        }
        within("wait_free", self.wait_free.as_millis().into(), 0, WAIT_FREE_MAX_MS.into())?;
        let fee_max = 5 * u64::from(self.minimum.max(self.base));
        within("cancel_fee", self.cancel_fee.into(), 0, fee_max)?;
        let (least, most) = (*CANCEL_FREE_MS.start(), *CANCEL_FREE_MS.end());
        within("cancel_free", self.cancel_free.as_millis().into(), least.into(), most.into())?;
        within("no_show_fee", self.no_show_fee.into(), 0, fee_max)?;
        within("surge", self.surge.into(), SURGE_ONE.into(), SURGE_MAX.into())
    }

    /// The fare of P9.1 for a distance in metres, a ride time and a waiting time.
    ///
    /// # Errors
    /// [`FareError::TooMuch`] when the result is above [`crate::AMOUNT_MAX`].
    pub fn fare(&self, dist_m: u32, ride_time: Duration, wait: Duration) -> Result<FareBreakdown, FareError> {
        let base = u128::from(self.base);
        let distance = rd(u128::from(self.per_km) * u128::from(dist_m), 1_000);
        let time = rd(u128::from(self.per_min) * u128::from(ride_time.as_millis()), 60_000);
        let subtotal = base + distance + time;
        let surged = rd(subtotal * u128::from(self.surge), 1_000);
        let ride = surged.max(u128::from(self.minimum));
        let waiting = self.waiting(wait);
        Ok(FareBreakdown {
            base: amount(base)?,
            distance: amount(distance)?,
            time: amount(time)?,
            // `check` keeps surge at one or more, so that this never underflows for a
            // checked tariff; an unchecked one gets the honest zero.
            surge: amount(surged.saturating_sub(subtotal))?,
            minimum_top_up: amount(ride - surged)?,
            waiting: amount(waiting)?,
            total: amount(ride + waiting)?,
        })
    }

    /// What waiting costs (P9.1), with the wait cut at one hour (P9.3).
    fn waiting(&self, wait: Duration) -> u128 {
        let charged = wait.as_millis().min(WAIT_MAX_MS).saturating_sub(self.wait_free.as_millis());
        rd(u128::from(self.wait_per_min) * u128::from(charged), 60_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn worked_example() {
        // 250 + 120 × 6.2 + 30 × 14 = 250 + 744 + 420 = 1414; × 1.5 = 2121; 2 min over: 60.
        let tariff = Tariff { surge: 1_500, ..Tariff::default() };
        let fare = tariff.fare(6_200, Duration::from_secs(840), Duration::from_secs(300)).unwrap();
        assert_eq!(fare.total.minor(), 2_181);
        assert_eq!(fare.surge.minor(), 707);
        assert_eq!(fare.waiting.minor(), 60);
        assert_eq!(fare.minimum_top_up.minor(), 0);
    }

    #[test]
    fn half_is_rounded_up_and_the_minimum_lifts() {
        assert_eq!((rd(5, 10), rd(4, 10), rd(15, 10)), (1, 0, 2));
        let fare = Tariff::default().fare(0, Duration::ZERO, Duration::ZERO).unwrap();
        assert_eq!((fare.total.minor(), fare.minimum_top_up.minor()), (500, 250));
    }

    #[test]
    fn bounds_name_the_field() {
        let tariff = Tariff { surge: 999, ..Tariff::default() };
        assert_eq!(tariff.check().unwrap_err().to_string(), "tariff surge 999: expected 1000 to 5000");
        let tariff = Tariff { cancel_fee: 2_501, ..Tariff::default() };
        assert_eq!(tariff.check().unwrap_err().field, "cancel_fee");
    }

    proptest! {
        /// The items always add up, nothing overflows, and more never costs less.
        #[test]
        fn items_add_up(
            rates in prop::array::uniform5(0..=RATE_MAX),
            surge in SURGE_ONE..=SURGE_MAX,
            dist in 0..=500_000_u32,
            ride_ms in 0..=43_200_000_u32,
            wait_ms in any::<u32>(),
        ) {
            let [base, per_km, per_min, minimum, wait_per_min] = rates;
            let tariff = Tariff { base, per_km, per_min, minimum, wait_per_min, surge, ..Tariff::default() };
            let (ride, wait) = (Duration::from_millis(ride_ms), Duration::from_millis(wait_ms));
            if let Ok(fare) = tariff.fare(dist, ride, wait) {
                let sum: u64 = [fare.base, fare.distance, fare.time, fare.surge, fare.minimum_top_up, fare.waiting]
                    .iter().map(|item| item.minor()).sum();
                prop_assert_eq!(sum, fare.total.minor());
                if let Ok(farther) = tariff.fare(dist + 1, ride, wait) {
                    prop_assert!(farther.total >= fare.total);
                }
            }
        }
    }
}
