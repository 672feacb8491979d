//! What travels in one direction of one exchange (P5.1 to P5.3): an unsigned container
//! of one statement and what belongs to it.

use std::fmt;

use hailmesh_types::{AgreementId, GeoPoint, Timestamp};

use crate::codec::{self, Bytes, Codec, Listed, Reader, Secret, U8, U16, Writer, codes, record};
use crate::limits::{
    ATTACHED_STATEMENTS_MAX, ATTACHMENTS_MAX, CERT_BYTES_MAX, FRAME_BYTES_MAX, FRAME_SIZES,
    OPENING_CONTENT_BYTES_MAX, STATEMENT_BYTES_MAX,
};
use crate::place::{put_point, take_point};
use crate::{DecodeError, RejectReason};

/// The version of the container.
const FRAME_VERSION: u8 = 1;
/// Longest announcement of an answer that comes later.
const WAIT_MS_MAX: u32 = 30_000;
/// Bytes of the length in front of a frame.
const LENGTH_BYTES: usize = 4;
/// Most bytes of a payload or an attachment: nothing in them is longer than a statement.
const PART_BYTES_MAX: usize = STATEMENT_BYTES_MAX;

/// One message of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it says.
    pub content: FrameContent,
    /// At most 8, of which at most 6 further statements.
    pub attachments: Vec<Attachment>,
}

/// What a frame says (P5.2).
#[derive(Clone, PartialEq, Eq)]
pub enum FrameContent {
    /// One signed statement: its envelope, at most 1,024 bytes.
    Statement(Vec<u8>),
    /// The answer will come as a request from my side.
    Wait {
        /// In at most this many milliseconds, at most 30,000.
        ms: u32,
    },
    /// Heard, nothing to add.
    None,
    /// Where a party to a firm agreement is. Never stored.
    Position(Position),
    /// Not processed. Unsigned.
    Refused(RejectReason),
}

/// What comes with a frame (P5.3).
#[derive(Clone, PartialEq, Eq)]
pub enum Attachment {
    /// The DRIVER_OFFER behind an INVITE.
    DriverOffer(Vec<u8>),
    /// The exact pickup.
    PickupOpening(Opening),
    /// The exact destination.
    DropOpening(Opening),
    /// The vehicle.
    VehicleOpening(Opening),
    /// A CREDENTIAL or SHIFT_CERT, at most 288 bytes.
    Certificate(Vec<u8>),
    /// A further statement, processed as if it had come alone.
    Statement(Vec<u8>),
    /// The boarding secret.
    BoardingSecret([u8; 16]),
}

/// What opens a salted commitment: [`commit`](crate::commit) of it gives the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// Random.
    pub salt: [u8; 32],
    /// What was committed to, at most 768 bytes.
    pub content: Vec<u8>,
}

/// Where a party to a firm agreement is (P5.2, P8.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The agreement.
    pub agreement_id: AgreementId,
    /// The place.
    pub point: GeoPoint,
    /// Degrees clockwise from north, 0 to 359.
    pub heading: u16,
    /// Decimetres per second.
    pub speed: u16,
    /// Metres.
    pub accuracy: u16,
    /// When it was measured.
    pub time: Timestamp,
}

/// A frame that is too long to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes: at most {max} are allowed", max = FRAME_BYTES_MAX - LENGTH_BYTES)]
pub struct FrameTooLong(pub usize);

codes! {
    /// The code of a frame.
    enum FrameCode {
        /// One signed statement.
        Statement = 1 "STATEMENT",
        /// Later.
        Wait = 2 "WAIT",
        /// Heard.
        None = 3 "NONE",
        /// A live position.
        Position = 4 "POSITION",
        /// Not processed.
        Refused = 5 "REFUSED",
    }
}

codes! {
    /// The type of an attachment.
    enum AttachmentType {
        /// A DRIVER_OFFER.
        DriverOffer = 1 "driver offer",
        /// The exact pickup.
        PickupOpening = 2 "pickup opening",
        /// The exact destination.
        DropOpening = 3 "drop opening",
        /// The vehicle.
        VehicleOpening = 4 "vehicle opening",
        /// A certificate.
        Certificate = 5 "certificate",
        /// A further statement.
        Statement = 6 "statement",
        /// The boarding secret.
        BoardingSecret = 7 "boarding secret",
    }
}

record! {
    /// A frame as the wire has it.
    struct RawFrame ("P5.2") {
        /// The version.
        version: u8 as U8<FRAME_VERSION, FRAME_VERSION>,
        /// What the payload is.
        code: FrameCode,
        /// The payload.
        payload: Option<Vec<u8>> as Option<Bytes<PART_BYTES_MAX>>,
        /// What comes with it.
        attachments: Vec<RawAttachment> as Listed<RawAttachment, ATTACHMENTS_MAX>,
    }
}

