//! From what was written to what it means.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use figment::value::{Dict, Value};
use hailmesh_market::certificates::Level;
use hailmesh_market::{Config as MarketConfig, ConfigError as MarketConfigError, DriverProfile};
use hailmesh_net::Multiaddr;
use hailmesh_store::Options;
use hailmesh_types::{Duration, Features, GeoPoint, NetworkName, PublicKey, Resolution, Seats, Tariff, Text};
use hailmesh_wire::{AcceptMode, VehicleCard};

use super::settings::{
    DriverSettings, NetworkSettings, RiderSettings, Settings, StoreSettings, TariffSettings,
};
use super::{ConfigError, KEYS};

/// Proof of work on the live network (P2.12).
const POW_BITS_MAIN: u8 = 20;
/// What a line of `hailmesh invite` begins with.
pub(crate) const INVITE_PREFIX: &str = "hailmesh:";

/// A value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: expected {allowed}")]
pub struct ValueError {
    /// The key.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl ValueError {
    fn new(key: impl Into<String>, value: impl Display, allowed: impl Display) -> Self {
        Self { key: key.into(), value: value.to_string(), allowed: allowed.to_string() }
    }

    /// The same with the place where the value was set.
    pub(super) fn at(&self, origin: String) -> ConfigError {
        let Self { key, value, allowed } = self.clone();
        ConfigError::Value { key, value, allowed, origin }
    }
}

/// A number as a narrower one.
pub(super) fn small<T: TryFrom<u64>>(key: &str, value: u64, allowed: &str) -> Result<T, ValueError> {
    T::try_from(value).map_err(|_| ValueError::new(key, value, allowed))
}

/// A number of milliseconds.
pub(super) fn span(key: &str, ms: u64) -> Result<Duration, ValueError> {
    small(key, ms, "0 to 4294967295 ms").map(Duration::from_millis)
}

const LEVELS: [(&str, Level); 4] =
    [("l0", Level::L0), ("l1", Level::L1), ("l2", Level::L2), ("l3", Level::L3)];

pub(super) fn level_name(level: Level) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("l0", |(name, _)| name)
}

fn level(key: &str, text: &str) -> Result<Level, ValueError> {
    let lower = text.to_ascii_lowercase();
    let found = LEVELS.iter().find(|(name, _)| *name == lower);
    found.map(|(_, level)| *level).ok_or_else(|| ValueError::new(key, text, "l0, l1, l2 or l3"))
}

fn text<const N: usize>(key: &str, value: &str) -> Result<Text<N>, ValueError> {
    let allowed = format!("at most {N} bytes without control characters");
    Text::new(value).map_err(|_| ValueError::new(key, format!("{value:?}"), allowed))
}

fn point(key: &str, text: Option<&String>) -> Result<Option<GeoPoint>, ValueError> {
    let parse = |text: &String| {
        let allowed = "LAT,LON in degrees, -90 to 90 and -180 to 180, for example 40.7580,-73.9855";
        text.parse().map_err(|_| ValueError::new(key, text, allowed))
    };
    text.map(parse).transpose()
}

impl Settings {
    /// Checks everything that can be checked without the machine.
    ///
    /// # Errors
    /// The first value that cannot work.
    pub fn check(&self) -> Result<(), ValueError> {
        self.market_config()?;
        self.network.listen_addrs()?;
        self.network.bootstrap_addrs()?;
        self.api_addr()?;
        self.driver.profile()?;
        self.driver.position()?;
        self.rider.position()?;
        text::<24>("rider.phone", &self.rider.phone)?;
        if !["pretty", "json"].contains(&self.log.format.as_str()) {
            return Err(ValueError::new("log.format", &self.log.format, "pretty or json"));
        }
        if let Some(url) = &self.store.url {
            let known = ["sqlite:", "postgres://", "postgresql://"];
            if url != "memory" && !known.iter().any(|scheme| url.starts_with(scheme)) {
                return Err(ValueError::new("store.url", url, "sqlite:PATH, postgres://… or memory"));
            }
        }
        Ok(())
    }

    /// The journal's place: as set, or `hailmesh.db` in the home, or memory without one.
    #[must_use]
    pub fn store_url(&self, home: Option<&Path>) -> String {
        match (&self.store.url, home) {
            (Some(url), _) => url.clone(),
            (None, Some(home)) => format!("sqlite:{}", home.join(crate::home::STORE_FILE).display()),
            (None, None) => "memory".to_owned(),
        }
    }

    /// Where the API listens.
    ///
    /// # Errors
    /// When it is not `IP:PORT`.
    pub fn api_addr(&self) -> Result<SocketAddr, ValueError> {
        let addr = &self.api.addr;
        addr.parse().map_err(|_| ValueError::new("api.addr", addr, "IP:PORT, for example 127.0.0.1:0"))
    }

