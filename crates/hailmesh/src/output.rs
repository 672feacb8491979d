//! What goes to stdout.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use hailmesh_api::types::{ExplainJson, Money};
use serde::Serialize;

use crate::exit::Failure;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output {
    /// JSON instead of words.
    pub json: bool,
    /// No banners and progress.
    pub quiet: bool,
}

impl Output {
    /// One JSON document, on one line.
    ///
    /// # Errors
    /// When stdout cannot be written; a closed pipe is no error.
    pub fn document(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::failed(format!("json: {error}")))?;
        self.line(text)
    }

    /// One line.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub fn line(self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.raw(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            // `hailmesh events | head -1`: the reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::failed(format!("stdout: {error}"))),
        }
    }

    /// A remark for people, on stderr; nothing with `--quiet`.
    pub fn remark(self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", text.as_ref());
        }
    }

    /// A table with these columns.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub fn table(self, columns: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        // Lines are folded for people, never for pipes.
        if io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        table.set_header(columns.to_vec());
        table.add_rows(rows);
        self.line(table.trim_fmt())
    }
}

/// Money in major units: `9.58 USD`.
#[must_use]
pub fn money(money: &Money) -> String {
    let digits = match money.currency.as_str() {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2_u32,
    };
    let unit = 10_u64.pow(digits);
    let (major, minor) = (money.amount / unit, money.amount % unit);
    if digits == 0 {
        format!("{major} {}", money.currency)
    } else {
        format!("{major}.{minor:0width$} {}", money.currency, width = digits as usize)
    }
}

/// A span of time for people: `850 ms`, `42 s`, `7 min`, `3 h`, `5 d`.
#[must_use]
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// A metre count for people: `850 m`, `2.4 km`.
#[must_use]
pub fn distance(metres: u64) -> String {
    if metres < 1_000 {
        format!("{metres} m")
    } else {
        format!("{}.{} km", metres / 1_000, metres % 1_000 / 100)
    }
}

/// The beginning of a key or id, enough to tell it from others.
#[must_use]
pub fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// The time of day of an RFC 3339 time, in the local time zone.
#[must_use]
pub fn clock(rfc3339: &str) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

/// Why offers were passed over and what to do, for people.
#[must_use]
pub fn explain(explain: &ExplainJson) -> Vec<String> {
    let mut lines = vec![format!(
        "heard {} offers, {} in range, {} peers connected, last offer {}",
        explain.heard,
        explain.in_range,
        explain.peers,
        explain.last_offer_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", span(ms))),
    )];
    for (reason, count) in &explain.excluded {
        lines.push(format!("  {count} passed over: {}", reason.replace('_', " ")));
    }
    lines
}

/// The next step of somebody who found nobody.
#[must_use]
pub fn advice(explain: &ExplainJson) -> &'static str {
    if explain.peers == 0 {
        "no peer is connected: run `hailmesh invite` on a node of the network and pass the line here with --bootstrap; \
         `hailmesh doctor` looks at the rest"
    } else if explain.heard == 0 {
        "peers are connected, but nobody offers rides near this place: check the place and the network name, or try \
         again when drivers are about"
    } else if explain.in_range == 0 {
        "drivers are about, but too far away: `hailmesh offers --radius 20km` shows where"
    } else {
        "drivers are near, but none fits: the reasons above say why; raise --max-fare, or change --class or --seats"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_with_the_digits_of_its_currency() {
        let show = |amount, currency: &str| money(&Money { amount, currency: currency.to_owned() });
        assert_eq!(show(958, "USD"), "9.58 USD");
        assert_eq!(show(5, "EUR"), "0.05 EUR");
        assert_eq!(show(958, "JPY"), "958 JPY");
        assert_eq!(show(12_045, "KWD"), "12.045 KWD");
    }

    #[test]
    fn spans_and_distances() {
        assert_eq!(span(850), "850 ms");
        assert_eq!(span(42_900), "42 s");
        assert_eq!(span(420_000), "7 min");
        assert_eq!(distance(2_499), "2.4 km");
    }

    #[test]
    fn advice_follows_the_first_thing_that_is_missing() {
        let mut found = ExplainJson::default();
        assert!(advice(&found).contains("invite"));
        found.peers = 1;
        assert!(advice(&found).contains("nobody offers"));
        found.heard = 1;
        assert!(advice(&found).contains("too far"));
        found.in_range = 1;
        assert!(advice(&found).contains("none fits"));
    }
}
