//! Receipts (P10): what holders show to strangers.

use std::collections::BTreeSet;

use hailmesh_types::PublicKey;
use hailmesh_wire::{AnyStatement, DecodeError, Header, Receipt, ReceiptFacts};

use crate::vectors::VECTORS;
use crate::{Checked, Finding, Input, ensure, mutated, seal, statement};

/// Bits of one receipt that are flipped to see whether it still verifies.
const FLIPS: usize = 3;

/// Bytes as they are, golden receipts with changes, and statements of golden receipts put
/// together anew.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, &|bytes| {
        let receipt = Receipt::decode(bytes)?;
        receipt.verify(&[]).map(|facts| (receipt, facts))
    })
}

/// Reads and verifies a receipt.
pub type Reader<'a> = &'a dyn Fn(&[u8]) -> Result<(Receipt, ReceiptFacts), DecodeError>;

/// As [`run`], with this reader.
///
/// # Errors
/// What did not hold.
pub fn run_with(bytes: &[u8], read: Reader<'_>) -> Checked {
    let mut input = Input::new(bytes);
    let receipt = drawn(&mut input);
    check(&receipt, &mut input, read)
}

fn drawn(input: &mut Input<'_>) -> Vec<u8> {
    let mode = input.below(3);
    if mode == 0 {
        return input.rest().to_vec();
    }
    let all: Vec<&Vec<u8>> = VECTORS.receipts.iter().chain(&VECTORS.bad_receipts).collect();
    let picked = |input: &mut Input<'_>| input.pick(&all).map_or(&[][..], |bytes| bytes.as_slice());
    let (base, donor) = (picked(input), picked(input));
    if mode == 1 {
        return mutated(base, donor, input);
    }
    let (Ok(mut receipt), Ok(other)) = (Receipt::decode(base), Receipt::decode(donor)) else {
        return mutated(base, donor, input);
    };
    for _ in 0..input.below(4) {
        let at = input.below(receipt.statements.len());
        match input.below(4) {
            0 if at < receipt.statements.len() => drop(receipt.statements.remove(at)),
            1 => receipt.statements.extend(input.pick(&other.statements).cloned()),
            2 => receipt.openings.clone_from(&other.openings),
            _ => receipt.certs.clone_from(&other.certs),
        }
    }
    if input.chance(128) {
        return receipt.encode();
    }
    Receipt::assemble(receipt.network, receipt.statements, receipt.certs, receipt.openings).encode()
}

/// What must hold of the bytes of a receipt. `read` is what reads and verifies them.
///
/// # Errors
/// What did not hold.
fn check(bytes: &[u8], input: &mut Input<'_>, read: Reader<'_>) -> Checked {
    match Receipt::decode(bytes) {
        Ok(receipt) => {
            ensure(receipt.encode() == bytes, || "a receipt in another than its one form".to_owned())?
        }
        Err(error) => statement::names_a_clause(&error)?,
    }
    let (receipt, facts) = match read(bytes) {
        Ok(read) => read,
        Err(error) => return statement::names_a_clause(&error),
    };
    both_have_signed(&receipt, &facts)?;
    for tail in [&[0][..], &[0xf6]] {
        ensure(read(&[bytes, tail].concat()).is_err(), || {
            "a receipt verifies with a byte behind it".to_owned()
        })?;
    }
    ensure(read(&bytes[..bytes.len() - 1]).is_err(), || "a receipt verifies cut short".to_owned())?;
    for _ in 0..FLIPS {
        let bit = input.below(8 * bytes.len());
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        ensure(read(&flipped).is_err(), || format!("a receipt verifies with bit {bit} flipped"))?;
    }
    Ok(())
}

/// What the facts say of the parties, looked up in the bytes with nothing but the places of
/// the parts.
fn both_have_signed(receipt: &Receipt, facts: &ReceiptFacts) -> Checked {
    let mut signers: BTreeSet<[u8; 32]> = BTreeSet::new();
    for bytes in &receipt.statements {
        let header =
            Header::peek(bytes).map_err(|error| Finding(format!("in a verified receipt: {error}")))?;
        ensure(seal::fits(bytes), || "a signature in a verified receipt that does not fit".to_owned())?;
        signers.insert(header.signer);
    }
    let parties: BTreeSet<[u8; 32]> =
        [&facts.driver, &facts.rider].map(|key: &PublicKey| *key.as_bytes()).into();
    ensure(signers == parties && parties.len() == 2, || {
        format!("{} keys have signed a receipt of {} and {}", signers.len(), facts.driver, facts.rider)
    })?;
    let signed = |wanted: fn(&AnyStatement) -> bool, by: &PublicKey| {
        let all = receipt.statements.iter().filter_map(|bytes| AnyStatement::decode(bytes.clone()).ok());
        all.filter(wanted).all(|statement| statement.signer() == by)
    };
    let is_right = signed(|one| matches!(one, AnyStatement::Accept(_) | AnyStatement::Ack(_)), &facts.driver)
        && signed(|one| matches!(one, AnyStatement::Confirm(_) | AnyStatement::Cosign(_)), &facts.rider);
    ensure(is_right, || "a party named that has not signed its side".to_owned())?;
    let has = |wanted: fn(&AnyStatement) -> bool| {
        receipt
            .statements
            .iter()
            .filter_map(|bytes| AnyStatement::decode(bytes.clone()).ok())
            .any(|one| wanted(&one))
    };
    ensure(facts.firm == has(|one| matches!(one, AnyStatement::Ack(_))), || {
        "firm without an ACK".to_owned()
    })?;
    let cosigned = has(|one| matches!(one, AnyStatement::Cosign(_)));
    ensure(facts.cosigned == cosigned && facts.total.is_some() <= cosigned, || {
        "a total that the rider has not signed".to_owned()
    })
}

/// Inputs to begin with: the shortest receipts that verify, and ways to change them.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let shortest = VECTORS.receipts.iter().min_by_key(|receipt| receipt.len()).cloned().unwrap_or_default();
    let mut seeds = vec![("whole".to_owned(), [&[0], shortest.as_slice()].concat())];
    for at in 0..VECTORS.receipts.len() {
        let at = u8::try_from(at).unwrap_or(0);
        seeds.push((format!("changed-{at}"), vec![1, at, 0]));
        seeds.push((format!("assembled-{at}"), vec![2, at, at, 1, 0, 3, 0]));
    }
    seeds
}
