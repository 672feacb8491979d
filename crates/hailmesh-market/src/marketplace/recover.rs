//! Rebuilding a marketplace from its journal (P11.6).

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_types::{PublicKey, Timestamp};
use hailmesh_wire::{AnyStatement, AnyVerified, Ed25519, RideState, Signatures, Verified};

use crate::config::{Config, ConfigError};
use crate::handshake::{Binding, DriverLane, DriverSlot, Held, RiderChain, RiderSlot};
use crate::journal::{Bound, KeyRecord, Record, Role, SecretPurpose, SlotRef};
use crate::output::Output;

use super::deal::{Deal, Ending, Missing, Said};
use super::driver::DriverSide;
use super::history::made;
use super::keys::SHIFT_LIFE;
use super::rider::{Chain, RiderSide};
use super::timers::Timer;
use super::{Keys, Marketplace};

/// Why a journal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A configuration value outside its bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal lacks something that a slot needs, or holds something broken.
    #[error("the journal is damaged at slot {slot} of key {key}: {what}")]
    Damaged {
        /// Which slot.
        slot: u64,
        /// Of which key, shortened.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The journal speaks of a slot whose key it does not hold.
    #[error("the journal holds a slot of a key that it does not hold")]
    Orphan,
}

/// What the records say of one slot.
#[derive(Default)]
pub(super) struct Draft {
    bound: Option<Bound>,
    said: Vec<Said>,
    secrets: Vec<(SecretPurpose, hailmesh_types::Private<Vec<u8>>)>,
    firm: Option<Timestamp>,
    steps: Vec<(RideState, Timestamp)>,
    wrong_codes: u8,
    ended: Option<Ending>,
}

impl Marketplace {
    /// A marketplace that goes on where its journal ends. No records: a new one.
    ///
    /// # Errors
    /// A configuration value outside its bounds, or a journal that cannot be trusted:
    /// then nothing must be signed with its keys.
    pub fn recover(
        config: impl Into<Arc<Config>>,
        keys: Keys,
        seed: [u8; 32],
        records: impl IntoIterator<Item = Record>,
        now: Timestamp,
    ) -> Result<Self, RecoverError> {
        Self::recover_with(config, keys, seed, records, now, Arc::new(Ed25519))
    }

    /// As [`Marketplace::recover`] with these signatures: see [`Marketplace::new_with`].
    ///
    /// # Errors
    /// As [`Marketplace::recover`].
    pub fn recover_with(
        config: impl Into<Arc<Config>>,
        keys: Keys,
        seed: [u8; 32],
        records: impl IntoIterator<Item = Record>,
        now: Timestamp,
        signatures: Arc<dyn Signatures>,
    ) -> Result<Self, RecoverError> {
        let mut market = Self::empty(config.into(), &keys, seed, now, signatures)?;
        let mut held: BTreeMap<PublicKey, KeyRecord> = BTreeMap::new();
        let mut erased: Vec<PublicKey> = Vec::new();
        let mut seqs: BTreeMap<PublicKey, u64> = BTreeMap::new();
        let mut drafts: BTreeMap<SlotRef, Draft> = BTreeMap::new();
        let mut rows = Vec::new();
        for record in records {
            match record {
                Record::Key(key) => {
                    held.insert(key.key, key);
                }
                Record::KeyErased { key } => erased.push(key),
                Record::SeqReserved { key, below } => {
                    let used = seqs.entry(key).or_default();
                    *used = below.max(*used);
                }
                Record::OutboxPut { slot, statement, peer, bytes, at, .. } => {
                    rows.push((slot, statement, peer, bytes, at));
                }
                Record::OutboxDone { statement } => rows.retain(|(_, id, ..)| *id != statement),
                Record::Evidence { .. } => market.evidence_count += 1,
                // Only whoever an issuer vouches for is banned for good where there are issuers.
                Record::Ban { key, until } => market.admission.ban(now, &key, until, until.is_none()),
                of_slot => add_to_draft(&mut drafts, of_slot),
            }
        }
        for (slot, draft) in drafts {
            market.restore_slot(slot, draft)?;
        }
        market.restore_keys(&held, &erased, &seqs)?;
        for (slot, statement, peer, bytes, at) in rows {
            let Ok(kind) = AnyStatement::decode(bytes.clone()).map(|statement| statement.kind()) else {
                continue;
            };
            let periods = market.config.timers;
            // What waits for a rider goes where it spoke from last (W12).
            let deal = market.deals.get(&slot).filter(|deal| deal.role() == Role::Driver);
            let peer = deal.map_or(peer, Deal::peer);
            market.outbox.put(slot, statement, kind, peer, bytes, at.min(now), &periods);
        }
        market.rearm(now);
        market.start(&keys, now);
        Ok(market)
    }

