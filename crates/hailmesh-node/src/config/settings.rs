//! The settings as they are written, in plain types; `convert` makes domain types of
//! them and checks bounds.

use std::fmt;

use hailmesh_market::{Config as MarketConfig, Timers};
use hailmesh_types::{Resolution, Tariff};
use serde::{Deserialize, Serialize};

use super::lenient;

/// Everything that can be set. `Default` holds the embedded defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which network, and how to get into it.
    pub network: NetworkSettings,
    /// Where the journal is kept.
    pub store: StoreSettings,
    /// The local HTTP API.
    pub api: ApiSettings,
    /// What a driver offers.
    pub driver: DriverSettings,
    /// What a rider says of itself.
    pub rider: RiderSettings,
    /// Whom to serve and how to estimate.
    pub policy: PolicySettings,
    /// Time constants (P12).
    pub timers: TimerSettings,
    /// What is logged.
    pub log: LogSettings,
}

/// Which network, and how to get into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Name of the network, 1 to 16 of a-z, 0-9 and '-' (P2.12).
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Addresses to listen on, as multiaddresses; port 0 takes a free one.
    #[serde(deserialize_with = "lenient::list")]
    pub listen: Vec<String>,
    /// Addresses to dial first, with `/p2p/…` when the peer is known; lines of
    /// `hailmesh invite` are taken too.
    #[serde(deserialize_with = "lenient::list")]
    pub bootstrap: Vec<String>,
    /// Whether to find peers on the local network by itself.
    #[serde(deserialize_with = "lenient::flag")]
    pub mdns: bool,
    /// Leading zero bits of the proof of work, 0 to 32; absent: 20 on `main`, 0
    /// elsewhere (P2.12).
    #[serde(deserialize_with = "lenient::optional_number", skip_serializing_if = "Option::is_none")]
    pub pow_bits: Option<u64>,
    /// Keys whose credentials count, 64 hexadecimal digits each.
    #[serde(deserialize_with = "lenient::list")]
    pub issuers: Vec<String>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            name: MarketConfig::default().network.to_string(),
            listen: ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"].map(str::to_owned).into(),
            bootstrap: Vec::new(),
            mdns: true,
            pow_bits: None,
            issuers: Vec::new(),
        }
    }
}

/// Where the journal is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:PATH`, `postgres://…` or `memory`; absent: `hailmesh.db` in the home.
    #[serde(deserialize_with = "lenient::optional_text", skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Most bytes that a SQLite journal may grow to; its log of a few MiB comes on top.
    /// When it is full nothing is signed any more and nothing is lost. Absent: no limit.
    #[serde(deserialize_with = "lenient::optional_number", skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// The local HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// Where it listens, `IP:PORT`; port 0 takes a free one.
    #[serde(deserialize_with = "lenient::text")]
    pub addr: String,
    /// Whether there is one.
    #[serde(deserialize_with = "lenient::flag")]
    pub enabled: bool,
    /// Values of the `Host` header to take besides the address itself.
    #[serde(deserialize_with = "lenient::list")]
    pub allow_hosts: Vec<String>,
    /// Values of the `Origin` header to take besides its own.
    #[serde(deserialize_with = "lenient::list")]
    pub allow_origins: Vec<String>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:0".to_owned(),
            enabled: true,
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
        }
    }
}

/// What a driver offers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriverSettings {
    /// Where the driver is at the start, `LAT,LON` in degrees.
    #[serde(deserialize_with = "lenient::optional_text", skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Seats for passengers, 1 to 16.
    #[serde(deserialize_with = "lenient::number")]
    pub seats: u64,
    /// Class of the vehicle.
    #[serde(deserialize_with = "lenient::text")]
    pub class: String,
    /// What the vehicle has: `ramp`, `child-seat`, `pets`, `luggage`, `quiet`.
    #[serde(deserialize_with = "lenient::list")]
    pub features: Vec<String>,
    /// `auto`: the node agrees by itself; `ask`: it asks its user.
    #[serde(deserialize_with = "lenient::text")]
    pub accept: String,
    /// How finely the position is published: resolution 7 (5.16 km²) to 10 (0.015 km²).
    #[serde(deserialize_with = "lenient::number")]
    pub precision: u64,
    /// How far below the own fare a rider's limit may lie for a counter-offer at that
    /// limit instead of a refusal, thousandths, 0 to 1000 (P5.10).
    #[serde(deserialize_with = "lenient::number")]
    pub discount: u64,
    /// What a ride costs.
    pub tariff: TariffSettings,
    /// What the rider is shown once the ride is firm.
    pub vehicle: VehicleSettings,
}

