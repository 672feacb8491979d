//! The last offers of a driver: what a REQUEST may refer to (P6.20).

use std::collections::VecDeque;

use hailmesh_types::{Duration, StatementId, Timestamp};
use hailmesh_wire::{DriverOffer, RejectReason, Verified};

/// Own offers remembered (P6.20).
const KEPT: usize = 32;
/// Grace after the end of an offer's life, milliseconds (P9.2).
const GRACE_MS: u32 = 30_000;

/// Own offers, the newest last. Of one whose terms are honoured no longer only the name
/// is kept, for the right answer: it is a twentieth of the offer.
#[derive(Default)]
pub(super) struct OwnOffers {
    lapsed: VecDeque<StatementId>,
    honoured: VecDeque<Verified<DriverOffer>>,
}

impl OwnOffers {
    /// Remembers an offer that is being made.
    pub(super) fn push(&mut self, offer: Verified<DriverOffer>, now: Timestamp) {
        while let Some(oldest) = self.honoured.front().filter(|oldest| is_over(oldest, now)) {
            self.lapsed.push_back(oldest.id());
            self.honoured.pop_front();
        }
        self.honoured.push_back(offer);
        while self.lapsed.len() + self.honoured.len() > KEPT {
            if self.lapsed.pop_front().is_none() {
                self.honoured.pop_front();
            }
        }
    }

    /// The newest.
    pub(super) fn last(&self) -> Option<&Verified<DriverOffer>> {
        self.honoured.back()
    }

    /// The offer of this name.
    ///
    /// # Errors
    /// `Unknown` when it is none of the last 32, `Expired` when its time and the grace
    /// after it are over.
    pub(super) fn honoured(
        &self,
        id: &StatementId,
        now: Timestamp,
    ) -> Result<&Verified<DriverOffer>, RejectReason> {
        match self.honoured.iter().find(|offer| offer.id_ref() == id) {
            Some(offer) if !is_over(offer, now) => Ok(offer),
            None if !self.lapsed.contains(id) => Err(RejectReason::Unknown),
            _ => Err(RejectReason::Expired),
        }
    }
}

impl FromIterator<Verified<DriverOffer>> for OwnOffers {
    /// Those that a journal knows, in its order.
    fn from_iter<I: IntoIterator<Item = Verified<DriverOffer>>>(offers: I) -> Self {
        Self { lapsed: VecDeque::new(), honoured: offers.into_iter().collect() }
    }
}

fn is_over(offer: &Verified<DriverOffer>, now: Timestamp) -> bool {
    now > offer.body().expires() + Duration::from_millis(GRACE_MS)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use hailmesh_types::{Cell, GeoPoint, Resolution};
    use hailmesh_wire::{Extensions, NetworkId};

    use super::*;

    const TTL: Duration = Duration::from_secs(120);

    fn start() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).unwrap()
    }

    fn offer(seq: u64, issued: Timestamp) -> Verified<DriverOffer> {
        let place: GeoPoint = "40.7580,-73.9855".parse().unwrap();
        let body = DriverOffer {
            seq,
            issued,
            ttl: TTL,
            cell: Cell::at(place, Resolution::DRIVER),
            slot: 0,
            live: None,
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            head: None,
            ext: Extensions::NONE,
        };
        Verified::sign(&SigningKey::from_bytes(&[7; 32]), NetworkId::of(&"test".parse().unwrap()), body)
    }

    #[test]
    fn the_last_32_are_honoured_expired_or_unknown() {
        let mut own = OwnOffers::default();
        let made: Vec<_> = (0..40_u32)
            .map(|number| offer(u64::from(number) + 1, start() + Duration::from_secs(50 * number)))
            .collect();
        for offer in &made {
            own.push(offer.clone(), offer.body().issued);
            assert_eq!(own.last(), Some(offer));
        }
        let now = made[39].body().issued;
        for (number, offer) in made.iter().enumerate() {
            let expected = match number {
                0..8 => Err(RejectReason::Unknown),
                // 150 s after it was made an offer is still good, as of now that is the 37th.
                8..36 => Err(RejectReason::Expired),
                _ => Ok(offer),
            };
            assert_eq!(own.honoured(offer.id_ref(), now), expected, "{number}");
        }
        assert_eq!((own.lapsed.len(), own.honoured.len()), (28, 4));
        let later = now + TTL + Duration::from_millis(GRACE_MS);
        assert_eq!(own.honoured(made[39].id_ref(), later), Ok(&made[39]));
        let over = later + Duration::from_millis(1);
        assert_eq!(own.honoured(made[39].id_ref(), over), Err(RejectReason::Expired));
        assert_eq!(own.last(), Some(&made[39]), "what was offered last is needed to withdraw it");
    }

    #[test]
    fn many_that_are_still_good_are_32_at_the_most() {
        let mut own = OwnOffers::default();
        let made: Vec<_> = (0..40).map(|number| offer(number + 1, start())).collect();
        for offer in &made {
            own.push(offer.clone(), start());
        }
        assert_eq!(own.honoured(made[7].id_ref(), start()), Err(RejectReason::Unknown));
        assert_eq!(own.honoured(made[8].id_ref(), start()), Ok(&made[8]));
    }
}
