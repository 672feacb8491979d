//! How long a message takes from one host to another, and whether it arrives.
//!
//! Every draw is a hash of the seed of the run and of what names the message, so that
//! it does not depend on what else was drawn before.

use super::settings::Settings;

/// A stream of draws for one message on one link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws(u64);

impl Draws {
    /// The draws of whatever these numbers name.
    pub(super) const fn of(seed: u64, a: u64, b: u64, c: u64) -> Self {
        let mixed = mix(seed ^ mix(a ^ mix(b ^ mix(c.wrapping_add(0x9e37_79b9_7f4a_7c15)))));
        Self(mixed)
    }

    /// The next 64 bits (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Between 0 and 1, 1 excluded.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) const fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// Between both, ends included.
    pub(super) const fn between(&mut self, least: u32, most: u32) -> u32 {
        let span = most as u64 - least as u64 + 1;
        // The high half of a product: no modulo bias worth speaking of for spans of ms.
        let offset = (((self.next() >> 32) * span) >> 32) as u32;
        least + offset
    }
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// When copies of one frame arrive: none, one, or two when it was duplicated.
/// Milliseconds after it was sent.
pub(super) fn frame_delays(settings: &Settings, draws: &mut Draws) -> [Option<u32>; 2] {
    let (least, most) = settings.latency_ms;
    let first = (!draws.chance(settings.loss)).then(|| draws.between(least, most));
    let second = draws.chance(settings.duplication).then(|| draws.between(least, most.saturating_mul(2)));
    [first, second]
}

/// Whether nothing gets from one host to the other at this time.
pub(super) fn is_cut(settings: &Settings, seed: u64, from: u32, to: u32, at_ms: u64) -> bool {
    settings.partitions.iter().any(|partition| {
        let during = (partition.from_ms..partition.until_ms).contains(&at_ms);
        if !during {
            return false;
        }
        let side =
            |host: u32| Draws::of(seed, 0x5157, partition.from_ms, host.into()).unit() < partition.share;
        let (from, to) = (side(from), side(to));
        from != to && (!partition.one_way || from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_between_and_reach_both_ends() {
        let mut seen = [0_u32; 4];
        for number in 0..1_000 {
            let mut draws = Draws::of(7, number, 1, 2);
            seen[draws.between(10, 13) as usize - 10] += 1;
            let unit = draws.unit();
            assert!((0.0..1.0).contains(&unit));
        }
        assert!(seen.iter().all(|count| (200..300).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_partition_cuts_only_between_its_sides_and_heals() {
        let partition =
            super::super::settings::Partition { from_ms: 100, until_ms: 200, share: 0.5, one_way: true };
        let settings = Settings { partitions: vec![partition], ..Settings::default() };
        let cut = |from, to, at| is_cut(&settings, 3, from, to, at);
        let (mut one, mut both) = (0, 0);
        for from in 0..40 {
            for to in 0..40 {
                assert!(!cut(from, to, 99) && !cut(from, to, 200));
                one += u32::from(cut(from, to, 150));
                both += u32::from(cut(from, to, 150) && cut(to, from, 150));
            }
        }
        assert!(one > 200, "{one}");
        assert_eq!(both, 0, "one way only");
    }
}
