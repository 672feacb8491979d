//! Envelopes and every kind of statement (P2, P4).

use ed25519_dalek::SigningKey;
use hailmesh_wire::{AnyStatement, Body, DecodeError, Header, Kind, Signed};

use crate::vectors::VECTORS;
use crate::{Checked, Finding, Input, ensure, mutated, seal};

/// Bits of one statement that are flipped to see whether it still verifies.
const FLIPS: usize = 6;

/// Bytes as they are, golden vectors with changes, and changed bodies that are really
/// signed.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, &AnyStatement::decode)
}

/// As [`run`], with this in place of the decoder.
///
/// # Errors
/// What did not hold.
pub fn run_with(bytes: &[u8], decode: &dyn Fn(Vec<u8>) -> Result<AnyStatement, DecodeError>) -> Checked {
    let mut input = Input::new(bytes);
    let statement = drawn(&mut input);
    check(&statement, &mut input, decode)
}

/// The bytes that an input stands for.
fn drawn(input: &mut Input<'_>) -> Vec<u8> {
    let vectors = &*VECTORS;
    let mode = input.below(4);
    if mode == 0 {
        return input.rest().to_vec();
    }
    let all: Vec<&Vec<u8>> = vectors.envelopes().collect();
    let base = input.pick(&all).map_or(&[][..], |bytes| bytes.as_slice());
    let donor = input.pick(&all).map_or(&[][..], |bytes| bytes.as_slice());
    if mode < 3 {
        return mutated(base, donor, input);
    }
    // A body that nobody of ours would sign.
    let Ok(header) = Header::peek(base) else { return mutated(base, donor, input) };
    let body = mutated(&base[header.body.clone()], donor, input);
    let kind = if input.chance(16) { input.byte() } else { header.kind_code };
    seal::signed(&SigningKey::from_bytes(&[3; 32]), kind, header.network, &body)
}

/// What must hold of any bytes. `decode` is what reads them: tests hand in broken ones, to
/// see that these checks notice.
///
/// # Errors
/// What did not hold.
fn check(
    bytes: &[u8],
    input: &mut Input<'_>,
    decode: &dyn Fn(Vec<u8>) -> Result<AnyStatement, DecodeError>,
) -> Checked {
    let statement = match decode(bytes.to_vec()) {
        Ok(statement) => statement,
        Err(error) => return names_a_clause(&error),
    };
    let header = Header::peek(bytes).map_err(|error| Finding(format!("read, and no envelope: {error}")))?;
    let kind = statement.kind();
    ensure(header.kind() == Ok(kind), || format!("a {kind} in an envelope of {}", header.kind_code))?;
    ensure(bytes.len() <= kind.bytes_max(), || format!("a {kind} of {} bytes", bytes.len()))?;
    ensure(statement.bytes()[..] == *bytes, || "other bytes than those received (P2.10)".to_owned())?;
    ensure(statement.to().is_some() == kind.is_direct(), || format!("a {kind}: addressee or none"))?;
    let body = &bytes[header.body.clone()];
    let signature: [u8; 64] = bytes[header.signature.clone()].try_into().expect("64 bytes, as peeked");
    let again = seal::envelope(kind.code(), header.network, &header.signer, body, &signature);
    ensure(again == bytes, || "an envelope in another than its one form (P2.4)".to_owned())?;
    same_body(&statement, body)?;
    ensure(decode(bytes.to_vec()).as_ref() == Ok(&statement), || "read twice, two values".to_owned())?;

    for end in 0..bytes.len() {
        ensure(decode(bytes[..end].to_vec()).is_err(), || format!("{kind}: its first {end} bytes read"))?;
    }
    for tail in [&[0][..], &[0xf6], &[0xff], bytes] {
        let longer = [bytes, tail].concat();
        ensure(decode(longer).is_err(), || format!("{kind}: read with {} bytes behind it", tail.len()))?;
    }
    signatures(bytes, &statement, input, decode)
}

/// A verified statement does not verify with a bit flipped, nor by another's word.
fn signatures(
    bytes: &[u8],
    statement: &AnyStatement,
    input: &mut Input<'_>,
    decode: &dyn Fn(Vec<u8>) -> Result<AnyStatement, DecodeError>,
) -> Checked {
    let verdict = statement.clone().verify();
    ensure(verdict.is_ok() == seal::fits(bytes), || {
        format!("the signature of a {} fits or not, depending on who looks", statement.kind())
    })?;
    let Ok(verified) = verdict else { return Ok(()) };
    let id = verified.id();
    for _ in 0..FLIPS {
        let bit = input.below(8 * bytes.len());
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = decode(flipped).and_then(AnyStatement::verify) {
            let what = format!("a {} verifies with bit {bit} flipped, as {}", verified.kind(), other.id());
            return Err(Finding(what));
        }
    }
    ensure(verified.into_statement().id() == id, || "a name that changes with the proof".to_owned())
}

/// Every refusal says which clause was broken.
pub(crate) fn names_a_clause(error: &DecodeError) -> Checked {
    let is_clause =
        error.clause.strip_prefix('P').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    ensure(is_clause, || format!("a refusal without its clause: {error:?}"))?;
    ensure(error.what.len() <= 512, || format!("a refusal of {} bytes", error.what.len()))
}

macro_rules! same_body {
    ($($kind:ident),* $(,)?) => {
        /// Writing the body again gives the bytes it was read from, and reading those gives it.
        fn same_body(statement: &AnyStatement, body: &[u8]) -> Checked {
            match statement {
                $( AnyStatement::$kind(statement) => same(statement, body), )*
            }
        }
    };
}

same_body! {
    DriverOffer, RiderOffer, Request, Accept, Confirm, Ack, Void, Release, Reject, Counter, Status, Invite, ChainAsk,
    EnRoute, Arrived, BoardAsk, Boarded, Complete, Cosign, NoShow, Dispute, Rating, Evidence, Revocation, Credential,
    ShiftCert,
}

fn same<T: Body>(statement: &Signed<T>, body: &[u8]) -> Checked {
    ensure(statement.body().encode_body() == body, || format!("a {} in two encodings (P2.4)", T::KIND))?;
    ensure(T::decode_body(body).as_ref() == Ok(statement.body()), || format!("a {} in two values", T::KIND))?;
    ensure(statement.body().certs().len() <= hailmesh_wire::limits::CERTS_MAX, || {
        format!("a {} with {} certificates", T::KIND, statement.body().certs().len())
    })
}

/// Inputs to begin with: a vector of every kind, as it is and signed anew.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut seen: Vec<Kind> = Vec::new();
    for bytes in VECTORS.envelopes() {
        let kind = Header::peek(bytes).and_then(|header| header.kind());
        let Ok(kind) = kind else { continue };
        if !seen.contains(&kind) {
            seen.push(kind);
            let name = kind.to_string().to_lowercase();
            seeds.push((name, [&[0], bytes.as_slice()].concat()));
        }
    }
    seeds
}
