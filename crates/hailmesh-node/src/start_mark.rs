//! Noticing a restored, copied or lost journal (P11.8, P16.3).
//!
//! At each start a new random mark goes into the journal and into a file beside it. If
//! the two differ at the next start, one of them is older than the other or comes from
//! elsewhere, and the keys in the journal may have signed what the journal does not
//! know. The file holds the old mark as well until the journal has the new one, so that
//! a crash between the two writes is not taken for a copy.
//!
//! Whoever makes an identity writes the file for the first time: with the mark of a journal
//! that does not exist yet, since nothing was signed. So a home with an identity and without
//! the file has lost what there was, and so has one whose journal was in memory.

use std::io;
use std::path::Path;

use crate::home::{Existing, write_private};

const MARK_BYTES: usize = 32;

/// A mark.
pub(crate) type Mark = [u8; MARK_BYTES];

/// Stands for "no mark yet".
pub(crate) const ABSENT: Mark = [0; MARK_BYTES];

/// The marks in the side file; none when there is no file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Mark>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Whatever else is in there fits no journal, which is the safe reading of it.
    Ok(bytes.chunks_exact(MARK_BYTES).filter_map(|chunk| chunk.try_into().ok()).collect())
}

/// Whether journal and file belong together.
pub(crate) fn agree(journal: Option<Mark>, file: &[Mark]) -> bool {
    file.contains(&journal.unwrap_or(ABSENT))
}

/// Writes marks to the side file.
pub(crate) fn write(path: &Path, marks: &[Mark]) -> io::Result<()> {
    write_private(path, marks.as_flattened(), Existing::Replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crash_between_the_writes_is_forgiven() {
        let (old, new, other) = ([1; 32], [2; 32], [3; 32]);
        assert!(agree(None, &[ABSENT]));
        assert!(agree(Some(old), &[old]));
        assert!(agree(None, &[ABSENT, new]));
        assert!(agree(Some(old), &[old, new]) && agree(Some(new), &[old, new]));
        assert!(!agree(Some(other), &[old, new]));
        assert!(!agree(Some(old), &[]) && !agree(None, &[old]));
        // An identity of which nothing is known.
        assert!(!agree(None, &[]));
    }

    #[test]
    fn round_trip_and_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("start-mark");
        assert!(read(&path).unwrap().is_empty());
        write(&path, &[[1; 32], [2; 32]]).unwrap();
        assert_eq!(read(&path).unwrap(), [[1; 32], [2; 32]]);
        std::fs::write(&path, b"short").unwrap();
        assert!(!agree(Some([1; 32]), &read(&path).unwrap()));
    }
}
