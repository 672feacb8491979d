//! DRIVER_OFFER (P4.2) and RIDER_OFFER (P4.3).

use std::fmt;

use hailmesh_types::{
    Amount, Cell, Class, Currency, Duration, Features, PeerKey, Seats, StatementId, Tariff, Timestamp,
};

use super::{AcceptMode, Addrs, Certs, Extensions, body};
use crate::DecodeError;
use crate::codec::{Cells, Codec, Millis, Reader, RecordReader, RecordWriter, U16, U64, Writer, codes};
use crate::limits::ADDR_BYTES_MAX;

/// Bounds of `ttl` (P4.2).
type Ttl = Millis<10_000, 120_000>;
/// Bounds of `cell` (P4.2).
type OfferCell = Cells<7, 10>;
/// Bounds of `seq` (P4.2).
type Seq = U64<1, { u64::MAX }>;
/// Bounds of `attempt` (P4.3).
type Attempt = U16<1, { u16::MAX }>;

/// A binary multiaddress of at most 64 bytes. What it means is the network's business.
/// `Debug` prints no address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Vec<u8>);

impl Address {
    /// Checks the length.
    ///
    /// # Errors
    /// Beyond 64 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        if bytes.len() <= ADDR_BYTES_MAX {
            Ok(Self(bytes))
        } else {
            let found = bytes.len();
            Err(DecodeError::new(
                "P2",
                format!("an address of {found} bytes: at most {ADDR_BYTES_MAX} are allowed"),
            ))
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<address>")
    }
}

impl Codec for Address {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.bytes(&value.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        if bytes.len() > ADDR_BYTES_MAX {
            return Err(DecodeError::value(format!("of {} bytes: at most {ADDR_BYTES_MAX}", bytes.len())));
        }
        Ok(Self(bytes.to_vec()))
    }
}

codes! {
    /// Whether an offer stands.
    pub enum OfferStatus {
        /// Available, or wanted.
        Live = 1 "live",
        /// Withdrawn.
        Withdrawn = 2 "withdrawn",
    }
}

/// What a driver offers while available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverTerms {
    /// The class of the vehicle.
    pub class: Class,
    /// Free seats.
    pub seats: Seats,
    /// What it has.
    pub features: Features,
    /// What a ride costs; binding until `issued` + `ttl` + 30 s (P9.2).
    pub tariff: Tariff,
    /// Who decides on requests.
    pub accept_mode: AcceptMode,
}

/// A driver's offer of availability (P4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverOffer {
    /// At least 1, strictly rising per key.
    pub seq: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// How long it stands, 10 s to 120 s.
    pub ttl: Duration,
    /// About where the driver is, resolution 7 to 10.
    pub cell: Cell,
    /// The open slot; while held the held one, when firm the one after.
    pub slot: u64,
    /// What is offered; nothing in a withdrawn offer.
    pub live: Option<DriverTerms>,
    /// Where to reach the driver, at most 3; only in a live offer.
    pub addrs: Vec<Address>,
    /// The leaf certificate.
    pub cert_id: Option<StatementId>,
    /// At most 2 certificates of at most 288 bytes; only in a live offer and with
    /// `cert_id`.
    pub certs: Vec<Vec<u8>>,
    /// Proof of work (P16.6).
    pub pow: Option<[u8; 8]>,
    /// The ACCEPT that bound slot − 1; absent exactly when `slot` is 0.
    pub head: Option<StatementId>,
    /// Extensions.
    pub ext: Extensions,
}

/// What a rider wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiderTerms {
    /// The class of vehicle.
    pub class: Class,
    /// Seats.
    pub seats: Seats,
    /// What the vehicle must have.
    pub features: Features,
    /// At least 1; rises with every new search for the same ride.
    pub attempt: u16,
    /// The most that the ride may cost.
    pub max_fare: Option<(Amount, Currency)>,
    /// The transport key to dial.
    pub peer: PeerKey,
}

/// A rider's wish (P4.3). It never holds an exact position or a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiderOffer {
    /// At least 1, strictly rising per key.
    pub seq: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// How long it stands, 10 s to 120 s.
    pub ttl: Duration,
    /// About where the pickup is, resolution 7 to 10.
    pub cell: Cell,
    /// The open slot; when committed the one after.
    pub slot: u64,
    /// What is wanted; nothing in a withdrawn offer.
    pub live: Option<RiderTerms>,
    /// Where to reach the rider, at most 3; only in a live offer.
    pub addrs: Vec<Address>,
    /// The leaf certificate.
    pub cert_id: Option<StatementId>,
    /// At most 2 certificates of at most 288 bytes; only in a live offer and with
    /// `cert_id`.
    pub certs: Vec<Vec<u8>>,
    /// Proof of work (P16.6).
    pub pow: Option<[u8; 8]>,
    /// Extensions.
    pub ext: Extensions,
}

