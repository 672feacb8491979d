//! Evidence that shows nothing: to frame honest people, and to keep others busy.

use hailmesh_types::PublicKey;
use hailmesh_wire::{AnyStatement, Body, DriverOffer, Evidence, EvidenceKind, Extensions, Verified};

use super::Adversary;
use super::stage::Stage;

fn evidence(kind: EvidenceKind, accused: PublicKey, statements: Vec<Vec<u8>>) -> Evidence {
    Evidence { kind, accused, statements, certs: Vec::new(), ext: Extensions::NONE }
}

/// Evidence against honest drivers: from what they really said, from what they did not,
/// and from what somebody else did.
#[derive(Default)]
pub(super) struct Framing {
    round: u32,
}

impl Framing {
    /// Two offers that one author really made.
    fn pair(stage: &Stage) -> Option<(PublicKey, Vec<u8>, Vec<u8>, DriverOffer)> {
        let kept = stage.kept();
        for (place, (_, one)) in kept.iter().enumerate().rev() {
            let Ok(AnyStatement::DriverOffer(first)) = one.statement() else { continue };
            for (_, other) in &kept[..place] {
                let Ok(AnyStatement::DriverOffer(second)) = other.statement() else { continue };
                if first.signer() == second.signer() && first.id() != second.id() {
                    let (one, other) = (first.bytes().to_vec(), second.bytes().to_vec());
                    return Some((*first.signer(), one, other, first.body().clone()));
                }
            }
        }
        None
    }
}

impl Adversary for Framing {
    fn on_timer(&mut self, stage: &mut Stage) {
        let Some((victim, one, other, body)) = Self::pair(stage) else { return };
        self.round += 1;
        // What the victim never said, in its name: the signature is somebody else's.
        let mut dearer = body;
        dearer.seq += 1;
        let own = stage.sign(0, dearer);
        let signer = stage.public(0);
        let mut forged = own.bytes().to_vec();
        if let Some(at) = forged.windows(32).position(|window| window == signer.as_bytes()) {
            forged[at..at + 32].copy_from_slice(victim.as_bytes());
        }
        let all = [
            evidence(EvidenceKind::E6, victim, vec![one.clone(), other.clone()]),
            evidence(EvidenceKind::E9, victim, vec![one.clone(), other]),
            evidence(EvidenceKind::E6, victim, vec![one.clone(), forged]),
            evidence(EvidenceKind::E6, victim, vec![one, own.bytes().to_vec()]),
        ];
        for framed in all {
            let statement = stage.sign(1_000 + self.round, framed);
            stage.attempt();
            stage.publish_evidence(statement.bytes().clone());
        }
    }
}

/// Evidence that is true and worthless: against keys that were made for it.
#[derive(Default)]
pub(super) struct EvidenceFlood {
    round: u32,
}

impl EvidenceFlood {
    const AT_ONCE: u32 = 20;
}

impl Adversary for EvidenceFlood {
    fn on_timer(&mut self, stage: &mut Stage) {
        for _ in 0..Self::AT_ONCE {
            self.round += 1;
            let key = self.round;
            let body = stage.driver_offer(1, 0, None);
            let mut other = body.clone();
            other.ttl = hailmesh_types::Duration::from_secs(61);
            let pair: [Verified<DriverOffer>; 2] = [stage.sign(key, body), stage.sign(key, other)];
            let accused = stage.public(key);
            let statements = pair.iter().map(|offer| offer.bytes().to_vec()).collect();
            let statement = evidence(EvidenceKind::E6, accused, statements);
            debug_assert!(Evidence::decode_body(&statement.encode_body()).is_ok());
            let statement = stage.sign(key, statement);
            stage.attempt();
            stage.publish_evidence(statement.bytes().clone());
        }
    }
}
