//! Who gets whom in a batch.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;
use petgraph::unionfind::UnionFind;

/// A car that is in time for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    /// Drive to the pickup, milliseconds.
    pub(super) ms: u32,
    /// Place of the request among those of the batch.
    pub(super) request: u32,
    /// Place of the car among those of the batch.
    pub(super) car: u32,
}

/// The pair with the least drive first; ties to the lower request, then the lower car.
pub(super) fn nearest_first(mut pairs: Vec<Pair>, requests: usize, cars: usize) -> Vec<Pair> {
    pairs.sort_unstable();
    let (mut request_taken, mut car_taken) = (vec![false; requests], vec![false; cars]);
    pairs.retain(|pair| {
        let free = !request_taken[pair.request as usize] && !car_taken[pair.car as usize];
        if free {
            request_taken[pair.request as usize] = true;
            car_taken[pair.car as usize] = true;
        }
        free
    });
    pairs
}

/// An assignment of maximum size and, among those, least total drive.
///
/// Exact, and fast because most pairs cannot matter. Let `n` be the size of the smaller
/// side. Whoever is on that side gets one of its `n` nearest: the `n − 1` others cannot
/// occupy all of these, so a partner farther away could be exchanged for a free one among
/// them, which keeps the size and does not raise the total. What is left falls apart into
/// groups that share no pair, each of which is solved by Kuhn and Munkres' method.
pub(super) fn least_total(pairs: Vec<Pair>, requests: usize, cars: usize) -> Vec<Pair> {
    let by_request = requests <= cars;
    let side = |pair: &Pair| if by_request { pair.request } else { pair.car };
    let kept = nearest_of_each(pairs, requests.min(cars), side);
    let mut groups = UnionFind::<u32>::new(requests + cars);
    let car_node = |pair: &Pair| u32::try_from(requests).expect("a batch fits") + pair.car;
    for pair in &kept {
        groups.union(pair.request, car_node(pair));
    }
    let mut labelled: Vec<(u32, Pair)> =
        kept.into_iter().map(|pair| (groups.find(pair.request), pair)).collect();
    labelled.sort_unstable();
    labelled.chunk_by(|a, b| a.0 == b.0).flat_map(solve).collect()
}

/// For each on one side the `count` nearest on the other.
fn nearest_of_each(mut pairs: Vec<Pair>, count: usize, side: impl Fn(&Pair) -> u32) -> Vec<Pair> {
    pairs.sort_unstable_by_key(&side);
    let mut kept = Vec::new();
    for group in pairs.chunk_by_mut(|a, b| side(a) == side(b)) {
        if group.len() > count {
            group.select_nth_unstable(count);
        }
        kept.extend_from_slice(&group[..count.min(group.len())]);
    }
    kept
}

/// Solves one group: pairs of everybody in it.
fn solve(group: &[(u32, Pair)]) -> Vec<Pair> {
    if let [(_, pair)] = group {
        return vec![*pair];
    }
    let requests = members(group, |pair| pair.request);
    let cars = members(group, |pair| pair.car);
    let by_request = requests.len() <= cars.len();
    let (few, many) = if by_request { (&requests, &cars) } else { (&cars, &requests) };
    // Weights are negative drives. Being left out weighs less than all drives together, so
    // that size comes before total.
    let most = group.iter().map(|(_, pair)| i64::from(pair.ms)).max().unwrap_or(0);
    let left_out = -(most + 1) * (few.len() as i64 + 1);
    let mut weights = Matrix::new(few.len(), many.len(), left_out);
    let place = |of: &[u32], one: u32| of.binary_search(&one).expect("a member");
    for (_, pair) in group {
        let (row, column) = if by_request { (pair.request, pair.car) } else { (pair.car, pair.request) };
        weights[(place(few, row), place(many, column))] = -i64::from(pair.ms);
    }
    let (_, columns) = kuhn_munkres(&weights);
    let mut chosen = Vec::with_capacity(few.len());
    for (row, column) in columns.into_iter().enumerate() {
        let weight = weights[(row, column)];
        if weight != left_out {
            let (one, other) = (few[row], many[column]);
            let (request, car) = if by_request { (one, other) } else { (other, one) };
            chosen.push(Pair { ms: u32::try_from(-weight).expect("a drive"), request, car });
        }
    }
    chosen
}

