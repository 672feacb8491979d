//! A log that power loss or a bad disk has torn: a prefix of what was committed comes
//! back, or a refusal; never anything else.

use std::fs;
use std::path::Path;

use hailmesh_store::{Error, Options, Store, StoreUrl};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::crash::leave_behind;
use crate::random::seed;
use crate::sample::{key, life, prefixes};

/// Batches in the log.
const BATCHES: usize = 30;

#[tokio::test]
async fn a_torn_log_gives_a_prefix_or_a_refusal() {
    let seed = seed();
    eprintln!("HAILMESH_TEST_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let whole = folder.path().join("whole.db");
    leave_behind(&whole, BATCHES);
    let log = fs::read(folder.path().join("whole.db-wal")).expect("a killed process leaves its log");
    let states = prefixes(&life(BATCHES as u64)).await;

    let mut found = Vec::new();
    let untouched = reopened(folder.path(), &whole, &log, &states).await.expect("whole");
    assert!(untouched.is_some_and(|count| count >= BATCHES), "{untouched:?} of {BATCHES} batches");
    for cut in (0..40).map(|_| rng.random_range(0..log.len())).chain([0, 1, 31, 32, 33, log.len() - 1]) {
        found.push((format!("cut at {cut}"), reopened(folder.path(), &whole, &log[..cut], &states).await));
    }
    for _ in 0..40 {
        let (place, bit) = (rng.random_range(0..log.len()), rng.random_range(0..8));
        let mut torn = log.clone();
        torn[place] ^= 1 << bit;
        found.push((
            format!("bit {bit} of byte {place}"),
            reopened(folder.path(), &whole, &torn, &states).await,
        ));
    }
    for _ in 0..20 {
        // A sector that was never written.
        let place = rng.random_range(0..log.len() / 512) * 512;
        let mut torn = log.clone();
        torn[place..].iter_mut().take(512).for_each(|byte| *byte = 0);
        found.push((format!("zeros at {place}"), reopened(folder.path(), &whole, &torn, &states).await));
    }
    for (what, result) in &found {
        match result {
            Ok(Some(count)) => assert!(*count <= untouched.expect("whole"), "{what}: {count}"),
            Ok(None) => panic!("{what}: neither a prefix nor a refusal"),
            Err(Error::Corrupt { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
    let middle = found.iter().filter(|(_, result)| matches!(result, Ok(Some(1..BATCHES)))).count();
    assert!(middle > 10, "only {middle} of {} cases gave a part of the history: a weak test", found.len());
}

/// How many batches a copy with this log gives back; none when it is no prefix.
async fn reopened(
    folder: &Path,
    whole: &Path,
    log: &[u8],
    states: &[Vec<hailmesh_market::Record>],
) -> Result<Option<usize>, Error> {
    let copy = tempfile::tempdir_in(folder).expect("a folder");
    let path = copy.path().join("copy.db");
    fs::copy(whole, &path).expect("copied");
    fs::write(copy.path().join("copy.db-wal"), log).expect("written");
    let store = Store::open(&StoreUrl::Sqlite(path), &key(250), Options::default()).await?;
    let loaded = store.load().await;
    store.close().await;
    loaded.map(|loaded| states.iter().position(|state| *state == loaded))
}

/// What a power cut tears is what was being written: the end of the log behind the last
/// commit that was acknowledged. Only what was acknowledged has been sent (P11.1), and all
/// of that is still there, whatever the end looks like.
#[tokio::test]
async fn a_torn_end_loses_nothing_that_was_acknowledged() {
    let seed = seed();
    eprintln!("HAILMESH_TEST_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let whole = folder.path().join("whole.db");
    let log_path = folder.path().join("whole.db-wal");
    let batches: Vec<_> = life(BATCHES as u64).into_iter().take(BATCHES).collect();
    let states = prefixes(&batches).await;
    let url = StoreUrl::Sqlite(whole.clone());
    let store = Store::open(&url, &key(250), Options::default()).await.expect("a new journal");
    // How long the log was when each batch was acknowledged.
    let mut ends = vec![fs::metadata(&log_path).expect("a log").len()];
    for batch in &batches {
        store.append(batch).await.expect("stored");
        ends.push(fs::metadata(&log_path).expect("a log").len());
    }
    let log = fs::read(&log_path).expect("the log can be read");
    assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "the log begins anew in this test: {ends:?}");

    let mut middle = 0;
    for case in 0..120 {
        let acknowledged = rng.random_range(0..BATCHES);
        let end = usize::try_from(ends[acknowledged]).expect("a short log");
        // Of what comes after it any part may have reached the disk, in any order.
        let mut torn = log[..rng.random_range(end..=log.len())].to_vec();
        let what = match case % 3 {
            0 => "cut".to_owned(),
            1 if torn.len() > end => {
                let place = rng.random_range(end..torn.len());
                torn[place] ^= 1 << rng.random_range(0..8);
                format!("a bit at {place}")
            }
            _ => {
                let place = rng.random_range(end..=torn.len());
                torn[place..].iter_mut().take(4096).for_each(|byte| *byte = 0);
                format!("zeros at {place}")
            }
        };
        let count = reopened(folder.path(), &whole, &torn, &states).await;
        let count = count.unwrap_or_else(|error| panic!("{what}, {end} bytes acknowledged: {error}"));
        let count = count.unwrap_or_else(|| panic!("{what}, {end} bytes acknowledged: not a prefix"));
        assert!(count >= acknowledged, "{what}: {acknowledged} batches acknowledged, {count} found");
        middle += usize::from(count < BATCHES);
    }
    assert!(middle > 40, "only {middle} of 120 ends were torn: a weak test");
    store.close().await;
}
