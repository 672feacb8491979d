//! Every target finds what was broken on purpose: decoders, judges and drivers with a fault
//! stand in for those that ship, which have no switch.

use std::cell::RefCell;
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use hailmesh_fuzz::{
    Checked, admission, bounded, evidence, frame, handshake, receipt, scenario, statement, target, vectors,
};
use hailmesh_market::admission::{Judgement, Stop};
use hailmesh_sim::Scenario;
use hailmesh_sim::scenario::Files;
use hailmesh_wire::{
    AnyStatement, Frame, Receipt, ReceiptFacts, SignatureTag, Signatures, SimulatedSignatures,
    evidence as proofs,
};

/// How long a fault may stay unnoticed.
const TIME: Duration = Duration::from_secs(60);

/// What the fault looked like, and after how many inputs.
fn finds(what: &str, name: &str, check: &dyn Fn(&[u8]) -> Checked) {
    let count = RefCell::new(0_u64);
    let counted = |bytes: &[u8]| {
        *count.borrow_mut() += 1;
        check(bytes)
    };
    match bounded::run(&counted, target(name), 1, u64::MAX, TIME) {
        Ok(ran) => panic!("{what}: not noticed in {} inputs", ran.drawn),
        Err(found) => {
            let words: String = found.finding.0.chars().take(120).collect();
            println!("{name}, {what}: {words} ({} bytes, {} inputs)", found.bytes.len(), count.borrow());
        }
    }
}

#[test]
fn a_decoder_that_takes_more_than_it_should() {
    finds("a byte behind the envelope is passed over", "statement", &|bytes| {
        statement::run_with(bytes, &|bytes| {
            AnyStatement::decode(bytes.clone()).or_else(|error| {
                bytes.split_last().map_or(Err(error), |(_, short)| AnyStatement::decode(short))
            })
        })
    });
    finds("a byte behind the frame is passed over", "frame", &|bytes| {
        frame::run_with(bytes, &|bytes| {
            Frame::decode(bytes)
                .or_else(|error| bytes.split_last().map_or(Err(error), |(_, short)| Frame::decode(short)))
        })
    });
}

#[test]
fn a_decoder_that_forgets_what_it_read() {
    finds("every statement is the one before", "statement", &|bytes| {
        let last: RefCell<Option<AnyStatement>> = RefCell::new(None);
        statement::run_with(bytes, &|bytes| {
            let read = AnyStatement::decode(bytes)?;
            Ok(last.borrow_mut().replace(read.clone()).unwrap_or(read))
        })
    });
}

#[test]
fn a_receipt_that_is_believed_unseen() {
    finds("what has once verified is believed", "receipt", &|bytes| {
        let known: RefCell<Option<ReceiptFacts>> = RefCell::new(None);
        receipt::run_with(bytes, &|bytes| {
            let receipt = Receipt::decode(bytes)?;
            let before = known.borrow().clone();
            let facts = before.map_or_else(|| receipt.verify(&[]), Ok)?;
            *known.borrow_mut() = Some(facts.clone());
            Ok((receipt, facts))
        })
    });
}

/// Takes every signature for a good one.
#[derive(Debug)]
struct Blind;

impl Signatures for Blind {
    fn tag(&self) -> SignatureTag {
        SimulatedSignatures::new([9; 32]).tag()
    }

    fn sign(&self, _: &SigningKey, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }

    fn verify(&self, _: &VerifyingKey, _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

#[test]
fn evidence_that_nobody_signed() {
    finds("signatures are not checked", "evidence", &|bytes| {
        evidence::run_with(bytes, &|found| proofs::check(found, vectors::network(), &Blind))
    });
    finds("the accused is whoever signed first", "evidence", &|bytes| {
        evidence::run_with(bytes, &|found| {
            let mut other = found.clone();
            if let Some(Ok(first)) =
                found.statements.first().map(|bytes| AnyStatement::decode(bytes.as_slice()))
            {
                other.accused = *first.signer();
            }
            proofs::check(&other, vectors::network(), &hailmesh_wire::Ed25519)
        })
    });
}

#[test]
fn a_gate_that_lets_in_what_it_should_not() {
    let judge = |found: &hailmesh_wire::Evidence| {
        proofs::check(found, vectors::network(), &hailmesh_wire::Ed25519).map(|_| ())
    };
    let changed = |judgement: Judgement, stop: Stop| Judgement { verdict: stop.verdict(), stop, ..judgement };
    finds("forgeries are let in", "admission", &|bytes| {
        admission::run_with(bytes, &|gate, book, said| {
            let judgement = gate.judge(book, said.now, said.source, &said.topic, &said.heard, &judge);
            if judgement.stop == Stop::Signature { changed(judgement, Stop::None) } else { judgement }
        })
    });
    finds("the clock is an hour slow", "admission", &|bytes| {
        admission::run_with(bytes, &|gate, book, said| {
            let then = said.now - hailmesh_types::Duration::from_secs(3_600);
            gate.judge(book, then, said.source, &said.topic, &said.heard, &judge)
        })
    });
    finds("neighbours are blamed for what only this node knows", "admission", &|bytes| {
        admission::run_with(bytes, &|gate, book, said| {
            let judgement = gate.judge(book, said.now, said.source, &said.topic, &said.heard, &judge);
            let is_blamed = judgement.stop == Stop::CertificateNotShown;
            if is_blamed { changed(judgement, Stop::Certificate) } else { judgement }
        })
    });
    finds("an offer in the book is lost", "admission", &|bytes| {
        admission::run_with(bytes, &|gate, book, said| {
            let judgement = gate.judge(book, said.now, said.source, &said.topic, &said.heard, &judge);
            let first = book.drivers().next().map(|booked| *booked.key());
            if let Some(first) = first.filter(|_| book.len() > 2) {
                book.remove(&first);
            }
            judgement
        })
    });
}

#[test]
fn whoever_drives_a_marketplace_wrongly() {
    for fault in handshake::Fault::ALL {
        finds(&format!("{fault:?}"), "handshake", &|bytes| handshake::run_with(bytes, Some(fault)));
    }
}

#[test]
fn a_loader_that_takes_or_tells_too_little() {
    let load = |[nodes, edges, requests, vehicles]: [&[u8]; 4]| {
        let files = Files { nodes, edges, requests, vehicles };
        Scenario::from_files("fuzzed", "city", files, None).map_err(|error| error.to_string())
    };
    finds("errors name no file", "scenario", &|bytes| {
        scenario::run_with(bytes, &|files| load(files).map_err(|words| words.replace("city/", "")))
    });
    finds("lines are counted from the end", "scenario", &|bytes| {
        scenario::run_with(bytes, &|files| load(files).map_err(|words| words.replace("line ", "line 99")))
    });
    finds("cars are forgotten", "scenario", &|bytes| {
        scenario::run_with(bytes, &|files| {
            let mut scenario = load(files)?;
            scenario.vehicles.clear();
            Ok(scenario)
        })
    });
    finds("requests are in another order", "scenario", &|bytes| {
        scenario::run_with(bytes, &|files| {
            let mut scenario = load(files)?;
            scenario.requests.reverse();
            Ok(scenario)
        })
    });
}
