//! Nodes that cannot come together: another network, another time. Nobody is matched
//! wrongly, and both sides are told why.

use hailmesh_node::wire::RideState;

use crate::city::{Person, Spec, eventually, wish};

async fn hinted(person: &Person, word: &str) -> String {
    let what = format!("a hint about {word}");
    let hint = async || {
        let hints = person.status().await.hints;
        println!("{hints:?}");
        hints.into_iter().find(|hint| hint.contains(word))
    };
    eventually(&what, hint).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_network_is_named_to_both() {
    let driver = Spec::driver().start().await;
    let stranger = Spec::rider().with(|settings| settings.network.name = "elsewhere".to_owned());
    let stranger = stranger.knows(&driver).await.start().await;
    let (here, there) = tokio::join!(hinted(&driver, "elsewhere"), hinted(&stranger, "(test)"));
    assert!(here.contains("this node is in test") && here.contains("--network"), "{here}");
    assert!(there.contains("this node is in elsewhere"), "{there}");
    let mut brief = wish();
    brief.patience = hailmesh_types::Duration::from_secs(1);
    let ride = stranger.request_as(brief).await;
    let why = stranger.until(ride, &[RideState::Expired]).await.no_match.unwrap();
    assert_eq!((why.asked, why.explain.heard), (0, 0), "{why:?}");
    assert_eq!(driver.status().await.snapshot.heard, 0);
    driver.stop().await;
    stranger.stop().await;
}

async fn two_minutes(ahead_ms: i64) {
    let driver = Spec::driver().ahead(ahead_ms).start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    let mut brief = wish();
    brief.patience = hailmesh_types::Duration::from_secs(8);
    let ride = rider.request_as(brief).await;
    let (here, there) = tokio::join!(hinted(&driver, "clock"), hinted(&rider, "clock"));
    println!("{ahead_ms} ms: the driver: {here}\nthe rider: {there}");
    assert!(here.contains("NTP") && there.contains("NTP"));
    let view = rider.until(ride, &[RideState::Expired, RideState::Declined]).await;
    assert!(view.agreement.is_none() && view.no_match.is_some(), "{view:?}");
    assert_eq!(driver.node.rides().await.unwrap(), [], "nobody was bound");
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_two_minutes_apart_match_nobody_and_both_are_told_why() {
    tokio::join!(two_minutes(120_000), two_minutes(-120_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_a_few_seconds_apart_do_no_harm() {
    let driver = Spec::driver().ahead(-5_000).start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    let ride = crate::city::Ride::agreed(&driver, &rider, rider.request().await).await;
    ride.finish(&driver, &rider).await;
    for person in [driver, rider] {
        assert!(!person.status().await.hints.iter().any(|hint| hint.contains("clock")));
        person.stop().await;
    }
}
