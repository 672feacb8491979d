//! The identity key in its file (P17).
//!
//! By default the file is plain text that only its owner may read, as in Syncthing and
//! kubo, so that a first run asks nothing. With a passphrase it is an age file (scrypt).
//! A file that was damaged, or that was protected too weakly, is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use hailmesh_types::PublicKey;
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::home::{Existing, Home, HomeError, check_private, write_private};
use crate::start_mark;

/// First line of a plain key file.
const MAGIC: &str = "hailmesh-key-v1";
/// First bytes of every age file.
const AGE_MAGIC: &[u8] = b"age-encryption.org/v1";
/// Work of scrypt when writing, as a power of two: about a second.
const WORK_LOG2: u8 = 18;
/// Least work taken when reading (P17.2).
const WORK_LOG2_MIN: u8 = 17;
/// Most work taken when reading: a file must not be able to hang a node.
const WORK_LOG2_MAX: u8 = 22;
/// A key file is far smaller than this.
const FILE_BYTES_MAX: u64 = 16_384;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{action} key file {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// The home or the file is open to others.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The file is no key file, or was damaged.
    #[error("key file {path} is damaged: {what}; restore it from a backup", path = path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// There is no key file.
    #[error("no key file {path}: `hailmesh key new` makes one", path = path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already, and it stays.
    #[error("key file {path} exists: move it away first, a lost identity key cannot be made again", path = path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The file is encrypted and no passphrase was given.
    #[error("key file {path} is encrypted: give its passphrase (a prompt, or HAILMESH_PASSPHRASE_FILE)", path = path.display())]
    PassphraseNeeded {
        /// Which file.
        path: PathBuf,
    },
    /// The passphrase does not open the file.
    #[error("wrong passphrase for key file {path}", path = path.display())]
    WrongPassphrase {
        /// Which file.
        path: PathBuf,
    },
    /// The file is encrypted in a way that is too cheap to break or too dear to open.
    #[error("key file {path}: scrypt work 2^{log2}, expected 2^{WORK_LOG2_MIN} to 2^{WORK_LOG2_MAX}", path = path.display())]
    Work {
        /// Which file.
        path: PathBuf,
        /// What it asks for.
        log2: u8,
    },
    /// The machine has no randomness.
    #[error("no randomness: {0}")]
    Random(String),
}

impl KeyFileError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// The key that stands for a person for years (P3). `Debug` shows a short hash only.
#[derive(Clone)]
pub struct IdentityKey(SigningKey);

impl std::fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityKey({:?})", self.public())
    }
}

