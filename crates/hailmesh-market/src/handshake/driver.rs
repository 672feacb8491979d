//! The driver's lane (P6).

use std::collections::BTreeMap;

use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::{Outcome, RejectReason};

use super::Transition;

/// One lane of one driver key: a chain of numbered slots of which at most one is bound.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DriverLane {
    /// The open slot, or the bound one.
    pub slot: u64,
    /// What it is bound to.
    pub state: LaneState,
    /// Ended slots that somebody may still ask about, by number.
    pub past: BTreeMap<u64, PastSlot>,
}

/// State of the slot [`DriverLane::slot`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LaneState {
    /// Open.
    Free,
    /// Bound by an ACCEPT until the hold ends.
    Held(Held),
    /// Bound by a CONFIRM.
    Firm {
        /// What was held.
        held: Held,
        /// The CONFIRM.
        confirm: StatementId,
        /// Whether ARRIVED was signed.
        arrived: bool,
        /// Whether the boarding secret is known.
        boarded: bool,
        /// The COMPLETEs that were signed, in order. Each stands until the end.
        completes: Vec<StatementId>,
    },
}

/// What binds a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// The REQUEST it answers.
    pub request: StatementId,
    /// The ACCEPT that binds.
    pub accept: StatementId,
    /// The rider's ride key.
    pub rider: PublicKey,
}

/// How a slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PastSlot {
    /// What had bound it.
    pub held: Held,
    /// The CONFIRM, when it had become firm.
    pub confirm: Option<StatementId>,
    /// How it ended.
    pub outcome: Outcome,
    /// The rider's signed end, when the outcome rests on one.
    pub proof: Option<StatementId>,
}

/// One slot as the journal tells it (P11.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverSlot {
    /// Its number.
    pub slot: u64,
    /// W1: what bound it.
    pub held: Held,
    /// W2: the CONFIRM, when it became firm.
    pub confirm: Option<StatementId>,
    /// W7: whether ARRIVED was signed.
    pub arrived: bool,
    /// W7: whether the boarding secret is known.
    pub boarded: bool,
    /// W7: the COMPLETEs that were signed, in order.
    pub completes: Vec<StatementId>,
    /// W3, W8: how it ended, with the rider's signed end when the outcome rests on one.
    pub ended: Option<(Outcome, Option<StatementId>)>,
}

/// What the checks of P6.20 say of a REQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The node agrees.
    Pass,
    /// The node proposes another fare.
    Counter,
    /// The node does not agree.
    Refuse(RejectReason),
}

/// What happens to a lane. Statements are verified and addressed to this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriverEvent {
    /// A REQUEST.
    Request {
        /// Its id.
        request: StatementId,
        /// Its signer.
        rider: PublicKey,
        /// What P6.20 says of it.
        guard: Guard,
        /// Id of the ACCEPT that would be signed for it in the open slot.
        accept: StatementId,
    },
    /// A CONFIRM.
    Confirm {
        /// Its id.
        confirm: StatementId,
        /// The ACCEPT it names.
        accept: StatementId,
        /// Its signer.
        rider: PublicKey,
        /// Whether agreement id and `prev` are right (P6.6).
        sound: bool,
        /// Whether the pickup opening came and matches its commitment.
        opened: bool,
    },
    /// A RELEASE.
    Release {
        /// Its id.
        release: StatementId,
        /// The ACCEPT it names.
        accept: StatementId,
        /// Its signer.
        rider: PublicKey,
    },
    /// The hold timer.
    HoldEnded,
    /// The user cancels, or the rider is out of reach and policy says so.
    Cancel,
    /// The user says that the rider did not come, and P9.6 allows it.
    NoShow,
    /// ARRIVED is signed.
    Arrived,
    /// The boarding secret is known.
    Boarded,
    /// COMPLETE is signed.
    Complete {
        /// Its id.
        complete: StatementId,
    },
    /// A COSIGN.
    Cosign {
        /// Its id.
        cosign: StatementId,
        /// The ACCEPT it names.
        accept: StatementId,
        /// The COMPLETE it names.
        complete: StatementId,
        /// Its signer.
        rider: PublicKey,
        /// Whether its total is that of the COMPLETE it names.
        same_total: bool,
    },
    /// No COSIGN came in time, or the user ends alone.
    EndAlone,
}

