//! Canonical CBOR (P2.2 to P2.4) over minicbor.
//!
//! A [`Codec`] says how one field looks on the wire and which values it may have. The
//! `record!` macro strings codecs together to one array per
//! statement, so that the declaration of a statement *is* its table in the protocol.
//! Reading is typed all the way down: nothing is ever skipped, hence nesting is that of
//! the declarations (at most 4, P2.2), and lists are refused by their declared length
//! before anything is allocated.

mod macros;
mod values;

use std::convert::Infallible;
use std::fmt::{self, Debug};

use minicbor::{Decoder, Encoder};

pub(crate) use self::macros::{codec_of, codes, open_codes, record};
pub(crate) use self::values::{Bytes, Cells, Eta, List, Listed, Millis, Secret, U8, U16, U32, U64};
use crate::DecodeError;

/// The byte of an absent optional field that others follow.
const NULL: u8 = 0xf6;
/// The first byte of an array of `n` elements is this plus `n`, for `n` below 24.
const ARRAY: u8 = 0x80;
/// Most fields of a record: then its first byte holds their number.
const FIELDS_MAX: u8 = 23;

/// How a field looks on the wire.
pub(crate) trait Codec {
    /// What it is read into.
    type Value: Debug;

    /// The value of a field that is left out, when it may be (P2.3).
    fn absent() -> Option<Self::Value> {
        None
    }

    /// Whether a value is the one that is left out.
    fn is_absent(_value: &Self::Value) -> bool {
        false
    }

    /// Appends the value.
    fn write(value: &Self::Value, out: &mut Writer);

    /// Reads and checks a value.
    fn read(input: &mut Reader<'_>) -> Result<Self::Value, DecodeError>;

    /// Prints the value for `Debug`: secrets and places do otherwise.
    fn show(value: &Self::Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        value.fmt(f)
    }
}

/// Encodes a value.
pub(crate) fn encode<C: Codec>(value: &C::Value) -> Vec<u8> {
    let mut out = Writer::with_capacity(320);
    C::write(value, &mut out);
    out.into_bytes()
}

/// Decodes the one canonical encoding of a value (P2.4).
pub(crate) fn decode<C: Codec>(bytes: &[u8]) -> Result<C::Value, DecodeError> {
    let mut input = Reader::new(bytes);
    let value = C::read(&mut input)?;
    input.end()?;
    let mut again = Writer::with_capacity(bytes.len());
    C::write(&value, &mut again);
    if again.into_bytes() == bytes {
        Ok(value)
    } else {
        Err(DecodeError::new("P2.4", "the encoding is not the canonical one"))
    }
}

/// Appends canonical CBOR.
pub(crate) struct Writer {
    encoder: Encoder<Vec<u8>>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { encoder: Encoder::new(Vec::with_capacity(bytes)) }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.encoder.into_writer()
    }

    pub(crate) fn uint(&mut self, value: u64) {
        written(self.encoder.u64(value));
    }

    pub(crate) fn int(&mut self, value: i32) {
        written(self.encoder.i32(value));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        written(self.encoder.bytes(bytes));
    }

    /// The head of a byte string of `len` bytes, which the caller appends.
    pub(crate) fn bytes_head(&mut self, len: usize) {
        written(self.encoder.bytes_len(len as u64));
    }

    pub(crate) fn array(&mut self, len: usize) {
        written(self.encoder.array(len as u64));
    }

    pub(crate) fn null(&mut self) {
        written(self.encoder.null());
    }

    /// Begins an array whose last absent fields are left out.
    pub(crate) fn record(&mut self) -> RecordWriter<'_> {
        let buffer = self.encoder.writer_mut();
        let start = buffer.len();
        buffer.push(ARRAY);
        RecordWriter { start, kept_bytes: start + 1, fields: 0, kept: 0, out: self }
    }
}

/// A `Vec` takes every byte; minicbor still returns a result.
fn written<T>(result: Result<T, minicbor::encode::Error<Infallible>>) {
    if let Err(error) = result {
        unreachable!("a Vec refused bytes: {error}");
    }
}

/// An array under construction. [`RecordWriter::close`] sets its length.
pub(crate) struct RecordWriter<'w> {
    out: &'w mut Writer,
    start: usize,
    /// Where the last present field ends.
    kept_bytes: usize,
    fields: u8,
    kept: u8,
}

