//! Policies as pure functions over a local view: who goes with whom.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use hailmesh_types::Duration;
use pathfinding::prelude::{Matrix, kuhn_munkres_min};

use crate::index::Author;

/// Costs more than any real matching: a pair that does not suit.
const UNSUITED: i64 = 1 << 40;

/// How a node decides whom to contact, over what it has heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// The nearest of the other side.
    #[default]
    Nearest,
    /// The partner that nearest pair first gives this node.
    NearestPair,
    /// The partner that the assignment of least total pickup time gives this node.
    Assignment,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::NearestPair, Self::Assignment];

    /// Its name in configuration, command line and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::NearestPair => "nearest-pair",
            Self::Assignment => "assignment",
        }
    }

    /// The driver that this policy gives to a rider of the view. Indexes as given to
    /// [`View::new`].
    #[must_use]
    pub fn driver_for(self, view: &View, rider: usize) -> Option<usize> {
        match self {
            Self::Nearest => view.nearest_driver(rider),
            Self::NearestPair | Self::Assignment => {
                self.pairs(view).into_iter().find(|pair| pair.0 == rider).map(|pair| pair.1)
            }
        }
    }

    /// The rider that this policy gives to a driver of the view.
    #[must_use]
    pub fn rider_for(self, view: &View, driver: usize) -> Option<usize> {
        match self {
            Self::Nearest => view.nearest_rider(driver),
            Self::NearestPair | Self::Assignment => {
                self.pairs(view).into_iter().find(|pair| pair.1 == driver).map(|pair| pair.0)
            }
        }
    }

    /// Rider and driver of every pair; for `nearest` every rider with its nearest driver,
    /// whoever else wants that one.
    #[must_use]
    pub fn pairs(self, view: &View) -> Vec<(usize, usize)> {
        match self {
            Self::Nearest => {
                let nearest = |rider| Some((rider, view.nearest_driver(rider)?));
                (0..view.riders.len()).filter_map(nearest).collect()
            }
            Self::NearestPair => view.nearest_pairs(),
            Self::Assignment => view.assignment(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A policy that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown matching policy \"{0}\": expected nearest, nearest-pair or assignment")]
pub struct PolicyError(String);

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::ALL.into_iter().find(|policy| policy.name() == text).ok_or_else(|| PolicyError(text.to_owned()))
    }
}

/// What a node knows of waiting riders and free drivers, itself among them, and how long
/// each driver would take to each rider.
///
/// The answers do not depend on the order in which the parties are given: ties are
/// broken by keys, so everybody with one view finds one answer.
#[derive(Debug, Clone)]
pub struct View {
    riders: Vec<Author>,
    drivers: Vec<Author>,
    /// Milliseconds, by rider; none where the two do not suit each other.
    drives: Vec<Option<u32>>,
}

impl View {
    /// A view of these riders and drivers; `drive` is asked once for every pair of
    /// indexes (rider, driver) and says nothing for pairs that do not suit each other.
    #[must_use]
    pub fn new(
        riders: Vec<Author>,
        drivers: Vec<Author>,
        drive: impl Fn(usize, usize) -> Option<Duration>,
    ) -> Self {
        let mut drives = Vec::with_capacity(riders.len() * drivers.len());
        for rider in 0..riders.len() {
            drives.extend((0..drivers.len()).map(|driver| drive(rider, driver).map(Duration::as_millis)));
        }
        Self { riders, drivers, drives }
    }

    /// How long this driver takes to this rider, milliseconds.
    fn drive(&self, rider: usize, driver: usize) -> Option<u32> {
        self.drives[rider * self.drivers.len() + driver]
    }

    fn nearest_driver(&self, rider: usize) -> Option<usize> {
        let reach = |driver: usize| Some((self.drive(rider, driver)?, self.drivers[driver], driver));
        (0..self.drivers.len()).filter_map(reach).min().map(|found| found.2)
    }

    fn nearest_rider(&self, driver: usize) -> Option<usize> {
        let reach = |rider: usize| Some((self.drive(rider, driver)?, self.riders[rider], rider));
        (0..self.riders.len()).filter_map(reach).min().map(|found| found.2)
    }

