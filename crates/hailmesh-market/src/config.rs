//! What can be set about a marketplace.

use hailmesh_types::{Duration, NetworkName, PublicKey, Resolution, Text};

use crate::certificates::Level;
use crate::limits::Limits;
use crate::matching::{Policy, Reach};

/// Network parameters, policy and timers of one marketplace. Timers are those of P12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of the network (P2.12).
    pub network: NetworkName,
    /// Leading zero bits of the proof of work that uncredentialed authors owe, 0 to 32.
    pub pow_bits: u8,
    /// Keys whose credentials count here.
    pub issuers: Vec<PublicKey>,
    /// Bounds of everything strangers can fill (P20).
    pub limits: Limits,
    /// Least level of drivers that a rider is shown and asks; without issuers it is L0
    /// (P16.5).
    pub driver_level: Level,
    /// Least level of riders that a driver serves (P16.5).
    pub rider_level: Level,
    /// What the chosen driver is told of the rider.
    pub rider_name: Text<32>,
    /// Whether the driver of a firm ride sees where this rider is unless its user says
    /// otherwise (P8.10). Default no.
    pub share_position: bool,
    /// Time constants.
    pub timers: Timers,
    /// Assumed speed of cars for estimated times, km/h, 1 to 200. Default 20, the mean of
    /// a big city at rush hour.
    pub speed_kmh: u16,
    /// How finely a waiting rider's offer tells where it is, resolution 7 to 10 (P14.1).
    pub rider_precision: Resolution,
    /// With whom a node deals, of those that it knows.
    pub policy: Policy,
    /// How much farther a rider may go for a ride for every second that it has waited,
    /// thousandths of a second, 0 to 10,000 ([`Reach`]).
    pub seniority: u16,
    /// How much farther a car reaches for every second that it has been free, thousandths
    /// of a second, 0 to 10,000 ([`Reach`]).
    pub idleness: u16,
    /// Live offers in the book from which on a busy driver stops listening; where fewer
    /// are known everybody who passes gossip on is needed.
    pub listen_crowd: usize,
    /// Free cars within 1.5 km from which on a free driver listens to riders only, and to
    /// the other cars for a look now and then.
    pub idle_crowd: usize,
}

/// Time constants of P12; the default is the protocol's, bounds as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// How long a rider waits for an ACCEPT of a node that decides by itself, 1–30 s.
    pub ask_auto: Duration,
    /// The same when a human is asked, 1–30 s.
    pub ask_human: Duration,
    /// Time between two parallel asks.
    pub hedge_step: Duration,
    /// Most parallel asks K, 1–5.
    pub hedge_max: u8,
    /// How long a driver is bound to a rider who says nothing, 2–20 s.
    pub hold: Duration,
    /// The same for uncredentialed riders where issuers are configured.
    pub hold_uncredentialed: Duration,
    /// First pause before a CONFIRM is sent again; doubles to `confirm_retry_max`.
    pub confirm_retry: Duration,
    /// Longest pause before a CONFIRM is sent again.
    pub confirm_retry_max: Duration,
    /// How long a rider stays committed without an ACK: at least hold + 5 s, at most 30 s.
    pub doubt: Duration,
    /// STATUS period while firm.
    pub status: Duration,
    /// Silence after which either may end before boarding without blame.
    pub unreach: Duration,
    /// When a rider nobody agreed with makes itself known, 0–60 s.
    pub open_after: Duration,
    /// How long an INVITE stands, 2–10 s.
    pub invite_valid: Duration,
    /// How long a COUNTER stands, 5–60 s.
    pub counter_valid: Duration,
    /// How long a driver waits for COSIGN, 30–3,600 s.
    pub cosign: Duration,
    /// First pause of the outbox; doubles to `outbox_max`.
    pub outbox: Duration,
    /// Longest pause of the outbox.
    pub outbox_max: Duration,
    /// Life of an offer, 10–120 s.
    pub offer_ttl: Duration,
    /// Mean time between refreshes of an offer; jitter ± 20 %.
    pub offer_refresh: Duration,
    /// Greatest random delay before a changed offer is published.
    pub offer_change: Duration,
    /// Greatest random delay before the withdrawal at FIRM (P6.21).
    pub withdraw: Duration,
    /// How long a driver collects REQUESTs when cars are scarce, 0–300 ms (P6.22).
    pub collect: Duration,
    /// How long a rider compares ACCEPTs before it takes one, 0–300 ms (P7.23).
    pub compare: Duration,
    /// A side looks at its view again at most this often, 50 ms to 60 s.
    pub decision_period: Duration,
    /// How long an offer is taken to stay at the least, 0 to 600 s ([`Reach`]); zero:
    /// everybody takes whoever is there at once.
    pub turnover: Duration,
    /// The time after which a pair reaches twice as far, 0.1 to 600 s ([`Reach`]).
    pub stretch: Duration,
    /// How long a pair leaves each other to those that the policy gives them to before
    /// it deals all the same, 0 to 600 s; without meaning for the policy `nearest`.
    pub yield_span: Duration,
    /// Greatest random delay before a driver that a ride has left free says so, at most
    /// 3 s (P13.9). Shorter than for other changes: a rider waits.
    pub offer_freed: Duration,
    /// How long before the expected end of its ride a busy driver listens to offers
    /// again, 0 to 3,600 s; zero: it never stops.
    pub listen_ahead: Duration,
    /// Greatest random delay before evidence is gossiped (P18.3).
    pub evidence: Duration,
    /// Waiting after ARRIVED before a driver may claim a no-show, at least 180 s (P9.6).
    pub no_show_wait: Duration,
    /// Time past `pickup_by` before a rider may claim one (P9.6).
    pub no_show_late: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let (ms, secs) = (Duration::from_millis, Duration::from_secs);
        Self {
            ask_auto: secs(2),
            ask_human: secs(15),
            hedge_step: ms(400),
            hedge_max: 3,
            hold: secs(8),
            hold_uncredentialed: secs(3),
            confirm_retry: ms(250),
            confirm_retry_max: secs(2),
            doubt: secs(15),
            status: secs(10),
            unreach: secs(60),
            open_after: secs(10),
            invite_valid: secs(5),
            counter_valid: secs(20),
            cosign: secs(120),
            outbox: ms(500),
            outbox_max: secs(30),
            offer_ttl: secs(120),
            offer_refresh: secs(50),
            offer_change: secs(3),
            withdraw: secs(5),
            collect: ms(150),
            compare: ms(0),
            decision_period: ms(100),
            turnover: secs(5),
            stretch: secs(6),
            yield_span: secs(20),
            offer_freed: ms(200),
            listen_ahead: secs(60),
            evidence: secs(20),
            no_show_wait: secs(180),
            no_show_late: secs(300),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: NetworkName::default(),
            pow_bits: 0,
            issuers: Vec::new(),
            limits: Limits::default(),
            driver_level: Level::L2,
            rider_level: Level::L0,
            rider_name: Text::default(),
            share_position: false,
            timers: Timers::default(),
            speed_kmh: 20,
            rider_precision: Resolution::RIDER,
            policy: Policy::default(),
            seniority: Reach::default().seniority,
            idleness: Reach::default().idleness,
            listen_crowd: 24,
            idle_crowd: 32,
        }
    }
}