impl Default for DriverSettings {
    fn default() -> Self {
        Self {
            at: None,
            seats: 4,
            class: "standard".to_owned(),
            features: Vec::new(),
            accept: "auto".to_owned(),
            precision: Resolution::DRIVER.get().into(),
            discount: 0,
            tariff: TariffSettings::default(),
            vehicle: VehicleSettings::default(),
        }
    }
}

/// Where somebody is or was is nobody's business in a log.
impl fmt::Debug for DriverSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: _, seats, class, features, accept, precision, discount, tariff, vehicle } = self;
        f.debug_struct("DriverSettings")
            .field("seats", seats)
            .field("class", class)
            .field("features", features)
            .field("accept", accept)
            .field("precision", precision)
            .field("discount", discount)
            .field("tariff", tariff)
            .field("vehicle", vehicle)
            .finish_non_exhaustive()
    }
}

/// What a ride costs (P4.4). Amounts are minor units of `currency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TariffSettings {
    /// ISO 4217, three upper-case letters.
    #[serde(deserialize_with = "lenient::text")]
    pub currency: String,
    /// For getting in.
    #[serde(deserialize_with = "lenient::number")]
    pub base: u64,
    /// For a kilometre.
    #[serde(deserialize_with = "lenient::number")]
    pub per_km: u64,
    /// For a minute under way.
    #[serde(deserialize_with = "lenient::number")]
    pub per_min: u64,
    /// The least a ride costs, before waiting.
    #[serde(deserialize_with = "lenient::number")]
    pub minimum: u64,
    /// For a minute of waiting beyond the free time.
    #[serde(deserialize_with = "lenient::number")]
    pub wait_per_min: u64,
    /// Waiting that costs nothing, ms.
    #[serde(deserialize_with = "lenient::number")]
    pub wait_free_ms: u64,
    /// What a rider owes who cancels late.
    #[serde(deserialize_with = "lenient::number")]
    pub cancel_fee: u64,
    /// How long after the agreement a rider cancels for nothing, ms.
    #[serde(deserialize_with = "lenient::number")]
    pub cancel_free_ms: u64,
    /// What a rider owes who does not come.
    #[serde(deserialize_with = "lenient::number")]
    pub no_show_fee: u64,
    /// Factor on base, distance and time, thousandths, 1000 to 5000.
    #[serde(deserialize_with = "lenient::number")]
    pub surge: u64,
}

impl Default for TariffSettings {
    fn default() -> Self {
        let tariff = Tariff::default();
        Self {
            currency: tariff.currency.to_string(),
            base: tariff.base.into(),
            per_km: tariff.per_km.into(),
            per_min: tariff.per_min.into(),
            minimum: tariff.minimum.into(),
            wait_per_min: tariff.wait_per_min.into(),
            wait_free_ms: tariff.wait_free.as_millis().into(),
            cancel_fee: tariff.cancel_fee.into(),
            cancel_free_ms: tariff.cancel_free.as_millis().into(),
            no_show_fee: tariff.no_show_fee.into(),
            surge: tariff.surge.into(),
        }
    }
}

/// What the rider is shown once the ride is firm.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VehicleSettings {
    /// Number plate, at most 16 bytes.
    #[serde(deserialize_with = "lenient::text")]
    pub plate: String,
    /// Make and model, at most 32 bytes.
    #[serde(deserialize_with = "lenient::text")]
    pub model: String,
    /// Colour, at most 16 bytes.
    #[serde(deserialize_with = "lenient::text")]
    pub colour: String,
}

