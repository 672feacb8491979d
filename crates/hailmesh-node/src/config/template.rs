//! Every key, with what it means: the source of `config init`, of suggestions and of
//! the names of flags.

use std::sync::LazyLock;

use super::layers::env_name;
use super::settings::{Settings, TimerSettings};

/// A key that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Section and name, with dots.
    pub path: &'static str,
    /// The flag that sets it, if one does.
    pub flag: Option<&'static str>,
    /// What it means, its unit and bounds.
    pub doc: &'static str,
    /// What to write where there is no default.
    pub example: Option<&'static str>,
}

const fn key(path: &'static str, flag: Option<&'static str>, doc: &'static str) -> Key {
    Key { path, flag, doc, example: None }
}

const fn optional(
    path: &'static str,
    flag: Option<&'static str>,
    doc: &'static str,
    example: &'static str,
) -> Key {
    Key { path, flag, doc, example: Some(example) }
}

const PLAIN: &[Key] = &[
    key(
        "network.name",
        Some("--network"),
        "Name of the network, 1 to 16 of a-z, 0-9 and '-'. Nodes meet only within one.",
    ),
    key("network.listen", Some("--listen"), "Addresses to listen on; port 0 takes a free one."),
    key("network.bootstrap", Some("--bootstrap"), "Addresses to dial first, or lines of `hailmesh invite`."),
    key("network.mdns", Some("--no-mdns"), "Whether to find peers on the local network."),
    optional(
        "network.pow_bits",
        None,
        "Proof of work of uncredentialed authors, leading zero bits, 0 to 32. Absent: 20 on main, 0 elsewhere. All nodes of a network must agree.",
        "0",
    ),
    key("network.issuers", None, "Keys whose credentials count here, 64 hexadecimal digits each."),
    optional(
        "store.url",
        Some("--store"),
        "sqlite:PATH, postgres://… or memory. Absent: hailmesh.db in the home.",
        "\"sqlite:/var/lib/hailmesh/hailmesh.db\"",
    ),
    optional(
        "store.max_bytes",
        None,
        "Most bytes a SQLite journal may grow to; its log of a few MiB comes on top. Full: nothing is signed, nothing is lost. Absent: no limit.",
        "1073741824",
    ),
    key("api.addr", Some("--api"), "Where the local API listens, IP:PORT; port 0 takes a free one."),
    key("api.enabled", None, "Whether there is a local API."),
    key("api.allow_hosts", None, "Values of the Host header to take besides the address itself."),
    key("api.allow_origins", None, "Values of the Origin header to take besides its own."),
    optional(
        "driver.at",
        Some("--at"),
        "Where the driver is at the start, LAT,LON in degrees.",
        "\"40.7580,-73.9855\"",
    ),
    key("driver.seats", Some("--seats"), "Seats for passengers, 1 to 16."),
    key(
        "driver.class",
        Some("--class"),
        "standard, large, premium, two-wheeler, three-wheeler, wheelchair or a number.",
    ),
    key("driver.features", None, "What the vehicle has: ramp, child-seat, pets, luggage, quiet."),
    key("driver.accept", Some("--accept"), "auto: the node agrees by itself; ask: it asks its user."),
    key(
        "driver.precision",
        Some("--precision"),
        "How finely the position is published: 7 (5.16 km²) to 10 (0.015 km²).",
    ),
    key(
        "driver.discount",
        None,
        "How far below the own fare a rider's limit may lie for a counter-offer instead of a refusal, thousandths, 0 to 1000.",
    ),
    key("driver.tariff.currency", Some("--tariff"), "ISO 4217, three upper-case letters."),
    key("driver.tariff.base", Some("--tariff"), "For getting in, minor units."),
    key("driver.tariff.per_km", Some("--tariff"), "For a kilometre, minor units."),
    key("driver.tariff.per_min", Some("--tariff"), "For a minute under way, minor units."),
    key("driver.tariff.minimum", Some("--tariff"), "The least a ride costs, before waiting, minor units."),
    key(
        "driver.tariff.wait_per_min",
        Some("--tariff"),
        "For a minute of waiting beyond the free time, minor units.",
    ),
    key("driver.tariff.wait_free_ms", Some("--tariff"), "Waiting that costs nothing, ms, at most 900,000."),
    key(
        "driver.tariff.cancel_fee",
        Some("--tariff"),
        "What a rider owes who cancels late, minor units, at most 5 times the greater of minimum and base.",
    ),
    key(
        "driver.tariff.cancel_free_ms",
        Some("--tariff"),
        "How long after the agreement a rider cancels for nothing, ms, 30,000 to 600,000.",
    ),
    key(
        "driver.tariff.no_show_fee",
        Some("--tariff"),
        "What a rider owes who does not come, minor units; bound as cancel_fee.",
    ),
    key(
        "driver.tariff.surge",
        Some("--tariff"),
        "Factor on base, distance and time, thousandths, 1000 to 5000.",
    ),
    key(
        "driver.vehicle.plate",
        None,
        "Number plate, at most 16 bytes; shown to the rider once the ride is firm.",
    ),
    key("driver.vehicle.model", None, "Make and model, at most 32 bytes; shown likewise."),
    key("driver.vehicle.colour", None, "Colour, at most 16 bytes; shown likewise."),
    optional(
        "rider.at",
        Some("--at"),
        "Where the rider is at the start, LAT,LON in degrees; lets it listen before it asks.",
        "\"40.7580,-73.9855\"",
    ),
    key("rider.name", None, "Shown to the chosen driver only, at most 32 bytes."),
    key("rider.phone", None, "Shown to the chosen driver only, at most 24 bytes."),
    key("rider.open", None, "Whether a coarse wish is gossiped when nobody agrees at first."),
    key(
        "rider.share_position",
        None,
        "Whether the driver of a firm ride sees where this rider is; also said for one ride with `hailmesh ride share`.",
    ),
    key(
        "policy.driver_level",
        None,
        "Least level of drivers a rider asks, l0 to l3; without issuers it is l0.",
    ),
    key("policy.rider_level", None, "Least level of riders a driver serves, l0 to l3."),
    key("policy.speed_kmh", None, "Assumed speed of cars for estimated times, km/h, 1 to 200."),
    key("policy.matching", None, "With whom a node deals: nearest, nearest-pair or assignment."),
    key(
        "policy.seniority",
        None,
        "How much farther a rider may go for every second waited, thousandths of a second, 0 to 10000.",
    ),
    key(
        "policy.idleness",
        None,
        "How much farther a car reaches for every second that it has been free, thousandths of a second, 0 to 10000.",
    ),
    key("policy.listen_crowd", None, "Live offers known from which on a busy driver stops listening."),
    key(
        "policy.idle_crowd",
        None,
        "Free cars known near by from which on a free driver stops listening to other cars for a while.",
    ),
    key(
        "log.level",
        Some("-q, -v"),
        "error, warn, info, debug, trace, or a filter such as info,hailmesh_net=debug.",
    ),
    key("log.format", Some("--log-format"), "pretty or json."),
];

/// Every key, in the order of the template.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let timers = TimerSettings::DOCS.iter().map(|(path, doc)| key(path, None, doc.trim()));
    PLAIN.iter().copied().chain(timers).collect()
});

/// A documented configuration file in which every default stands as a comment.
#[must_use]
pub fn example_toml() -> String {
    let defaults = toml::Table::try_from(Settings::default()).unwrap_or_default();
    let mut out = String::from(
        "# Configuration of a Hailmesh node. Every value below is the default, commented out.\n\
         # The order of precedence: flags, environment, this file, defaults.\n",
    );
    let mut section = "";
    for key in KEYS.iter() {
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            section = of;
            out.push_str(&format!("\n[{section}]\n"));
        }
        let value = lookup(&defaults, key.path).map(ToString::to_string);
        let value = value.as_deref().or(key.example).unwrap_or("\"\"");
        out.push_str(&format!("# {} ({})\n# {name} = {value}\n", key.doc, env_name(key.path)));
    }
    out
}

fn lookup<'a>(table: &'a toml::Table, path: &str) -> Option<&'a toml::Value> {
    let mut parts = path.split('.');
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}
