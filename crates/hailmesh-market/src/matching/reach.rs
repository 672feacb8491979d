//! How far apart a rider and a driver may be to take each other now.
//!
//! Taking the nearest at once is a trap when partners are few: it makes drives long,
//! long drives make cars scarce, and scarce cars make drives longer (the wild goose
//! chase). A dispatcher escapes by collecting requests and solving them together. Nobody
//! collects here; instead every *pair* waits for its turn:
//!
//! > A rider and a driver take each other when the drive to the pickup is at most
//! > `near · (1 + t / stretch) + seniority · w`, where `t` is how long both have been
//! > there and `w` how long the rider has waited.
//!
//! The reach of a freed car grows until it meets a waiting rider, and the first rider it
//! meets is the nearest one: a Dutch auction in seconds of driving that needs no ranks,
//! no claims to be believed and no agreement on who else is there. When cars are scarce
//! `t` is the short life of a free car; when they are plenty it is the short wait of a
//! rider; nobody has to know which.
//!
//! `near` is where waiting begins to pay. Where `φ` new partners appear per second and
//! square kilometre, those nearer than `d` seconds of driving appear at a rate of
//! `φ π (v d)²` and are on average `d / 3` nearer. Waiting a second costs a second, so it
//! pays beyond `near = (3 / (π φ v²))^(1/3)`. By Little's law `φ` is how many are there
//! divided by how long they stay, and both can be seen in the own book, side by side:
//! cars that stand idle for minutes bring nothing new, cars that are taken within
//! seconds do. The cube root forgives a crude estimate. Alone, nothing is gained by
//! waiting: there is no bound.
//!
//! Where free cars outnumber waiting riders by far there is no bound either, however
//! short they have been there: cars that stand idle anyway are not made scarce by a long
//! drive, and nobody else is waiting for whom they could be left. Only with that the rule
//! is right where cars come and go within seconds although they are many, and for a node
//! that has just come itself and has heard of all of them within seconds.
//!
//! Nobody starves: every bound grows without end, `seniority` lets a rider go farther
//! the longer it has waited, and a rider always asks by itself.

use hailmesh_types::{Duration, Timestamp};

use super::travel::DETOUR;

/// Of cars that would all go at once a nearer one speaks first: a second for so many
/// seconds of driving. The first to be asked is taken, and the others hear of it.
const HEAD_START: u32 = 40;

/// The parameters of the rule. Chosen from simulations of a rush hour with 3,000 to
/// 5,000 cars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// How long an offer is taken to stay at the least. Zero switches the rule off:
    /// everybody is taken at once.
    pub turnover: Duration,
    /// The time after which a pair reaches twice as far.
    pub stretch: Duration,
    /// How much farther a rider may go for every second waited, thousandths of a second.
    pub seniority: u16,
    /// How much farther a car reaches for every second that it has been free, thousandths
    /// of a second, for it loses less and less by a long drive.
    pub idleness: u16,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            turnover: Duration::from_secs(5),
            stretch: Duration::from_secs(6),
            seniority: 200,
            idleness: 500,
        }
    }
}

impl Reach {
    /// The drive up to which nobody waits for a better partner, where so many new
    /// partners of both sides appear per second and square kilometre and cars have this
    /// speed. None: there is no bound.
    #[must_use]
    pub fn near(&self, flow_per_s_km2: f64, speed_kmh: u16) -> Option<Duration> {
        if flow_per_s_km2 <= 0.0 || self.turnover == Duration::ZERO {
            return None;
        }
        // As the crow flies, km/s.
        let speed = f64::from(speed_kmh.max(1)) / 3_600.0 / DETOUR;
        let near_s = (3.0 / (std::f64::consts::PI * flow_per_s_km2 * speed * speed)).cbrt();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most an hour")]
        Some(Duration::from_millis((near_s * 1_000.0).min(3.6e6) as u32))
    }

    /// The longest drive for a pair that has been there together for so long, whose rider
    /// has waited for so long.
    #[must_use]
    pub fn limit(&self, near: Duration, together: Duration, waited: Duration) -> Duration {
        let ms = |span: Duration| u64::from(span.as_millis());
        let grown = ms(near) * ms(together) / ms(self.stretch).max(1);
        let senior = ms(waited) * u64::from(self.seniority) / 1_000;
        Duration::from_millis(u32::try_from(ms(near) + grown + senior).unwrap_or(u32::MAX))
    }

    /// The same for a car that knows since when it has been free: it reaches farther for it,
    /// and leaves a head start to cars that are nearer and may have been free for as long.
    #[must_use]
    pub fn due_of_car(
        &self,
        near: Option<Duration>,
        drive: Duration,
        free: Timestamp,
        waiting: Timestamp,
        now: Timestamp,
    ) -> Timestamp {
        let together = free.max(waiting).min(now);
        let idle = Duration::between(free.min(together), now);
        let ms = u64::from(idle.as_millis()) * u64::from(self.idleness) / 1_000;
        let spared = Duration::from_millis(u32::try_from(ms).unwrap_or(u32::MAX));
        let due = self.due(near, drive.saturating_sub(spared), together, waiting.min(together));
        let turn = Duration::from_millis(drive.min(spared).as_millis() / HEAD_START);
        due.max(together + turn)
    }