fn members(group: &[(u32, Pair)], side: impl Fn(&Pair) -> u32) -> Vec<u32> {
    let mut members: Vec<u32> = group.iter().map(|(_, pair)| side(pair)).collect();
    members.sort_unstable();
    members.dedup();
    members
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every assignment there is: the best as (size, total).
    fn brute_force(pairs: &[Pair], requests: u32, taken: &mut Vec<u32>, request: u32) -> (usize, i64) {
        if request == requests {
            return (0, 0);
        }
        let mut best = brute_force(pairs, requests, taken, request + 1);
        for pair in pairs.iter().filter(|pair| pair.request == request) {
            if taken.contains(&pair.car) {
                continue;
            }
            taken.push(pair.car);
            let (size, total) = brute_force(pairs, requests, taken, request + 1);
            taken.pop();
            best = best.max((size + 1, total - i64::from(pair.ms)));
        }
        best
    }

    fn batches() -> impl Strategy<Value = (usize, usize, Vec<Pair>)> {
        (1..6_usize, 1..6_usize).prop_flat_map(|(requests, cars)| {
            // Small drives make ties, and most of the pairs may be missing.
            let drives = prop::collection::vec(prop::option::weighted(0.6, 0..12_u32), requests * cars);
            drives.prop_map(move |drives| {
                let pairs = drives.into_iter().zip(0_u32..).filter_map(|(ms, place)| {
                    let cars = u32::try_from(cars).unwrap();
                    Some(Pair { ms: ms?, request: place / cars, car: place % cars })
                });
                (requests, cars, pairs.collect())
            })
        })
    }

    fn assert_valid(chosen: &[Pair], pairs: &[Pair]) {
        for (place, one) in chosen.iter().enumerate() {
            assert!(pairs.contains(one), "{one:?} was not there");
            for other in &chosen[..place] {
                assert!(one.request != other.request && one.car != other.car, "{one:?} and {other:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_least_total_agrees_with_brute_force((requests, cars, pairs) in batches()) {
            let chosen = least_total(pairs.clone(), requests, cars);
            assert_valid(&chosen, &pairs);
            let total: i64 = chosen.iter().map(|pair| -i64::from(pair.ms)).sum();
            let best = brute_force(&pairs, u32::try_from(requests).unwrap(), &mut Vec::new(), 0);
            prop_assert_eq!((chosen.len(), total), best);
        }

        #[test]
        fn nearest_first_leaves_nobody_who_would_rather_have_each_other((requests, cars, pairs) in batches()) {
            let chosen = nearest_first(pairs.clone(), requests, cars);
            assert_valid(&chosen, &pairs);
            for pair in &pairs {
                let content = chosen.iter().any(|other| {
                    (other.request == pair.request || other.car == pair.car) && other <= pair
                });
                prop_assert!(content, "{:?} would both be better off", pair);
            }
        }
    }

    #[test]
    fn size_comes_before_total() {
        // The nearest pair alone would leave request 1 without a car.
        let pairs = vec![
            Pair { ms: 1, request: 0, car: 0 },
            Pair { ms: 500_000, request: 0, car: 1 },
            Pair { ms: 600_000, request: 1, car: 0 },
        ];
        assert_eq!(least_total(pairs.clone(), 2, 2).len(), 2);
        assert_eq!(nearest_first(pairs.clone(), 2, 2), pairs[..1]);
    }

    #[test]
    fn nobody_gets_nothing() {
        assert!(least_total(Vec::new(), 3, 0).is_empty());
        assert!(nearest_first(Vec::new(), 0, 3).is_empty());
    }
}
