//! What a host has made durable: the journal in memory, and what it says of each slot.

use std::collections::BTreeMap;

use hailmesh_market::journal::Bound;
use hailmesh_market::{Record, Role, SlotRef};
use hailmesh_types::{PeerKey, PublicKey, StatementId};
use hailmesh_wire::{Kind, Outcome};

/// A bound slot as the journal tells it.
#[derive(Debug, Clone)]
pub struct Slot {
    /// What binds it.
    pub bound: Bound,
    /// The CONFIRM, either side's.
    pub confirm: Option<StatementId>,
    /// Whether it became firm.
    pub firm: bool,
    /// A VOID of the driver's own.
    pub void: bool,
    /// How it ended, once it has.
    pub ended: Option<Outcome>,
}

/// A journal in memory.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Every record, oldest first.
    pub records: Vec<Record>,
    /// Slots that were ever bound.
    pub slots: BTreeMap<SlotRef, Slot>,
    /// Keys and what they sign as.
    pub roles: BTreeMap<PublicKey, Role>,
    /// Statements of its own that it holds.
    pub kept: BTreeMap<StatementId, Kind>,
    /// Statements that wait to be heard, their kind, and where they go.
    pub outbox: BTreeMap<StatementId, (Option<Kind>, PeerKey)>,
    /// Slots that were bound twice: none, ever.
    pub rebound: Vec<SlotRef>,
}

impl Ledger {
    /// The ledger of these records.
    #[must_use]
    pub fn of(records: Vec<Record>) -> Self {
        let mut ledger = Self::default();
        ledger.append(records);
        ledger
    }

    /// These records are durable now, too.
    pub fn append(&mut self, records: Vec<Record>) {
        for record in &records {
            self.take(record);
        }
        self.records.extend(records);
    }

    fn take(&mut self, record: &Record) {
        match record {
            Record::Key(key) => {
                self.roles.insert(key.key, key.role);
            }
            Record::Bound(bound) => {
                let slot =
                    Slot { bound: bound.clone(), confirm: None, firm: false, void: false, ended: None };
                if self.slots.insert(bound.slot, slot).is_some() {
                    self.rebound.push(bound.slot);
                }
            }
            Record::Firm { slot, .. } => self.change(slot, |slot| slot.firm = true),
            Record::Ended { slot, outcome, .. } => self.change(slot, |slot| slot.ended = Some(*outcome)),
            Record::Statement { slot, kind, id, own, .. } => {
                if *own {
                    self.kept.insert(*id, *kind);
                }
                self.change(slot, |slot| match kind {
                    Kind::Confirm => slot.confirm = Some(*id),
                    Kind::Void => slot.void = slot.void || *own,
                    _ => {}
                });
            }
            Record::OutboxPut { statement, peer, .. } => {
                self.outbox.insert(*statement, (self.kept.get(statement).copied(), *peer));
            }
            Record::OutboxDone { statement } => {
                self.outbox.remove(statement);
            }
            _ => {}
        }
    }

    fn change(&mut self, slot: &SlotRef, how: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(slot) {
            how(slot);
        }
    }

    /// Slots that are bound and have not ended.
    pub fn live(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values().filter(|slot| slot.ended.is_none())
    }
}

/// The journals of drivers, and those of riders.
#[must_use]
pub fn sides<'l>(hosts: impl IntoIterator<Item = (Role, &'l Ledger)>) -> (Vec<&'l Ledger>, Vec<&'l Ledger>) {
    let (drivers, riders): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|(role, _)| *role == Role::Driver);
    let ledgers = |side: Vec<(Role, &'l Ledger)>| side.into_iter().map(|(_, ledger)| ledger).collect();
    (ledgers(drivers), ledgers(riders))
}

/// The slots of these journals by their ACCEPT.
#[must_use]
pub fn by_accept<'l>(ledgers: &[&'l Ledger]) -> BTreeMap<StatementId, &'l Slot> {
    let all = ledgers.iter().flat_map(|ledger| ledger.slots.values());
    all.map(|slot| (slot.bound.accept, slot)).collect()
}

/// Whether two sides of one ACCEPT tell the same end of it (L1). A side that knows nothing
/// of it is `None`.
#[must_use]
pub fn agree(driver: Option<&Slot>, rider: Option<&Slot>) -> bool {
    use Outcome::{
        Completed, CompletedUnilateral, CounterpartyVoid, DriverCancelled, HoldLapsed, NoAck, NoShowClaimed,
        NotChosen, RiderCancelled, RiderReleased,
    };
    let Some(driver) = driver else { return false };
    let Some(rider) = rider else {
        // A driver may cancel while it holds (P6.14).
        return !driver.firm && matches!(driver.ended, Some(HoldLapsed | NotChosen | DriverCancelled));
    };
    let (Some(driver), Some(rider)) = (driver.ended, rider.ended) else { return false };
    match driver {
        Completed => rider == Completed,
        // Either may have signed its end before it heard of the other's (P8.11, P6.19).
        // A rider that has shown its boarding secret may cancel before it hears of BOARDED, and
        // the driver takes that for an end after boarding (P6.12).
        CompletedUnilateral => {
            matches!(rider, CounterpartyVoid | CompletedUnilateral | Completed | RiderCancelled)
        }
        HoldLapsed => matches!(rider, CounterpartyVoid | NoAck | RiderCancelled),
        NotChosen => matches!(rider, NoAck | RiderCancelled),
        RiderReleased => matches!(rider, NoAck | RiderCancelled | NoShowClaimed),
        DriverCancelled | NoShowClaimed => {
            matches!(rider, CounterpartyVoid | NoAck | RiderCancelled | NoShowClaimed)
        }
        _ => false,
    }
}