    /// How long a pair takes to reach so much farther.
    #[must_use]
    pub fn time_to_reach(&self, near: Option<Duration>, farther: Duration) -> Duration {
        let Some(near) = near else { return Duration::ZERO };
        let ms = u64::from(farther.as_millis()) * 1_000 / self.gain(near).max(1);
        Duration::from_millis(u32::try_from(ms).unwrap_or(u32::MAX))
    }

    /// What a pair gains in reach, milliseconds of driving a second.
    fn gain(&self, near: Duration) -> u64 {
        let stretch = u64::from(self.stretch.as_millis()).max(1);
        u64::from(near.as_millis()) * 1_000 / stretch + u64::from(self.seniority)
    }

    /// From when on a pair with this drive takes each other: `together` since when both
    /// are there, `waiting` since when the rider is, neither later than now.
    #[must_use]
    pub fn due(
        &self,
        near: Option<Duration>,
        drive: Duration,
        together: Timestamp,
        waiting: Timestamp,
    ) -> Timestamp {
        let Some(near) = near else { return together };
        let waited = Duration::between(waiting, together);
        let missing = drive.saturating_sub(self.limit(near, Duration::ZERO, waited));
        if missing == Duration::ZERO {
            return together;
        }
        // The limit gains near / stretch + seniority / 1,000 a millisecond.
        let stretch = u64::from(self.stretch.as_millis()).max(1);
        let gain = u64::from(near.as_millis()) * 1_000 + u64::from(self.seniority) * stretch;
        let ms = (u64::from(missing.as_millis()) * stretch * 1_000).div_ceil(gain.max(1));
        together + Duration::from_millis(u32::try_from(ms).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms).unwrap()
    }

    #[test]
    fn alone_there_is_nothing_to_wait_for() {
        let reach = Reach::default();
        assert_eq!(reach.near(0.0, 20), None);
        assert_eq!(reach.due(None, Duration::from_secs(900), at(5), at(0)), at(5));
        let off = Reach { turnover: Duration::ZERO, ..reach };
        assert_eq!(off.near(5.0 / 36.0, 20), None);
    }

    #[test]
    fn the_livelier_the_nearer() {
        let reach = Reach::default();
        let near = |flow| reach.near(flow / 36.0, 20).unwrap().as_millis() / 1_000;
        // A suburb with one new partner in five minutes, and a city at rush hour.
        assert_eq!((near(1.0 / 300.0), near(9.0)), (826, 59));
        // Eight times as much going on halves it.
        assert!(near(1.0).abs_diff(2 * near(8.0)) <= 1);
    }

    #[test]
    fn who_has_waited_longer_reaches_farther() {
        let reach = Reach::default();
        let near = Duration::from_secs(60);
        let limit = |together, waited| {
            reach.limit(near, Duration::from_secs(together), Duration::from_secs(waited)).as_millis() / 1_000
        };
        assert_eq!([limit(0, 0), limit(6, 6), limit(0, 300), limit(6, 300)], [60, 121, 120, 180]);
    }

    #[test]
    fn of_cars_that_have_been_free_for_long_the_nearest_speaks_first() {
        let reach = Reach { idleness: 1_000, ..Reach::default() };
        let due = |drive, free| {
            let near = Some(Duration::from_secs(60));
            reach.due_of_car(near, Duration::from_secs(drive), at(free), at(900_000), at(900_000))
        };
        // Fifteen minutes idle: a second for every 40 of the drive.
        assert_eq!([due(0, 0), due(40, 0), due(400, 0)], [at(900_000), at(901_000), at(910_000)]);
        // Free at this moment: whoever is near goes at once.
        assert_eq!(due(60, 900_000), at(900_000));
    }

    proptest! {
        /// The moment that is computed is the first at which the limit allows the drive.
        #[test]
        fn due_is_when_the_limit_is_met(
            near in 1_000..300_000_u32, drive in 0..3_600_000_u32, first in 0..600_000_u64, later in 0..60_000_u64,
            seniority in 0..1_000_u16, stretch in 1_000..60_000_u32,
        ) {
            let reach = Reach { seniority, stretch: Duration::from_millis(stretch), ..Reach::default() };
            let (near, drive) = (Duration::from_millis(near), Duration::from_millis(drive));
            let (waiting, together) = (at(0), at(first));
            let due = reach.due(Some(near), drive, together, waiting);
            prop_assert!(due >= together);
            let limit = |when: Timestamp| {
                reach.limit(near, Duration::between(together, when), Duration::between(waiting, when))
            };
            // Whole numbers cost a few milliseconds of drive.
            let slack = Duration::from_millis(5);
            prop_assert!(limit(due).saturating_add(slack) >= drive);
            if due > together {
                prop_assert!(limit(due - Duration::from_millis(20)) <= drive.saturating_add(slack));
            }
            prop_assert!(limit(due + Duration::from_millis(u32::try_from(later).unwrap())) >= limit(due));
        }
    }
}
