//! Evidence (P18): proofs by strangers against strangers.

use hailmesh_types::PublicKey;
use hailmesh_wire::evidence::{self, Finding as Found};
use hailmesh_wire::{
    AnyStatement, DecodeError, Ed25519, Evidence, EvidenceKind, Extensions, Header, Kind, Receipt, Signed,
};

use crate::vectors::{VECTORS, network};
use crate::{Checked, Finding, Input, ensure, mutated, seal, statement};

const KINDS: [EvidenceKind; 13] = [
    EvidenceKind::E1,
    EvidenceKind::E2,
    EvidenceKind::E3,
    EvidenceKind::E4a,
    EvidenceKind::E4b,
    EvidenceKind::E4c,
    EvidenceKind::E4d,
    EvidenceKind::E5a,
    EvidenceKind::E5b,
    EvidenceKind::E6,
    EvidenceKind::E7,
    EvidenceKind::E8,
    EvidenceKind::E9,
];

/// What judges evidence.
pub type Judge<'a> = &'a dyn Fn(&Evidence) -> Result<Found, DecodeError>;

/// Golden evidence with changes, and statements of honest parties in every combination.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, &|evidence| evidence::check(evidence, network(), &Ed25519))
}

/// The same checks with another judge, for tests that break one.
///
/// # Errors
/// What did not hold.
pub fn run_with(bytes: &[u8], judge: Judge<'_>) -> Checked {
    let mut input = Input::new(bytes);
    match input.below(3) {
        0 => changed(&mut input, judge),
        1 => recombined(&mut input, judge),
        _ => framed(&mut input, judge),
    }
}

/// An EVIDENCE of the vectors with changed bytes: the envelope's own signature does not
/// matter here, since anybody may report (P18.3).
fn changed(input: &mut Input<'_>, judge: Judge<'_>) -> Checked {
    let all: Vec<&Vec<u8>> = VECTORS.evidence.iter().chain(&VECTORS.no_evidence).collect();
    let picked = |input: &mut Input<'_>| input.pick(&all).map_or(&[][..], |bytes| bytes.as_slice());
    let (base, donor) = (picked(input), picked(input));
    match Signed::<Evidence>::decode(mutated(base, donor, input)) {
        Ok(signed) => check(signed.body(), input, judge),
        Err(error) => statement::names_a_clause(&error),
    }
}

/// Statements of several vectors under any kind, against any of their signers.
fn recombined(input: &mut Input<'_>, judge: Judge<'_>) -> Checked {
    let all: Vec<&Vec<u8>> = VECTORS.evidence.iter().chain(&VECTORS.no_evidence).collect();
    let decoded = |bytes: &&Vec<u8>| Signed::<Evidence>::decode(bytes.as_slice()).ok();
    let mut statements = Vec::new();
    let mut certs = Vec::new();
    let mut accused = Vec::new();
    for _ in 0..=input.below(3) {
        let Some(evidence) = input.pick(&all).and_then(decoded) else { continue };
        let evidence = evidence.body();
        statements.extend(input.pick(&evidence.statements).cloned());
        certs.extend(input.pick(&evidence.certs).cloned());
        accused.push(evidence.accused);
    }
    certs.truncate(input.below(3));
    let (Some(kind), Some(accused)) = (input.pick(&KINDS), input.pick(&accused)) else { return Ok(()) };
    let evidence = Evidence { kind: *kind, accused: *accused, statements, certs, ext: Extensions::NONE };
    check(&evidence, input, judge)
}

