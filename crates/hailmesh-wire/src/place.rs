//! What openings hold (P5.3): exact places, contacts and the vehicle. Each is shown to
//! one person at one moment (P8.7); `Debug` shows them to nobody.

use std::fmt;

use hailmesh_types::{GeoPoint, Hash, PeerKey, Text};

use crate::codec::{self, Codec, Reader, RecordReader, RecordWriter, Secret, Writer};
use crate::statements::Addrs;
use crate::{Address, DecodeError, Opening};

const CLAUSE: &str = "P5.3";

/// Where and whom to pick up.
#[derive(Clone, PartialEq, Eq)]
pub struct PickupPlace {
    /// The exact place.
    pub point: GeoPoint,
    /// Whom to ask for.
    pub name: Text<32>,
    /// Whom to call.
    pub phone: Text<24>,
    /// How to find it.
    pub note: Text<200>,
    /// The rider's transport key.
    pub peer: PeerKey,
    /// Where to reach the rider's node, at most 3.
    pub addrs: Vec<Address>,
}

/// Where to go.
#[derive(Clone, PartialEq, Eq)]
pub struct DropPlace {
    /// The exact place.
    pub point: GeoPoint,
    /// How to find it.
    pub note: Text<200>,
}

/// Which vehicle comes.
#[derive(Clone, PartialEq, Eq)]
pub struct VehicleCard {
    /// The number plate.
    pub plate: Text<16>,
    /// What it is.
    pub model: Text<32>,
    /// What it looks like.
    pub colour: Text<16>,
    /// Hash of a photograph.
    pub photo: Option<Hash>,
    /// The salt that opens the commitment in the CREDENTIAL.
    pub credential_salt: Option<[u8; 32]>,
}

macro_rules! opening {
    ($name:ident, $hidden:literal) => {
        impl $name {
            /// The opening with this salt.
            #[must_use]
            pub fn to_opening(&self, salt: [u8; 32]) -> Opening {
                Opening { salt, content: codec::encode::<Self>(self) }
            }

            /// What an opening holds.
            ///
            /// # Errors
            /// P5.3 when it is something else.
            pub fn from_opening(opening: &Opening) -> Result<Self, DecodeError> {
                codec::decode::<Self>(&opening.content)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($hidden)
            }
        }
    };
}

opening!(PickupPlace, "<pickup>");
opening!(DropPlace, "<destination>");
opening!(VehicleCard, "<vehicle>");

pub(crate) fn put_point(record: &mut RecordWriter<'_>, point: GeoPoint) {
    record.put_int(point.lat_e7());
    record.put_int(point.lon_e7());
}

pub(crate) fn take_point(
    record: &mut RecordReader<'_, '_>,
    clause: &'static str,
) -> Result<GeoPoint, DecodeError> {
    let (lat, lon) = (record.take_int("lat")?, record.take_int("lon")?);
    // The text of a `GeoError` names the place, which logs must not hold.
    GeoPoint::from_e7(lat, lon).map_err(|_| DecodeError::new(clause, "a place off the globe"))
}

impl Codec for PickupPlace {
    type Value = Self;

    fn write(place: &Self, out: &mut Writer) {
        let mut record = out.record();
        put_point(&mut record, place.point);
        record.put::<Text<32>>(&place.name);
        record.put::<Text<24>>(&place.phone);
        record.put::<Text<200>>(&place.note);
        record.put::<PeerKey>(&place.peer);
        record.put::<Addrs>(&place.addrs);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record(CLAUSE)?;
        let place = Self {
            point: take_point(&mut record, CLAUSE)?,
            name: record.take::<Text<32>>("name")?,
            phone: record.take::<Text<24>>("phone")?,
            note: record.take::<Text<200>>("note")?,
            peer: record.take::<PeerKey>("peer")?,
            addrs: record.take::<Addrs>("addrs")?,
        };
        record.close()?;
        Ok(place)
    }
}

impl Codec for DropPlace {
    type Value = Self;

    fn write(place: &Self, out: &mut Writer) {
        let mut record = out.record();
        put_point(&mut record, place.point);
        record.put::<Text<200>>(&place.note);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record(CLAUSE)?;
        let place = Self { point: take_point(&mut record, CLAUSE)?, note: record.take::<Text<200>>("note")? };
        record.close()?;
        Ok(place)
    }
}

impl Codec for VehicleCard {
    type Value = Self;

    fn write(card: &Self, out: &mut Writer) {
        let mut record = out.record();
        record.put::<Text<16>>(&card.plate);
        record.put::<Text<32>>(&card.model);
        record.put::<Text<16>>(&card.colour);
        record.put::<Option<Hash>>(&card.photo);
        record.put::<Option<Secret<32>>>(&card.credential_salt);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record(CLAUSE)?;
        let card = Self {
            plate: record.take::<Text<16>>("plate")?,
            model: record.take::<Text<32>>("model")?,
            colour: record.take::<Text<16>>("colour")?,
            photo: record.take::<Option<Hash>>("photo")?,
            credential_salt: record.take::<Option<Secret<32>>>("credential_salt")?,
        };
        record.close()?;
        Ok(card)
    }
}