impl fmt::Debug for VehicleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<vehicle>")
    }
}

/// What a rider says of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiderSettings {
    /// Where the rider is at the start, `LAT,LON`; lets it listen before it asks.
    #[serde(deserialize_with = "lenient::optional_text", skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Shown to the chosen driver only, at most 32 bytes.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Shown to the chosen driver only, at most 24 bytes.
    #[serde(deserialize_with = "lenient::text")]
    pub phone: String,
    /// Whether a coarse wish is gossiped when nobody agrees at first (P5.13).
    #[serde(deserialize_with = "lenient::flag")]
    pub open: bool,
    /// Whether the driver of a firm ride sees where this rider is (P8.10).
    #[serde(deserialize_with = "lenient::flag")]
    pub share_position: bool,
}

impl Default for RiderSettings {
    fn default() -> Self {
        Self { at: None, name: String::new(), phone: String::new(), open: true, share_position: false }
    }
}

/// Place, name and telephone number stay out of logs.
impl fmt::Debug for RiderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RiderSettings")
            .field("open", &self.open)
            .field("share_position", &self.share_position)
            .finish_non_exhaustive()
    }
}

/// Whom to serve and how to estimate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// Least level of drivers a rider asks, `l0` to `l3`; without issuers it is l0 (P16.5).
    #[serde(deserialize_with = "lenient::text")]
    pub driver_level: String,
    /// Least level of riders a driver serves, `l0` to `l3`.
    #[serde(deserialize_with = "lenient::text")]
    pub rider_level: String,
    /// Assumed speed of cars for estimated times, km/h, 1 to 200.
    #[serde(deserialize_with = "lenient::number")]
    pub speed_kmh: u64,
    /// With whom a node deals: `nearest`, `nearest-pair` or `assignment`.
    #[serde(deserialize_with = "lenient::text")]
    pub matching: String,
    /// How much farther a rider may go for every second waited, thousandths of a second,
    /// 0 to 10,000.
    #[serde(deserialize_with = "lenient::number")]
    pub seniority: u64,
    /// How much farther a car reaches for every second that it has been free, thousandths
    /// of a second, 0 to 10,000.
    #[serde(deserialize_with = "lenient::number")]
    pub idleness: u64,
    /// Live offers known from which on a busy driver stops listening.
    #[serde(deserialize_with = "lenient::number")]
    pub listen_crowd: u64,
    /// Free cars known near by from which on a free driver stops listening to other cars for
    /// a while.
    #[serde(deserialize_with = "lenient::number")]
    pub idle_crowd: u64,
}

impl Default for PolicySettings {
    fn default() -> Self {
        let market = MarketConfig::default();
        Self {
            driver_level: super::convert::level_name(market.driver_level).to_owned(),
            rider_level: super::convert::level_name(market.rider_level).to_owned(),
            speed_kmh: market.speed_kmh.into(),
            matching: market.policy.name().to_owned(),
            seniority: market.seniority.into(),
            idleness: market.idleness.into(),
            listen_crowd: market.listen_crowd as u64,
            idle_crowd: market.idle_crowd as u64,
        }
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as
    /// `info,hailmesh_net=debug`.
    #[serde(deserialize_with = "lenient::text")]
    pub level: String,
    /// `pretty` or `json`.
    #[serde(deserialize_with = "lenient::text")]
    pub format: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "pretty".to_owned() }
    }
}