    /// The two that are nearest, then of those left the two that are nearest, and so on.
    /// When both sides rank by pickup time that is the one stable matching. Takes
    /// r·d·log(r·d) steps.
    fn nearest_pairs(&self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<(u32, Author, Author, usize, usize)> = Vec::new();
        for rider in 0..self.riders.len() {
            for driver in 0..self.drivers.len() {
                if let Some(drive) = self.drive(rider, driver) {
                    pairs.push((drive, self.drivers[driver], self.riders[rider], rider, driver));
                }
            }
        }
        pairs.sort_unstable();
        let (mut taken_riders, mut taken_drivers) = (BTreeSet::new(), BTreeSet::new());
        let mut matched = Vec::new();
        for (.., rider, driver) in pairs {
            if !taken_riders.contains(&rider) && !taken_drivers.contains(&driver) {
                taken_riders.insert(rider);
                taken_drivers.insert(driver);
                matched.push((rider, driver));
            }
        }
        matched
    }

    /// As many pairs as possible, and of all such matchings one of least total time.
    /// Takes r²·d steps with r the smaller side: meant for a neighbourhood.
    fn assignment(&self) -> Vec<(usize, usize)> {
        // In the order of keys, so that ties fall the same way for everybody.
        let in_order = |keys: &[Author]| {
            let mut order: Vec<usize> = (0..keys.len()).collect();
            order.sort_by_key(|index| keys[*index]);
            order
        };
        let (riders, drivers) = (in_order(&self.riders), in_order(&self.drivers));
        if riders.is_empty() || drivers.is_empty() {
            return Vec::new();
        }
        let cost = |rider: usize, driver: usize| self.drive(rider, driver).map_or(UNSUITED, i64::from);
        // The library wants no more rows than columns.
        let by_rider = riders.len() <= drivers.len();
        let (rows, columns) = if by_rider { (&riders, &drivers) } else { (&drivers, &riders) };
        let costs = Matrix::from_fn(rows.len(), columns.len(), |(row, column)| {
            if by_rider { cost(rows[row], columns[column]) } else { cost(columns[column], rows[row]) }
        });
        let (_, chosen) = kuhn_munkres_min(&costs);
        let mut matched: Vec<(usize, usize)> = chosen
            .into_iter()
            .enumerate()
            .map(
                |(row, column)| {
                    if by_rider { (rows[row], columns[column]) } else { (columns[column], rows[row]) }
                },
            )
            .filter(|(rider, driver)| self.drive(*rider, *driver).is_some())
            .collect();
        matched.sort_by_key(|(rider, driver)| (self.drive(*rider, *driver), self.drivers[*driver]));
        matched
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: usize) -> Author {
        [u8::try_from(number).unwrap(); 32]
    }

    /// A view from a table of seconds, rider by rider; 0 does not suit.
    fn view(table: &[&[u32]]) -> View {
        let drivers = table.first().map_or(0, |row| row.len());
        View::new(
            (0..table.len()).map(key).collect(),
            (100..100 + drivers).map(key).collect(),
            |rider, driver| Some(table[rider][driver]).filter(|s| *s > 0).map(Duration::from_secs),
        )
    }

    fn total(view: &View, pairs: &[(usize, usize)]) -> u64 {
        pairs.iter().map(|(rider, driver)| u64::from(view.drive(*rider, *driver).unwrap())).sum()
    }

    #[test]
    fn the_three_differ_where_it_matters() {
        // Rider 0 is near driver 0 and not far from 1; rider 1 has only driver 0 near.
        let view = view(&[&[10, 20], &[15, 300]]);
        assert_eq!(Policy::Nearest.pairs(&view), [(0, 0), (1, 0)], "both want the same car");
        assert_eq!(Policy::NearestPair.pairs(&view), [(0, 0), (1, 1)]);
        assert_eq!(Policy::Assignment.pairs(&view), [(1, 0), (0, 1)]);
        assert_eq!(Policy::Assignment.driver_for(&view, 0), Some(1));
        assert_eq!(Policy::Assignment.rider_for(&view, 0), Some(1));
        assert_eq!(Policy::Nearest.rider_for(&view, 1), Some(0));
    }

    #[test]
    fn as_many_as_possible_come_first() {
        // The cheapest pair would leave somebody without any.
        let view = view(&[&[1, 500], &[2, 0]]);
        assert_eq!(Policy::Assignment.pairs(&view), [(1, 0), (0, 1)]);
        assert_eq!(Policy::NearestPair.pairs(&view), [(0, 0)]);
    }

