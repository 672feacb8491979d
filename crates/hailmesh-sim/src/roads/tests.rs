use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A random network: a ring in both directions, so that it is connected, and chords.
fn random(seed: u64, junctions: u32) -> (Vec<GeoPoint>, Vec<Link>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut points = Vec::new();
    for _ in 0..junctions {
        let lat = 40.7 + rng.random_range(0..50) as f64 * 0.001;
        let lon = -74.0 + rng.random_range(0..50) as f64 * 0.001;
        points.push(GeoPoint::from_degrees(lat, lon).unwrap());
    }
    let mut links = Vec::new();
    let mut link = |rng: &mut ChaCha8Rng, from: u32, to: u32| {
        // Few different values, so that ties are common.
        let length_km = 0.1 * f64::from(rng.random_range(1..6_u32));
        let speed_kmh = 10.0 * f64::from(rng.random_range(1..4_u32));
        links.push(Link { from: Junction(from), to: Junction(to), length_km, speed_kmh });
    };
    for from in 0..junctions {
        link(&mut rng, from, (from + 1) % junctions);
    }
    for _ in 0..junctions * 2 {
        let (from, to) = (rng.random_range(0..junctions), rng.random_range(0..junctions));
        link(&mut rng, from, to);
    }
    (points, links)
}

/// Bellman and Ford, as plain as it can be: (ms, m) from `from` to everywhere.
fn naive(links: &[Link], junctions: usize, from: usize) -> Vec<(u64, u64)> {
    let mut best = vec![(u64::MAX / 2, 0); junctions];
    best[from] = (0, 0);
    for _ in 0..junctions {
        for link in links {
            let ms = (link.length_km / link.speed_kmh * 3.6e6).round() as u64;
            let m = (link.length_km * 1e3).round() as u64;
            let start = best[link.from.index()];
            let end = &mut best[link.to.index()];
            *end = (*end).min((start.0 + ms, start.1 + m));
        }
    }
    best
}

#[test]
fn table_and_hierarchy_agree_with_a_naive_search() {
    for seed in 0..12 {
        let (points, links) = random(seed, 24);
        let table = Roads::new(points.clone(), links.clone()).unwrap();
        let hierarchy = Roads::with_table_up_to(points, links.clone(), 0).unwrap();
        for from in 0..24 {
            let expected = naive(&links, 24, from as usize);
            for to in 0..24 {
                let (ms, m) = expected[to as usize];
                for roads in [&table, &hierarchy] {
                    let (from, to) = (Junction(from), Junction(to));
                    let drive = roads.drive(from, to);
                    assert_eq!(
                        (u64::from(drive.ms), u64::from(drive.m)),
                        (ms, m),
                        "seed {seed} {from:?} {to:?}"
                    );
                    check_path(roads, &links, from, to);
                }
            }
        }
    }
}

fn check_path(roads: &Roads, links: &[Link], from: Junction, to: Junction) {
    let path = roads.timed_path(from, to);
    assert_eq!(path[0], (from, 0));
    assert_eq!(path[path.len() - 1], (to, roads.drive(from, to).ms));
    for leg in path.windows(2) {
        let fastest = links
            .iter()
            .filter(|link| link.from == leg[0].0 && link.to == leg[1].0)
            .map(|link| link.cost().drive().ms)
            .min();
        assert_eq!(fastest, Some(leg[1].1 - leg[0].1), "a leg is the fastest link between its ends");
        assert_eq!(roads.junction_after(from, to, leg[1].1 - 1), leg[0].0);
        assert_eq!(roads.junction_after(from, to, leg[1].1), leg[1].0);
        assert_eq!(roads.point_after(from, to, leg[0].1), roads.point(leg[0].0));
    }
    assert_eq!(roads.junction_after(from, to, u32::MAX), to);
    assert_eq!(roads.point_after(from, to, u32::MAX), roads.point(to));
}

#[test]
fn halfway_along_a_link_is_between_its_ends() {
    let ends = [(40.0, -74.0), (40.01, -74.02)].map(|(lat, lon)| GeoPoint::from_degrees(lat, lon).unwrap());
    let link = |from, to| Link { from: Junction(from), to: Junction(to), length_km: 1.0, speed_kmh: 36.0 };
    let roads = Roads::new(ends.to_vec(), vec![link(0, 1), link(1, 0)]).unwrap();
    assert_eq!(roads.drive(Junction(0), Junction(1)), Drive { ms: 100_000, m: 1_000 });
    let half = roads.point_after(Junction(0), Junction(1), 50_000);
    assert_eq!(half, GeoPoint::from_degrees(40.005, -74.01).unwrap());
}

#[test]
fn snapping_agrees_with_a_naive_search_and_ties_go_to_the_lowest_number() {
    for seed in 0..20 {
        let (points, links) = random(seed, 60);
        let roads = Roads::new(points.clone(), links).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
        for _ in 0..200 {
            let lat = 40.69 + rng.random_range(0..70_000) as f64 * 1e-6;
            let lon = -74.01 + rng.random_range(0..70_000) as f64 * 1e-6;
            let place = GeoPoint::from_degrees(lat, lon).unwrap();
            let found = roads.point(roads.snap(place)).distance_m(place);
            let nearest = points.iter().map(|point| point.distance_m(place)).fold(f64::MAX, f64::min);
            // The plane and the sphere differ by a few centimetres at this size.
            assert!(found <= nearest + 0.5, "seed {seed}: {found} m, the nearest is {nearest} m");
        }
        for (number, point) in (0..).zip(&points) {
            let first = points.iter().position(|other| other == point).unwrap();
            assert_eq!(roads.snap(*point).index(), first, "seed {seed}: junction {number} and its twins");
        }
    }
}

