//! Files that are damaged, unreadable or of somebody else, addresses that do not answer: a
//! clear error that names the value, and nothing is lost.

use std::path::Path;

use crate::process::{AT, FROM, Place, TO, text};

/// A home with a finished life: key and journal.
fn used_home(place: &Place) -> std::path::PathBuf {
    let rider = place.node(&["rider", "--at", AT]);
    place.json(4, &["ride", "request", "--from", FROM, "--to", TO, "--wait", "1s"]);
    assert_eq!(rider.terminate(), Some(0));
    place.home("rider")
}

#[test]
fn a_damaged_journal_is_left_as_it_is() {
    let place = Place::new("journal");
    let home = used_home(&place);
    let path = home.join("hailmesh.db");
    let good = std::fs::read(&path).expect("a journal");
    let mut torn = good.clone();
    let end = torn.len().min(4_096 * 6);
    torn[100..end].fill(0xa5);
    for (what, bytes) in
        [("text", b"this is no database, but it is long enough to be one".repeat(40)), ("torn", torn)]
    {
        std::fs::write(&path, &bytes).expect("written");
        let message = place.refused(1, &["rider", "--no-mdns"]);
        assert!(message.contains("hailmesh.db"), "{what}: {message}");
        assert_eq!(std::fs::read(&path).expect("still there"), bytes, "{what}: it was changed");
    }
    // The good one from a backup: all is there again.
    std::fs::write(&path, &good).expect("written");
    for side in ["hailmesh.db-wal", "hailmesh.db-shm"] {
        let _ = std::fs::remove_file(home.join(side));
    }
    let rider = place.node(&["rider"]);
    assert_eq!(rider.terminate(), Some(0));
}

#[test]
fn a_truncated_journal_is_refused() {
    let place = Place::new("truncated");
    let home = used_home(&place);
    let path = home.join("hailmesh.db");
    let good = std::fs::read(&path).expect("a journal");
    std::fs::write(&path, &good[..good.len() / 2]).expect("written");
    let message = place.refused(1, &["rider", "--no-mdns"]);
    assert!(message.contains("hailmesh.db"), "{message}");
}

#[test]
fn a_key_file_that_cannot_be_used_is_named() {
    let place = Place::new("key-file");
    let home = used_home(&place);
    let path = home.join("identity.key");
    let good = std::fs::read(&path).expect("a key");
    for bytes in [&b""[..], b"hailmesh-key-v1", b"-----BEGIN SOMETHING ELSE-----\n", &good[..good.len() / 2]]
    {
        write_private(&path, bytes);
        let message = place.refused(1, &["rider", "--no-mdns"]);
        assert!(message.contains("identity.key"), "{message}");
        assert_eq!(std::fs::read(&path).expect("still there"), bytes, "it was changed");
    }
    // A folder in its place cannot be read by anybody, not even by root.
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("made");
    let message = place.refused_by_any(&["rider", "--no-mdns"]);
    assert!(message.contains("identity.key"), "{message}");
    std::fs::remove_dir(&path).expect("removed");
    write_private(&path, &good);
    let rider = place.node(&["rider"]);
    assert_eq!(rider.terminate(), Some(0));
}

#[cfg(unix)]
#[test]
fn loose_permissions_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new("loose");
    let home = used_home(&place);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set")
    };
    mode(&home.join("identity.key"), 0o644);
    let message = place.refused(7, &["rider", "--no-mdns"]);
    assert!(message.contains("identity.key") && message.contains("chmod 600"), "{message}");
    mode(&home.join("identity.key"), 0o600);
    mode(&home, 0o755);
    let message = place.refused(7, &["rider", "--no-mdns"]);
    assert!(message.contains("chmod 700"), "{message}");
    mode(&home, 0o700);
    let rider = place.node(&["rider"]);
    assert_eq!(rider.terminate(), Some(0));
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let place = Place::new("passphrase");
    let (right, wrong) = (text(&place.path("right")), text(&place.path("wrong")));
    std::fs::write(&right, "correct horse\n").expect("written");
    std::fs::write(&wrong, "battery staple\n").expect("written");
    let made = place.json(0, &["key", "new", "--role", "rider", "--passphrase-file", &right]);
    assert_eq!(made["encrypted"], true);
    let message = place.refused(1, &["rider", "--no-mdns"]);
    assert!(message.contains("encrypted") && message.contains("HAILMESH_PASSPHRASE_FILE"), "{message}");
    let message = place.refused(1, &["rider", "--no-mdns", "--passphrase-file", &wrong]);
    assert!(message.contains("wrong passphrase"), "{message}");
    let rider = place.node(&["rider", "--passphrase-file", &right]);
    assert_eq!(rider.terminate(), Some(0));

    // Out, and into another home.
    let shown = place.json(0, &["key", "show", "--role", "rider", "--passphrase-file", &right]);
    let file = text(&place.path("exported"));
    let export = ["key", "export", "--role", "rider", "--passphrase-file", &right, "--out", &file];
    assert!(place.run(&export).status.success());
    let other = text(&place.path("other"));
    let imported = place.json(0, &["--home", &other, "key", "import", &file, "--passphrase-file", &right]);
    assert_eq!(imported["identity"], shown["identity"]);
    assert!(place.refused(1, &["--home", &other, "key", "new"]).contains("exists"));
}

#[test]
fn an_address_that_does_not_answer_is_explained() {
    let place = Place::new("unreachable");
    // A port that was free a moment ago.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let _rider = place.node(&["rider", "--at", AT, "--bootstrap", &address]);
    let answer = place.json(4, &["ride", "request", "--from", FROM, "--to", TO, "--wait", "2s"]);
    assert_eq!(answer["reasons"]["peers"], 0);
    let hints = place.json(0, &["status"])["hints"].to_string();
    assert!(hints.contains(&address), "{hints}");
    let doctor = place.json(1, &["doctor", "--bootstrap", &address]);
    assert!(doctor["checks"].to_string().contains(&address), "{doctor}");
}

#[test]
fn another_network_is_never_a_match_and_both_are_told() {
    let place = Place::new("here");
    let _driver = place.driver(&[]);
    let invite = place.json(0, &["invite"])["invite"].as_str().expect("a line").to_owned();
    let other = Place::new("elsewhere");
    let _rider = other.node(&["rider", "--at", AT, "--bootstrap", &invite]);
    let answer = other.json(4, &["ride", "request", "--from", FROM, "--to", TO, "--wait", "3s"]);
    assert_eq!((answer["state"].as_str(), answer["reasons"]["heard"].as_u64()), (Some("no_match"), Some(0)));
    let hints = other.json(0, &["status"])["hints"].to_string();
    assert!(hints.contains("other networks"), "{hints}");
}

fn write_private(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("set");
    }
}