record! {
    /// An attachment as the wire has it.
    struct RawAttachment ("P5.3") {
        /// What it is.
        kind: AttachmentType,
        /// It.
        content: Vec<u8> as Bytes<PART_BYTES_MAX>,
    }
}

record! {
    /// An opening as the wire has it.
    struct RawOpening ("P5.3") {
        /// Random.
        salt: [u8; 32] as Secret<32>,
        /// What was committed to.
        content: Vec<u8> as Bytes<OPENING_CONTENT_BYTES_MAX>,
    }
}

impl Frame {
    /// A frame without attachments.
    #[must_use]
    pub const fn new(content: FrameContent) -> Self {
        Self { content, attachments: Vec::new() }
    }

    /// Just a statement.
    #[must_use]
    pub fn statement(bytes: &[u8]) -> Self {
        Self::new(FrameContent::Statement(bytes.to_vec()))
    }

    /// The same with one more attachment.
    #[must_use]
    pub fn with(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// The canonical encoding, without length and filler (see [`pad`]).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (code, payload) = match &self.content {
            FrameContent::Statement(bytes) => (FrameCode::Statement, Some(bytes.clone())),
            FrameContent::Wait { ms } => (FrameCode::Wait, Some(ms.to_be_bytes().to_vec())),
            FrameContent::None => (FrameCode::None, None),
            FrameContent::Position(position) => {
                (FrameCode::Position, Some(codec::encode::<Position>(position)))
            }
            FrameContent::Refused(reason) => (FrameCode::Refused, Some(vec![reason.code()])),
        };
        let attachments = self.attachments.iter().map(Attachment::to_raw).collect();
        codec::encode::<RawFrame>(&RawFrame { version: FRAME_VERSION, code, payload, attachments })
    }

    /// Reads a frame. Statements in it stay bytes.
    ///
    /// # Errors
    /// P5.2 or P5.3 with what is wrong, P2.2 to P2.4 for its form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > FRAME_BYTES_MAX - LENGTH_BYTES {
            return Err(DecodeError::new("P5.1", FrameTooLong(bytes.len()).to_string()));
        }
        let raw = codec::decode::<RawFrame>(bytes)?;
        let content = FrameContent::from_raw(raw.code, raw.payload)?;
        let attachments =
            raw.attachments.into_iter().map(Attachment::from_raw).collect::<Result<Vec<_>, DecodeError>>()?;
        let statements =
            attachments.iter().filter(|attachment| matches!(attachment, Attachment::Statement(_))).count();
        if statements > ATTACHED_STATEMENTS_MAX {
            let what =
                format!("{statements} further statements: at most {ATTACHED_STATEMENTS_MAX} are allowed");
            return Err(DecodeError::new("P5.3", what));
        }
        Ok(Self { content, attachments })
    }
}

impl FrameContent {
    fn from_raw(code: FrameCode, payload: Option<Vec<u8>>) -> Result<Self, DecodeError> {
        let refuse = |what: String| Err(DecodeError::new("P5.2", format!("{code}: {what}")));
        match (code, payload) {
            (FrameCode::None, None) => Ok(Self::None),
            (FrameCode::None, Some(_)) => refuse("a payload where none belongs".to_owned()),
            (_, None) => refuse("the payload is missing".to_owned()),
            (FrameCode::Statement, Some(bytes)) => Ok(Self::Statement(bytes)),
            (FrameCode::Wait, Some(bytes)) => match <[u8; 4]>::try_from(&bytes[..]).map(u32::from_be_bytes) {
                Ok(ms) if ms <= WAIT_MS_MAX => Ok(Self::Wait { ms }),
                Ok(ms) => refuse(format!("{ms} ms: at most {WAIT_MS_MAX} are allowed")),
                Err(_) => refuse(format!("a payload of {} bytes: expected 4", bytes.len())),
            },
            (FrameCode::Position, Some(bytes)) => codec::decode::<Position>(&bytes).map(Self::Position),
            (FrameCode::Refused, Some(bytes)) => match bytes[..] {
                [reason] => Ok(Self::Refused(RejectReason::from_code(reason))),
                _ => refuse(format!("a payload of {} bytes: expected 1", bytes.len())),
            },
        }
    }
}

impl Attachment {
    fn to_raw(&self) -> RawAttachment {
        let (kind, content) = match self {
            Self::DriverOffer(bytes) => (AttachmentType::DriverOffer, bytes.clone()),
            Self::PickupOpening(opening) => (AttachmentType::PickupOpening, opening.encode()),
            Self::DropOpening(opening) => (AttachmentType::DropOpening, opening.encode()),
            Self::VehicleOpening(opening) => (AttachmentType::VehicleOpening, opening.encode()),
            Self::Certificate(bytes) => (AttachmentType::Certificate, bytes.clone()),
            Self::Statement(bytes) => (AttachmentType::Statement, bytes.clone()),
            Self::BoardingSecret(secret) => (AttachmentType::BoardingSecret, secret.to_vec()),
        };
        RawAttachment { kind, content }
    }