#[test]
fn a_lattice_agrees_with_the_same_city_as_a_network() {
    let corner = GeoPoint::from_degrees(40.0, -74.0).unwrap();
    let lattice = Lattice::new(corner, (5, 4), 200, (18.0, 30.0)).unwrap();
    let closed = Roads::lattice(lattice);
    let mut links = Vec::new();
    for number in 0..20_u32 {
        let mut both = |other: u32, speed_kmh: f64| {
            for (from, to) in [(number, other), (other, number)] {
                links.push(Link { from: Junction(from), to: Junction(to), length_km: 0.2, speed_kmh });
            }
        };
        if number % 5 < 4 {
            both(number + 1, 18.0);
        }
        if number / 5 < 3 {
            both(number + 5, 30.0);
        }
    }
    let points = (0..20).map(|number| closed.point(Junction(number))).collect();
    let network = Roads::new(points, links.clone()).unwrap();
    assert_eq!(closed.len(), network.len());
    for from in (0..20).map(Junction) {
        for to in (0..20).map(Junction) {
            assert_eq!(closed.drive(from, to), network.drive(from, to), "{from:?} {to:?}");
            check_path(&closed, &links, from, to);
        }
        assert_eq!(closed.snap(closed.point(from)), from);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..500 {
        let place = lattice.point_at(rng.random_range(-1.0..6.0), rng.random_range(-1.0..5.0));
        assert_eq!(closed.snap(place), network.snap(place));
    }
}

#[test]
fn one_way_links_are_not_driven_the_wrong_way() {
    let (points, _) = random(1, 3);
    let link = |from, to| Link { from: Junction(from), to: Junction(to), length_km: 1.0, speed_kmh: 36.0 };
    let roads = Roads::new(points, vec![link(0, 1), link(1, 2), link(2, 0)]).unwrap();
    assert_eq!(roads.drive(Junction(0), Junction(1)).ms, 100_000);
    assert_eq!(roads.drive(Junction(1), Junction(0)).ms, 200_000);
    assert_eq!(roads.path(Junction(1), Junction(0)), [Junction(1), Junction(2), Junction(0)]);
}

#[test]
fn a_uniform_speed_replaces_every_speed() {
    let (points, links) = random(4, 20);
    let roads = Roads::new(points, links).unwrap();
    let uniform = roads.with_uniform_speed(20.0).unwrap();
    assert!(uniform.links().all(|link| link.speed_kmh == 20.0));
    for to in (1..20).map(Junction) {
        let drive = uniform.drive(Junction(0), to);
        assert!(drive.ms.abs_diff(drive.m * 180) <= 1, "{drive:?} is not 20 km/h");
        assert!(drive.m <= roads.drive(Junction(0), to).m, "the fastest is now the shortest");
    }
    for wrong in [0.0, -1.0, 301.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(roads.with_uniform_speed(wrong), Err(RoadsError::Speed(_))), "{wrong}");
    }
}

#[test]
fn what_is_not_a_network_is_refused_by_name() {
    let (points, _) = random(5, 3);
    let link = |from, to, length_km, speed_kmh| Link {
        from: Junction(from),
        to: Junction(to),
        length_km,
        speed_kmh,
    };
    let refused = |links: Vec<Link>| Roads::new(points.clone(), links).unwrap_err();
    assert_eq!(Roads::new(Vec::new(), Vec::new()).unwrap_err(), RoadsError::Empty);
    assert!(matches!(refused(vec![link(0, 3, 1.0, 20.0)]), RoadsError::Endpoint { junction: 3, .. }));
    for length in [0.0, -1.0, 101.0, f64::NAN] {
        assert!(matches!(refused(vec![link(0, 1, length, 20.0)]), RoadsError::Length { link: 0, .. }));
    }
    for speed in [0.0, 0.9, -1.0, 301.0, f64::NAN] {
        assert!(matches!(refused(vec![link(0, 1, 1.0, speed)]), RoadsError::LinkSpeed { link: 0, .. }));
    }
    let disconnected = |from, to| RoadsError::Disconnected { from: Junction(from), to: Junction(to) };
    assert_eq!(refused(Vec::new()), disconnected(0, 1));
    assert_eq!(refused(vec![link(0, 1, 1.0, 20.0), link(1, 0, 1.0, 20.0)]), disconnected(0, 2));
    let no_way_back = vec![link(0, 1, 1.0, 20.0), link(1, 0, 1.0, 20.0), link(1, 2, 1.0, 20.0)];
    assert_eq!(refused(no_way_back), disconnected(2, 0));
}

#[test]
fn a_single_junction_is_a_network() {
    let (points, _) = random(6, 1);
    let roads = Roads::new(points, Vec::new()).unwrap();
    assert_eq!(roads.drive(Junction(0), Junction(0)), Drive::default());
    assert_eq!(roads.timed_path(Junction(0), Junction(0)), [(Junction(0), 0)]);
}
