//! Whether everything is settled once nothing goes wrong any more (L1): both sides of
//! every agreement say the same of it, nobody is held or in doubt, and whoever is under way
//! knows what it must: the driver where to, the rider in which car (P8.7).

use std::collections::BTreeMap;
use std::fmt;

use hailmesh_market::journal::SecretPurpose;
use hailmesh_market::{Record, Role, SlotRef};
use hailmesh_types::{AgreementId, PeerKey, PublicKey};
use hailmesh_wire::{Outcome, RideState};

use super::host::Host;

/// How long the two sides may differ after the last of them has changed, or after the end
/// of all faults, milliseconds. Without faults a statement needs a round trip; the longest
/// pause of an outbox that has waited through them is 30 s.
const DIFFER_MS: u64 = 60_000;
/// How long a slot may be held, or a rider in doubt, milliseconds: T_doubt is the longer.
const HELD_MS: u64 = 20_000;
/// How long the destination or the car may take to be shown, milliseconds: a period of
/// STATUS, an exchange that fails, and one more.
const SHOWN_MS: u64 = 30_000;

/// Places of the two sides.
const DRIVER: usize = 0;
const RIDER: usize = 1;

/// What the journals say when a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Agreements of which both sides say the same.
    pub agreed: u64,
    /// Of these, how many are firm and go on.
    pub firm: u64,
    /// Agreements with a side whose keys came from an older backup: it gave them up, and
    /// the other side learns of it by silence (P16.3, P12.1).
    pub given_up: u64,
    /// Agreements whose sides cannot find each other: both are reached elsewhere, or under
    /// another name, than the other knows (P24.11).
    pub apart: u64,
    /// Agreements that have changed too lately to be judged.
    pub young: u64,
}

impl Settled {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { agreed, firm, given_up, apart, young } = self;
        *agreed += other.agreed;
        *firm += other.firm;
        *given_up += other.given_up;
        *apart += other.apart;
        *young += other.young;
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agreed, firm, given_up, apart, young } = self;
        write!(
            f,
            "{agreed} agreed ({firm} firm), {given_up} given up with a lost journal, {apart} that cannot find \
             each other, {young} too young to judge"
        )
    }
}

/// One side of an agreement, as its journal tells it.
#[derive(Clone, Copy)]
struct SideOf {
    host: u32,
    key: PublicKey,
    other: PublicKey,
    /// Where the other side is reached.
    peer: PeerKey,
    bound_ms: u64,
    firm_ms: Option<u64>,
    ended: Option<(Outcome, u64)>,
    /// When it came to the stage at which the other side shows something, and whether that
    /// has come: the car with FIRM, the destination with boarding.
    due_ms: Option<u64>,
    shown: bool,
}

/// Who must be able to find each other.
pub(super) struct Parties {
    pub(super) driver: u32,
    /// The driver's key in the agreement.
    pub(super) key: PublicKey,
    pub(super) rider: u32,
    /// Under which name the driver looks for the rider, by its journal.
    pub(super) followed: Option<PeerKey>,
}

impl SideOf {
    fn changed_ms(&self) -> u64 {
        self.ended.map(|(_, at)| at).or(self.firm_ms).unwrap_or(self.bound_ms)
    }

    fn says(side: Option<&Self>) -> String {
        match side.map(|side| (side.ended, side.firm_ms)) {
            None => "nothing".to_owned(),
            Some((Some((outcome, _)), _)) => outcome.to_string(),
            Some((None, Some(_))) => "firm".to_owned(),
            Some((None, None)) => "bound".to_owned(),
        }
    }
}