/// A configuration value outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: expected {min} to {max}")]
pub struct ConfigError {
    /// The key, with the unit last.
    pub key: &'static str,
    /// What was given.
    pub value: u64,
    /// Least allowed.
    pub min: u64,
    /// Most allowed.
    pub max: u64,
}

impl Config {
    /// How far apart a pair may be.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        Reach {
            turnover: self.timers.turnover,
            stretch: self.timers.stretch,
            seniority: self.seniority,
            idleness: self.idleness,
        }
    }

    /// Checks every value against the bounds of P12 and P16.6.
    ///
    /// # Errors
    /// The first key whose value is outside its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |key, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError { key, value, min, max }) }
        };
        let timers = &self.timers;
        let span = |key, span: Duration, min: u64, max: u64| within(key, span.as_millis().into(), min, max);
        within("pow_bits", self.pow_bits.into(), 0, 32)?;
        within("speed_kmh", self.speed_kmh.into(), 1, 200)?;
        within("hedge_max", timers.hedge_max.into(), 1, 5)?;
        span("ask_auto_ms", timers.ask_auto, 1_000, 30_000)?;
        span("ask_human_ms", timers.ask_human, 1_000, 30_000)?;
        span("hedge_step_ms", timers.hedge_step, 0, 30_000)?;
        span("hold_ms", timers.hold, 2_000, 20_000)?;
        span("hold_uncredentialed_ms", timers.hold_uncredentialed, 2_000, 20_000)?;
        span("confirm_retry_ms", timers.confirm_retry, 50, 2_000)?;
        span("confirm_retry_max_ms", timers.confirm_retry_max, 50, 10_000)?;
        let doubt_min = u64::from(timers.hold.as_millis()) + 5_000;
        span("doubt_ms", timers.doubt, doubt_min, 30_000)?;
        span("status_ms", timers.status, 2_000, 60_000)?;
        span("unreach_ms", timers.unreach, 3 * u64::from(timers.status.as_millis()), 3_600_000)?;
        span("open_after_ms", timers.open_after, 0, 60_000)?;
        span("invite_valid_ms", timers.invite_valid, 2_000, 10_000)?;
        span("counter_valid_ms", timers.counter_valid, 5_000, 60_000)?;
        span("cosign_ms", timers.cosign, 30_000, 3_600_000)?;
        span("outbox_ms", timers.outbox, 50, 30_000)?;
        span("outbox_max_ms", timers.outbox_max, 500, 300_000)?;
        span("offer_ttl_ms", timers.offer_ttl, 10_000, 120_000)?;
        span("offer_refresh_ms", timers.offer_refresh, 2_000, timers.offer_ttl.as_millis().into())?;
        span("offer_change_ms", timers.offer_change, 0, 10_000)?;
        span("withdraw_ms", timers.withdraw, 0, 5_000)?;
        span("collect_ms", timers.collect, 0, 300)?;
        span("compare_ms", timers.compare, 0, 300)?;
        span("decision_period_ms", timers.decision_period, 50, 60_000)?;
        span("turnover_ms", timers.turnover, 0, 600_000)?;
        span("stretch_ms", timers.stretch, 100, 600_000)?;
        span("yield_span_ms", timers.yield_span, 0, 600_000)?;
        span("offer_freed_ms", timers.offer_freed, 0, 3_000)?;
        span("listen_ahead_ms", timers.listen_ahead, 0, 3_600_000)?;
        within("seniority", self.seniority.into(), 0, 10_000)?;
        within("idleness", self.idleness.into(), 0, 10_000)?;
        span("evidence_ms", timers.evidence, 0, 60_000)?;
        span("no_show_wait_ms", timers.no_show_wait, 180_000, 3_600_000)?;
        span("no_show_late_ms", timers.no_show_late, 0, 3_600_000)
    }
}
