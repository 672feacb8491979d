//! The folder a node keeps its things in.
//!
//! One process at a time (P17.4): a lock on a file in it, held until the process ends.
//! The folder is 0700 and what is secret in it 0600 (P17.1); looser permissions are
//! refused rather than repaired, because whoever could read the key may have done so.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// Name of the configuration file.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the journal.
pub const STORE_FILE: &str = "hailmesh.db";
const KEY_FILE: &str = "identity.key";
const LOCK_FILE: &str = "lock";
const MARK_FILE: &str = "start-mark";
const API_FILE: &str = "api.json";
const TOKEN_FILE: &str = "api-token";
/// Bits that give a file to anybody but its owner.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another process uses it.
    #[error("{path} is in use by process {}", pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()))]
    AlreadyRunning {
        /// The home.
        path: PathBuf,
        /// The other process, when it has said.
        pid: Option<u32>,
    },
    /// Others may read what they must not.
    #[error("{path} has mode {mode:o}: others could read it; run `chmod {wanted:o} {path}`", path = path.display())]
    Loose {
        /// The file or folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they must be.
        wanted: u32,
    },
    /// The machine says no.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// There is no place for a home by default.
    #[error("no home directory is known: set HAILMESH_HOME or give --home DIR")]
    Nowhere,
}

impl HomeError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// An existing home. Cloning it names the same folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

/// The right to use a home, until dropped or the process ends.
#[derive(Debug)]
pub struct HomeLock {
    file: File,
}

impl Drop for HomeLock {
    fn drop(&mut self) {
        // An empty file tells the next reader that nobody holds it.
        let _ = self.file.set_len(0);
    }
}

/// The home to use when none is named: `HAILMESH_HOME`, else `hailmesh` in the data
/// directory of the platform.
///
/// # Errors
/// [`HomeError::Nowhere`] when there is neither.
pub fn default_dir() -> Result<PathBuf, HomeError> {
    if let Some(dir) = std::env::var_os("HAILMESH_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let strategy = etcetera::choose_base_strategy().map_err(|_| HomeError::Nowhere)?;
    Ok(strategy.data_dir().join("hailmesh"))
}

impl Home {
    /// Opens a home; a folder that does not exist is created with mode 0700.
    ///
    /// # Errors
    /// [`HomeError::Loose`] when others may read the folder or the key file in it.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, HomeError> {
        let dir = std::path::absolute(dir.as_ref()).map_err(HomeError::io("find", dir.as_ref()))?;
        if !dir.is_dir() {
            create_private_dir(&dir).map_err(HomeError::io("create", &dir))?;
        }
        let home = Self(dir);
        home.check_permissions()?;
        Ok(home)
    }

    #[cfg(unix)]
    fn check_permissions(&self) -> Result<(), HomeError> {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            fs::metadata(&self.0).map_err(HomeError::io("look at", &self.0))?.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            // A folder of ours that holds no secret yet has nothing to lose.
            if !self.is_new()? {
                return Err(HomeError::Loose { path: self.0.clone(), mode, wanted: 0o700 });
            }
            fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))
                .map_err(HomeError::io("restrict", &self.0))?;
        }
        for path in [self.key(), self.api_token()] {
            check_private(&path)?;
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_permissions(&self) -> Result<(), HomeError> {
        Ok(())
    }

    /// Whether nothing secret lies here, and nothing of anybody else.
    #[cfg(unix)]
    fn is_new(&self) -> Result<bool, HomeError> {
        for entry in fs::read_dir(&self.0).map_err(HomeError::io("read", &self.0))? {
            let name = entry.map_err(HomeError::io("read", &self.0))?.file_name();
            if name != CONFIG_FILE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The identity key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.0.join(KEY_FILE)
    }

    /// The journal, where it is SQLite.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join(STORE_FILE)
    }

    /// Where the API of the running node is.
    #[must_use]
    pub fn api_json(&self) -> PathBuf {
        self.0.join(API_FILE)
    }

    /// The token of the API.
    #[must_use]
    pub fn api_token(&self) -> PathBuf {
        self.0.join(TOKEN_FILE)
    }

    /// The file whose lock stands for the home.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.0.join(LOCK_FILE)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join(CONFIG_FILE)
    }

    /// The side file of P11.8.
    #[must_use]
    pub fn start_mark(&self) -> PathBuf {
        self.0.join(MARK_FILE)
    }

    /// The host that the home was last used on (P11.9).
    #[must_use]
    pub fn host_mark(&self) -> PathBuf {
        self.0.join("host-mark")
    }

    /// Takes the home for this process.
    ///
    /// # Errors
    /// [`HomeError::AlreadyRunning`] when another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.lock_file();
        let mut file = private_options()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HomeError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HomeError::AlreadyRunning { path: self.0.clone(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(HomeError::io("lock", &path)(source)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(HomeError::io("write", &path))?;
        Ok(HomeLock { file })
    }

    /// The process that has the home now, if any has.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn running(&self) -> Result<Option<u32>, HomeError> {
        let path = self.lock_file();
        let mut file = match private_options().open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HomeError::io("open", &path)(source)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&mut file).unwrap_or(0))),
            Err(TryLockError::Error(source)) => Err(HomeError::io("lock", &path)(source)),
        }
    }
}

impl AsRef<Path> for Home {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Refuses a secret file that others may read. A file that is not there is no fault.
///
/// # Errors
/// [`HomeError::Loose`].
#[cfg(unix)]
pub fn check_private(path: &Path) -> Result<(), HomeError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(HomeError::io("look at", path)(source)),
    };
    if mode & OTHERS == 0 {
        Ok(())
    } else {
        Err(HomeError::Loose { path: path.to_owned(), mode, wanted: 0o600 })
    }
}

/// Refuses a secret file that others may read: not on this platform.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn check_private(_path: &Path) -> Result<(), HomeError> {
    Ok(())
}

/// Whether an existing secret file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It may.
    Replace,
    /// It must not: writing fails with [`io::ErrorKind::AlreadyExists`].
    Keep,
}

/// Writes a file that only its owner may read, as a whole or not at all: a new file
/// (`O_EXCL`, 0600) is written and synced, then put in place, then its folder is synced
/// (P17.1).
///
/// # Errors
/// What the machine says; the old file, if any, is then untouched.
pub fn write_private(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{:016x}", u64::from_be_bytes(random)));
    let result = write_new(&temporary, bytes).and_then(|()| put_in_place(&temporary, path, existing));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
        return result;
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private_options().create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn put_in_place(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(temporary, path),
        // A hard link fails when the name is taken, a rename would not.
        Existing::Keep => fs::hard_link(temporary, path).and_then(|()| fs::remove_file(temporary)),
    }
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

fn create_private_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        other => other,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