    fn restore_slot(&mut self, slot: SlotRef, draft: Draft) -> Result<(), RecoverError> {
        let (deal, steps) = restore_deal(slot, draft, &*self.signatures)?;
        let (ride, role, at) = (deal.bound.ride, deal.role(), deal.bound.at);
        if !self.rides.contains_key(&ride) {
            self.add_ride(ride, role, made(ride, at));
        }
        if let Some(entry) = self.rides.get_mut(&ride) {
            entry.went_on(&deal, &steps);
        }
        self.deals.insert(slot, deal);
        Ok(())
    }

    fn restore_keys(
        &mut self,
        held: &BTreeMap<PublicKey, KeyRecord>,
        erased: &[PublicKey],
        seqs: &BTreeMap<PublicKey, u64>,
    ) -> Result<(), RecoverError> {
        let owners: Vec<(PublicKey, Role)> =
            self.deals.values().map(|deal| (deal.slot().key, deal.role())).collect();
        let unknown = |key: &PublicKey| !held.contains_key(key) && !erased.contains(key);
        if owners.iter().any(|(key, _)| unknown(key)) {
            return Err(RecoverError::Orphan);
        }
        let usable = |key: &KeyRecord| !erased.contains(&key.key);
        let shifts = held.values().filter(|key| key.role == Role::Driver);
        self.shifts = shifts.clone().map(|key| (key.created, key.until)).collect();
        let lost = shifts.filter(|key| key.replaces_lost).map(|key| key.created + SHIFT_LIFE).max();
        self.lost_until = lost.unwrap_or(Timestamp::MIN);
        // The shift key in use is the newest that was not erased.
        let current =
            held.values().filter(|key| key.role == Role::Driver && usable(key)).max_by_key(|key| key.created);
        if let (Some(current), Some(Role::Driver)) = (current, self.role) {
            let signing = SigningKey::from_bytes(&current.secret.0);
            let window = (current.created, current.until);
            let mut driver = DriverSide::new(signing, window, &self.config.limits, self.hash_key);
            driver.replaces_lost = current.replaces_lost;
            driver.cert = current
                .cert
                .as_ref()
                .and_then(|cert| Verified::from_own_journal(cert.clone(), &*self.signatures).ok());
            driver.lane = self.lane_of_deals(&current.key);
            driver.seq = seqs.get(&current.key).copied().unwrap_or(0);
            driver.seq_limit = driver.seq;
            for (key, _) in owners.iter().filter(|(key, role)| *role == Role::Driver && *key != current.key) {
                let lane = self.lane_of_deals(key);
                driver.retired.insert(*key, lane);
            }
            let offers = self.deals.values().filter(|deal| deal.slot().key == current.key);
            driver.offers.extend(offers.map(|deal| deal.offer.clone()));
            self.transport = driver.key.to_peer_key();
            self.driver = Some(Box::new(driver));
        }
        if self.role == Some(Role::Rider) {
            let mut rider = RiderSide::new(self.config.share_position);
            let mut unused = Vec::new();
            for record in held.values().filter(|key| key.role == Role::Rider && usable(key)) {
                // A ride key that bound nothing, or has no slot left to be asked about,
                // is of no further use: every wanted ride has a fresh one (P17.4).
                if !owners.iter().any(|(key, _)| *key == record.key) {
                    unused.push(Record::KeyErased { key: record.key });
                    continue;
                }
                let seq = seqs.get(&record.key).copied().unwrap_or(0);
                let chain = Chain {
                    signing: SigningKey::from_bytes(&record.secret.0),
                    until: record.until,
                    chain: self.chain_of_deals(&record.key),
                    seq,
                    seq_limit: seq,
                };
                rider.chains.insert(record.key, chain);
            }
            self.rider = Some(Box::new(rider));
            if !unused.is_empty() {
                self.persist(unused);
            }
        }
        Ok(())
    }