    #[test]
    fn nobody_suits_nobody() {
        for policy in Policy::ALL {
            assert!(policy.pairs(&view(&[])).is_empty());
            assert!(policy.pairs(&view(&[&[0, 0], &[0, 0], &[0, 0]])).is_empty(), "{policy}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for policy in Policy::ALL {
            assert_eq!(policy.name().parse::<Policy>().unwrap(), policy);
        }
        assert!("best".parse::<Policy>().unwrap_err().to_string().contains("nearest-pair"));
    }

    fn views(most: usize) -> impl Strategy<Value = View> {
        (0..most, 0..most).prop_flat_map(|(riders, drivers)| {
            prop::collection::vec(prop::option::weighted(0.8, 1..40_u32), riders * drivers).prop_map(
                move |drives| {
                    View::new(
                        (0..riders).map(key).collect(),
                        (100..100 + drivers).map(key).collect(),
                        |rider, driver| drives[rider * drivers + driver].map(Duration::from_millis),
                    )
                },
            )
        })
    }

    /// Most pairs, then least time, by trying everything.
    fn best(view: &View, rider: usize, taken: &mut Vec<bool>) -> (usize, u64) {
        if rider == view.riders.len() {
            return (0, 0);
        }
        let mut found = best(view, rider + 1, taken);
        for driver in 0..view.drivers.len() {
            let Some(drive) = view.drive(rider, driver).filter(|_| !taken[driver]) else { continue };
            taken[driver] = true;
            let (count, time) = best(view, rider + 1, taken);
            taken[driver] = false;
            let (count, time) = (count + 1, time + u64::from(drive));
            if count > found.0 || (count == found.0 && time < found.1) {
                found = (count, time);
            }
        }
        found
    }

    proptest! {
        /// No rider and driver who suit are both nearer to each other than to their
        /// partners.
        #[test]
        fn pairs_are_stable(view in views(10)) {
            let pairs = Policy::NearestPair.pairs(&view);
            let of = |pick: &dyn Fn(&(usize, usize)) -> bool| {
                pairs.iter().find(|pair| pick(pair)).map_or(u32::MAX, |pair| view.drive(pair.0, pair.1).unwrap())
            };
            for rider in 0..view.riders.len() {
                for driver in 0..view.drivers.len() {
                    if let Some(drive) = view.drive(rider, driver) {
                        let (his, hers) = (of(&|pair| pair.0 == rider), of(&|pair| pair.1 == driver));
                        prop_assert!(drive >= his.min(hers));
                    }
                }
            }
        }

        /// The assignment is as large and then as cheap as can be.
        #[test]
        fn the_assignment_is_least(view in views(6)) {
            let pairs = Policy::Assignment.pairs(&view);
            let mut taken = vec![false; view.drivers.len()];
            prop_assert_eq!((pairs.len(), total(&view, &pairs)), best(&view, 0, &mut taken));
        }

        /// Who computes, and in which order offers were heard, does not matter: both
        /// sides of a pair find each other.
        #[test]
        fn everybody_finds_the_same_pairs(view in views(8)) {
            let (riders, drivers) = (view.riders.len(), view.drivers.len());
            let backwards = View::new(
                view.riders.iter().rev().copied().collect(),
                view.drivers.iter().rev().copied().collect(),
                |rider, driver| {
                    view.drive(riders - 1 - rider, drivers - 1 - driver).map(Duration::from_millis)
                },
            );
            for policy in [Policy::NearestPair, Policy::Assignment] {
                let mut one = policy.pairs(&view);
                let turned = |(rider, driver): (usize, usize)| (riders - 1 - rider, drivers - 1 - driver);
                let mut other: Vec<_> = policy.pairs(&backwards).into_iter().map(turned).collect();
                one.sort_unstable();
                other.sort_unstable();
                prop_assert_eq!(&one, &other);
                for (rider, driver) in one {
                    prop_assert_eq!(policy.driver_for(&view, rider), Some(driver));
                    prop_assert_eq!(policy.rider_for(&view, driver), Some(rider));
                }
            }
        }
    }
}
