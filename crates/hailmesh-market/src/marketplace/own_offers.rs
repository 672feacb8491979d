//! The last offers of a driver: what a REQUEST may refer to (P6.20).

use std::collections::VecDeque;
use std::sync::Arc;

use hailmesh_types::{Duration, StatementId, Timestamp};
use hailmesh_wire::{DriverOffer, RejectReason, Signatures, Verified};

/// Own offers remembered (P6.20).
const KEPT: usize = 32;
/// Grace after the end of an offer's life, milliseconds (P9.2).
const GRACE_MS: u32 = 30_000;

/// Own offers. Most REQUESTs name the newest; of those before it only the bytes are kept,
/// which the network layer has as well, and of those whose terms are honoured no longer
/// only the name, for the right answer.
#[derive(Default)]
pub(super) struct OwnOffers {
    lapsed: VecDeque<StatementId>,
    older: VecDeque<Older>,
    last: Option<Verified<DriverOffer>>,
}

/// An offer that another has followed.
struct Older {
    id: StatementId,
    expires: Timestamp,
    bytes: Arc<[u8]>,
}

impl OwnOffers {
    /// Remembers an offer that is being made.
    pub(super) fn push(&mut self, offer: Verified<DriverOffer>, now: Timestamp) {
        if let Some(last) = self.last.replace(offer) {
            let (id, expires) = (last.id(), last.body().expires());
            self.older.push_back(Older { id, expires, bytes: Arc::clone(last.bytes()) });
        }
        while let Some(oldest) = self.older.pop_front_if(|oldest| is_over(oldest.expires, now)) {
            self.lapsed.push_back(oldest.id);
        }
        while self.lapsed.len() + self.older.len() >= KEPT {
            if self.lapsed.pop_front().is_none() {
                self.older.pop_front();
            }
        }
    }

    /// The newest.
    pub(super) const fn last(&self) -> Option<&Verified<DriverOffer>> {
        self.last.as_ref()
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
        signatures: &dyn Signatures,
    ) -> Result<Verified<DriverOffer>, RejectReason> {
        if let Some(last) = self.last.as_ref().filter(|last| last.id_ref() == id) {
            return if is_over(last.body().expires(), now) {
                Err(RejectReason::Expired)
            } else {
                Ok(last.clone())
            };
        }
        match self.older.iter().find(|older| older.id == *id) {
            Some(older) if is_over(older.expires, now) => Err(RejectReason::Expired),
            Some(older) => {
                let read = Verified::from_own_journal(Arc::clone(&older.bytes), signatures);
                read.map_err(|_| RejectReason::Unknown)
            }
            None if self.lapsed.contains(id) => Err(RejectReason::Expired),
            None => Err(RejectReason::Unknown),
        }
    }
}

impl Extend<Verified<DriverOffer>> for OwnOffers {
    /// Takes over those that a journal knows, in its order.
    fn extend<I: IntoIterator<Item = Verified<DriverOffer>>>(&mut self, offers: I) {
        for offer in offers {
            self.push(offer, Timestamp::MIN);
        }
    }
}

fn is_over(expires: Timestamp, now: Timestamp) -> bool {
    now > expires + Duration::from_millis(GRACE_MS)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use hailmesh_types::{Cell, GeoPoint, Resolution};
    use hailmesh_wire::{Ed25519, Extensions, NetworkId};

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
                _ => Ok(offer.clone()),
            };
            assert_eq!(own.honoured(offer.id_ref(), now, &Ed25519), expected, "{number}");
        }
        assert_eq!((own.lapsed.len(), own.older.len()), (28, 3));
        let later = now + TTL + Duration::from_millis(GRACE_MS);
        assert_eq!(own.honoured(made[39].id_ref(), later, &Ed25519), Ok(made[39].clone()));
        let over = later + Duration::from_millis(1);
        assert_eq!(own.honoured(made[39].id_ref(), over, &Ed25519), Err(RejectReason::Expired));
        assert_eq!(own.last(), Some(&made[39]), "what was offered last is needed to withdraw it");
    }

    #[test]
    fn many_that_are_still_good_are_32_at_the_most() {
        let mut own = OwnOffers::default();
        let made: Vec<_> = (0..40).map(|number| offer(number + 1, start())).collect();
        for offer in &made {
            own.push(offer.clone(), start());
        }
        assert_eq!(own.honoured(made[7].id_ref(), start(), &Ed25519), Err(RejectReason::Unknown));
        assert_eq!(own.honoured(made[8].id_ref(), start(), &Ed25519), Ok(made[8].clone()));
    }
}
