//! Memory of this process, where the system says.

use std::fs;

/// Most memory held so far, MiB.
pub(super) fn peak_rss_mib() -> Option<f64> {
    status("VmHWM:")
}

/// Memory held now, MiB.
pub(super) fn rss_mib() -> Option<f64> {
    status("VmRSS:")
}

/// Forgets the peak, where the system lets it; otherwise peaks stay those of the whole
/// process.
pub(super) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status(field: &str) -> Option<f64> {
    figure(&fs::read_to_string("/proc/self/status").ok()?, field)
}

/// A line such as `VmHWM:     5120 kB`, in MiB with one decimal.
fn figure(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(super::rounded(kib / 1_024.0, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_name() {
        let status = "Name:\thailmesh\nVmPeak:\t  9999 kB\nVmHWM:\t   5120 kB\nThreads:\t1\n";
        assert_eq!(figure(status, "VmHWM:"), Some(5.0));
        assert_eq!(figure(status, "VmRSS:"), None);
        assert_eq!(figure(status, "Threads:"), None);
    }
}
