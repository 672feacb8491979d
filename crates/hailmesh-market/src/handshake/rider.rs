//! The rider's chain (P7).

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::Outcome;

use super::Transition;

/// The chain of slots of one ride key, of which at most one is bound.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RiderChain {
    /// The open slot, or the bound one.
    pub slot: u64,
    /// What it is bound to.
    pub state: RiderState,
    /// Ended slots, by number.
    pub past: BTreeMap<u64, PastBinding>,
    /// ACCEPTs that were turned down while this slot was open: never confirmed (P7.21).
    pub released: BTreeSet<StatementId>,
}

/// State of the slot [`RiderChain::slot`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RiderState {
    /// Open, no search.
    Idle,
    /// Open, a search is on (volatile).
    Shopping,
    /// Bound by a CONFIRM that was not acknowledged yet.
    Committed(Binding),
    /// Bound and acknowledged.
    Firm {
        /// What binds.
        binding: Binding,
        /// Whether the driver showed the boarding secret.
        boarded: bool,
    },
}

/// What binds a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The ACCEPT that was chosen.
    pub accept: StatementId,
    /// Its signer.
    pub driver: PublicKey,
    /// The CONFIRM that binds.
    pub confirm: StatementId,
}

/// How a slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PastBinding {
    /// What had bound it.
    pub binding: Binding,
    /// How it ended.
    pub outcome: Outcome,
}

/// One slot as the journal tells it (P11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiderSlot {
    /// Its number.
    pub slot: u64,
    /// W4: what bound it.
    pub binding: Binding,
    /// W5: whether it became firm.
    pub firm: bool,
    /// W7: whether the driver showed the boarding secret.
    pub boarded: bool,
    /// W6: how it ended.
    pub ended: Option<Outcome>,
}

/// What happens to a chain. Statements are verified and addressed to this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RiderEvent {
    /// The user wants a ride.
    Want,
    /// The user stops, or patience is over.
    Stop,
    /// An ACCEPT.
    Accept {
        /// Its id.
        accept: StatementId,
        /// Its signer.
        driver: PublicKey,
        /// Whether P7.20 holds and it is chosen.
        chosen: bool,
        /// Id of the CONFIRM that would be signed for it in the open slot.
        confirm: StatementId,
    },
    /// An ACK.
    Ack {
        /// The CONFIRM it names.
        confirm: StatementId,
        /// Its signer.
        driver: PublicKey,
    },
    /// A VOID.
    Void {
        /// The ACCEPT it names.
        accept: StatementId,
        /// Its signer.
        driver: PublicKey,
    },
    /// No ACK and no VOID for T_doubt.
    DoubtEnded,
    /// The user cancels.
    Cancel,
    /// The user says that the driver did not come, and P9.6 allows it.
    NoShow,
    /// A BOARDED whose secret is right.
    Boarded {
        /// The ACCEPT it belongs to.
        accept: StatementId,
    },
    /// A COMPLETE.
    Complete {
        /// The ACCEPT it belongs to.
        accept: StatementId,
        /// Its signer.
        driver: PublicKey,
        /// Whether P9.4 holds or the user agrees.
        agreed: bool,
    },
    /// The user ends a ride without agreement about its fare.
    EndAlone,
}

/// What becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RiderWrite {
    /// W4: the slot is bound by this CONFIRM.
    Bind {
        /// Which slot.
        slot: u64,
        /// By what.
        binding: Binding,
    },
    /// W5: the slot is firm.
    Firm {
        /// Which slot.
        slot: u64,
    },
    /// W6: the slot has ended and the next one is open.
    End {
        /// Which slot.
        slot: u64,
        /// How.
        outcome: Outcome,
    },
    /// W7: the ride moved on.
    Ride {
        /// Which slot.
        slot: u64,
    },
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RiderSend {
    /// The stored CONFIRM of this slot, with its openings where P5.4 allows.
    Confirm(u64),
    /// RELEASE(NOT_CHOSEN) of an ACCEPT that is not taken.
    NotChosen(StatementId, PublicKey),
    /// The stored RELEASE or COSIGN that ended this slot.
    End(u64),
    /// The stored NO_SHOW of this slot.
    NoShow(u64),
    /// The last COMPLETE is disputed.
    Dispute(u64),
    /// The own offer is to be withdrawn.
    WithdrawOffer,
    /// Heard, nothing to add.
    Nothing,
}