    /// The lane of a driver key as its deals tell it.
    pub(super) fn lane_of_deals(&self, key: &PublicKey) -> DriverLane {
        let deals = self.deals.values().filter(|deal| deal.slot().key == *key);
        DriverLane::from_journal(deals.map(|deal| {
            let bound = &deal.bound;
            DriverSlot {
                slot: deal.slot().slot,
                held: Held { request: bound.request, accept: bound.accept, rider: bound.counterparty },
                // Of a slot that lives only what W2 made durable counts.
                confirm: deal
                    .confirm
                    .as_ref()
                    .filter(|_| deal.firm_at.is_some() || deal.ended.is_some())
                    .map(|confirm| confirm.id()),
                arrived: deal.arrived_at.is_some(),
                boarded: deal.is_boarded(),
                completes: deal.completes(),
                ended: deal.ended.map(|ended| (ended.outcome, ended.proof)),
            }
        }))
    }

    /// The chain of a ride key as its deals tell it.
    fn chain_of_deals(&self, key: &PublicKey) -> RiderChain {
        let deals = self.deals.values().filter(|deal| deal.slot().key == *key);
        RiderChain::from_journal(deals.map(|deal| {
            let confirm = deal.confirm.as_ref().map_or_else(|| deal.bound.accept, |confirm| confirm.id());
            RiderSlot {
                slot: deal.slot().slot,
                binding: Binding { accept: deal.bound.accept, driver: deal.counterparty(), confirm },
                firm: deal.firm_at.is_some(),
                boarded: deal.is_boarded(),
                ended: deal.ended.map(|ended| ended.outcome),
            }
        }))
    }

    /// What the other sides of this node's agreements have signed, for comparison with what
    /// they will sign: a restart must not make anybody forget it (P7.22).
    fn witness_again(&mut self, now: Timestamp) {
        let signatures = Arc::clone(&self.signatures);
        let Self { deals, witness, .. } = self;
        for deal in deals.values() {
            // What contradicts itself already was found before the restart.
            if deal.role() == Role::Rider {
                witness.observe_accept(now, &deal.accept, Some(&deal.offer), Some(&deal.request), None);
            }
            if let Some(confirm) = &deal.confirm {
                witness.observe_confirm(now, confirm, true);
            }
            for said in deal.said.iter().filter(|said| !said.own) {
                let read = AnyVerified::from_own_journal(Arc::clone(&said.bytes), &*signatures);
                match read {
                    Ok(AnyVerified::Ack(ack)) => witness.observe_ack(now, &ack),
                    Ok(AnyVerified::Void(void)) => witness.observe_void(now, &void),
                    Ok(AnyVerified::Release(release)) => witness.observe_release(now, &release),
                    Ok(AnyVerified::Cosign(cosign)) => witness.observe_cosign(now, &cosign),
                    _ => Vec::new(),
                };
            }
        }
    }

