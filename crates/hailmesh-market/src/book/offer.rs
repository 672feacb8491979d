//! What is booked: the two kinds of offer, and what the book keeps with one.

use hailmesh_types::{Cell, Duration, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Body, DriverOffer, RiderOffer, ShiftCert, Signed, Verified};

use super::entries::{EntryId, Posted};
use super::{OfferBook, Rank, Shelf};
use crate::certificates::Level;
use crate::index::Tenant;

/// One of the two sides of the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Those who offer rides.
    Drivers,
    /// Those who want one.
    Riders,
}

impl Side {
    /// `drivers` or `riders`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drivers => "drivers",
            Self::Riders => "riders",
        }
    }
}

/// What both kinds of offer have in common (P4.2, P4.3).
pub trait Offer: Body + Sized + 'static {
    /// Whose offers these are.
    const SIDE: Side;

    /// Sequence number, strictly rising per key.
    fn seq(&self) -> u64;
    /// When it was made.
    fn made(&self) -> Timestamp;
    /// How long it stands from then on.
    fn ttl(&self) -> Duration;
    /// Whether it is an offer and not the withdrawal of one.
    fn is_live(&self) -> bool;
    /// Where its author says to be.
    fn cell(&self) -> Cell;
    /// The author's open slot.
    fn slot(&self) -> u64;
    /// The ACCEPT that bound the slot before, which only drivers show.
    fn shown_head(&self) -> Option<&StatementId>;
    /// Statement id of its leaf certificate.
    fn cert_id(&self) -> Option<StatementId>;
    /// Proof of work (P16.6).
    fn pow(&self) -> Option<&[u8; 8]>;

    #[doc(hidden)]
    fn shelf(book: &OfferBook) -> &Shelf;
    #[doc(hidden)]
    fn shelf_mut(book: &mut OfferBook) -> &mut Shelf;
    #[doc(hidden)]
    fn booked(book: &OfferBook, entry: EntryId) -> Option<&Booked<Self>>;
    #[doc(hidden)]
    fn post(book: &mut OfferBook, entry: EntryId, booked: Booked<Self>);
}

macro_rules! offer {
    ($offer:ty, $side:expr, $shelf:ident, $posted:ident, |$body:ident| $head:expr) => {
        impl Offer for $offer {
            const SIDE: Side = $side;

            fn seq(&self) -> u64 {
                self.seq
            }

            fn made(&self) -> Timestamp {
                self.issued
            }

            fn ttl(&self) -> Duration {
                self.ttl
            }

            fn is_live(&self) -> bool {
                self.live.is_some()
            }

            fn cell(&self) -> Cell {
                self.cell
            }

            fn slot(&self) -> u64 {
                self.slot
            }

            fn shown_head(&self) -> Option<&StatementId> {
                let $body = self;
                $head
            }

            fn cert_id(&self) -> Option<StatementId> {
                self.cert_id
            }

            fn pow(&self) -> Option<&[u8; 8]> {
                self.pow.as_ref()
            }

            fn shelf(book: &OfferBook) -> &Shelf {
                &book.$shelf
            }

            fn shelf_mut(book: &mut OfferBook) -> &mut Shelf {
                &mut book.$shelf
            }

            fn booked(book: &OfferBook, entry: EntryId) -> Option<&Booked<Self>> {
                match &book.entries.get(entry)?.posted {
                    Posted::$posted(booked) => Some(booked),
                    _ => None,
                }
            }

            fn post(book: &mut OfferBook, entry: EntryId, booked: Booked<Self>) {
                if let Some(entry) = book.entries.get_mut(entry) {
                    entry.posted = Posted::$posted(booked);
                }
            }
        }
    };
}

offer!(DriverOffer, Side::Drivers, drivers, Driver, |offer| offer.head.as_ref());
offer!(RiderOffer, Side::Riders, riders, Rider, |_offer| None);

/// An offer in the book. Cloning is cheap: what was signed is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked<O> {
    /// The offer as its author signed it.
    pub offer: Verified<O>,
    /// The SHIFT_CERT behind the author's key.
    pub(crate) cert: Option<Signed<ShiftCert>>,
    /// Since when its author has been there with this slot open: when the first offer of
    /// the slot that was heard was made, or came in if that is earlier. Refreshes keep it.
    pub since: Timestamp,
    /// How far its author is known here (P16.4).
    pub level: Level,
    /// Whether the offer that it replaced said the same of slots (slot and head).
    pub(crate) repeats: bool,
}

/// A driver's offer in the book.
pub type BookedDriver = Booked<DriverOffer>;
/// A rider's offer in the book.
pub type BookedRider = Booked<RiderOffer>;

impl<O: Offer> Booked<O> {
    /// The author's key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        self.offer.signer()
    }

    /// When the offer ends by itself.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.offer.body().made() + self.offer.body().ttl()
    }

    /// The identity key behind the author's certificate; the subject of a pseudonymous
    /// credential is the author itself.
    #[must_use]
    pub fn identity(&self) -> Option<&PublicKey> {
        self.cert.as_ref().map(Signed::signer)
    }

    pub(super) fn rank(&self) -> Rank {
        let author = *self.key().as_bytes();
        Rank { level: self.level, expires: self.expires(), side: O::SIDE, author }
    }

    pub(super) fn cell(&self) -> Cell {
        self.offer.body().cell()
    }

    pub(super) fn tenant(&self, entry: EntryId) -> Tenant {
        Tenant::new(self.key().as_bytes(), entry)
    }
}