type Step = Transition<RiderWrite, RiderSend>;

impl Default for RiderChain {
    fn default() -> Self {
        Self { slot: 0, state: RiderState::Idle, past: BTreeMap::new(), released: BTreeSet::new() }
    }
}

impl RiderChain {
    /// The chain that a restart goes on with (P11.6), from its slots in rising order. A
    /// search that was on is forgotten, and so is what was turned down: a new search has
    /// new REQUESTs (P11.2).
    #[must_use]
    pub fn from_journal(slots: impl IntoIterator<Item = RiderSlot>) -> Self {
        let mut chain = Self::default();
        for RiderSlot { slot, binding, firm, boarded, ended } in slots {
            match ended {
                Some(outcome) => {
                    chain.past.insert(slot, PastBinding { binding, outcome });
                    chain.slot = chain.slot.max(slot + 1);
                }
                None => {
                    chain.slot = slot;
                    chain.state = match firm {
                        true => RiderState::Firm { binding, boarded },
                        false => RiderState::Committed(binding),
                    };
                }
            }
        }
        chain
    }

    /// What binds the current slot, if anything does.
    #[must_use]
    pub const fn binding(&self) -> Option<&Binding> {
        match &self.state {
            RiderState::Idle | RiderState::Shopping => None,
            RiderState::Committed(binding) | RiderState::Firm { binding, .. } => Some(binding),
        }
    }

    /// The slot that was bound to this ACCEPT and has ended.
    #[must_use]
    pub fn past_by_accept(&self, accept: &StatementId) -> Option<(u64, &PastBinding)> {
        let ended = self.past.iter().rev();
        ended.map(|(slot, past)| (*slot, past)).find(|(_, past)| past.binding.accept == *accept)
    }

    /// The table of P7: applies one event.
    pub fn transition(&mut self, event: RiderEvent) -> Step {
        match event {
            RiderEvent::Accept { accept, driver, chosen, confirm } => {
                self.on_accept(accept, driver, chosen, confirm)
            }
            RiderEvent::Ack { confirm, driver } => self.on_ack(confirm, driver),
            RiderEvent::Void { accept, driver } => self.on_void(accept, driver),
            RiderEvent::Complete { accept, driver, agreed } => self.on_complete(accept, driver, agreed),
            other => self.on_own(other),
        }
    }

    fn on_accept(
        &mut self,
        accept: StatementId,
        driver: PublicKey,
        chosen: bool,
        confirm: StatementId,
    ) -> Step {
        let slot = self.slot;
        match &self.state {
            // P7.8
            RiderState::Committed(binding) | RiderState::Firm { binding, .. } if binding.accept == accept => {
                Step::send(RiderSend::Confirm(slot))
            }
            // P7.2: the slot is used up, now and for ever.
            RiderState::Shopping if chosen && !self.released.contains(&accept) => {
                let binding = Binding { accept, driver, confirm };
                self.state = RiderState::Committed(binding);
                Step::write(RiderWrite::Bind { slot, binding }, vec![RiderSend::Confirm(slot)])
            }
            _ => match self.past_by_accept(&accept) {
                // P7.13
                Some((ended, past)) if past.binding.driver == driver => Step::send(RiderSend::End(ended)),
                Some(_) => Step::nothing(),
                // P7.3, P7.7: turned down, and never confirmed later (P7.21).
                None => {
                    self.released.insert(accept);
                    Step::send(RiderSend::NotChosen(accept, driver))
                }
            },
        }
    }

