//! Cities without misfortune: most people get where they want to go.

use hailmesh_sim::city::City;
use hailmesh_sim::scenario::GridCity;
use hailmesh_types::Resolution;

#[test]
fn a_rush_hour_is_served() {
    let report = City::grid().drivers(120).riders_per_hour(480.0).minutes(30).loss(0.01).seed(7).run();
    report.assert_sound();
    assert!(report.served_share() >= 0.97, "{report}");
    assert!(report.mean_wait_s() < 240.0, "{report}");
}

#[test]
fn a_sparse_suburb_finds_the_few_cars_there_are() {
    let suburb = GridCity {
        blocks_x: 60,
        blocks_y: 60,
        block_m: 250,
        speed_kmh: 40.0,
        centres: Vec::new(),
        vehicles: 25,
        riders_per_hour: 40.0,
        peak: 1.0,
        ..GridCity::default()
    };
    let report = City::of(suburb).drivers(25).minutes(40).seed(3).run();
    report.assert_sound();
    assert!(report.served_share() >= 0.7, "{report}");
}

#[test]
fn offers_of_every_resolution_lead_to_rides() {
    for resolution in 7..=10 {
        let resolution = Resolution::new(resolution).expect("7 to 10");
        let city = City::grid().drivers(60).riders_per_hour(180.0).minutes(15);
        let report = city.precision(resolution, resolution).seed(u64::from(resolution.get())).run();
        report.assert_sound();
        assert!(report.served_share() >= 0.9, "resolution {}: {report}", resolution.get());
    }
}

/// Drivers who choose, and who stop for a coffee: their riders wait longer and are taken
/// all the same, and nobody is held for ever.
#[test]
fn drivers_who_decline_and_take_breaks_serve_nearly_everybody() {
    let city = || City::grid().drivers(80).riders_per_hour(160.0).minutes(30).seed(5);
    let willing = city().run();
    let choosy = city().acceptance(0.7).breaks_per_hour(2.0).run();
    willing.assert_sound();
    choosy.assert_sound();
    assert!(choosy.served_share() >= 0.95, "{choosy}");
    assert!(choosy.mean_wait_s() > willing.mean_wait_s(), "{choosy} and {willing}");
    let handshakes =
        |report: &hailmesh_sim::city::Report| report.outcome().traffic.unwrap_or_default().handshakes;
    assert!(handshakes(&choosy) > handshakes(&willing), "{choosy} and {willing}");
}

#[test]
fn one_seed_gives_one_trace_whatever_the_threads_and_the_signatures() {
    let city =
        || City::grid().drivers(40).riders_per_hour(240.0).minutes(6).loss(0.02).churn_per_min(0.02).seed(11);
    let first = city().run();
    let again = city().run();
    let threads = city().threads(3).run();
    let real = city().real_signatures().run();
    let other = city().seed(12).run();
    first.assert_sound();
    assert!(first.served() > 0, "{first}");
    assert_eq!(first.outcome(), again.outcome(), "the same run twice");
    assert_eq!(first.outcome(), threads.outcome(), "with three threads");
    assert_eq!(first.outcome(), real.outcome(), "with real signatures");
    assert_ne!(first.outcome().trace_hash, other.outcome().trace_hash, "another seed is another run");
}
