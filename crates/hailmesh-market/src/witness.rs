//! What strangers have signed, kept for a while to see whether it contradicts itself
//! (P18).
//!
//! ACCEPTs are private, so that two victims of one slot do not find each other by
//! themselves. A node therefore keeps what it was sent (P7.22) and compares every new
//! statement with what it holds of the same key. What contradicts itself is returned as a
//! body of EVIDENCE, ready to be signed with a throw-away key (P18.3).

use std::collections::VecDeque;
use std::sync::Arc;

use hailmesh_types::{Duration, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{
    Accept, Ack, AnyVerified, Confirm, Cosign, Counter, DriverOffer, Ed25519, Evidence, EvidenceKind,
    Release, Request, RiderOffer, ShiftCert, Signatures, SlotClaim, Verified, Void, evidence,
};

use crate::table::{HashKey, Keyed, Register};

/// ACCEPTs kept, and statements of each other sort (P20).
const KEPT: usize = 64;
/// How long a statement is kept (P20).
const SPAN: Duration = Duration::from_secs(600);
/// Authors whose last offer is kept to compare its head.
const HEADS: usize = 4_096;

/// Keeps statements of strangers and reports contradictions. Everything it is shown is
/// verified, so that nobody can be framed with it.
#[derive(Debug, Clone)]
pub struct Witness {
    signatures: Arc<dyn Signatures>,
    kept: usize,
    span: Duration,
    accepts: Shelf,
    confirms: Shelf,
    acks: Shelf,
    /// VOID, RELEASE and COSIGN.
    ends: Shelf,
    certs: Shelf,
    heads: Register<Head>,
}

impl Default for Witness {
    /// With the limits of P20.
    fn default() -> Self {
        Self::new(KEPT, SPAN)
    }
}

impl Witness {
    /// A witness that keeps this many statements of each sort, for this long. When full
    /// the oldest goes.
    #[must_use]
    pub fn new(kept: usize, span: Duration) -> Self {
        Self {
            signatures: Arc::new(Ed25519),
            kept,
            span,
            accepts: Shelf::default(),
            confirms: Shelf::default(),
            acks: Shelf::default(),
            ends: Shelf::default(),
            certs: Shelf::default(),
            heads: Register::new(HashKey::default()),
        }
    }

    /// The same with other signatures.
    #[must_use]
    pub fn with_signatures(self, signatures: Arc<dyn Signatures>) -> Self {
        Self { signatures, ..self }
    }

    /// The same with a table that strangers cannot aim at.
    pub(crate) fn with_hash_key(self, hash_key: HashKey) -> Self {
        Self { heads: Register::new(hash_key), ..self }
    }

    /// How many statements are kept, last offers included.
    #[must_use]
    pub fn len(&self) -> usize {
        let shelves = [&self.accepts, &self.confirms, &self.acks, &self.ends, &self.certs];
        shelves.iter().map(|shelf| shelf.0.len()).sum::<usize>() + self.heads.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An ACCEPT, taken up or not, with the offer, REQUEST and COUNTER behind it as far
    /// as they are known: E1, E3, E4, E5, E8 and E9.
    pub fn observe_accept(
        &mut self,
        now: Timestamp,
        accept: &Verified<Accept>,
        offer: Option<&Verified<DriverOffer>>,
        request: Option<&Verified<Request>>,
        counter: Option<&Verified<Counter>>,
    ) -> Vec<Evidence> {
        self.expire(now);
        let new = AnyVerified::from(accept.clone());
        let mut found = self.findings(*accept.signer());
        found.try_kind(EvidenceKind::E4d, &[&new]);
        let offer = offer.map(|offer| AnyVerified::from(offer.clone()));
        if let Some(offer) = &offer {
            found.try_kind(EvidenceKind::E5a, &[offer, &new]);
        }
        if let Some(request) = request.map(|request| AnyVerified::from(request.clone())) {
            // The COUNTER takes the place of the offer when the REQUEST names one.
            let price = counter.map(|counter| AnyVerified::from(counter.clone())).or(offer);
            if let Some(price) = &price {
                found.try_kind(EvidenceKind::E5b, &[price, &request, &new]);
            }
        }
        for other in self.accepts.of(accept.signer()) {
            for kind in [EvidenceKind::E1, EvidenceKind::E4a, EvidenceKind::E4b, EvidenceKind::E8] {
                found.try_kind(kind, &[other, &new]);
            }
        }
        for ack in self.acks.of(accept.signer()) {
            found.try_kind(EvidenceKind::E3, &[ack, &new]);
            self.try_boarding(&mut found, ack, &new);
        }
        for end in self.ends.of(accept.signer()) {
            found.try_kind(EvidenceKind::E8, &[end, &new]);
        }
        // Only a claim to the slot after can contradict it.
        let after = accept.body().slot.checked_add(1);
        let last = self.heads.get(accept.signer().as_bytes());
        if let Some(last) = last.filter(|last| Some(last.claim.slot()) == after)
            && let Ok(offer) = last.claim.offer(&*self.signatures)
        {
            found.try_kind(EvidenceKind::E9, &[&AnyVerified::from(offer), &new]);
        }
        self.accepts.put(now, new, self.kept, request.is_some());
        found.evidence
    }

    /// A CONFIRM: E2, E4a, E4d and E8; `is_ours` when it is of an agreement of this node.
    /// Show it one's own CONFIRMs too: E4c needs them.
    pub fn observe_confirm(
        &mut self,
        now: Timestamp,
        confirm: &Verified<Confirm>,
        is_ours: bool,
    ) -> Vec<Evidence> {
        self.expire(now);
        let new = AnyVerified::from(confirm.clone());
        let mut found = self.findings(*confirm.signer());
        found.try_kind(EvidenceKind::E4d, &[&new]);
        for other in self.confirms.of(confirm.signer()) {
            for kind in [EvidenceKind::E2, EvidenceKind::E4a, EvidenceKind::E8] {
                found.try_kind(kind, &[other, &new]);
            }
        }
        for end in self.ends.of(confirm.signer()) {
            found.try_kind(EvidenceKind::E8, &[end, &new]);
        }
        self.confirms.put(now, new, self.kept, is_ours);
        found.evidence
    }

    /// An ACK: E3 and E4c.
    pub fn observe_ack(&mut self, now: Timestamp, ack: &Verified<Ack>) -> Vec<Evidence> {
        self.expire(now);
        let new = AnyVerified::from(ack.clone());
        let mut found = self.findings(*ack.signer());
        for void in self.ends.of(ack.signer()) {
            found.try_kind(EvidenceKind::E3, &[&new, void]);
        }
        for accept in self.accepts.of(ack.signer()) {
            found.try_kind(EvidenceKind::E3, &[&new, accept]);
            self.try_boarding(&mut found, &new, accept);
        }
        self.acks.put(now, new, self.kept, true);
        found.evidence
    }

    /// A VOID: E3 and E8.
    pub fn observe_void(&mut self, now: Timestamp, void: &Verified<Void>) -> Vec<Evidence> {
        self.observe_end(now, AnyVerified::from(void.clone()), true)
    }

    /// A VOID of an ACCEPT that was not taken: E3 and E8. `is_asked` says that its signer was
    /// asked for a ride; otherwise the ACCEPT must still be kept.
    pub fn observe_void_of_untaken(
        &mut self,
        now: Timestamp,
        void: &Verified<Void>,
        is_asked: bool,
    ) -> Vec<Evidence> {
        self.expire(now);
        let known = self.accepts.find(&void.body().accept_id).map(|kept| kept.asked);
        match known.or(is_asked.then_some(true)) {
            Some(asked) => self.observe_end(now, AnyVerified::from(void.clone()), asked),
            None => Vec::new(),
        }
    }

    /// A RELEASE: E8.
    pub fn observe_release(&mut self, now: Timestamp, release: &Verified<Release>) -> Vec<Evidence> {
        self.observe_end(now, AnyVerified::from(release.clone()), true)
    }

    /// A COSIGN: E8.
    pub fn observe_cosign(&mut self, now: Timestamp, cosign: &Verified<Cosign>) -> Vec<Evidence> {
        self.observe_end(now, AnyVerified::from(cosign.clone()), true)
    }

    /// A driver's offer: E9 against the ACCEPTs and the offer kept of its key, and E6.
    pub fn observe_offer(&mut self, now: Timestamp, offer: &Verified<DriverOffer>) -> Vec<Evidence> {
        self.expire(now);
        let head = self.heads.get_mut(offer.signer().as_bytes());
        // Nearly always there is nothing to compare, and this is asked a lot.
        if self.accepts.of(offer.signer()).next().is_none() {
            match head {
                None => {
                    self.keep_head(now, offer);
                    return Vec::new();
                }
                Some(head) if !head.may_contradict(offer) => {
                    *head = Head::of(now, offer);
                    return Vec::new();
                }
                Some(_) => {}
            }
        }
        let last = self.heads.get(offer.signer().as_bytes());
        let last = last.and_then(|head| head.claim.offer(&*self.signatures).ok());
        let new = AnyVerified::from(offer.clone());
        let mut found = self.findings(*offer.signer());
        for accept in self.accepts.of(offer.signer()) {
            found.try_kind(EvidenceKind::E9, &[&new, accept]);
        }
        if let Some(last) = last {
            let last = AnyVerified::from(last);
            found.try_kind(EvidenceKind::E9, &[&last, &new]);
            found.try_kind(EvidenceKind::E6, &[&last, &new]);
        }
        self.keep_head(now, offer);
        found.evidence
    }

    /// Two offers of one author and sequence number, as admission finds them: E6.
    #[must_use]
    pub fn observe_rider_offers(
        &self,
        first: &Verified<RiderOffer>,
        second: &Verified<RiderOffer>,
    ) -> Vec<Evidence> {
        let mut found = self.findings(*first.signer());
        let pair = [AnyVerified::from(first.clone()), AnyVerified::from(second.clone())];
        found.try_kind(EvidenceKind::E6, &[&pair[0], &pair[1]]);
        found.evidence
    }

    /// A SHIFT_CERT: E7.
    pub fn observe_cert(&mut self, now: Timestamp, cert: &Verified<ShiftCert>) -> Vec<Evidence> {
        self.expire(now);
        let new = AnyVerified::from(cert.clone());
        let mut found = self.findings(*cert.signer());
        for other in self.certs.of(cert.signer()) {
            found.try_kind(EvidenceKind::E7, &[other, &new]);
        }
        self.certs.put(now, new, self.kept, false);
        found.evidence
    }

    fn observe_end(&mut self, now: Timestamp, new: AnyVerified, asked: bool) -> Vec<Evidence> {
        self.expire(now);
        let mut found = self.findings(*new.signer());
        for other in self.ends.of(new.signer()) {
            found.try_kind(EvidenceKind::E8, &[other, &new]);
        }
        for bound in self.accepts.of(new.signer()).chain(self.confirms.of(new.signer())) {
            found.try_kind(EvidenceKind::E8, &[bound, &new]);
        }
        for ack in self.acks.of(new.signer()) {
            found.try_kind(EvidenceKind::E3, &[ack, &new]);
        }
        self.ends.put(now, new, self.kept, asked);
        found.evidence
    }

    /// E4c takes the CONFIRM that the ACK names.
    fn try_boarding(&self, found: &mut Findings, ack: &AnyVerified, accept: &AnyVerified) {
        let AnyVerified::Ack(named) = ack else { return };
        let confirm = self.confirms.find(&named.body().confirm_id);
        if let Some(confirm) = confirm {
            found.try_kind(EvidenceKind::E4c, &[ack, &confirm.statement, accept]);
        }
    }

    fn findings(&self, accused: PublicKey) -> Findings {
        Findings { signatures: Arc::clone(&self.signatures), accused, evidence: Vec::new() }
    }

    fn keep_head(&mut self, now: Timestamp, offer: &Verified<DriverOffer>) {
        if self.heads.len() >= HEADS && self.heads.get(offer.signer().as_bytes()).is_none() {
            // An eighth, so that a full table is not looked through for every newcomer.
            self.heads.drop_first(HEADS / 8, |head| (head.at, *head.key()));
        }
        self.heads.put(Head::of(now, offer));
    }

    fn expire(&mut self, now: Timestamp) {
        // From now on rather than back from it: time before the beginning of the protocol
        // cannot be said.
        let span = self.span;
        for shelf in [&mut self.accepts, &mut self.confirms, &mut self.acks, &mut self.ends, &mut self.certs]
        {
            while shelf.0.front().is_some_and(|kept| kept.at + span < now) {
                shelf.0.pop_front();
            }
        }
    }
}

/// What the last offer of an author claims, and when it was seen.
#[derive(Debug, Clone)]
struct Head {
    at: Timestamp,
    claim: Arc<SlotClaim>,
}

impl Head {
    fn of(now: Timestamp, offer: &Verified<DriverOffer>) -> Self {
        Self { at: now, claim: Arc::clone(offer.slot_claim()) }
    }

    /// Whether E6 or E9 could come of it.
    fn may_contradict(&self, newer: &Verified<DriverOffer>) -> bool {
        let (last, new) = (&self.claim, newer.body());
        last.seq() == new.seq || (last.slot() == new.slot && last.head() != new.head.as_ref())
    }
}

impl Keyed for Head {
    fn key(&self) -> &[u8; 32] {
        self.claim.signer().as_bytes()
    }
}

/// A statement, and whether this node has to do with it: it asked for that ACCEPT, or is a
/// party to the agreement.
#[derive(Debug, Clone)]
struct Kept {
    at: Timestamp,
    asked: bool,
    /// The beginning of the signer's key: most that are kept are of others, and need not be
    /// looked at.
    signer: [u8; 4],
    statement: AnyVerified,
}

fn beginning(signer: &PublicKey) -> [u8; 4] {
    let [first, second, third, fourth, ..] = *signer.as_bytes();
    [first, second, third, fourth]
}

/// Statements in the order in which they were seen.
#[derive(Debug, Clone, Default)]
struct Shelf(VecDeque<Kept>);

impl Shelf {
    fn of<'s>(&'s self, signer: &'s PublicKey) -> impl Iterator<Item = &'s AnyVerified> {
        let begins = beginning(signer);
        let maybe = self.0.iter().filter(move |kept| kept.signer == begins);
        maybe.map(|kept| &kept.statement).filter(move |statement| statement.signer() == signer)
    }

    fn find(&self, id: &StatementId) -> Option<&Kept> {
        self.0.iter().find(|kept| kept.statement.id() == *id)
    }

    /// Keeps a statement. When full the oldest goes that nobody here asked for, and only
    /// then one that somebody did: keys cost nothing, and whoever is about to contradict
    /// itself could otherwise push its first story out with those of others.
    fn put(&mut self, now: Timestamp, statement: AnyVerified, most: usize, asked: bool) {
        if self.of(statement.signer()).any(|kept| kept.id() == statement.id()) {
            return;
        }
        while self.0.len() >= most.max(1) {
            let least = self.0.iter().position(|kept| !kept.asked);
            match least {
                // A stranger's does not displace what was asked for.
                None if !asked => return,
                _ => self.0.remove(least.unwrap_or(0)),
            };
        }
        let signer = beginning(statement.signer());
        self.0.push_back(Kept { at: now, asked, signer, statement });
    }
}

/// Evidence against one key, at most one piece of each kind.
struct Findings {
    signatures: Arc<dyn Signatures>,
    accused: PublicKey,
    evidence: Vec<Evidence>,
}

impl Findings {
    fn try_kind(&mut self, kind: EvidenceKind, statements: &[&AnyVerified]) {
        if self.evidence.iter().any(|known| known.kind == kind) {
            return;
        }
        let statements: Vec<AnyVerified> = statements.iter().map(|statement| (*statement).clone()).collect();
        if !evidence::contradicts(kind, &self.accused, &statements, &*self.signatures) {
            return;
        }
        let network = statements[0].network();
        let envelopes = statements.iter().map(|statement| statement.bytes().to_vec()).collect();
        // Statements too long to fit into one EVIDENCE stay a private matter.
        let built = evidence::build(kind, self.accused, envelopes, Vec::new(), network, &*self.signatures);
        self.evidence.extend(built);
    }
}

#[cfg(test)]
mod tests;