    fn on_ack(&mut self, confirm: StatementId, driver: PublicKey) -> Step {
        match &self.state {
            // P7.9
            RiderState::Committed(binding) if binding.confirm == confirm && binding.driver == driver => {
                self.state = RiderState::Firm { binding: *binding, boarded: false };
                let sends = vec![RiderSend::Nothing, RiderSend::WithdrawOffer];
                Step::write(RiderWrite::Firm { slot: self.slot }, sends)
            }
            RiderState::Firm { binding, .. } if binding.confirm == confirm && binding.driver == driver => {
                Step::send(RiderSend::Nothing)
            }
            _ => {
                let named =
                    |past: &PastBinding| past.binding.confirm == confirm && past.binding.driver == driver;
                match self.past.iter().rev().find(|(_, past)| named(past)) {
                    // P7.13
                    Some((slot, _)) => Step::send(RiderSend::End(*slot)),
                    None => Step::nothing(),
                }
            }
        }
    }

    fn on_void(&mut self, accept: StatementId, driver: PublicKey) -> Step {
        match self.binding() {
            // P7.10
            Some(binding) if binding.accept == accept && binding.driver == driver => {
                self.end(Outcome::CounterpartyVoid, |slot| vec![RiderSend::End(slot)])
            }
            _ => match self.past_by_accept(&accept) {
                // P7.13
                Some((slot, past)) if past.binding.driver == driver => Step::send(RiderSend::End(slot)),
                _ => Step::send(RiderSend::Nothing),
            },
        }
    }

    fn on_complete(&mut self, accept: StatementId, driver: PublicKey, agreed: bool) -> Step {
        match &self.state {
            // P7.15
            RiderState::Firm { binding, .. } if binding.accept == accept && binding.driver == driver => {
                if agreed {
                    self.end(Outcome::Completed, |slot| vec![RiderSend::End(slot)])
                } else {
                    // P7.16
                    let slot = self.slot;
                    Step::write(RiderWrite::Ride { slot }, vec![RiderSend::Dispute(slot)])
                }
            }
            _ => match self.past_by_accept(&accept) {
                // P7.13
                Some((slot, past)) if past.binding.driver == driver => Step::send(RiderSend::End(slot)),
                _ => Step::nothing(),
            },
        }
    }

    /// Timers and the own user.
    fn on_own(&mut self, event: RiderEvent) -> Step {
        let slot = self.slot;
        match (&mut self.state, event) {
            // P7.1
            (RiderState::Idle, RiderEvent::Want) => {
                self.state = RiderState::Shopping;
                Step::nothing()
            }
            // P7.6
            (RiderState::Shopping, RiderEvent::Stop) => {
                self.state = RiderState::Idle;
                Step::send(RiderSend::WithdrawOffer)
            }
            // P7.11
            (RiderState::Committed(_), RiderEvent::DoubtEnded) => {
                self.end(Outcome::NoAck, |slot| vec![RiderSend::End(slot)])
            }
            // P7.12
            (RiderState::Committed(_) | RiderState::Firm { boarded: false, .. }, RiderEvent::Cancel) => {
                self.end(Outcome::RiderCancelled, |slot| vec![RiderSend::End(slot)])
            }
            // P7.18
            (RiderState::Firm { boarded: false, .. }, RiderEvent::NoShow) => {
                self.end(Outcome::NoShowClaimed, |slot| vec![RiderSend::NoShow(slot), RiderSend::End(slot)])
            }
            // P7.14, P8.4
            (RiderState::Firm { binding, boarded }, RiderEvent::Boarded { accept })
                if binding.accept == accept && !*boarded =>
            {
                *boarded = true;
                Step::write(RiderWrite::Ride { slot }, vec![RiderSend::Nothing])
            }
            (RiderState::Firm { .. }, RiderEvent::Boarded { .. }) => Step::send(RiderSend::Nothing),
            // P7.17
            (RiderState::Firm { boarded: true, .. }, RiderEvent::EndAlone) => {
                self.end(Outcome::CompletedUnilateral, |slot| vec![RiderSend::End(slot)])
            }
            // P6.23
            _ => Step::nothing(),
        }
    }

    fn end(&mut self, outcome: Outcome, sends: impl FnOnce(u64) -> Vec<RiderSend>) -> Step {
        let slot = self.slot;
        let Some(binding) = self.binding().copied() else { return Step::nothing() };
        self.past.insert(slot, PastBinding { binding, outcome });
        self.slot += 1;
        self.state = RiderState::Idle;
        self.released.clear();
        Step::write(RiderWrite::End { slot, outcome }, sends(slot))
    }
}