/// Reads all journals; gives what is wrong with them. `reach` says since when two parties can
/// reach each other, if they can.
pub(super) fn settled<'h>(
    hosts: impl Iterator<Item = &'h Host>,
    (calm_ms, end_ms): (u64, u64),
    reach: &dyn Fn(&Parties) -> Option<u64>,
) -> (Settled, Vec<String>) {
    let mut owners: BTreeMap<PublicKey, u32> = BTreeMap::new();
    let mut pairs: BTreeMap<AgreementId, [Option<SideOf>; 2]> = BTreeMap::new();
    let mut lost: Vec<PublicKey> = Vec::new();
    let mut wrong = Vec::new();
    for host in hosts {
        let Some(mishaps) = host.mishaps.as_ref() else { continue };
        lost.extend(&mishaps.lost);
        if host.market.is_none() {
            wrong.push(format!("host {} has not come back", host.id));
        }
        let mut slots: BTreeMap<SlotRef, (AgreementId, usize, SideOf)> = BTreeMap::new();
        let mut times = mishaps.batches.iter().copied().peekable();
        for (place, record) in host.journal.iter().enumerate() {
            while times.next_if(|(length, _)| *length <= place).is_some() {}
            let at_ms = times.peek().map_or(end_ms, |(_, at_ms)| *at_ms);
            match record {
                Record::Key(key) => {
                    owners.insert(key.key, host.id);
                }
                Record::Bound(bound) => {
                    let side = SideOf {
                        host: host.id,
                        key: bound.slot.key,
                        other: bound.counterparty,
                        peer: bound.peer,
                        bound_ms: at_ms,
                        firm_ms: None,
                        ended: None,
                        due_ms: None,
                        shown: false,
                    };
                    let place = if bound.role == Role::Rider { RIDER } else { DRIVER };
                    slots.insert(bound.slot, (bound.agreement, place, side));
                    let live = slots.values().filter(|(_, _, side)| side.ended.is_none()).count();
                    if live > 1 {
                        wrong.push(format!("the journal of host {} holds two live slots", host.id));
                    }
                }
                Record::Peer { slot, peer } => {
                    if let Some((_, _, side)) = slots.get_mut(slot) {
                        side.peer = *peer;
                    }
                }
                Record::Firm { slot, .. } => {
                    if let Some((_, place, side)) = slots.get_mut(slot) {
                        side.firm_ms = Some(at_ms);
                        if *place == RIDER {
                            side.due_ms = Some(at_ms);
                        }
                    }
                }
                Record::Progress { slot, phase: RideState::InProgress, .. } => {
                    if let Some((_, DRIVER, side)) = slots.get_mut(slot) {
                        side.due_ms = Some(at_ms);
                    }
                }
                Record::Secret { slot, purpose, .. } => {
                    if let Some((_, place, side)) = slots.get_mut(slot) {
                        let wanted =
                            if *place == DRIVER { SecretPurpose::Drop } else { SecretPurpose::Vehicle };
                        side.shown |= *purpose == wanted;
                    }
                }
                Record::Ended { slot, outcome, .. } => {
                    if let Some((_, _, side)) = slots.get_mut(slot) {
                        side.ended = Some((*outcome, at_ms));
                    }
                }
                _ => {}
            }
        }
        for (agreement, place, side) in slots.into_values() {
            pairs.entry(agreement).or_default()[place] = Some(side);
        }
    }
    let mut settled = Settled::default();
    for [driver, rider] in pairs.into_values() {
        let keys = keys_of(&driver, &rider);
        if keys.into_iter().flatten().any(|key| lost.contains(&key)) {
            settled.given_up += 1;
        } else {
            let owner = |key: Option<PublicKey>| key.and_then(|key| Some((key, *owners.get(&key)?)));
            let [Some((key, host)), Some((_, other))] = keys.map(owner) else {
                wrong.push("a side of an agreement that is no key of anybody".to_owned());
                continue;
            };
            let followed = driver.map(|side| side.peer);
            let met_ms = reach(&Parties { driver: host, key, rider: other, followed });
            let calm_ms = calm_ms.max(met_ms.unwrap_or(0));
            let apart = met_ms.is_none();
            judge(driver.as_ref(), rider.as_ref(), (calm_ms, end_ms), apart, &mut settled, &mut wrong);
        }
    }
    (settled, wrong)
}

/// Keys of driver and rider, from whichever side there is.
fn keys_of(driver: &Option<SideOf>, rider: &Option<SideOf>) -> [Option<PublicKey>; 2] {
    let of = |own: &Option<SideOf>, other: &Option<SideOf>| {
        own.map(|side| side.key).or(other.map(|side| side.other))
    };
    [of(driver, rider), of(rider, driver)]
}

fn judge(
    driver: Option<&SideOf>,
    rider: Option<&SideOf>,
    (calm_ms, end_ms): (u64, u64),
    apart: bool,
    settled: &mut Settled,
    wrong: &mut Vec<String>,
) {
    let sides = || [driver, rider].into_iter().flatten();
    let changed_ms = sides().map(SideOf::changed_ms).max().unwrap_or(0);
    let in_doubt = sides().any(|side| side.ended.is_none() && side.firm_ms.is_none());
    let is_live = |side: Option<&SideOf>| side.is_some_and(|side| side.ended.is_none());
    let outcome = |side: Option<&SideOf>| side.and_then(|side| side.ended).map(|(outcome, _)| outcome);
    let same = match (outcome(driver), outcome(rider)) {
        // A co-signed ride is over for both; a rider may co-sign while the driver gives up
        // waiting for it (P6.18).
        (Some(Outcome::Completed), other) => other == Some(Outcome::Completed),
        (other, Some(Outcome::Completed)) => other == Some(Outcome::CompletedUnilateral),
        _ => is_live(driver) == is_live(rider),
    };
    if same && !in_doubt {
        settled.agreed += 1;
        settled.firm += u64::from(is_live(driver));
        let blind = |side: &&SideOf| {
            let due = side.due_ms.filter(|_| side.ended.is_none() && !side.shown);
            due.is_some_and(|due| due.max(calm_ms) + SHOWN_MS <= end_ms)
        };
        let what = |side: &SideOf| {
            let due = side.due_ms.unwrap_or(0);
            format!("P8.7: host {} was never shown what is due to it since {due} ms", side.host)
        };
        wrong.extend(sides().filter(blind).filter(|_| !apart).map(what));
        return;
    }
    let allowed = if in_doubt { HELD_MS } else { DIFFER_MS };
    if changed_ms.max(calm_ms) + allowed > end_ms {
        settled.young += 1;
        return;
    }
    if apart && !in_doubt {
        settled.apart += 1;
        return;
    }
    let host = |side: Option<&SideOf>| side.map_or_else(|| "?".to_owned(), |side| side.host.to_string());
    wrong.push(format!(
        "L1: driver {} says {}, rider {} says {} of one agreement, {} ms after the last change",
        host(driver),
        SideOf::says(driver),
        host(rider),
        SideOf::says(rider),
        end_ms - changed_ms,
    ));
}
