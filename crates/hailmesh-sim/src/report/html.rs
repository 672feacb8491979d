//! `report.html`: one file that needs no other.

use std::fmt::Write as _;

use super::charts;
use super::document::Report;
use super::group::groups;
use super::markdown::{COLUMNS, cell};

/// The look: the colours of the reader's system, one column on a phone.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--text:#1a1a1a;--page:#fff}\
@media(prefers-color-scheme:dark){:root{--text:#e8e8e8;--page:#15171a}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:1100px;padding:16px;font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page)}\
h1{font-size:1.5em;margin:.3em 0}h2{font-size:1.15em;margin:1.6em 0 .5em}\
code{background:var(--soft);padding:.1em .3em;border-radius:4px}\
pre{background:var(--soft);padding:.7em;border-radius:6px;overflow-x:auto}pre code{background:none;padding:0}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92em}\
th,td{padding:.3em .6em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\
th:first-child,td:first-child,td.name,th.name{text-align:left}\
.plots{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr))}\
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:8px}\
figcaption{font-weight:600;padding:0 4px}\
svg{display:block;width:100%;height:auto}\
svg.map{max-height:85vh}.roads{fill:none;stroke:currentColor;stroke-opacity:.22;stroke-width:1}\
.rides path{fill:none;stroke-width:1.6;stroke-opacity:.55;stroke-linejoin:round}\
.rides .lost{stroke:currentColor;stroke-dasharray:3 4}\
.hash{font-size:.85em;word-break:break-all;white-space:normal;text-align:left}";

/// A report as one page: it loads nothing, and reads as well offline and on a phone.
#[must_use]
pub fn html(report: &Report) -> String {
    let summary = &report.summary;
    let mut page = String::new();
    let name = escape(&summary.scenario);
    let rss =
        summary.peak_rss_mib.map_or_else(String::new, |mib| format!(", {mib:.0} MiB of memory at most"));
    // A String takes everything.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Hailmesh: {name}</title><style>{STYLE}</style></head><body>\n\
         <h1>{name}</h1>\n<p>{} requests. {} runs took {:.1} s{rss}.</p>\n<pre><code>{}</code></pre>\n",
        summary.requests,
        summary.runs.len(),
        summary.wall_s,
        escape(&report.command)
    );
    if !report.settings.is_empty() {
        page.push_str("<p>");
        for (name, value) in &report.settings {
            let _ = write!(page, "{} <code>{}</code> &nbsp; ", escape(name), escape(value));
        }
        page.push_str("</p>\n");
    }
    means(&mut page, report);
    let mut fleets: Vec<u32> = summary.runs.iter().map(|run| run.fleet).collect();
    fleets.sort_unstable();
    fleets.dedup();
    for fleet in fleets {
        let plots = [
            ("Waits: share of requests picked up in time", charts::waits(report, fleet)),
            ("Served share over time", charts::served(report, fleet)),
            ("Wait over time", charts::waited(report, fleet)),
            ("Messages over time", charts::said(report, fleet)),
            ("View over time", charts::viewed(report, fleet)),
        ];
        section(&mut page, &format!("{fleet} cars"), &plots);
    }
    let nodes = [
        ("Messages a ride", charts::bars(report, "messages_per_ride", "messages", 1.0)),
        ("Bytes a node and second", charts::bars(report, "bytes_per_node_s", "bytes/s", 1.0)),
        ("View: live offers that a node knew", charts::bars(report, "view_share", "%", 100.0)),
        ("Requests to drivers a ride", charts::bars(report, "handshakes_per_ride", "handshakes", 1.0)),
    ];
    section(&mut page, "What nodes said and knew", &nodes);
    if let Some(map) = &report.map {
        let _ = write!(
            page,
            "<h2>Rides</h2>\n<figure><figcaption>{}: {} of the rides; blue waited briefly, red long, dashed were \
             lost</figcaption>{}</figure>\n",
            escape(&map.title),
            map.rides.len(),
            map.svg()
        );
    }
    runs(&mut page, report);
    page.push_str("</body></html>\n");
    page
}

fn section(page: &mut String, title: &str, plots: &[(&str, Option<String>)]) {
    if plots.iter().all(|(_, plot)| plot.is_none()) {
        return;
    }
    let _ = write!(page, "<h2>{}</h2>\n<div class=\"plots\">", escape(title));
    for (caption, plot) in plots {
        if let Some(plot) = plot {
            let _ = writeln!(page, "<figure><figcaption>{}</figcaption>{plot}</figure>", escape(caption));
        }
    }
    page.push_str("</div>\n");
}

fn means(page: &mut String, report: &Report) {
    page.push_str("<h2>Means over seeds</h2>\n<div class=\"wide\"><table><tr><th>policy</th><th>fleet</th><th>seeds</th>");
    for column in COLUMNS {
        let _ = write!(page, "<th>{}</th>", escape(column.0));
    }
    page.push_str("</tr>\n");
    for group in groups(&report.summary.runs) {
        let plotters::style::RGBColor(red, green, blue) = charts::colour(report, group.policy);
        let _ = write!(
            page,
            "<tr><td><span style=\"color:rgb({red},{green},{blue})\">&#9632;</span> {}</td><td>{}</td><td>{}</td>",
            escape(group.policy),
            group.fleet,
            group.seeds()
        );
        for column in COLUMNS {
            let _ = write!(page, "<td>{}</td>", cell(&group, column));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

fn runs(page: &mut String, report: &Report) {
    page.push_str(
        "<h2>Runs</h2>\n<div class=\"wide\"><table><tr><th>policy</th><th>fleet</th><th>seed</th><th>served</th>\
         <th>events</th><th>wall s</th><th class=\"name\">trace hash</th></tr>\n",
    );
    for run in &report.summary.runs {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td class=\"hash\">{}</td></tr>",
            escape(&run.policy),
            run.fleet,
            run.seed,
            run.served,
            run.events,
            run.wall_s,
            escape(&run.trace_hash)
        );
    }
    page.push_str("</table></div>\n");
}

/// Text for the body or an attribute of a page.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::report;
    use super::super::map::{Map, MapRide};
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
        let mut report = report();
        report.map = Some(Map {
            title: "p2p".to_owned(),
            width: 10,
            height: 10,
            roads: "M0 0L10 10".to_owned(),
            rides: vec![
                MapRide { path: "M0 0L5 5".to_owned(), wait_s: Some(40.0) },
                MapRide { path: "M1 1L2 2".to_owned(), wait_s: None },
            ],
        });
        let page = html(&report);
        let foreign = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for reference in ["http:", "https:", "src=", "href=", "@import", "url(", "<script"] {
            assert!(!foreign.contains(reference), "{reference}");
        }
        assert!(page.contains("a &lt;small&gt; city") && !page.contains("<small>"));
        // Two fleets with five plots each, four of what nodes say, one map.
        assert_eq!(page.matches("<svg").count(), 2 * 5 + 4 + 1);
        assert_eq!(page.matches("<figure>").count(), page.matches("</figure>").count());
        assert!(page.contains("prefers-color-scheme:dark") && page.contains("width=device-width"));
    }

    #[test]
    fn a_map_with_more_than_lines_is_no_report() {
        let mut report = report();
        report.map = Some(Map { roads: "M0 0\"><script>".to_owned(), ..Map::default() });
        assert!(Report::from_json(&report.to_json()).is_err());
        assert!(!html(&report).contains("<script"));
    }
}
