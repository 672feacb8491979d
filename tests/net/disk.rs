//! A journal that is full: nothing is promised, everything that was is kept, and with
//! room again the node goes on.

use hailmesh_node::wire::RideState;
use hailmesh_node::{NodeError, NodeEvent};

use crate::city::{Ride, Spec, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_signs_nothing_keeps_everything_and_goes_on_with_room() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let relay = Spec::relay().start().await;
    let rider = Spec::rider().knows(&relay).await.start().await;
    let driver = Spec::driver().at_home(&home).knows(&relay).await.start().await;
    let first = Ride::agreed(&driver, &rider, rider.request().await).await;
    first.finish(&driver, &rider).await;
    let spec = driver.stop().await;

    // No page more than it has now.
    let bytes = std::fs::metadata(home.join("hailmesh.db")).unwrap().len();
    println!("the journal holds {bytes} bytes");
    let driver = spec.with(|settings| settings.store.max_bytes = Some(bytes)).start().await;
    let kept = driver.node.rides().await.unwrap();
    assert_eq!(kept.len(), 1);
    let asked = rider.request().await;
    let problem = driver
        .event("the problem", 0, |event| match event {
            NodeEvent::Problem(problem) => Some(problem.clone()),
            _ => None,
        })
        .await;
    assert!(problem.what.contains("full"), "{problem:?}");
    assert!(problem.hint.contains("disk space") && problem.hint.contains("by itself"), "{problem:?}");
    // It tries every second, and fails again at the next promise: look until it shows.
    let status = eventually("a status that says so", async || {
        let status = driver.status().await;
        (!status.store_healthy).then_some(status)
    })
    .await;
    assert!(status.hints[0].contains("nothing is signed"), "{:?}", status.hints);
    assert_eq!(status.last_error.as_ref().map(|last| &last.what), Some(&problem.what));
    let refused = async || match driver.node.rides().await {
        Err(NodeError::Store(why)) => Some(why),
        _ => None,
    };
    assert!(eventually("a refusal to say what may not be kept", refused).await.contains("full"));
    // Nothing was promised that is not in the journal: what the rider holds of this
    // driver, the driver finds there.
    let theirs = rider.node.ride(asked).await.unwrap().unwrap();
    let spec = driver.stop().await;

    let driver = spec.with(|settings| settings.store.max_bytes = None).start().await;
    assert!(driver.status().await.store_healthy);
    let rides = driver.node.rides().await.unwrap();
    match theirs.agreement {
        None => assert_eq!((theirs.state, rides.len()), (RideState::Requested, 1)),
        agreed => assert!(rides.iter().any(|view| view.agreement == agreed), "{rides:?}"),
    }
    let facts = driver.receipt(first.at_driver).await.verify(&[]).unwrap();
    assert!(facts.cosigned, "the earlier ride is whole");
    let second = Ride::agreed(&driver, &rider, asked).await;
    second.finish(&driver, &rider).await;
    assert_ne!(second.at_driver, first.at_driver);
    let states: Vec<RideState> = rider.node.rides().await.unwrap().iter().map(|view| view.state).collect();
    assert_eq!(states, [RideState::Completed, RideState::Completed]);
    for person in [driver, rider, relay] {
        person.stop().await;
    }
}
