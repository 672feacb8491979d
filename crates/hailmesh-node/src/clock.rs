//! The one reader of the machine's clock.
//!
//! Time runs on the monotonic clock, anchored to the wall clock at the start, so that a
//! step of the wall clock moves no timer. The two are compared now and then: when they
//! differ by more than two seconds (the machine slept, or somebody set its clock) the
//! anchor is set anew and whoever asked is told by how much.
#![expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hailmesh_types::Timestamp;

/// Differences up to this are drift, not a jump, milliseconds.
const JUMP_MS_MIN: i64 = 2_000;

/// The clock of a node.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    anchor: Instant,
    anchor_ms: i64,
    /// How far this clock is ahead of the machine's, milliseconds.
    offset_ms: i64,
    #[cfg(test)]
    faults: std::sync::Arc<crate::journal::Faults>,
}

/// The wall clock and the timers had come apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// How far time has moved, milliseconds; forward is positive.
    pub by_ms: i64,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            anchor: now,
            anchor_ms: wall_ms(),
            offset_ms: 0,
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        }
    }

    /// A clock that begins now and is so many milliseconds ahead of the machine's, behind
    /// it when negative: for simulations, and to see what a wrong clock does. See
    /// [`Node::start_with_clock`](crate::Node::start_with_clock).
    #[must_use]
    pub fn with_offset(ms: i64) -> Self {
        let right = Self::start();
        Self { anchor_ms: right.anchor_ms.saturating_add(ms), offset_ms: ms, ..right }
    }

    /// The same clock, but its wall clock can be set by a test.
    #[cfg(test)]
    pub(crate) fn faulty(self, faults: &std::sync::Arc<crate::journal::Faults>) -> Self {
        Self { faults: std::sync::Arc::clone(faults), ..self }
    }

    /// The time. Never steps back except by [`Clock::check`]. A wall clock outside the
    /// range of the protocol reads as the nearest time inside.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        in_range(self.anchored_ms(Instant::now()))
    }

    /// The monotonic moment at which the clock shows `at`; now when that is past.
    #[must_use]
    pub fn instant_of(&self, at: Timestamp) -> Instant {
        let now = Instant::now();
        let ahead = i64::try_from(at.as_millis()).unwrap_or(i64::MAX) - self.anchored_ms(now);
        now + Duration::from_millis(u64::try_from(ahead).unwrap_or(0))
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Compares with the wall clock and follows it when they have come apart.
    pub fn check(&mut self) -> Option<Jump> {
        let wall_ms = wall_ms().saturating_add(self.offset_ms);
        #[cfg(test)]
        let wall_ms = wall_ms + self.faults.clock_ms.load(std::sync::atomic::Ordering::SeqCst);
        self.follow(Instant::now(), wall_ms)
    }

    fn follow(&mut self, now: Instant, wall_ms: i64) -> Option<Jump> {
        let by_ms = wall_ms - self.anchored_ms(now);
        if by_ms.abs() <= JUMP_MS_MIN {
            return None;
        }
        self.anchor = now;
        self.anchor_ms = wall_ms;
        Some(Jump { by_ms })
    }

    fn anchored_ms(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.anchor).as_millis();
        self.anchor_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Milliseconds since 1970 by the wall clock; negative before.
fn wall_ms() -> i64 {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => ms(since),
        Err(before) => -ms(before.duration()),
    }
}

fn in_range(ms: i64) -> Timestamp {
    let ms = u64::try_from(ms).unwrap_or(0);
    Timestamp::from_millis(ms).unwrap_or(if ms < Timestamp::MIN.as_millis() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_jumps_and_ignores_drift() {
        let mut clock = Clock::start();
        let later = clock.anchor + Duration::from_secs(10);
        let expected = clock.anchor_ms + 10_000;
        assert_eq!(clock.follow(later, expected + 1_900), None);
        assert_eq!(clock.follow(later, expected - 2_000), None);
        assert_eq!(clock.anchored_ms(later), expected);
        assert_eq!(clock.follow(later, expected + 3_600_000), Some(Jump { by_ms: 3_600_000 }));
        assert_eq!(clock.anchored_ms(later), expected + 3_600_000);
        assert_eq!(clock.follow(later, expected), Some(Jump { by_ms: -3_600_000 }));
    }

    #[test]
    fn an_offset_is_no_jump() {
        let (right, mut ahead) = (Clock::start(), Clock::with_offset(120_000));
        let by = ahead.now().millis_since(right.now());
        assert!((119_000..=121_000).contains(&by), "{by}");
        assert_eq!(ahead.check(), None);
    }

    #[test]
    fn instants_of_the_past_are_now() {
        let clock = Clock::start();
        let now = Instant::now();
        assert!(clock.instant_of(Timestamp::MIN) >= now);
        let ahead = clock.instant_of(clock.now() + hailmesh_types::Duration::from_secs(60));
        assert!(ahead > now + Duration::from_secs(59) && ahead < now + Duration::from_secs(62));
    }

    #[test]
    fn a_mad_wall_clock_reads_as_the_nearest_time() {
        assert_eq!(in_range(-5), Timestamp::MIN);
        assert_eq!(in_range(i64::MAX), Timestamp::MAX);
    }
}