/// Declares the timers once: settings, defaults from the market's, and the way back.
macro_rules! timer_settings {
    ($($(#[doc = $doc:literal])* $key:ident: $field:ident,)*) => {
        /// Time constants (P12), milliseconds; bounds as there.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct TimerSettings {
            $($(#[doc = $doc])*
            #[serde(deserialize_with = "lenient::number")]
            pub $key: u64,)*
            /// Most parallel asks, 1 to 5; not a time.
            #[serde(deserialize_with = "lenient::number")]
            pub hedge_max: u64,
        }

        impl Default for TimerSettings {
            fn default() -> Self {
                let timers = Timers::default();
                Self {
                    $($key: timers.$field.as_millis().into(),)*
                    hedge_max: timers.hedge_max.into(),
                }
            }
        }

        impl TimerSettings {
            /// The market's timers.
            pub(super) fn to_timers(&self) -> Result<Timers, super::ValueError> {
                Ok(Timers {
                    $($field: super::convert::span(concat!("timers.", stringify!($key)), self.$key)?,)*
                    hedge_max: super::convert::small("timers.hedge_max", self.hedge_max, "1 to 5")?,
                })
            }

            /// Keys and their documentation, for the template.
            pub(super) const DOCS: &'static [(&'static str, &'static str)] = &[
                $((concat!("timers.", stringify!($key)), concat!($($doc),*)),)*
                ("timers.hedge_max", "Most parallel asks, 1 to 5; not a time."),
            ];
        }
    };
}

timer_settings! {
    /// How long a rider waits for a node that decides by itself, 1,000 to 30,000.
    ask_auto_ms: ask_auto,
    /// The same when a human is asked, 1,000 to 30,000.
    ask_human_ms: ask_human,
    /// Time between two parallel asks.
    hedge_step_ms: hedge_step,
    /// How long a driver is bound to a rider who says nothing, 2,000 to 20,000.
    hold_ms: hold,
    /// The same for uncredentialed riders where issuers are configured.
    hold_uncredentialed_ms: hold_uncredentialed,
    /// First pause before a CONFIRM is sent again.
    confirm_retry_ms: confirm_retry,
    /// Longest pause before a CONFIRM is sent again.
    confirm_retry_max_ms: confirm_retry_max,
    /// How long a rider stays committed without an ACK, at least hold + 5,000.
    doubt_ms: doubt,
    /// STATUS period while firm.
    status_ms: status,
    /// Silence after which either may end without blame, at least 3 STATUS periods.
    unreach_ms: unreach,
    /// When a rider nobody agreed with makes itself known, 0 to 60,000.
    open_after_ms: open_after,
    /// How long an INVITE stands, 2,000 to 10,000.
    invite_valid_ms: invite_valid,
    /// How long a COUNTER stands, 5,000 to 60,000.
    counter_valid_ms: counter_valid,
    /// How long a driver waits for the rider's signature at the end.
    cosign_ms: cosign,
    /// First pause of the outbox.
    outbox_ms: outbox,
    /// Longest pause of the outbox.
    outbox_max_ms: outbox_max,
    /// Life of an offer, 10,000 to 120,000.
    offer_ttl_ms: offer_ttl,
    /// Mean time between refreshes of an offer.
    offer_refresh_ms: offer_refresh,
    /// Greatest random delay before a changed offer is published.
    offer_change_ms: offer_change,
    /// Greatest random delay before the withdrawal when a ride is firm.
    withdraw_ms: withdraw,
    /// How long a driver collects requests when cars are scarce, 0 to 300.
    collect_ms: collect,
    /// How long a rider compares the drivers that agree before it takes one, 0 to 300.
    compare_ms: compare,
    /// A side looks at its view again at most this often, 50 to 60,000.
    decision_period_ms: decision_period,
    /// How long an offer is taken to stay at the least when it is judged how lively the place is, 0 to 600,000; 0: everybody takes whoever is there at once.
    turnover_ms: turnover,
    /// The time after which rider and driver may be twice as far apart, 100 to 600,000.
    stretch_ms: stretch,
    /// How long a pair is left to those that the policy gives them to, 0 to 600,000.
    yield_span_ms: yield_span,
    /// Greatest random delay before a car that a ride has left free says so, 0 to 3,000.
    offer_freed_ms: offer_freed,
    /// How long before the end of its ride a busy driver listens to offers again, 0 to 3,600,000; 0: it never stops.
    listen_ahead_ms: listen_ahead,
    /// Greatest random delay before evidence is gossiped.
    evidence_ms: evidence,
    /// Waiting after arrival before a driver may claim a no-show, at least 180,000.
    no_show_wait_ms: no_show_wait,
    /// Time past the latest pickup before a rider may claim one.
    no_show_late_ms: no_show_late,
}
