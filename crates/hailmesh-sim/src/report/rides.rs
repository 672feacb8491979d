//! `rides.csv`.

use std::fmt::Write as _;

use crate::outcome::RunOutcome;

/// The first line.
const HEAD: &str = "policy,fleet,seed,request,requested_s,vehicle,matched_s,picked_up_s,dropped_s,wait_s,pickup_s,\
    pickup_m,trip_m,set_out,from,to\n";

/// Every request of these runs as CSV; times in seconds of simulated time, roads in metres,
/// places as numbers of junctions. What did not happen is empty.
#[must_use]
pub fn rides_csv<'a>(runs: impl IntoIterator<Item = &'a RunOutcome>) -> String {
    let mut csv = HEAD.to_owned();
    for run in runs {
        let names = format!("{},{},{}", run.policy, run.fleet, run.seed);
        for ride in &run.rides {
            let is_served = ride.picked_up_ms.is_some();
            let when_served = |text: String| if is_served { text } else { String::new() };
            // A String takes everything.
            let _ = writeln!(
                csv,
                "{names},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                ride.request,
                seconds(ride.requested_ms),
                ride.vehicle.map(|vehicle| vehicle.to_string()).unwrap_or_default(),
                ride.matched_ms.map(seconds).unwrap_or_default(),
                ride.picked_up_ms.map(seconds).unwrap_or_default(),
                ride.dropped_ms.map(seconds).unwrap_or_default(),
                ride.wait_ms().map(seconds).unwrap_or_default(),
                when_served(seconds(ride.pickup_ms.into())),
                when_served(ride.pickup_m.to_string()),
                ride.trip_m,
                ride.set_out.map(|junction| junction.0.to_string()).unwrap_or_default(),
                ride.from.0,
                ride.to.0,
            );
        }
    }
    csv
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::run;
    use super::*;

    #[test]
    fn a_line_for_every_request_with_as_many_fields_as_the_head() {
        let runs = [run("p2p", 10, 3, &[Some(61), None]), run("batched:5", 10, 3, &[Some(1)])];
        let csv = rides_csv(&runs);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], "p2p,10,3,0,0.000,7,31.000,61.000,391.000,61.000,30.000,150,1500,0,1,2");
        assert_eq!(lines[2], "p2p,10,3,1,60.000,,,,,,,,1500,,1,2");
        assert!(lines.iter().all(|line| line.split(',').count() == 16));
    }
}