/// What becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverWrite {
    /// W1: the slot is bound by this ACCEPT.
    Bind {
        /// Which slot.
        slot: u64,
        /// By what.
        held: Held,
    },
    /// W2: the slot is firm.
    Firm {
        /// Which slot.
        slot: u64,
        /// The CONFIRM.
        confirm: StatementId,
    },
    /// W3, W8: the slot has ended and the next one is open.
    End {
        /// Which slot.
        slot: u64,
        /// How.
        outcome: Outcome,
        /// The rider's signed end, when the outcome rests on one.
        proof: Option<StatementId>,
    },
    /// W7: the ride moved on.
    Ride {
        /// Which slot.
        slot: u64,
    },
    /// A second CONFIRM for one rider slot is kept as evidence (E2).
    Contradiction {
        /// Which slot.
        slot: u64,
        /// The other CONFIRM.
        confirm: StatementId,
    },
    /// A COSIGN that came after the end is kept with the receipt (P6.19).
    Keep {
        /// Which slot.
        slot: u64,
        /// The statement.
        statement: StatementId,
    },
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverSend {
    /// The stored ACCEPT of this slot.
    Accept(u64),
    /// A refusal of this REQUEST.
    Reject(StatementId, RejectReason),
    /// Another fare for this REQUEST.
    Counter(StatementId),
    /// The stored ACK of this slot.
    Ack(u64),
    /// The stored VOID of this slot.
    Void(u64),
    /// The stored NO_SHOW of this slot.
    NoShow(u64),
    /// The own offer is to be withdrawn.
    WithdrawOffer,
    /// Heard, nothing to add.
    Nothing,
}

type Step = Transition<DriverWrite, DriverSend>;

impl Default for DriverLane {
    fn default() -> Self {
        Self { slot: 0, state: LaneState::Free, past: BTreeMap::new() }
    }
}

impl DriverLane {
    /// The lane that a restart goes on with (P11.6), from its slots in rising order.
    #[must_use]
    pub fn from_journal(slots: impl IntoIterator<Item = DriverSlot>) -> Self {
        let mut lane = Self::default();
        for journaled in slots {
            let DriverSlot { slot, held, confirm, arrived, boarded, completes, ended } = journaled;
            if let Some((outcome, proof)) = ended {
                lane.past.insert(slot, PastSlot { held, confirm, outcome, proof });
                lane.slot = lane.slot.max(slot + 1);
                continue;
            }
            lane.slot = slot;
            lane.state = match confirm {
                Some(confirm) => LaneState::Firm { held, confirm, arrived, boarded, completes },
                None => LaneState::Held(held),
            };
        }
        lane
    }

    /// What binds the current slot, if anything does.
    #[must_use]
    pub const fn held(&self) -> Option<&Held> {
        match &self.state {
            LaneState::Free => None,
            LaneState::Held(held) | LaneState::Firm { held, .. } => Some(held),
        }
    }

    /// The slot that was bound by this ACCEPT and has ended.
    #[must_use]
    pub fn past_by_accept(&self, accept: &StatementId) -> Option<(u64, &PastSlot)> {
        self.past.iter().rev().find(|(_, past)| past.held.accept == *accept).map(|(slot, past)| (*slot, past))
    }

    fn past_by_request(&self, request: &StatementId) -> Option<(u64, &PastSlot)> {
        self.past
            .iter()
            .rev()
            .find(|(_, past)| past.held.request == *request)
            .map(|(slot, past)| (*slot, past))
    }

    /// The table of P6: applies one event.
    pub fn transition(&mut self, event: DriverEvent) -> Step {
        match event {
            DriverEvent::Request { request, rider, guard, accept } => {
                self.on_request(request, rider, guard, accept)
            }
            DriverEvent::Confirm { confirm, accept, rider, sound, opened } => {
                self.on_confirm(confirm, accept, rider, sound, opened)
            }
            DriverEvent::Release { release, accept, rider } => self.on_release(release, accept, rider),
            DriverEvent::Cosign { cosign, accept, complete, rider, same_total } => {
                self.on_cosign(cosign, accept, complete, rider, same_total)
            }
            other => self.on_own(other),
        }
    }

