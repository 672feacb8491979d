//! `report.md`.

use std::fmt::Write as _;

use super::document::Report;
use super::group::{Group, groups};

/// A column: its head, a metric, a factor for its unit, decimals.
pub(super) type Column = (&'static str, &'static str, f64, usize);

/// What tables show of a group.
pub(super) const COLUMNS: [Column; 13] = [
    ("served %", "served_share", 100.0, 2),
    ("wait s", "wait_s.mean", 1.0, 1),
    ("p50", "wait_s.p50", 1.0, 0),
    ("p95", "wait_s.p95", 1.0, 0),
    ("wait, lost incl.", "wait_s.all_mean", 1.0, 1),
    ("pickup s", "pickup_s.mean", 1.0, 1),
    ("empty km %", "empty_km_share", 100.0, 1),
    ("double bookings", "double_bookings", 1.0, 0),
    ("handshakes/ride", "handshakes_per_ride", 1.0, 2),
    ("conflicts/ride", "conflicts_per_ride", 1.0, 2),
    ("messages/ride", "messages_per_ride", 1.0, 0),
    ("B/node/s", "bytes_per_node_s", 1.0, 0),
    ("view %", "view_share", 100.0, 1),
];

/// A value of a table; an en dash for what has none.
pub(super) fn cell(group: &Group<'_>, (_, metric, factor, decimals): Column) -> String {
    let is_nodes = ["handshakes_per_ride", "conflicts_per_ride", "messages_per_ride", "bytes_per_node_s"];
    if is_nodes.contains(&metric) && !group.policy.starts_with("p2p") {
        return "–".to_owned();
    }
    group.mean(metric).map_or_else(|| "–".to_owned(), |value| format!("{:.decimals$}", value * factor))
}

/// A report as Markdown: how it was made, means over seeds, every run.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let summary = &report.summary;
    let mut text = String::new();
    let rss = summary.peak_rss_mib.map_or_else(String::new, |mib| format!(", {mib:.0} MiB at most"));
    // A String takes everything.
    let _ = write!(
        text,
        "# {}\n\n{} requests. {} runs took {:.1} s{rss}.\n\n```sh\n{}\n```\n\n",
        plain(&summary.scenario),
        summary.requests,
        summary.runs.len(),
        summary.wall_s,
        report.command.replace("```", "")
    );
    if !report.settings.is_empty() {
        text.push_str("| setting | value |\n|---|---|\n");
        for (name, value) in &report.settings {
            let _ = writeln!(text, "| {} | {} |", plain(name), plain(value));
        }
        text.push('\n');
    }
    text.push_str("## Means over seeds\n\n");
    let _ = write!(text, "| fleet | policy | seeds |");
    COLUMNS.iter().for_each(|column| {
        let _ = write!(text, " {} |", column.0);
    });
    let _ = writeln!(text, "\n|---:|---|---|{}", "---:|".repeat(COLUMNS.len()));
    for group in groups(&summary.runs) {
        let _ = write!(text, "| {} | {} | {} |", group.fleet, plain(group.policy), group.seeds());
        for column in COLUMNS {
            let _ = write!(text, " {} |", cell(&group, column));
        }
        text.push('\n');
    }
    text.push_str("\n## Runs\n\n| fleet | policy | seed | served | events | wall s | trace hash |\n");
    text.push_str("|---:|---|---:|---:|---:|---:|---|\n");
    for run in &summary.runs {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.2} | `{}` |",
            run.fleet,
            plain(&run.policy),
            run.seed,
            run.served,
            run.events,
            run.wall_s,
            plain(&run.trace_hash)
        );
    }
    text
}

/// Text that does not break a table.
fn plain(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '|' | '\n' | '\r' | '`') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::report;
    use super::*;

    #[test]
    fn tables_have_a_row_for_each_group_and_run() {
        let text = markdown(&report());
        let rows = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((rows("| 10 | p2p |"), rows("| 20 | batched:5 |")), (3, 3), "{text}");
        assert!(text.contains("| 10 | p2p | 0,1 | 66.67 |"), "{text}");
        assert!(text.contains("hailmesh sim run grid --fleet 10,20"));
        let widths: Vec<usize> = text
            .lines()
            .skip_while(|line| !line.starts_with("| fleet | policy | seeds |"))
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
    }
}