    /// P11.6: holds are re-armed with min(hold, what remains by the wall clock), the
    /// outbox is due, and every open counterparty is told and asked.
    fn rearm(&mut self, now: Timestamp) {
        self.witness_again(now);
        let open: Vec<(SlotRef, Role, bool, Timestamp)> = self
            .deals
            .values()
            .filter(|deal| deal.ended.is_none())
            .map(|deal| (deal.slot(), deal.role(), deal.firm_at.is_some(), deal.bound.deadline))
            .collect();
        for (slot, role, firm, deadline) in open {
            let most = match role {
                Role::Driver => self.config.timers.hold,
                Role::Rider => self.config.timers.doubt,
            };
            if !firm {
                let timer = if role == Role::Driver { Timer::Hold(slot) } else { Timer::Doubt(slot) };
                self.timers.set(timer, deadline.min(now + most).max(now));
            }
            if let Some(deal) = self.deals.get_mut(&slot) {
                deal.heard = now;
                let (peer, addrs) = (deal.peer(), deal.addrs.clone());
                let unsigned = deal.role() == Role::Driver && deal.is_boarded() && deal.complete.is_some();
                let on_the_way = deal.role() == Role::Driver && deal.phase == RideState::Firm;
                self.outputs.push_back(Output::Dial { peer, addrs });
                self.timers.set(Timer::Status(slot), now);
                if unsigned {
                    self.timers.set(Timer::Cosign(slot), now + self.config.timers.cosign);
                }
                if role == Role::Driver && firm {
                    self.expect_end(now, slot);
                }
                if on_the_way && firm {
                    self.timers.set(Timer::EnRoute(slot), now);
                }
            }
        }
        self.arm_outbox();
    }
}

/// A deal from what the records say of its slot, and the phases it went through.
pub(super) fn restore_deal(
    slot: SlotRef,
    draft: Draft,
    signatures: &dyn Signatures,
) -> Result<(Deal, Vec<(RideState, Timestamp)>), RecoverError> {
    let damaged =
        |what: Missing| RecoverError::Damaged { slot: slot.slot, key: format!("{:?}", slot.key), what };
    let bound = draft.bound.ok_or_else(|| damaged("its binding is missing"))?;
    let mut deal = Deal::restore(bound, draft.said, signatures).map_err(damaged)?;
    for (purpose, bytes) in draft.secrets {
        deal.secrets.insert(purpose, bytes);
    }
    deal.firm_at = draft.firm;
    if draft.firm.is_some() {
        deal.phase = RideState::Firm;
    }
    for (phase, when) in &draft.steps {
        deal.phase = *phase;
        match phase {
            RideState::Arrived => deal.arrived_at = Some(*when),
            RideState::InProgress => deal.boarded_at = Some(*when),
            _ => {}
        }
    }
    deal.wrong_codes = draft.wrong_codes;
    deal.ended = draft.ended;
    if deal.role() == Role::Driver
        && let Some(place) = deal.pickup()
    {
        deal.addrs = place.addrs;
    }
    Ok((deal, draft.steps))
}

pub(super) fn add_to_draft(drafts: &mut BTreeMap<SlotRef, Draft>, record: Record) {
    match record {
        Record::Bound(bound) => {
            let slot = bound.slot;
            drafts.entry(slot).or_default().bound = Some(bound);
        }
        Record::Peer { slot, peer } => {
            if let Some(bound) = drafts.entry(slot).or_default().bound.as_mut() {
                bound.peer = peer;
            }
        }
        Record::Firm { slot, at } => drafts.entry(slot).or_default().firm = Some(at),
        Record::Progress { slot, phase, wrong_codes, at } => {
            let draft = drafts.entry(slot).or_default();
            draft.wrong_codes = wrong_codes;
            if draft.steps.last().is_none_or(|(last, _)| *last != phase) {
                draft.steps.push((phase, at));
            }
        }
        Record::Ended { slot, outcome, shown, proof, at } => {
            drafts.entry(slot).or_default().ended = Some(Ending { outcome, shown, proof, at });
        }
        Record::Statement { slot, kind, id, own, bytes } => {
            let said = Said { kind, id, own, bytes };
            drafts.entry(slot).or_default().said.push(said);
        }
        Record::Secret { slot, purpose, bytes } => {
            drafts.entry(slot).or_default().secrets.push((purpose, bytes));
        }
        Record::Key(_)
        | Record::KeyErased { .. }
        | Record::SeqReserved { .. }
        | Record::OutboxPut { .. }
        | Record::OutboxDone { .. }
        | Record::Evidence { .. }
        | Record::Ban { .. } => {}
    }
}
