//! Logs: structured, on stderr, without places and keys.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::exit::{Exit, Failure};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        }
    }
}

/// Starts to log. `level` is a level or a filter (`info,hailmesh_net=debug`); a level alone
/// speaks of our own crates, others stay at `warn`.
///
/// # Errors
/// When the filter cannot be read. A second call changes nothing.
pub fn start(level: &str, json: bool) -> Result<(), Failure> {
    let plain = matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let filter = match level {
        // Connection attempts that fail are daily business, and libp2p says so at `warn`.
        _ if plain => format!(
            "{},libp2p=error,quinn=error,sqlx=error,hyper=warn,reqwest=warn,netlink_proto=error,libp2p_mdns=error,\
             multistream_select=error,yamux=error,hickory_proto=error,hickory_resolver=error",
            if level == "debug" || level == "trace" {
                format!(
                    "warn,hailmesh={level},hailmesh_api={level},hailmesh_node={level},hailmesh_net={level},\
                     hailmesh_store={level},hailmesh_market={level}"
                )
            } else {
                level.to_owned()
            }
        ),
        filter => filter.to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::new(
            Exit::BadConfig,
            format!("log.level = {level:?}: expected error, warn, info, debug, trace or a filter ({error})"),
        )
    })?;
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(Redacted);
    let started = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    Ok(())
}

/// Writes log lines to stderr without whatever looks like a key or a coordinate.
///
/// Types keep these out of log lines already; this is the second line of defence, for
/// lines of other people's crates.
#[derive(Debug, Clone, Copy)]
struct Redacted;

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The subscriber hands over whole lines.
        let text = String::from_utf8_lossy(bytes);
        io::stderr().lock().write_all(redact(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Digits of a key that may be shown: enough to tell two apart in one log.
const KEY_SHOWN: usize = 8;

/// Shortens words of 32 or more letters and digits (keys, ids, peer ids, tokens), and hides
/// numbers with four or more decimals (coordinates) unless a unit follows them.
fn redact(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if !first.is_ascii_alphanumeric() {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.len() >= 32 {
            out.push_str(&word[..KEY_SHOWN]);
            out.push('…');
            rest = after;
            continue;
        }
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        if is_number
            && word.len() <= 3
            && let Some(fraction) = after.strip_prefix('.')
        {
            let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            let next = fraction[digits..].chars().next();
            // 1.234567ms is a time; 10.0.0.1 has no four decimals.
            if digits >= 4 && !next.is_some_and(|c| c.is_alphabetic()) {
                out.push_str("<redacted>");
                rest = &fraction[digits..];
                continue;
            }
        }
        out.push_str(word);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_places_do_not_pass() {
        let key = "ab".repeat(32);
        assert_eq!(redact(&format!("key={key} x")), "key=abababab… x");
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(redact(&format!("/p2p/{peer}")), "/p2p/12D3KooW…");
        assert_eq!(redact("at 40.7580,-73.9855 now"), "at <redacted>,-<redacted> now");
        assert_eq!(redact("{\"lat\":40.758012}"), "{\"lat\":<redacted>}");
    }

    #[test]
    fn times_addresses_and_ride_ids_pass() {
        for line in [
            "2026-11-22T15:04:05.123456Z  INFO ride{id=01JDC9W4QK7M3E5ZJ8V5T2B1AX}: firm in 3.271828ms",
            "listening on /ip4/127.0.0.1/udp/4001/quic-v1",
            "10.0.0.1 is “here”",
        ] {
            assert_eq!(redact(line), line);
        }
    }
}