impl IdentityKey {
    /// A key that is kept nowhere.
    ///
    /// # Errors
    /// [`KeyFileError::Random`].
    pub fn ephemeral() -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| KeyFileError::Random(error.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key of a home; the first time, a new one, protected by the passphrase if
    /// there is one.
    ///
    /// # Errors
    /// Any [`KeyFileError`] but [`KeyFileError::Missing`].
    pub fn load_or_create(home: &Home, passphrase: Option<SecretString>) -> Result<Self, KeyFileError> {
        match Self::load(home, passphrase.clone()) {
            Err(KeyFileError::Missing { .. }) => Self::create(home, passphrase),
            other => other,
        }
    }

    /// The key of a home.
    ///
    /// # Errors
    /// Any [`KeyFileError`].
    pub fn load(home: &Home, passphrase: Option<SecretString>) -> Result<Self, KeyFileError> {
        let path = home.key();
        check_private(&path)?;
        let bytes = read(&path)?;
        Self::open(&bytes, passphrase, &path)
    }

    /// A new key in a home that has none.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] when it has one.
    pub fn create(home: &Home, passphrase: Option<SecretString>) -> Result<Self, KeyFileError> {
        let key = Self::ephemeral()?;
        key.save(home, passphrase)?;
        // It has signed nothing yet. Without this, as after an import, nobody knows.
        let path = home.start_mark();
        start_mark::write(&path, &[start_mark::ABSENT]).map_err(KeyFileError::io("write", &path))?;
        Ok(key)
    }

    /// Puts an exported key into a home that has none. The passphrase opens `exported`
    /// if that is encrypted, and protects the file in the home. What the key has signed
    /// elsewhere is not known here: the first start says that it was lost (P16.3).
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] when the home has a key, otherwise what is wrong with
    /// `exported`.
    pub fn import(
        home: &Home,
        exported: &[u8],
        passphrase: Option<SecretString>,
    ) -> Result<Self, KeyFileError> {
        if home.key().exists() {
            return Err(KeyFileError::Exists { path: home.key() });
        }
        let key = Self::open(exported, passphrase.clone(), Path::new("(import)"))?;
        let mark = home.start_mark();
        match fs::remove_file(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(KeyFileError::io("remove", &mark)(error));
            }
            _ => {}
        }
        key.save(home, passphrase)?;
        Ok(key)
    }

    /// The key as a file holds it, encrypted when a passphrase is given.
    ///
    /// # Errors
    /// [`KeyFileError::Io`] when encryption fails.
    pub fn export(&self, passphrase: Option<SecretString>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let plain = self.to_text();
        let Some(passphrase) = passphrase else {
            return Ok(Zeroizing::new(plain.as_bytes().to_vec()));
        };
        let mut recipient = age::scrypt::Recipient::new(passphrase);
        recipient.set_work_factor(WORK_LOG2);
        let sealed = age::encrypt(&recipient, plain.as_bytes())
            .map_err(|error| KeyFileError::io("encrypt", Path::new("(export)"))(io::Error::other(error)))?;
        Ok(Zeroizing::new(sealed))
    }

    /// Whether the key file of a home asks for a passphrase; no when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_encrypted(home: &Home) -> Result<bool, KeyFileError> {
        match read(&home.key()) {
            Ok(bytes) => Ok(bytes.starts_with(AGE_MAGIC)),
            Err(KeyFileError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from(self.0.verifying_key())
    }

    /// The key in the form the market signs with.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.0
    }

    /// The transport key of a relay: the same for as long as the identity is, because its
    /// peer id stands in invite lines and in the configuration of others. Nobody can tell
    /// the identity from it.
    pub(crate) fn relay_seed(&self) -> Zeroizing<[u8; 32]> {
        let secret = Zeroizing::new(self.0.to_bytes());
        Zeroizing::new(blake3::derive_key("hailmesh relay transport key, version 1", secret.as_ref()))
    }

    fn save(&self, home: &Home, passphrase: Option<SecretString>) -> Result<(), KeyFileError> {
        let path = home.key();
        if path.exists() {
            return Err(KeyFileError::Exists { path });
        }
        let bytes = self.export(passphrase)?;
        write_private(&path, &bytes, Existing::Keep).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path },
            _ => KeyFileError::Io { action: "write", path, source },
        })
    }

    /// The public half is in the file as well: a damaged secret is noticed.
    fn to_text(&self) -> Zeroizing<String> {
        let mut secret = self.0.to_bytes();
        let text = Zeroizing::new(format!("{MAGIC}\nsecret {}\npublic {}\n", *hex(&secret), self.public()));
        secret.zeroize();
        text
    }

    fn open(bytes: &[u8], passphrase: Option<SecretString>, path: &Path) -> Result<Self, KeyFileError> {
        if bytes.starts_with(AGE_MAGIC) {
            let passphrase = passphrase.filter(|passphrase| !passphrase.expose_secret().is_empty());
            let passphrase =
                passphrase.ok_or_else(|| KeyFileError::PassphraseNeeded { path: path.to_owned() })?;
            let plain = decrypt(bytes, passphrase, path)?;
            return Self::parse(&plain, path);
        }
        Self::parse(bytes, path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, KeyFileError> {
        let corrupt = |what| KeyFileError::Corrupt { path: path.to_owned(), what };
        let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is not text"))?;
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(corrupt("the first line is not hailmesh-key-v1"));
        }
        let mut field = |name: &str| {
            let line = lines.next().ok_or_else(|| corrupt("a line is missing"))?;
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            value.ok_or_else(|| corrupt("a line has another name than expected"))
        };
        let secret = unhex(field("secret")?).ok_or_else(|| corrupt("the secret is not 64 digits"))?;
        let public = field("public")?;
        if lines.any(|line| !line.trim().is_empty()) {
            return Err(corrupt("there is something after the key"));
        }
        let key = Self(SigningKey::from_bytes(&secret));
        if key.public().to_string() == public {
            Ok(key)
        } else {
            Err(corrupt("secret and public do not fit"))
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let missing = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::io("read", path)(source),
    };
    let size = fs::metadata(path).map_err(missing)?.len();
    if size > FILE_BYTES_MAX {
        return Err(KeyFileError::Corrupt { path: path.to_owned(), what: "it is far too large" });
    }
    fs::read(path).map(Zeroizing::new).map_err(KeyFileError::io("read", path))
}

fn decrypt(bytes: &[u8], passphrase: SecretString, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let corrupt = |what| KeyFileError::Corrupt { path: path.to_owned(), what };
    let log2 = work_of(bytes).ok_or_else(|| corrupt("it is not encrypted with a passphrase"))?;
    if !(WORK_LOG2_MIN..=WORK_LOG2_MAX).contains(&log2) {
        return Err(KeyFileError::Work { path: path.to_owned(), log2 });
    }
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(WORK_LOG2_MAX);
    match age::decrypt(&identity, bytes) {
        Ok(plain) => Ok(Zeroizing::new(plain)),
        Err(age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed) => {
            Err(KeyFileError::WrongPassphrase { path: path.to_owned() })
        }
        Err(age::DecryptError::NoMatchingKeys) => {
            Err(KeyFileError::WrongPassphrase { path: path.to_owned() })
        }
        Err(_) => Err(corrupt("its encryption does not hold")),
    }
}

/// The work factor in the header of an age file: `-> scrypt SALT LOG2`.
fn work_of(bytes: &[u8]) -> Option<u8> {
    let head = bytes.get(..bytes.len().min(512))?;
    let line = head.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"-> scrypt "))?;
    std::str::from_utf8(line).ok()?.split(' ').nth(3)?.trim().parse().ok()
}

fn hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    use std::fmt::Write;
    let mut out = Zeroizing::new(String::with_capacity(64));
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = Zeroizing::new([0; 32]);
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}
