//! Frames of the exchange, their filler, and the openings in them (P5.1 to P5.3).

use hailmesh_wire::limits::FRAME_SIZES;
use hailmesh_wire::{
    AnyStatement, Attachment, DecodeError, DropPlace, Frame, FrameContent, Opening, PickupPlace, VehicleCard,
    pad, unpad,
};

use crate::vectors::VECTORS;
use crate::{Checked, Input, ensure, mutated, statement};

/// Bytes as they are, and frames of golden vectors with changes.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, &Frame::decode)
}

/// As [`run`], with this in place of the decoder.
///
/// # Errors
/// What did not hold.
pub fn run_with(bytes: &[u8], decode: &dyn Fn(&[u8]) -> Result<Frame, DecodeError>) -> Checked {
    let mut input = Input::new(bytes);
    let frame = drawn(&mut input);
    check(&frame, decode)?;
    padding(&frame, &mut input)?;
    let opened = if input.chance(128) { frame } else { mutated(&opening(), &frame, &mut input) };
    openings(&opened)
}

fn drawn(input: &mut Input<'_>) -> Vec<u8> {
    if input.below(3) == 0 {
        return input.rest().to_vec();
    }
    let statements = &VECTORS.statements;
    let picked = |input: &mut Input<'_>| input.pick(statements).cloned().unwrap_or_default();
    let content = match input.below(4) {
        0 => FrameContent::Wait { ms: input.long() % 40_000 },
        1 => FrameContent::None,
        2 => FrameContent::Refused(hailmesh_wire::RejectReason::from_code(input.byte())),
        _ => FrameContent::Statement(picked(input)),
    };
    let mut frame = Frame::new(content);
    for _ in 0..input.below(10) {
        let opening = Opening { salt: [input.byte(); 32], content: input.take(20).to_vec() };
        frame = frame.with(match input.below(6) {
            0 => Attachment::Statement(picked(input)),
            1 => Attachment::DriverOffer(picked(input)),
            2 => Attachment::Certificate(picked(input)),
            3 => Attachment::PickupOpening(opening),
            4 => Attachment::VehicleOpening(opening),
            _ => Attachment::BoardingSecret([input.byte(); 16]),
        });
    }
    let encoded = frame.encode();
    let donor = picked(input);
    mutated(&encoded, &donor, input)
}

/// What must hold of the bytes of a frame. `decode` is what reads them.
///
/// # Errors
/// What did not hold.
fn check(bytes: &[u8], decode: &dyn Fn(&[u8]) -> Result<Frame, DecodeError>) -> Checked {
    let frame = match decode(bytes) {
        Ok(frame) => frame,
        Err(error) => return statement::names_a_clause(&error),
    };
    ensure(frame.encode() == bytes, || "a frame in another than its one form (P2.4)".to_owned())?;
    for end in 0..bytes.len() {
        ensure(decode(&bytes[..end]).is_err(), || format!("the first {end} bytes of a frame read"))?;
    }
    for tail in [&[0][..], &[0xf6]] {
        ensure(decode(&[bytes, tail].concat()).is_err(), || {
            "a frame reads with a byte behind it".to_owned()
        })?;
    }
    let statements =
        frame.attachments.iter().filter(|attachment| matches!(attachment, Attachment::Statement(_))).count();
    ensure(frame.attachments.len() <= 8 && statements <= 6, || {
        format!("{} attachments, {statements} of them statements", frame.attachments.len())
    })?;
    if let FrameContent::Statement(bytes) = &frame.content
        && let Err(error) = AnyStatement::decode(bytes.as_slice())
    {
        statement::names_a_clause(&error)?;
    }
    Ok(())
}

/// The filler has one form, too (P5.1).
fn padding(frame: &[u8], input: &mut Input<'_>) -> Checked {
    if let Ok(padded) = pad(frame) {
        ensure(FRAME_SIZES.contains(&padded.len()), || format!("a frame of {} bytes", padded.len()))?;
        ensure(unpad(&padded).ok() == Some(frame), || "another frame under its filler".to_owned())?;
        let bit = input.below(8 * padded.len());
        let mut flipped = padded;
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = unpad(&flipped) {
            ensure(other != frame, || format!("bit {bit} makes no difference"))?;
        }
    }
    match unpad(frame) {
        Ok(inner) => ensure(pad(inner).as_deref() == Ok(frame), || "a filler in another form".to_owned()),
        Err(error) => statement::names_a_clause(&error),
    }
}

fn opening() -> Vec<u8> {
    let place = PickupPlace {
        point: "40.7614,-73.9776".parse().expect("a place"),
        name: hailmesh_types::Text::new("Ada").expect("a name"),
        phone: hailmesh_types::Text::default(),
        note: hailmesh_types::Text::new("at the door").expect("a note"),
        peer: hailmesh_types::PeerKey::from_bytes([8; 32]),
        addrs: Vec::new(),
    };
    place.to_opening([5; 32]).encode()
}

/// What openings hold is canonical as well.
fn openings(bytes: &[u8]) -> Checked {
    let opening = match Opening::decode(bytes) {
        Ok(opening) => opening,
        Err(error) => return statement::names_a_clause(&error),
    };
    ensure(opening.encode() == bytes, || "an opening in another than its one form".to_owned())?;
    let same =
        |found: Opening| ensure(found == opening, || "a place in another than its one form".to_owned());
    if let Ok(place) = PickupPlace::from_opening(&opening) {
        same(place.to_opening(opening.salt))?;
    }
    if let Ok(place) = DropPlace::from_opening(&opening) {
        same(place.to_opening(opening.salt))?;
    }
    if let Ok(card) = VehicleCard::from_opening(&opening) {
        same(card.to_opening(opening.salt))?;
    }
    Ok(())
}

/// Inputs to begin with.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let statement = VECTORS.statements.first().cloned().unwrap_or_default();
    let plain = Frame::statement(&statement);
    let full = plain.clone().with(Attachment::BoardingSecret([1; 16])).with(Attachment::Statement(statement));
    let wait = Frame::new(FrameContent::Wait { ms: 30_000 });
    [("plain", plain), ("full", full), ("wait", wait)]
        .map(|(name, frame)| (name.to_owned(), [&[0][..], &frame.encode()].concat()))
        .into()
}