    /// Network, policy and timers of the marketplace.
    ///
    /// # Errors
    /// The first value outside its bounds.
    pub fn market_config(&self) -> Result<MarketConfig, ValueError> {
        let network = self.network.network_name()?;
        let by_name = if network == NetworkName::default() { POW_BITS_MAIN } else { 0 };
        let pow_bits = self.network.pow_bits.map(|bits| small("network.pow_bits", bits, "0 to 32"));
        let config = MarketConfig {
            pow_bits: pow_bits.transpose()?.unwrap_or(by_name),
            issuers: self.network.issuer_keys()?,
            driver_level: level("policy.driver_level", &self.policy.driver_level)?,
            rider_level: level("policy.rider_level", &self.policy.rider_level)?,
            rider_name: text("rider.name", &self.rider.name)?,
            share_position: self.rider.share_position,
            timers: self.timers.to_timers()?,
            speed_kmh: small("policy.speed_kmh", self.policy.speed_kmh, "1 to 200")?,
            policy: self.policy.matching.parse().map_err(|_| {
                ValueError::new(
                    "policy.matching",
                    &self.policy.matching,
                    "nearest, nearest-pair or assignment",
                )
            })?,
            seniority: small("policy.seniority", self.policy.seniority, "0 to 10000")?,
            idleness: small("policy.idleness", self.policy.idleness, "0 to 10000")?,
            idle_crowd: small::<u32>("policy.idle_crowd", self.policy.idle_crowd, "0 to 4294967295")?
                as usize,
            listen_crowd: small::<u32>("policy.listen_crowd", self.policy.listen_crowd, "0 to 4294967295")?
                as usize,
            network,
            ..MarketConfig::default()
        };
        config.check().map_err(from_market)?;
        Ok(config)
    }
}

/// The market's own words for a bad value, under our key.
fn from_market(error: MarketConfigError) -> ValueError {
    let suffix = format!(".{}", error.key);
    let key = KEYS.iter().find(|known| known.path.ends_with(&suffix)).map_or(error.key, |known| known.path);
    ValueError::new(key, error.value, format!("{} to {}", error.min, error.max))
}

impl StoreSettings {
    /// How the journal is opened.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { max_bytes: self.max_bytes, ..Options::default() }
    }
}

impl NetworkSettings {
    /// The name of the network.
    ///
    /// # Errors
    /// When it is not 1 to 16 of a-z, 0-9 and '-'.
    pub fn network_name(&self) -> Result<NetworkName, ValueError> {
        let allowed = "1 to 16 of a-z, 0-9 and '-'";
        self.name.parse().map_err(|_| ValueError::new("network.name", format!("{:?}", self.name), allowed))
    }

    fn issuer_keys(&self) -> Result<Vec<PublicKey>, ValueError> {
        let parse =
            |text: &String| text.parse().map_err(|error| ValueError::new("network.issuers", text, error));
        self.issuers.iter().map(parse).collect()
    }

    /// The addresses to listen on.
    ///
    /// # Errors
    /// The first that is not a multiaddress.
    pub fn listen_addrs(&self) -> Result<Vec<Multiaddr>, ValueError> {
        let allowed = "a multiaddress, for example /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1";
        let parse =
            |text: &String| text.parse().map_err(|_| ValueError::new("network.listen", text, allowed));
        self.listen.iter().map(parse).collect()
    }

    /// The addresses to dial first.
    ///
    /// # Errors
    /// The first that is neither a multiaddress nor an invite line.
    pub fn bootstrap_addrs(&self) -> Result<Vec<Multiaddr>, ValueError> {
        let items = self.bootstrap.iter().flat_map(|line| line.split(','));
        items.map(|item| dialable("network.bootstrap", item)).collect()
    }
}

/// Reads a multiaddress or a piece of an invite line.
pub(crate) fn dialable(key: &str, text: &str) -> Result<Multiaddr, ValueError> {
    let bare = text.trim();
    let bare = bare.strip_prefix(INVITE_PREFIX).unwrap_or(bare);
    let allowed = "a multiaddress, for example /ip4/192.0.2.7/tcp/4001, or a line of `hailmesh invite`";
    // The empty text is an address to the library.
    let parsed = bare.parse().ok().filter(|_| !bare.is_empty());
    parsed.ok_or_else(|| ValueError::new(key, format!("{text:?}"), allowed))
}

impl RiderSettings {
    /// Where the rider is at the start.
    ///
    /// # Errors
    /// When it is not a position.
    pub fn position(&self) -> Result<Option<GeoPoint>, ValueError> {
        point("rider.at", self.at.as_ref())
    }
}

impl DriverSettings {
    /// Where the driver is at the start.
    ///
    /// # Errors
    /// When it is not a position.
    pub fn position(&self) -> Result<Option<GeoPoint>, ValueError> {
        point("driver.at", self.at.as_ref())
    }

