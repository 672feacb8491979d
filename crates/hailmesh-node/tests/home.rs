//! The home: permissions, the lock, and the key file in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hailmesh_node::home::{Existing, Home, HomeError, write_private};
use hailmesh_node::keys::{IdentityKey, KeyFileError};
use secrecy::SecretString;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn new_home() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path().join("deep/home")).unwrap();
    (dir, home)
}

#[test]
fn a_home_and_its_key_belong_to_their_owner_alone() {
    let (_dir, home) = new_home();
    assert_eq!(mode(home.dir()), 0o700);
    let key = IdentityKey::load_or_create(&home, None).unwrap();
    assert_eq!(mode(&home.key()), 0o600);
    assert_eq!(IdentityKey::load_or_create(&home, None).unwrap().public(), key.public());
    assert!(!IdentityKey::is_encrypted(&home).unwrap());
    let mut left: Vec<_> =
        fs::read_dir(home.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    // The mark says that nothing was signed yet.
    assert_eq!(left, ["identity.key", "start-mark"], "no temporary file stays");
}

#[test]
fn loose_permissions_are_refused_with_the_remedy() {
    let (_dir, home) = new_home();
    IdentityKey::load_or_create(&home, None).unwrap();
    for loose in [0o640, 0o604, 0o660] {
        chmod(&home.key(), loose);
        let text = Home::open(home.dir()).unwrap_err().to_string();
        assert!(text.contains(&format!("chmod 600 {}", home.key().display())), "{text}");
        let refused = IdentityKey::load(&home, None).unwrap_err();
        assert!(matches!(refused, KeyFileError::Home(HomeError::Loose { .. })), "{refused}");
    }
    chmod(&home.key(), 0o600);
    chmod(home.dir(), 0o755);
    let text = Home::open(home.dir()).unwrap_err().to_string();
    assert!(text.contains(&format!("chmod 700 {}", home.dir().display())), "{text}");
}

#[test]
fn an_empty_folder_becomes_a_home_and_a_strange_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o755);
    fs::write(dir.path().join("config.toml"), "").unwrap();
    Home::open(dir.path()).unwrap();
    assert_eq!(mode(dir.path()), 0o700);

    let other = tempfile::tempdir().unwrap();
    chmod(other.path(), 0o755);
    fs::write(other.path().join("holiday.jpg"), "").unwrap();
    assert!(matches!(Home::open(other.path()), Err(HomeError::Loose { .. })));
    assert_eq!(mode(other.path()), 0o755, "nothing was changed");
}

#[test]
fn one_process_has_a_home() {
    let (_dir, home) = new_home();
    assert_eq!(home.running().unwrap(), None);
    let lock = home.lock().unwrap();
    let refused = home.lock().unwrap_err();
    assert!(matches!(refused, HomeError::AlreadyRunning { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    assert_eq!(home.running().unwrap(), Some(std::process::id()));
    drop(lock);
    assert_eq!(home.running().unwrap(), None);
    home.lock().unwrap();
}

#[test]
fn a_passphrase_protects_the_key() {
    let (_dir, home) = new_home();
    let pass = |text: &str| Some(SecretString::from(text.to_owned()));
    let key = IdentityKey::load_or_create(&home, pass("correct horse")).unwrap();
    assert!(IdentityKey::is_encrypted(&home).unwrap());
    let bytes = fs::read(home.key()).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"));
    assert_eq!(IdentityKey::load(&home, pass("correct horse")).unwrap().public(), key.public());
    let wrong = IdentityKey::load(&home, pass("battery")).unwrap_err();
    assert!(matches!(wrong, KeyFileError::WrongPassphrase { .. }), "{wrong}");
    for none in [None, pass("")] {
        let missing = IdentityKey::load(&home, none).unwrap_err();
        assert!(matches!(missing, KeyFileError::PassphraseNeeded { .. }), "{missing}");
    }
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(home.key(), &damaged).unwrap();
    let refused = IdentityKey::load(&home, pass("correct horse")).unwrap_err();
    assert!(matches!(refused, KeyFileError::Corrupt { .. }), "{refused}");
}

#[test]
fn cheap_encryption_is_refused() {
    let (_dir, home) = new_home();
    let mut recipient = age::scrypt::Recipient::new(SecretString::from("x".to_owned()));
    recipient.set_work_factor(10);
    let plain = IdentityKey::ephemeral().unwrap().export(None).unwrap();
    let weak = age::encrypt(&recipient, &plain).unwrap();
    write_private(&home.key(), &weak, Existing::Replace).unwrap();
    let refused = IdentityKey::load(&home, Some(SecretString::from("x".to_owned()))).unwrap_err();
    assert!(matches!(refused, KeyFileError::Work { log2: 10, .. }), "{refused}");
}

#[test]
fn damaged_files_are_refused_and_left_alone() {
    let (_dir, home) = new_home();
    IdentityKey::load_or_create(&home, None).unwrap();
    let good = fs::read_to_string(home.key()).unwrap();
    let flipped = good.replacen("secret ", "secret 0", 1).replacen("\npublic", "", 1);
    let other = IdentityKey::ephemeral().unwrap().export(None).unwrap();
    let other = std::str::from_utf8(&other).unwrap();
    // The secret of one key with the public half of another.
    let mixed: String =
        good.lines().take(2).chain(other.lines().skip(2)).map(|line| format!("{line}\n")).collect();
    let long = "x".repeat(20_000);
    for bad in [
        "",
        "hailmesh-key-v1\n",
        &good[..40],
        &flipped,
        &mixed,
        &long,
        &format!("{good}more\n"),
        "\u{0}\u{1}",
    ] {
        fs::write(home.key(), bad).unwrap();
        let refused = IdentityKey::load_or_create(&home, None).unwrap_err();
        assert!(matches!(refused, KeyFileError::Corrupt { .. }), "{bad:?}: {refused}");
        assert_eq!(fs::read_to_string(home.key()).unwrap(), bad, "left as it was");
    }
}

#[test]
fn export_and_import_carry_a_key_over() {
    let (_dir, first) = new_home();
    let (_other, second) = new_home();
    let pass = || Some(SecretString::from("secret".to_owned()));
    let key = IdentityKey::load_or_create(&first, None).unwrap();
    let file = key.export(pass()).unwrap();
    // Of a key that was here before, and of which nothing was heard.
    fs::write(second.start_mark(), [0; 32]).unwrap();
    let imported = IdentityKey::import(&second, &file, pass()).unwrap();
    assert_eq!(imported.public(), key.public());
    assert!(first.start_mark().exists() && !second.start_mark().exists(), "an imported key is not new");
    assert!(IdentityKey::is_encrypted(&second).unwrap());
    let again = IdentityKey::import(&second, &file, pass()).unwrap_err();
    assert!(matches!(again, KeyFileError::Exists { .. }), "{again}");
    assert!(matches!(IdentityKey::create(&first, None), Err(KeyFileError::Exists { .. })));
    assert!(!format!("{key:?}").contains(&key.public().to_string()), "Debug shows a short hash only");
}
