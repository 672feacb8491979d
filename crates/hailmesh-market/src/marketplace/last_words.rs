//! What is still said when nothing can be kept any more (P11.1): the offer that is out is
//! taken back.
//!
//! A withdrawal binds nobody, but it is signed, so it must not contradict anything. The
//! marketplace in memory has run ahead of the store: a slot that ended or an ACCEPT that
//! was drafted may never have happened for those who go on from the store, and an offer
//! that spoke of them would be evidence against this key (E9). So the withdrawal repeats
//! slot, head and cell of the offer that *was sent*, and only its sequence number is new:
//! one from the block whose reservation that offer shows to be durable (W10). Whoever goes
//! on from the store begins above that block, so the number is not used twice (E6).

use hailmesh_types::{PublicKey, Timestamp};
use hailmesh_wire::{AnyStatement, DriverOffer, Extensions, RiderOffer};

use crate::book::Side;
use crate::output::Output;

use super::Marketplace;
use super::keys::SEQ_BLOCK;

impl Marketplace {
    /// The withdrawal of the own offer that was sent last, given as it was sent; nothing
    /// when it is none of a key in use, was a withdrawal itself, or no sequence number is
    /// known to be free.
    ///
    /// For whoever drives the marketplace, after records could not be made durable and
    /// before this value is dropped; nothing else may be asked of it then.
    pub fn last_words(&mut self, now: Timestamp, sent: &[u8]) -> Option<Output> {
        if self.halted.is_some() {
            return None;
        }
        let (side, cell, bytes) = match AnyStatement::decode(sent.to_vec()).ok()? {
            AnyStatement::DriverOffer(offer) if offer.body().live.is_some() => {
                let body = offer.body();
                let (key, cell) = (*offer.signer(), body.cell);
                let seq = self.spare_seq(&key, body.seq)?;
                let withdrawn = DriverOffer {
                    seq,
                    issued: now,
                    live: None,
                    addrs: Vec::new(),
                    certs: Vec::new(),
                    pow: self.work_for_offer(&key, cell, now),
                    ext: Extensions::NONE,
                    ..body.clone()
                };
                (Side::Drivers, cell, self.sign(&self.signing_for(&key)?, withdrawn).bytes().clone())
            }
            AnyStatement::RiderOffer(offer) if offer.body().live.is_some() => {
                let body = offer.body();
                let (key, cell) = (*offer.signer(), body.cell);
                let seq = self.spare_seq(&key, body.seq)?;
                let withdrawn = RiderOffer {
                    seq,
                    issued: now,
                    live: None,
                    addrs: Vec::new(),
                    certs: Vec::new(),
                    pow: self.work_for_offer(&key, cell, now),
                    ext: Extensions::NONE,
                    ..body.clone()
                };
                (Side::Riders, cell, self.sign(&self.signing_for(&key)?, withdrawn).bytes().clone())
            }
            _ => return None,
        };
        Some(Output::Publish { topic: self.offer_topic(side, cell), bytes })
    }

    /// A sequence number of this key that nothing was signed with, from the block that
    /// `sent` belongs to: an offer is sent after its block is durable.
    fn spare_seq(&mut self, key: &PublicKey, sent: u64) -> Option<u64> {
        let (seq, limit) = match (self.driver.as_mut(), self.rider.as_mut()) {
            (Some(driver), _) if driver.key == *key => (&mut driver.seq, driver.seq_limit),
            (_, Some(rider)) => {
                let chain = rider.chains.get_mut(key)?;
                (&mut chain.seq, chain.seq_limit)
            }
            _ => return None,
        };
        let durable = limit.checked_sub(SEQ_BLOCK).is_some_and(|first| sent >= first);
        let next = *seq + 1;
        (durable && next < limit).then(|| {
            *seq = next;
            next
        })
    }
}