    /// What the driver offers.
    ///
    /// # Errors
    /// The first value outside its bounds.
    pub fn profile(&self) -> Result<DriverProfile, ValueError> {
        let class = self.class.parse().map_err(|_| {
            let allowed = "standard, large, premium, two-wheeler, three-wheeler, wheelchair or a number";
            ValueError::new("driver.class", &self.class, allowed)
        })?;
        let seats: u8 = small("driver.seats", self.seats, "1 to 16")?;
        let precision: u8 = small("driver.precision", self.precision, "7 to 10")?;
        let resolution = Resolution::new(precision).ok().filter(|_| (7..=10).contains(&precision));
        Ok(DriverProfile {
            class,
            seats: Seats::new(seats).map_err(|_| ValueError::new("driver.seats", seats, "1 to 16"))?,
            features: features("driver.features", &self.features)?,
            tariff: self.tariff.tariff()?,
            accept_mode: match self.accept.as_str() {
                "auto" => AcceptMode::Auto,
                "ask" => AcceptMode::Ask,
                other => return Err(ValueError::new("driver.accept", other, "auto or ask")),
            },
            precision: resolution.ok_or_else(|| ValueError::new("driver.precision", precision, "7 to 10"))?,
            discount: small("driver.discount", self.discount, "0 to 1000").and_then(|discount: u16| {
                let fits = (discount <= 1_000).then_some(discount);
                fits.ok_or_else(|| ValueError::new("driver.discount", discount, "0 to 1000"))
            })?,
            vehicle: VehicleCard {
                plate: text("driver.vehicle.plate", &self.vehicle.plate)?,
                model: text("driver.vehicle.model", &self.vehicle.model)?,
                colour: text("driver.vehicle.colour", &self.vehicle.colour)?,
                photo: None,
                credential_salt: None,
            },
        })
    }
}

const FEATURES: [(&str, Features); 5] = [
    ("ramp", Features::RAMP),
    ("child-seat", Features::CHILD_SEAT),
    ("pets", Features::PETS),
    ("luggage", Features::LUGGAGE),
    ("quiet", Features::QUIET),
];

fn features(key: &str, names: &[String]) -> Result<Features, ValueError> {
    names.iter().try_fold(Features::NONE, |all, name| {
        let known = FEATURES.iter().find(|(known, _)| known == name);
        let allowed = "ramp, child-seat, pets, luggage or quiet";
        known.map(|(_, bit)| all.union(*bit)).ok_or_else(|| ValueError::new(key, name, allowed))
    })
}

impl TariffSettings {
    /// What a ride costs, checked against the bounds of P4.4.
    ///
    /// # Errors
    /// The first value outside its bounds.
    pub fn tariff(&self) -> Result<Tariff, ValueError> {
        let rate = |name: &str, value| small(&format!("driver.tariff.{name}"), value, "0 to 10000000");
        let tariff = Tariff {
            currency: self.currency.parse().map_err(|_| {
                let allowed = "three upper-case letters (ISO 4217)";
                ValueError::new("driver.tariff.currency", &self.currency, allowed)
            })?,
            base: rate("base", self.base)?,
            per_km: rate("per_km", self.per_km)?,
            per_min: rate("per_min", self.per_min)?,
            minimum: rate("minimum", self.minimum)?,
            wait_per_min: rate("wait_per_min", self.wait_per_min)?,
            wait_free: span("driver.tariff.wait_free_ms", self.wait_free_ms)?,
            cancel_fee: rate("cancel_fee", self.cancel_fee)?,
            cancel_free: span("driver.tariff.cancel_free_ms", self.cancel_free_ms)?,
            no_show_fee: rate("no_show_fee", self.no_show_fee)?,
            surge: small("driver.tariff.surge", self.surge, "1000 to 5000")?,
        };
        tariff.check().map_err(|error| {
            let field = match error.field {
                "wait_free" => "wait_free_ms",
                "cancel_free" => "cancel_free_ms",
                same => same,
            };
            let allowed = format!("{} to {}", error.min, error.max);
            ValueError::new(format!("driver.tariff.{field}"), error.value, allowed)
        })?;
        Ok(tariff)
    }
}

/// Reads the value of `--tariff`, such as `base=250,km=120,min=30,minimum=500,currency=USD`,
/// into the section `driver.tariff` of the overrides. `km`, `min`, `wait` are short for
/// `per_km`, `per_min`, `wait_per_min`.
///
/// # Errors
/// When a part is not NAME=VALUE or a name is unknown.
pub fn tariff_overrides(text: &str) -> Result<Dict, ValueError> {
    let mut tariff = Dict::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let bad = || {
            let allowed = "NAME=VALUE of base, km, min, minimum, currency, wait, wait_free_ms, cancel_fee, \
                           cancel_free_ms, no_show_fee, surge";
            ValueError::new("driver.tariff", part, allowed)
        };
        let (name, value) = part.split_once('=').ok_or_else(bad)?;
        let name = match name.trim() {
            "km" => "per_km",
            "min" => "per_min",
            "wait" => "wait_per_min",
            same => same,
        };
        let path = format!("driver.tariff.{name}");
        if !KEYS.iter().any(|key| key.path == path) {
            return Err(bad());
        }
        tariff.insert(name.to_owned(), Value::from(value.trim()));
    }
    Ok(tariff)
}