body!(dated DriverOffer with certs);
body!(dated RiderOffer with certs);

macro_rules! standing {
    ($name:ident) => {
        impl $name {
            /// Whether the offer stands, as opposed to withdrawn.
            #[must_use]
            pub const fn is_live(&self) -> bool {
                self.live.is_some()
            }

            /// Status 1 or 2, as on the wire.
            #[must_use]
            pub const fn status(&self) -> OfferStatus {
                if self.is_live() { OfferStatus::Live } else { OfferStatus::Withdrawn }
            }

            /// The moment after which nobody takes it up: `issued` + `ttl`.
            #[must_use]
            pub fn expires(&self) -> Timestamp {
                self.issued + self.ttl
            }
        }
    };
}

standing!(DriverOffer);
standing!(RiderOffer);

/// A field of a live offer.
fn put_live<T, C: Codec>(record: &mut RecordWriter<'_>, live: Option<&T>, field: impl Fn(&T) -> &C::Value) {
    match live {
        Some(terms) => record.put::<C>(field(terms)),
        None => record.skip(),
    }
}

/// Refuses what a withdrawn offer must not have.
fn forbid_all(record: &mut RecordReader<'_, '_>, fields: &[&'static str]) -> Result<(), DecodeError> {
    fields.iter().try_for_each(|field| record.forbid(field))
}

/// What both kinds of offer ask of their last fields.
fn check_tail(
    clause: &'static str,
    is_live: bool,
    addrs: &[Address],
    cert_id: Option<&StatementId>,
    certs: &[Vec<u8>],
) -> Result<(), DecodeError> {
    let refuse = |what: &str| Err(DecodeError::new(clause, what));
    if !is_live && !addrs.is_empty() {
        return refuse("addrs in a withdrawn offer");
    }
    if !is_live && !certs.is_empty() {
        return refuse("certs in a withdrawn offer");
    }
    if cert_id.is_none() && !certs.is_empty() {
        return refuse("certs without cert_id");
    }
    Ok(())
}

impl Codec for DriverOffer {
    type Value = Self;

    fn write(offer: &Self, out: &mut Writer) {
        let live = offer.live.as_ref();
        let mut record = out.record();
        record.put::<Seq>(&offer.seq);
        record.put::<Timestamp>(&offer.issued);
        record.put::<Ttl>(&offer.ttl);
        record.put::<OfferStatus>(&offer.status());
        record.put::<OfferCell>(&offer.cell);
        record.put::<u64>(&offer.slot);
        put_live::<_, Class>(&mut record, live, |terms| &terms.class);
        put_live::<_, Seats>(&mut record, live, |terms| &terms.seats);
        put_live::<_, Features>(&mut record, live, |terms| &terms.features);
        put_live::<_, Tariff>(&mut record, live, |terms| &terms.tariff);
        put_live::<_, AcceptMode>(&mut record, live, |terms| &terms.accept_mode);
        record.put::<Addrs>(&offer.addrs);
        record.put::<Option<StatementId>>(&offer.cert_id);
        record.put::<Certs>(&offer.certs);
        record.put::<Option<[u8; 8]>>(&offer.pow);
        record.put::<Option<StatementId>>(&offer.head);
        record.put::<Extensions>(&offer.ext);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record("P4.2")?;
        let seq = record.take::<Seq>("seq")?;
        let issued = record.take::<Timestamp>("issued")?;
        let ttl = record.take::<Ttl>("ttl")?;
        let status = record.take::<OfferStatus>("status")?;
        let cell = record.take::<OfferCell>("cell")?;
        let slot = record.take::<u64>("slot")?;
        let live = match status {
            OfferStatus::Live => Some(DriverTerms {
                class: record.take::<Class>("class")?,
                seats: record.take::<Seats>("seats")?,
                features: record.take::<Features>("features")?,
                tariff: record.take::<Tariff>("tariff")?,
                accept_mode: record.take::<AcceptMode>("accept_mode")?,
            }),
            OfferStatus::Withdrawn => {
                forbid_all(&mut record, &["class", "seats", "features", "tariff", "accept_mode"])?;
                None
            }
        };
        let offer = Self {
            seq,
            issued,
            ttl,
            cell,
            slot,
            live,
            addrs: record.take::<Addrs>("addrs")?,
            cert_id: record.take::<Option<StatementId>>("cert_id")?,
            certs: record.take::<Certs>("certs")?,
            pow: record.take::<Option<[u8; 8]>>("pow")?,
            head: record.take::<Option<StatementId>>("head")?,
            ext: record.take::<Extensions>("ext")?,
        };
        record.close()?;
        check_tail("P4.2", offer.is_live(), &offer.addrs, offer.cert_id.as_ref(), &offer.certs)?;
        if offer.head.is_some() == (offer.slot == 0) {
            let found = if offer.slot == 0 { "present" } else { "missing" };
            return Err(DecodeError::new("P4.2", format!("head is {found} with slot {}", offer.slot)));
        }
        Ok(offer)
    }
}

impl Codec for RiderOffer {
    type Value = Self;

    fn write(offer: &Self, out: &mut Writer) {
        let live = offer.live.as_ref();
        let max_fare = live.and_then(|terms| terms.max_fare);
        let mut record = out.record();
        record.put::<Seq>(&offer.seq);
        record.put::<Timestamp>(&offer.issued);
        record.put::<Ttl>(&offer.ttl);
        record.put::<OfferStatus>(&offer.status());
        record.put::<OfferCell>(&offer.cell);
        record.put::<u64>(&offer.slot);
        put_live::<_, Class>(&mut record, live, |terms| &terms.class);
        put_live::<_, Seats>(&mut record, live, |terms| &terms.seats);
        put_live::<_, Features>(&mut record, live, |terms| &terms.features);
        put_live::<_, Attempt>(&mut record, live, |terms| &terms.attempt);
        record.put::<Option<Amount>>(&max_fare.map(|(fare, _)| fare));
        record.put::<Option<Currency>>(&max_fare.map(|(_, currency)| currency));
        put_live::<_, PeerKey>(&mut record, live, |terms| &terms.peer);
        record.put::<Addrs>(&offer.addrs);
        record.put::<Option<StatementId>>(&offer.cert_id);
        record.put::<Certs>(&offer.certs);
        record.put::<Option<[u8; 8]>>(&offer.pow);
        record.put::<Extensions>(&offer.ext);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record("P4.3")?;
        let seq = record.take::<Seq>("seq")?;
        let issued = record.take::<Timestamp>("issued")?;
        let ttl = record.take::<Ttl>("ttl")?;
        let status = record.take::<OfferStatus>("status")?;
        let cell = record.take::<OfferCell>("cell")?;
        let slot = record.take::<u64>("slot")?;
        let live = match status {
            OfferStatus::Live => Some(RiderTerms {
                class: record.take::<Class>("class")?,
                seats: record.take::<Seats>("seats")?,
                features: record.take::<Features>("features")?,
                attempt: record.take::<Attempt>("attempt")?,
                max_fare: take_max_fare(&mut record)?,
                peer: record.take::<PeerKey>("peer")?,
            }),
            OfferStatus::Withdrawn => {
                let never = ["class", "seats", "features", "attempt", "max_fare", "currency", "peer"];
                forbid_all(&mut record, &never)?;
                None
            }
        };
        let offer = Self {
            seq,
            issued,
            ttl,
            cell,
            slot,
            live,
            addrs: record.take::<Addrs>("addrs")?,
            cert_id: record.take::<Option<StatementId>>("cert_id")?,
            certs: record.take::<Certs>("certs")?,
            pow: record.take::<Option<[u8; 8]>>("pow")?,
            ext: record.take::<Extensions>("ext")?,
        };
        record.close()?;
        check_tail("P4.3", offer.is_live(), &offer.addrs, offer.cert_id.as_ref(), &offer.certs)?;
        Ok(offer)
    }
}

fn take_max_fare(record: &mut RecordReader<'_, '_>) -> Result<Option<(Amount, Currency)>, DecodeError> {
    let fare = record.take::<Option<Amount>>("max_fare")?;
    let currency = record.take::<Option<Currency>>("currency")?;
    match (fare, currency) {
        (Some(fare), Some(currency)) => Ok(Some((fare, currency))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(DecodeError::new("P4.3", "max_fare without currency")),
        (None, Some(_)) => Err(DecodeError::new("P4.3", "currency without max_fare")),
    }
}