/// Whoever keeps the rules is never accused: of the statements of one honest ride nothing is
/// evidence, in whatever order and under whatever name.
fn framed(input: &mut Input<'_>, judge: Judge<'_>) -> Checked {
    let receipt = input.pick(&VECTORS.receipts).map(|bytes| Receipt::decode(bytes));
    let Some(Ok(receipt)) = receipt else { return Ok(()) };
    let mut statements = Vec::new();
    for _ in 0..=input.below(3) {
        statements.extend(input.pick(&receipt.statements).map(|bytes| bytes.to_vec()));
    }
    let signers: Vec<PublicKey> = receipt
        .statements
        .iter()
        .filter_map(|bytes| AnyStatement::decode(bytes.clone()).ok())
        .map(|one| *one.signer())
        .collect();
    let (Some(kind), Some(accused)) = (input.pick(&KINDS), input.pick(&signers)) else { return Ok(()) };
    let certs = receipt.certs.iter().take(input.below(3)).map(|bytes| bytes.to_vec()).collect();
    let evidence = Evidence { kind: *kind, accused: *accused, statements, certs, ext: Extensions::NONE };
    match judge(&evidence) {
        Ok(found) => {
            Err(Finding(format!("{} is evidence against an honest key {}", found.kind, found.accused)))
        }
        Err(error) => statement::names_a_clause(&error),
    }
}

/// What must hold of evidence that is believed.
fn check(evidence: &Evidence, input: &mut Input<'_>, judge: Judge<'_>) -> Checked {
    let found = match judge(evidence) {
        Ok(found) => found,
        Err(error) => return statement::names_a_clause(&error),
    };
    ensure(found.accused == evidence.accused && found.kind == evidence.kind, || {
        format!("{} against {} is taken for another", evidence.kind, evidence.accused)
    })?;
    signed_by_the_accused(evidence)?;
    // What is believed of two is not believed of one of them, nor of one twice.
    for left_out in 0..evidence.statements.len() {
        let mut fewer = evidence.clone();
        fewer.statements.remove(left_out);
        ensure(judge(&fewer).is_err(), || format!("{} with a statement less", evidence.kind))?;
        if let Some(other) = fewer.statements.first().cloned() {
            fewer.statements.push(other);
            ensure(judge(&fewer).is_err(), || format!("{} with one statement twice", evidence.kind))?;
        }
    }
    let at = input.below(evidence.statements.len());
    let mut forged = evidence.clone();
    if let Some(bytes) = forged.statements.get_mut(at) {
        let bit = input.below(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        ensure(judge(&forged).is_err(), || format!("{} with bit {bit} flipped", evidence.kind))?;
    }
    Ok(())
}

/// Every statement is really signed, for this network, and all but those that the accused
/// names by the accused: at least two of them, but for the one that is void on its face.
fn signed_by_the_accused(evidence: &Evidence) -> Checked {
    let mut own = 0;
    for bytes in &evidence.statements {
        let header =
            Header::peek(bytes).map_err(|error| Finding(format!("in believed evidence: {error}")))?;
        ensure(seal::fits(bytes) && header.network == network(), || {
            format!("{}: a statement that was not signed, or elsewhere", evidence.kind)
        })?;
        if header.signer == *evidence.accused.as_bytes() {
            own += 1;
        } else {
            let may = matches!(
                (evidence.kind, header.kind()),
                (EvidenceKind::E4c, Ok(Kind::Confirm)) | (EvidenceKind::E5b, Ok(Kind::Request))
            );
            ensure(may, || format!("{}: a statement of somebody else", evidence.kind))?;
        }
    }
    let needed = if evidence.kind == EvidenceKind::E4d { 1 } else { 2 };
    ensure(own >= needed, || format!("{}: the accused has signed {own} statements of it", evidence.kind))
}

/// Inputs to begin with: every vector as it is, a few recombined and framed.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for at in 0..VECTORS.evidence.len() {
        let at = u8::try_from(at).unwrap_or(0);
        seeds.push((format!("valid-{at}"), vec![0, at, 0, 0, 0, 5]));
    }
    for kind in 0..13 {
        seeds.push((format!("framed-{kind}"), vec![2, 0, 1, 2, 3, kind, 2, 2]));
    }
    seeds.push(("recombined".to_owned(), vec![1, 2, 0, 0, 0, 0, 1, 0, 0, 0]));
    seeds
}
