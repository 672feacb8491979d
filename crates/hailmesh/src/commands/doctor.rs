//! `hailmesh doctor`: what works, what does not, what to do.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hailmesh_api::types::{CheckJson, DiagnosticsJson};
use hailmesh_node::config::Settings;
use hailmesh_node::home::check_private;
use hailmesh_types::Timestamp;

use super::{role_of, settings};
use crate::cli::Global;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::Output;

/// How long a bootstrap address has to answer.
const DIAL: Duration = Duration::from_secs(3);

pub(super) async fn run(global: &Global, homes: &Homes, out: Output) -> Result<Exit, Failure> {
    let mut checks = vec![clock()];
    let found: Vec<_> = homes.candidates().into_iter().filter(|home| home.is_dir()).collect();
    if found.is_empty() {
        checks.push(bad(
            "home",
            "there is no home yet".to_owned(),
            "start a node: `hailmesh rider`, or `hailmesh driver --at LAT,LON`",
        ));
    }
    for home in &found {
        let before = checks.len();
        examine(global, homes, home, &mut checks).await;
        if found.len() > 1 {
            let name =
                role_of(home).map_or_else(|| home.display().to_string(), |role| role.name().to_owned());
            for check in &mut checks[before..] {
                check.name = format!("{name}: {}", check.name);
            }
        }
    }
    let report = DiagnosticsJson { ok: checks.iter().all(|check| check.result != "failed"), checks };
    if out.json {
        out.document(&report)?;
    } else {
        for check in &report.checks {
            out.line(format!("{:<8} {:<18} {}", check.result, check.name, check.detail))?;
            if let Some(hint) = &check.hint {
                out.line(format!("{:27} → {hint}", ""))?;
            }
        }
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

async fn examine(global: &Global, homes: &Homes, home: &Path, checks: &mut Vec<CheckJson>) {
    checks.push(permissions(home));
    checks.push(match home.join("identity.key").metadata() {
        Ok(_) => match check_private(&home.join("identity.key")) {
            Ok(()) => ok("key", "identity.key is there, readable by you only".to_owned()),
            Err(error) => {
                bad("key", error.to_string(), "restrict it, and make a new key if others may have read it")
            }
        },
        Err(_) => warning("key", "no key yet".to_owned(), "the first start makes one"),
    });
    let settings = match settings::load(global, homes, home, settings::of_global(global)) {
        Ok(loaded) => {
            checks.push(ok("configuration", "can be read".to_owned()));
            Some(loaded.settings)
        }
        Err(failure) => {
            checks.push(bad(
                "configuration",
                failure.message,
                "correct it; `hailmesh config check` reads it again",
            ));
            None
        }
    };
    if let Some(settings) = &settings {
        checks.push(store(home, settings));
        bootstrap(settings, checks).await;
    }
    match Client::open(home).await {
        Ok((client, node)) => {
            checks.push(ok("api", format!("{} answers at {}", node.role, client.file().url)));
            match client.get::<DiagnosticsJson>("/v1/diagnostics").await {
                Ok(inside) => checks.extend(inside.checks.into_iter().filter(|check| check.name != "store")),
                Err(failure) => {
                    checks.push(bad("diagnostics", failure.message, "look at the log of the node"))
                }
            }
        }
        Err(failure) => checks.push(warning(
            "api",
            failure.message,
            failure.hint.as_deref().unwrap_or("start the node again"),
        )),
    }
}

fn clock() -> CheckJson {
    let ms = jiff::Timestamp::now().as_millisecond();
    match u64::try_from(ms).ok().and_then(|ms| Timestamp::from_millis(ms).ok()) {
        // Peers' clocks are compared by the node: its hints say when they differ.
        Some(_) => ok("clock", format!("{}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC"))),
        None => {
            bad("clock", format!("{ms} ms since 1970 is not a time of the protocol"), "set it, best with NTP")
        }
    }
}

#[cfg(unix)]
fn permissions(home: &Path) -> CheckJson {
    use std::os::unix::fs::PermissionsExt as _;
    match home.metadata() {
        Ok(found) if found.permissions().mode() & 0o077 == 0 => {
            ok("home", format!("{} is yours only", home.display()))
        }
        Ok(found) => bad(
            "home",
            format!(
                "{} has mode {:o}: others can look into it",
                home.display(),
                found.permissions().mode() & 0o7777
            ),
            &format!("chmod 700 {}", home.display()),
        ),
        Err(error) => bad("home", format!("{}: {error}", home.display()), "check the path and who owns it"),
    }
}

#[cfg(not(unix))]
fn permissions(home: &Path) -> CheckJson {
    ok("home", home.display().to_string())
}

fn store(home: &Path, settings: &Settings) -> CheckJson {
    let url = settings.store.url.as_deref();
    let path = match url {
        None => home.join(hailmesh_node::home::STORE_FILE),
        Some("memory") => {
            return warning(
                "store",
                "memory: nothing outlives the process".to_owned(),
                "leave --store away to keep the journal in the home",
            );
        }
        Some(url) => match url.strip_prefix("sqlite:") {
            Some(path) => path.trim_start_matches("//").into(),
            // The password in it is nobody's business.
            None => return ok("store", "a database server".to_owned()),
        },
    };
    match std::fs::File::open(&path) {
        Ok(file) => {
            let bytes = file.metadata().map_or(0, |found| found.len());
            ok("store", format!("{} ({} KiB)", path.display(), bytes.div_ceil(1024)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            warning("store", format!("{} is not there yet", path.display()), "the first start makes it")
        }
        Err(error) => {
            bad("store", format!("{}: {error}", path.display()), "check who owns the file, and the disk")
        }
    }
}

async fn bootstrap(settings: &Settings, checks: &mut Vec<CheckJson>) {
    let addresses = match settings.network.bootstrap_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return checks.push(bad("bootstrap", error.to_string(), "correct the address")),
    };
    if addresses.is_empty() {
        let detail = if settings.network.mdns {
            "no address: peers of the local network only"
        } else {
            "no address, and mDNS is off"
        };
        return checks.push(warning(
            "bootstrap",
            detail.to_owned(),
            "--bootstrap LINE, from `hailmesh invite` elsewhere",
        ));
    }
    for address in addresses {
        let text = address.to_string();
        checks.push(match tcp_of(&text) {
            None => ok("bootstrap", format!("{text}: not TCP to a number, only the node itself can try it")),
            Some(target) => match tokio::time::timeout(DIAL, tokio::net::TcpStream::connect(target)).await {
                Ok(Ok(_)) => ok("bootstrap", format!("{text} takes connections")),
                Ok(Err(error)) => bad(
                    "bootstrap",
                    format!("{text}: {error}"),
                    "check that the node there runs and its port is open",
                ),
                Err(_) => bad(
                    "bootstrap",
                    format!("{text}: no answer in {} s", DIAL.as_secs()),
                    "check that the node there runs and its port is open",
                ),
            },
        });
    }
}

/// The address behind `/ip4/…/tcp/…` or `/ip6/…/tcp/…`.
fn tcp_of(multiaddr: &str) -> Option<SocketAddr> {
    let mut parts = multiaddr.split('/').skip(1);
    let ip = match parts.next()? {
        "ip4" | "ip6" => parts.next()?.parse().ok()?,
        _ => return None,
    };
    (parts.next()? == "tcp").then_some(())?;
    Some(SocketAddr::new(ip, parts.next()?.parse().ok()?))
}

fn ok(name: &str, detail: String) -> CheckJson {
    CheckJson { name: name.to_owned(), result: "ok".to_owned(), detail, hint: None }
}

fn warning(name: &str, detail: String, hint: &str) -> CheckJson {
    CheckJson { name: name.to_owned(), result: "warning".to_owned(), detail, hint: Some(hint.to_owned()) }
}

fn bad(name: &str, detail: String, hint: &str) -> CheckJson {
    CheckJson { name: name.to_owned(), result: "failed".to_owned(), detail, hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_addresses_are_found() {
        assert_eq!(tcp_of("/ip4/192.0.2.7/tcp/4001/p2p/12D3"), Some("192.0.2.7:4001".parse().unwrap()));
        assert_eq!(tcp_of("/ip6/::1/tcp/1"), Some("[::1]:1".parse().unwrap()));
        assert_eq!(tcp_of("/ip4/192.0.2.7/udp/4001/quic-v1"), None);
        assert_eq!(tcp_of("/dns4/example.org/tcp/1"), None);
    }
}
