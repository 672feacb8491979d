//! `hailmesh verify`.

use crate::cli::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::proof::{self, Refuted};

/// No receipt and no evidence is longer.
const FILE_MAX: u64 = 64 * 1024;

pub(super) fn run(args: &VerifyArgs, out: Output) -> Result<Exit, Failure> {
    let path = &args.file;
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(Failure::new(
            Exit::VerifyFailed,
            format!("{}: longer than any receipt or evidence ({FILE_MAX} bytes)", path.display()),
        ));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    match proof::check(&bytes, &args.issuer) {
        Ok(proof) => {
            if out.json {
                out.document(&proof::document(&proof))?;
            } else {
                for line in proof::in_words(&proof) {
                    out.line(line)?;
                }
            }
            Ok(Exit::Ok)
        }
        Err(refuted) => {
            if out.json {
                out.document(&proof::refutation(&refuted))?;
            }
            Err(refusal(&refuted))
        }
    }
}

/// The failure for what does not hold.
pub(super) fn refusal(refuted: &Refuted) -> Failure {
    Failure::new(
        Exit::VerifyFailed,
        format!("not a valid {}: {} ({})", refuted.kind, refuted.error.what, refuted.error.clause),
    )
}
