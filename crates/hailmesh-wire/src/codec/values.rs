//! How the values of the protocol look on the wire, and their bounds.

use std::fmt::{self, Debug};
use std::marker::PhantomData;

use hailmesh_types::{
    AgreementId, Amount, Cell, Class, Currency, Duration, Features, Hash, PeerKey, PublicKey, SEATS_MAX,
    Seats, StatementId, Tariff, Text, Timestamp,
};

use super::{Codec, Reader, Shown, Writer};
use crate::DecodeError;

macro_rules! unsigned {
    ($bounded:ident, $int:ty) => {
        /// An integer from `MIN` to `MAX`.
        pub(crate) struct $bounded<const MIN: $int, const MAX: $int>;

        impl<const MIN: $int, const MAX: $int> Codec for $bounded<MIN, MAX> {
            type Value = $int;

            fn write(value: &$int, out: &mut Writer) {
                out.uint(u64::from(*value));
            }

            fn read(input: &mut Reader<'_>) -> Result<$int, DecodeError> {
                let value = input.uint()?;
                match <$int>::try_from(value) {
                    Ok(value) if (MIN..=MAX).contains(&value) => Ok(value),
                    _ => Err(DecodeError::value(format!("{value}: expected {MIN} to {MAX}"))),
                }
            }
        }

        impl Codec for $int {
            type Value = Self;

            fn write(value: &Self, out: &mut Writer) {
                out.uint(u64::from(*value));
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                $bounded::<{ <$int>::MIN }, { <$int>::MAX }>::read(input)
            }
        }
    };
}

unsigned!(U8, u8);
unsigned!(U16, u16);
unsigned!(U32, u32);
unsigned!(U64, u64);

/// A span of `MIN` to `MAX` milliseconds.
pub(crate) struct Millis<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Codec for Millis<MIN, MAX> {
    type Value = Duration;