    fn on_request(
        &mut self,
        request: StatementId,
        rider: PublicKey,
        guard: Guard,
        accept: StatementId,
    ) -> Step {
        // P6.4: its slot has ended.
        if let Some((slot, past)) = self.past_by_request(&request) {
            return Step::send(match past.outcome {
                Outcome::Completed => DriverSend::Reject(request, RejectReason::Ended),
                _ => DriverSend::Void(slot),
            });
        }
        match (&self.state, guard) {
            // P6.3: the same REQUEST again.
            (LaneState::Held(held) | LaneState::Firm { held, .. }, _) if held.request == request => {
                Step::send(DriverSend::Accept(self.slot))
            }
            // P6.5: another one while bound.
            (LaneState::Held(_) | LaneState::Firm { .. }, _) => {
                Step::send(DriverSend::Reject(request, RejectReason::Busy))
            }
            // P6.1: the slot is used up, now and for ever.
            (LaneState::Free, Guard::Pass) => {
                let held = Held { request, accept, rider };
                self.state = LaneState::Held(held);
                Step::write(DriverWrite::Bind { slot: self.slot, held }, vec![DriverSend::Accept(self.slot)])
            }
            // P6.2: the node does not agree, or not to this fare.
            (LaneState::Free, Guard::Counter) => Step::send(DriverSend::Counter(request)),
            (LaneState::Free, Guard::Refuse(reason)) => Step::send(DriverSend::Reject(request, reason)),
        }
    }

    fn on_confirm(
        &mut self,
        confirm: StatementId,
        accept: StatementId,
        rider: PublicKey,
        sound: bool,
        opened: bool,
    ) -> Step {
        match &self.state {
            LaneState::Held(held) if held.accept == accept && held.rider == rider => {
                if !sound || !opened {
                    // P6.7 (and a CONFIRM that is void on its face, P3.8).
                    return Step::send(DriverSend::Reject(confirm, RejectReason::Bad));
                }
                // P6.6
                let (held, completes) = (*held, Vec::new());
                self.state = LaneState::Firm { held, confirm, arrived: false, boarded: false, completes };
                Step::write(
                    DriverWrite::Firm { slot: self.slot, confirm },
                    vec![DriverSend::Ack(self.slot), DriverSend::WithdrawOffer],
                )
            }
            LaneState::Firm { held, confirm: known, .. } if held.accept == accept && held.rider == rider => {
                let ack = DriverSend::Ack(self.slot);
                if *known == confirm {
                    // P6.8
                    Step::send(ack)
                } else {
                    // P6.9: two CONFIRMs for one rider slot.
                    Step::write(DriverWrite::Contradiction { slot: self.slot, confirm }, vec![ack])
                }
            }
            _ => self.on_late(accept, rider, confirm),
        }
    }

    /// P6.13: CONFIRM or RELEASE for an ended slot, by its rider.
    fn on_late(&self, accept: StatementId, rider: PublicKey, about: StatementId) -> Step {
        match self.past_by_accept(&accept) {
            Some((_, past)) if past.held.rider != rider => Step::nothing(),
            Some((_, PastSlot { outcome: Outcome::Completed, .. })) => Step::send(DriverSend::Nothing),
            Some((slot, _)) => Step::send(DriverSend::Void(slot)),
            // Not an ACCEPT of this lane, or too long ago.
            None => Step::send(DriverSend::Reject(about, RejectReason::Unknown)),
        }
    }

