//! Noticing that a home has come to another host (P11.9).
//!
//! The home keeps a hash of the host's machine id. Where the two differ, the home was
//! moved or copied with all that belongs to it, so that the start marks agree; if the
//! original still runs, it will be heard before this copy offers anything. A host
//! without a machine id (most containers) cannot be told from another: there the start
//! marks of P11.8 are all there is.

use std::io;
use std::path::Path;

use hailmesh_wire::prefixed;

use crate::home::{Existing, write_private};

/// Where Linux keeps the id of the machine.
const MACHINE_ID: &str = "/etc/machine-id";

/// The mark of this host, if it has one.
fn current() -> Option<[u8; 32]> {
    let id = std::fs::read_to_string(MACHINE_ID).ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| prefixed("hailmesh-host-v1", &[id.as_bytes()]))
}

/// Whether the home at `path` was last used on another host, and notes this one.
pub(crate) fn is_new_host(path: &Path) -> io::Result<bool> {
    compare(path, current())
}

fn compare(path: &Path, current: Option<[u8; 32]>) -> io::Result<bool> {
    let Some(current) = current else { return Ok(false) };
    let known = match std::fs::read(path) {
        Ok(known) => Some(known),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if known.as_deref() == Some(&current[..]) {
        return Ok(false);
    }
    write_private(path, &current, Existing::Replace)?;
    Ok(known.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_home_on_another_host_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host-mark");
        assert!(!compare(&path, Some([1; 32])).unwrap(), "the first start");
        assert!(!compare(&path, Some([1; 32])).unwrap());
        assert!(compare(&path, Some([2; 32])).unwrap(), "moved");
        assert!(!compare(&path, Some([2; 32])).unwrap(), "and known from then on");
        assert!(!compare(&path, None).unwrap(), "no machine id, no verdict");
    }
}