    fn write(value: &Duration, out: &mut Writer) {
        out.uint(u64::from(value.as_millis()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Duration, DecodeError> {
        U32::<MIN, MAX>::read(input).map(Duration::from_millis)
    }
}

impl Codec for Duration {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(u64::from(value.as_millis()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u32::read(input).map(Self::from_millis)
    }
}

/// A time until arrival: at most two hours, in steps of 30 s, since it is told from
/// cells alone (P14.6).
pub(crate) struct Eta;

impl Codec for Eta {
    type Value = Duration;

    fn write(value: &Duration, out: &mut Writer) {
        Duration::write(value, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Duration, DecodeError> {
        let eta = Millis::<0, 7_200_000>::read(input)?;
        if eta.as_millis().is_multiple_of(30_000) {
            Ok(eta)
        } else {
            Err(DecodeError::value(format!("{}: expected a multiple of 30000", eta.as_millis())))
        }
    }
}

/// A cell of resolution `MIN` to `MAX`.
pub(crate) struct Cells<const MIN: u8, const MAX: u8>;

impl<const MIN: u8, const MAX: u8> Codec for Cells<MIN, MAX> {
    type Value = Cell;

    fn write(value: &Cell, out: &mut Writer) {
        out.uint(value.index());
    }

    fn read(input: &mut Reader<'_>) -> Result<Cell, DecodeError> {
        // The text of a `CellError` names the cell, which logs must not hold.
        Cell::from_index(input.uint()?, MIN, MAX)
            .map_err(|_| DecodeError::value(format!("is no H3 cell of resolution {MIN} to {MAX}")))
    }
}

/// A byte string of at most `MAX` bytes.
pub(crate) struct Bytes<const MAX: usize>;

impl<const MAX: usize> Codec for Bytes<MAX> {
    type Value = Vec<u8>;

    fn write(value: &Vec<u8>, out: &mut Writer) {
        out.bytes(value);
    }

    fn read(input: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
        let bytes = input.bytes()?;
        if bytes.len() <= MAX {
            Ok(bytes.to_vec())
        } else {
            Err(DecodeError::value(format!("of {} bytes: at most {MAX} are allowed", bytes.len())))
        }
    }

    fn show(value: &Vec<u8>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", value.len())
    }
}

/// `N` bytes that no log may show.
pub(crate) struct Secret<const N: usize>;

impl<const N: usize> Codec for Secret<N> {
    type Value = [u8; N];

    fn write(value: &[u8; N], out: &mut Writer) {
        out.bytes(value);
    }

    fn read(input: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
        input.bytes_of()
    }

    fn show(_value: &[u8; N], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private>")
    }
}

/// A list of `MIN` to `MAX` elements. With a `MIN` of 1 an empty list is an absent one
/// when the field is declared [`Listed`].
pub(crate) struct List<C, const MIN: usize, const MAX: usize>(PhantomData<C>);

impl<C: Codec, const MIN: usize, const MAX: usize> Codec for List<C, MIN, MAX> {
    type Value = Vec<C::Value>;

    fn write(value: &Self::Value, out: &mut Writer) {
        out.array(value.len());
        for element in value {
            C::write(element, out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self::Value, DecodeError> {
        let len = input.array()?;
        let len = usize::try_from(len).ok().filter(|len| (MIN..=MAX).contains(len));
        let len = len.ok_or_else(|| DecodeError::value(format!("has not {MIN} to {MAX} elements")))?;
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(C::read(input)?);
        }
        Ok(list)
    }

    fn show(value: &Self::Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(value.iter().map(Shown::<C>)).finish()
    }
}

/// An optional list of 1 to `MAX` elements; absent is the empty one.
pub(crate) struct Listed<C, const MAX: usize>(PhantomData<C>);

impl<C: Codec, const MAX: usize> Codec for Listed<C, MAX> {
    type Value = Vec<C::Value>;

    fn absent() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn is_absent(value: &Self::Value) -> bool {
        value.is_empty()
    }

    fn write(value: &Self::Value, out: &mut Writer) {
        List::<C, 1, MAX>::write(value, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self::Value, DecodeError> {
        List::<C, 1, MAX>::read(input)
    }

    fn show(value: &Self::Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        List::<C, 1, MAX>::show(value, f)
    }
}

impl<C: Codec> Codec for Option<C> {
    type Value = Option<C::Value>;

    fn absent() -> Option<Self::Value> {
        Some(None)
    }

    fn is_absent(value: &Self::Value) -> bool {
        value.is_none()
    }

    fn write(value: &Self::Value, out: &mut Writer) {
        match value {
            Some(value) => C::write(value, out),
            None => out.null(),
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self::Value, DecodeError> {
        C::read(input).map(Some)
    }

    fn show(value: &Self::Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        value.as_ref().map(Shown::<C>).fmt(f)
    }
}

impl<const N: usize> Codec for [u8; N] {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.bytes(value);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.bytes_of()
    }
}

macro_rules! hashes {
    ($($name:ty),*) => {$(
        impl Codec for $name {
            type Value = Self;

            fn write(value: &Self, out: &mut Writer) {
                out.bytes(value.as_bytes());
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                input.bytes_of().map(Self::from_bytes)
            }
        }
    )*};
}

hashes!(StatementId, AgreementId, Hash, PeerKey);

impl Codec for PublicKey {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.bytes(value.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = input.bytes_of()?;
        Self::from_bytes(&bytes).map_err(|error| DecodeError::new("P2.8", error.to_string()))
    }
}

impl Codec for Timestamp {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(value.as_millis());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_millis(input.uint()?).map_err(|error| DecodeError::value(error.to_string()))
    }
}

impl Codec for Amount {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(value.minor());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_minor(input.uint()?).map_err(|error| DecodeError::value(error.to_string()))
    }
}

impl Codec for Currency {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.bytes(value.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(input.bytes_of()?).map_err(|error| DecodeError::value(error.to_string()))
    }
}

impl Codec for Class {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(u64::from(value.code()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u16::read(input).map(Self::from_code)
    }
}

impl Codec for Features {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(u64::from(value.bits()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u32::read(input).map(Self::from_bits)
    }
}

impl Codec for Seats {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(u64::from(value.get()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let seats = U8::<1, SEATS_MAX>::read(input)?;
        Self::new(seats).map_err(|error| DecodeError::value(error.to_string()))
    }
}

impl<const N: usize> Codec for Text<N> {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.bytes(value.as_str().as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        if bytes.len() > N {
            return Err(DecodeError::value(format!("of {} bytes: at most {N} are allowed", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::value("is not UTF-8"))?;
        Self::new(text).map_err(|error| DecodeError::value(error.to_string()))
    }

    fn show(value: &Self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<text of {} bytes>", value.as_str().len())
    }
}

impl Codec for bool {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(u64::from(*value));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        U8::<0, 1>::read(input).map(|flag| flag == 1)
    }
}

impl Codec for Tariff {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        let mut record = out.record();
        record.put::<Currency>(&value.currency);
        record.put::<u32>(&value.base);
        record.put::<u32>(&value.per_km);
        record.put::<u32>(&value.per_min);
        record.put::<u32>(&value.minimum);
        record.put::<u32>(&value.wait_per_min);
        record.put::<Duration>(&value.wait_free);
        record.put::<u32>(&value.cancel_fee);
        record.put::<Duration>(&value.cancel_free);
        record.put::<u32>(&value.no_show_fee);
        record.put::<u16>(&value.surge);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record("P4.4")?;
        let tariff = Self {
            currency: record.take::<Currency>("currency")?,
            base: record.take::<u32>("base")?,
            per_km: record.take::<u32>("per_km")?,
            per_min: record.take::<u32>("per_min")?,
            minimum: record.take::<u32>("minimum")?,
            wait_per_min: record.take::<u32>("wait_per_min")?,
            wait_free: record.take::<Duration>("wait_free")?,
            cancel_fee: record.take::<u32>("cancel_fee")?,
            cancel_free: record.take::<Duration>("cancel_free")?,
            no_show_fee: record.take::<u32>("no_show_fee")?,
            surge: record.take::<u16>("surge")?,
        };
        record.close()?;
        tariff.check().map_err(|error| DecodeError::new("P4.4", error.to_string()))?;
        Ok(tariff)
    }
}