    fn from_raw(raw: RawAttachment) -> Result<Self, DecodeError> {
        let refuse = |what: String| Err(DecodeError::new("P5.3", format!("{}: {what}", raw.kind)));
        match raw.kind {
            AttachmentType::DriverOffer => Ok(Self::DriverOffer(raw.content)),
            AttachmentType::PickupOpening => Opening::decode(&raw.content).map(Self::PickupOpening),
            AttachmentType::DropOpening => Opening::decode(&raw.content).map(Self::DropOpening),
            AttachmentType::VehicleOpening => Opening::decode(&raw.content).map(Self::VehicleOpening),
            AttachmentType::Certificate if raw.content.len() > CERT_BYTES_MAX => {
                refuse(format!("{} bytes: at most {CERT_BYTES_MAX} are allowed", raw.content.len()))
            }
            AttachmentType::Certificate => Ok(Self::Certificate(raw.content)),
            AttachmentType::Statement => Ok(Self::Statement(raw.content)),
            AttachmentType::BoardingSecret => match <[u8; 16]>::try_from(&raw.content[..]) {
                Ok(secret) => Ok(Self::BoardingSecret(secret)),
                Err(_) => refuse(format!("{} bytes: expected 16", raw.content.len())),
            },
        }
    }
}

impl Opening {
    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode::<RawOpening>(&RawOpening { salt: self.salt, content: self.content.clone() })
    }

    /// Reads an opening.
    ///
    /// # Errors
    /// P5.3 with what is wrong, P2.2 to P2.4 for its form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let RawOpening { salt, content } = codec::decode::<RawOpening>(bytes)?;
        Ok(Self { salt, content })
    }
}

impl Codec for Position {
    type Value = Self;

    fn write(position: &Self, out: &mut Writer) {
        let mut record = out.record();
        record.put::<AgreementId>(&position.agreement_id);
        put_point(&mut record, position.point);
        record.put::<U16<0, 359>>(&position.heading);
        record.put::<u16>(&position.speed);
        record.put::<u16>(&position.accuracy);
        record.put::<Timestamp>(&position.time);
        record.close();
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = input.record("P5.2")?;
        let position = Self {
            agreement_id: record.take::<AgreementId>("agreement_id")?,
            point: take_point(&mut record, "P5.2")?,
            heading: record.take::<U16<0, 359>>("heading")?,
            speed: record.take::<u16>("speed")?,
            accuracy: record.take::<u16>("accuracy")?,
            time: record.take::<Timestamp>("time")?,
        };
        record.close()?;
        Ok(position)
    }
}

/// Puts the length in front of a frame and zero bytes behind it, up to the next of
/// [`FRAME_SIZES`] (P5.1): the size on the wire tells little.
///
/// # Errors
/// When it does not fit into the greatest size.
pub fn pad(frame: &[u8]) -> Result<Vec<u8>, FrameTooLong> {
    let size = padded_size(frame.len()).ok_or(FrameTooLong(frame.len()))?;
    let length = u32::try_from(frame.len()).map_err(|_| FrameTooLong(frame.len()))?;
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    bytes.resize(size, 0);
    Ok(bytes)
}

/// The frame in what [`pad`] made.
///
/// # Errors
/// P5.1 for any other size than the one `pad` would take, or a filler that is not zero.
pub fn unpad(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let refuse = |what: String| DecodeError::new("P5.1", what);
    let (length, rest) = bytes
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or_else(|| refuse(format!("{} bytes: expected a length of 4 bytes first", bytes.len())))?;
    let length = u32::from_be_bytes(*length);
    let expected = usize::try_from(length).ok().and_then(padded_size);
    if expected != Some(bytes.len()) {
        return Err(refuse(format!("a frame of {length} bytes in {} bytes", bytes.len())));
    }
    let (frame, filler) = rest.split_at(length as usize);
    if filler.iter().all(|byte| *byte == 0) {
        Ok(frame)
    } else {
        Err(refuse("a filler that is not zero".to_owned()))
    }
}

/// The least size that holds a frame of this length.
fn padded_size(frame_bytes: usize) -> Option<usize> {
    let needed = frame_bytes.checked_add(LENGTH_BYTES)?;
    FRAME_SIZES.into_iter().find(|size| *size >= needed)
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<opening of {} bytes>", self.content.len())
    }
}

impl fmt::Debug for FrameContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statement(bytes) => write!(f, "Statement(<{} bytes>)", bytes.len()),
            Self::Wait { ms } => write!(f, "Wait({ms}ms)"),
            Self::None => f.write_str("None"),
            Self::Position(position) => fmt::Debug::fmt(position, f),
            Self::Refused(reason) => write!(f, "Refused({reason})"),
        }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.to_raw();
        write!(f, "{}(<{} bytes>)", raw.kind, raw.content.len())
    }
}