impl RecordWriter<'_> {
    pub(crate) fn put<C: Codec>(&mut self, value: &C::Value) {
        self.fields += 1;
        if C::is_absent(value) {
            self.out.null();
        } else {
            C::write(value, self.out);
            self.present();
        }
    }

    /// A field that this form of the record never has.
    pub(crate) fn skip(&mut self) {
        self.fields += 1;
        self.out.null();
    }

    pub(crate) fn put_int(&mut self, value: i32) {
        self.fields += 1;
        self.out.int(value);
        self.present();
    }

    fn present(&mut self) {
        self.kept = self.fields;
        self.kept_bytes = self.out.encoder.writer().len();
    }

    pub(crate) fn close(self) {
        debug_assert!(self.kept <= FIELDS_MAX, "{} fields do not fit in the first byte", self.kept);
        let buffer = self.out.encoder.writer_mut();
        buffer.truncate(self.kept_bytes);
        buffer[self.start] = ARRAY | self.kept;
    }
}

/// Reads CBOR that somebody else wrote. Longer forms than the shortest pass here; the
/// comparison of [`decode`] catches them.
pub(crate) struct Reader<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { decoder: Decoder::new(bytes) }
    }

    pub(crate) fn position(&self) -> usize {
        self.decoder.position()
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        self.decoder.u64().map_err(|_| DecodeError::new("P2.2", "is not an unsigned integer"))
    }

    pub(crate) fn int(&mut self) -> Result<i32, DecodeError> {
        self.decoder.i32().map_err(|_| DecodeError::new("P2.2", "is not an integer of 32 bits"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], DecodeError> {
        self.decoder.bytes().map_err(|_| DecodeError::new("P2.2", "is not a byte string"))
    }

    pub(crate) fn bytes_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| DecodeError::value(format!("of {} bytes: expected {N}", bytes.len())))
    }

    pub(crate) fn array(&mut self) -> Result<u64, DecodeError> {
        match self.decoder.array() {
            Ok(Some(len)) => Ok(len),
            Ok(None) | Err(_) => Err(DecodeError::new("P2.2", "is not an array of definite length")),
        }
    }

    fn take_null(&mut self) -> bool {
        let position = self.decoder.position();
        let is_null = self.decoder.input().get(position) == Some(&NULL);
        if is_null {
            self.decoder.set_position(position + 1);
        }
        is_null
    }

    pub(crate) fn record(&mut self, clause: &'static str) -> Result<RecordReader<'_, 'b>, DecodeError> {
        let left = self.array()?;
        Ok(RecordReader { input: self, left, clause })
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.decoder.input().len() - self.decoder.position() {
            0 => Ok(()),
            surplus => Err(DecodeError::new("P2.4", format!("{surplus} bytes after the end"))),
        }
    }
}

/// An array that is being read field by field.
pub(crate) struct RecordReader<'r, 'b> {
    input: &'r mut Reader<'b>,
    left: u64,
    clause: &'static str,
}

impl RecordReader<'_, '_> {
    pub(crate) fn take<C: Codec>(&mut self, field: &'static str) -> Result<C::Value, DecodeError> {
        if self.next_is_absent() {
            return C::absent().ok_or_else(|| DecodeError::new("P2.3", format!("{field} is missing")));
        }
        C::read(self.input).map_err(|error| error.in_field(self.clause, field))
    }

    /// A field that this form of the record never has.
    pub(crate) fn forbid(&mut self, field: &'static str) -> Result<(), DecodeError> {
        if self.next_is_absent() {
            Ok(())
        } else {
            Err(DecodeError::new(self.clause, format!("{field} does not belong here")))
        }
    }

    pub(crate) fn take_int(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        if self.next_is_absent() {
            return Err(DecodeError::new("P2.3", format!("{field} is missing")));
        }
        self.input.int().map_err(|error| error.in_field(self.clause, field))
    }

    fn next_is_absent(&mut self) -> bool {
        if self.left == 0 {
            return true;
        }
        self.left -= 1;
        self.input.take_null()
    }

    pub(crate) fn close(self) -> Result<(), DecodeError> {
        match self.left {
            0 => Ok(()),
            surplus => Err(DecodeError::new("P2.4", format!("{surplus} elements too many"))),
        }
    }
}

/// Prints a value the way its codec wants it.
pub(crate) struct Shown<'v, C: Codec>(pub(crate) &'v C::Value);

impl<C: Codec> Debug for Shown<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        C::show(self.0, f)
    }
}