    fn on_release(&mut self, release: StatementId, accept: StatementId, rider: PublicKey) -> Step {
        let outcome = match &self.state {
            // P6.11
            LaneState::Held(held) if held.accept == accept && held.rider == rider => Outcome::NotChosen,
            // P6.12
            LaneState::Firm { held, boarded, .. } if held.accept == accept && held.rider == rider => {
                if *boarded {
                    Outcome::CompletedUnilateral
                } else {
                    Outcome::RiderReleased
                }
            }
            _ => return self.on_late(accept, rider, release),
        };
        let proof = (outcome != Outcome::CompletedUnilateral).then_some(release);
        self.end(outcome, proof, vec![DriverSend::Void(self.slot)])
    }

    fn on_cosign(
        &mut self,
        cosign: StatementId,
        accept: StatementId,
        complete: StatementId,
        rider: PublicKey,
        same_total: bool,
    ) -> Step {
        match &self.state {
            // P6.17: any COMPLETE that was signed may be agreed to, also when another
            // was signed since. The rider has ended with this one, and signs no second.
            LaneState::Firm { held, completes, .. }
                if held.accept == accept
                    && held.rider == rider
                    && completes.contains(&complete)
                    && same_total =>
            {
                self.end(Outcome::Completed, Some(cosign), vec![DriverSend::Nothing])
            }
            LaneState::Firm { held, .. } if held.accept == accept && held.rider == rider => {
                Step::send(DriverSend::Reject(cosign, RejectReason::Bad))
            }
            // P6.19: after the end it only joins the receipt.
            _ => match self.past_by_accept(&accept) {
                Some((slot, past)) if past.held.rider == rider => {
                    Step::write(DriverWrite::Keep { slot, statement: cosign }, vec![DriverSend::Nothing])
                }
                _ => Step::send(DriverSend::Reject(cosign, RejectReason::Unknown)),
            },
        }
    }

    /// Timers and the own user.
    fn on_own(&mut self, event: DriverEvent) -> Step {
        let slot = self.slot;
        match (&mut self.state, event) {
            // P6.10: VOID is signed and kept, but only given as an answer.
            (LaneState::Held(_), DriverEvent::HoldEnded) => self.end(Outcome::HoldLapsed, None, Vec::new()),
            // P6.14
            (LaneState::Held(_) | LaneState::Firm { boarded: false, .. }, DriverEvent::Cancel) => {
                self.end(Outcome::DriverCancelled, None, vec![DriverSend::Void(slot)])
            }
            // P6.15
            (LaneState::Firm { arrived: true, boarded: false, .. }, DriverEvent::NoShow) => {
                self.end(Outcome::NoShowClaimed, None, vec![DriverSend::NoShow(slot), DriverSend::Void(slot)])
            }
            // P6.16, P8.3
            (LaneState::Firm { arrived, boarded: false, .. }, DriverEvent::Arrived) => {
                *arrived = true;
                Step::write(DriverWrite::Ride { slot }, Vec::new())
            }
            // P6.16, P8.4
            (LaneState::Firm { boarded, .. }, DriverEvent::Boarded) if !*boarded => {
                *boarded = true;
                Step::write(DriverWrite::Ride { slot }, Vec::new())
            }
            // P6.16: only after boarding is there anything to complete.
            (LaneState::Firm { boarded: true, completes, .. }, DriverEvent::Complete { complete }) => {
                completes.push(complete);
                Step::write(DriverWrite::Ride { slot }, Vec::new())
            }
            // P6.18
            (LaneState::Firm { boarded: true, completes, .. }, DriverEvent::EndAlone)
                if !completes.is_empty() =>
            {
                self.end(Outcome::CompletedUnilateral, None, vec![DriverSend::Void(slot)])
            }
            // P6.23
            _ => Step::nothing(),
        }
    }

    fn end(&mut self, outcome: Outcome, proof: Option<StatementId>, sends: Vec<DriverSend>) -> Step {
        let slot = self.slot;
        let (held, confirm) = match &self.state {
            LaneState::Free => return Step::nothing(),
            LaneState::Held(held) => (*held, None),
            LaneState::Firm { held, confirm, .. } => (*held, Some(*confirm)),
        };
        self.past.insert(slot, PastSlot { held, confirm, outcome, proof });
        self.slot += 1;
        self.state = LaneState::Free;
        Step::write(DriverWrite::End { slot, outcome, proof }, sends)
    }
}
