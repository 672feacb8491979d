//! Everything that was ever signed and sent, looked at by somebody who hears it all.
//!
//! The oracle believes what nodes tell their users; the audit believes signatures. It
//! reads every statement in every frame and finds what nobody honest may have signed:
//! two ACCEPTs or CONFIRMs for one slot (S1, S2, E1, E2), FIRM and then denied (E3), two
//! ends that contradict each other (E8).

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::{AnyStatement, Attachment, Frame, FrameContent, Outcome};

/// What was signed so far.
#[derive(Default)]
pub(super) struct Audit {
    seen: BTreeSet<StatementId>,
    accepts: BTreeMap<(PublicKey, u8, u64), StatementId>,
    confirms: BTreeMap<(PublicKey, u64), StatementId>,
    /// Slots that were acknowledged.
    acked: BTreeSet<(PublicKey, u64)>,
    /// Slots that were said to have lapsed.
    lapsed: BTreeSet<(PublicKey, u64)>,
    /// How the signer said that the binding of an ACCEPT ended.
    ends: BTreeMap<(PublicKey, StatementId), Outcome>,
    /// Faults that nobody has asked for yet.
    found: Vec<String>,
}

impl Audit {
    /// Reads a frame; gives what it shows that must not be.
    pub(super) fn read(&mut self, frame: &[u8]) -> Vec<String> {
        let Ok(frame) = Frame::decode(frame) else { return Vec::new() };
        if let FrameContent::Statement(bytes) = frame.content {
            self.statement(bytes);
        }
        for attachment in frame.attachments {
            if let Attachment::Statement(bytes) = attachment {
                self.statement(bytes);
            }
        }
        std::mem::take(&mut self.found)
    }

    fn statement(&mut self, bytes: Vec<u8>) {
        let Ok(statement) = AnyStatement::decode(bytes) else { return };
        match statement {
            AnyStatement::Accept(accept) if self.seen.insert(accept.id()) => {
                let (key, id, body) = (*accept.signer(), accept.id(), accept.body());
                if self.accepts.insert((key, body.lane, body.slot), id).is_some() {
                    self.found.push(format!("S1: two ACCEPTs of {key:?} for slot {}", body.slot));
                }
                if let (Some(before), Some(slot)) = (body.prev.accept_id, body.slot.checked_sub(1)) {
                    self.end(key, before, body.prev.outcome);
                    if body.prev.outcome == Outcome::HoldLapsed {
                        self.lapse(key, slot);
                    }
                }
            }
            AnyStatement::Confirm(confirm) if self.seen.insert(confirm.id()) => {
                let (key, body) = (*confirm.signer(), confirm.body());
                if self.confirms.insert((key, body.slot), confirm.id()).is_some() {
                    self.found.push(format!("S2: two CONFIRMs of {key:?} for slot {}", body.slot));
                }
                if let Some(before) = body.prev.accept_id {
                    self.end(key, before, body.prev.outcome);
                }
            }
            AnyStatement::Ack(ack) if self.seen.insert(ack.id()) => {
                let slot = (*ack.signer(), ack.body().slot);
                self.acked.insert(slot);
                if self.lapsed.contains(&slot) {
                    self.found.push(format!("E3: ACK of {:?} for lapsed slot {}", slot.0, slot.1));
                }
            }
            AnyStatement::Void(void) if self.seen.insert(void.id()) => {
                let (key, body) = (*void.signer(), void.body());
                self.end(key, body.accept_id, body.outcome);
                if body.outcome == Outcome::HoldLapsed {
                    self.lapse(key, body.slot);
                }
            }
            AnyStatement::Release(release) if self.seen.insert(release.id()) => {
                self.end(*release.signer(), release.body().accept_id, release.body().outcome);
            }
            AnyStatement::Cosign(cosign) if self.seen.insert(cosign.id()) => {
                self.end(*cosign.signer(), cosign.body().accept_id, Outcome::Completed);
            }
            _ => {}
        }
    }

    fn lapse(&mut self, key: PublicKey, slot: u64) {
        self.lapsed.insert((key, slot));
        if self.acked.contains(&(key, slot)) {
            self.found.push(format!("E3: {key:?} says that slot {slot} lapsed, which it acknowledged"));
        }
    }

    fn end(&mut self, key: PublicKey, accept: StatementId, outcome: Outcome) {
        let said = *self.ends.entry((key, accept)).or_insert(outcome);
        if said != outcome {
            self.found.push(format!("E8: {key:?} says {said} and {outcome} of one binding"));
        }
    }
}
