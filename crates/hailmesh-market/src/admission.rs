//! Admission: which of the things that are heard become part of the book.
//!
//! Every check of P13.7 and P13.8 in the order of the protocol, the cheap ones first,
//! and **no state advances before the signature has been checked** (P2.9), but for the
//! bucket of the peer that forwarded the message: whoever forges an offer must not use
//! up its victim's sequence numbers or rate. A message that is stopped costs what the
//! checks up to that one cost.
//!
//! The verdict follows P13.6: reject what the forwarding peer could have known from the
//! bytes and the topic; ignore whatever depends on time, local state, configuration or
//! version.

mod bans;
mod evidence;
mod stop;

use std::sync::Arc;

use hailmesh_types::{Cell, NetworkName, PeerKey, PublicKey, Resolution, StatementId, Timestamp};
use hailmesh_wire::limits::{EVIDENCE_BYTES_MAX, STATEMENT_BYTES_MAX};
use hailmesh_wire::{
    AnyStatement, DecodeError, DriverOffer, Ed25519, Evidence, Heard, Kind, NetworkId, Revocation,
    RiderOffer, Role, ShiftCert, Signatures, Signed, Subject, Topic, Verified, pow_ok,
};

use crate::book::{Booked, BookedDriver, BookedRider, EntryId, Full, Offer, OfferBook, Sequence, Side};
use crate::budget::{Bucket, Buckets, FairBudget};
use crate::certificates::{Bearer, CertRefusal, Certificates, Inline, Level, Standing};
use crate::config::Config;
use crate::limits::Limits;
use crate::output::Verdict;
use crate::table::HashKey;
use bans::Bans;
use evidence::EvidenceTable;
pub use stop::{AdmissionStats, Stop};

/// Checks the logic of evidence and every signature in it (P18), from its bytes alone.
pub type EvidenceCheck<'a> = &'a dyn Fn(&Evidence) -> Result<(), DecodeError>;

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What the peer that forwarded it is told.
    pub verdict: Verdict,
    /// The step that stopped it; [`Stop::None`] when it was admitted.
    pub stop: Stop,
    /// What it means for the market.
    pub news: Vec<News>,
}

/// Something admission has learned.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A driver's new offer is in the book.
    Driver(BookedDriver),
    /// A rider's new offer is in the book.
    Rider(BookedRider),
    /// A driver's offer came with a SHIFT_CERT that was not known here.
    Shift(Verified<ShiftCert>),
    /// An author has withdrawn its offer.
    Withdrawn(PublicKey, Side),
    /// Two offers of one author with one sequence number, both really signed: E6.
    Equivocation {
        /// The author.
        accused: PublicKey,
        /// The offer that was heard first.
        first: Arc<[u8]>,
        /// The other one.
        second: Arc<[u8]>,
    },
    /// Evidence that holds: the accused is banned here from now on. It is to be stored.
    Evidence(Verified<Evidence>),
    /// An issuer has taken credentials back; offers that relied on them are gone.
    Revocation(Verified<Revocation>),
    /// An offer names this certificate, which is not known here (P15.6): without it its
    /// author counts as uncredentialed. The peer that forwarded the offer is the first
    /// to ask.
    CertificateWanted(StatementId, PeerKey),
}

impl Judgement {
    const fn new(stop: Stop, news: Vec<News>) -> Self {
        Self { verdict: stop.verdict(), stop, news }
    }
}

/// How an offer came here.
#[derive(Debug, Clone, Copy)]
enum Route {
    /// On the topic of this resolution-7 cell, from this peer.
    Gossip(Cell, PeerKey),
    /// With a statement of its author, which has its own limits.
    Direct(PeerKey),
}

impl Route {
    const fn peer(&self) -> &PeerKey {
        match self {
            Self::Gossip(_, peer) | Self::Direct(peer) => peer,
        }
    }
}

/// Kinds of offer and the news they make.
trait Newsworthy: Offer {
    const ROLE: Role;

    fn news(booked: Booked<Self>) -> News;
}

impl Newsworthy for DriverOffer {
    const ROLE: Role = Role::Driver;

    fn news(booked: BookedDriver) -> News {
        News::Driver(booked)
    }
}

impl Newsworthy for RiderOffer {
    const ROLE: Role = Role::Rider;

    fn news(booked: BookedRider) -> News {
        News::Rider(booked)
    }
}

/// The gate of the offer book and of what is known about strangers.
#[derive(Debug, Clone)]
pub struct Admission {
    config: Arc<Config>,
    signatures: Arc<dyn Signatures>,
    network: NetworkId,
    certificates: Certificates,
    bans: Bans,
    evidence: EvidenceTable,
    peers: Buckets<PeerKey>,
    peers_by_topic: Buckets<(PeerKey, Cell)>,
    peers_evidence: Buckets<PeerKey>,
    evidence_rate: Bucket,
    pools: Buckets<Cell>,
    verification: FairBudget,
    stats: AdmissionStats,
    last_judged: Timestamp,
}

impl Admission {
    /// The gate of a network with these parameters (P2.12).
    #[must_use]
    pub fn new(network: NetworkName, pow_bits: u8, issuers: Vec<PublicKey>, limits: Limits) -> Self {
        let config = Config { network, pow_bits, issuers, limits, ..Config::default() };
        Self::of(Arc::new(config), HashKey::default())
    }

    /// The gate of a node with this configuration.
    pub(crate) fn of(config: Arc<Config>, hash_key: HashKey) -> Self {
        let limits = &config.limits;
        let network = NetworkId::of(&config.network);
        Self {
            signatures: Arc::new(Ed25519),
            network,
            certificates: Certificates::new(
                network,
                config.issuers.clone(),
                limits.certificates,
                limits.identities,
                hash_key,
            ),
            bans: Bans::new(limits.bans),
            evidence: EvidenceTable::new(limits.evidence),
            peers: Buckets::new(limits.peer, limits.peer_buckets, hash_key),
            peers_by_topic: Buckets::new(limits.peer_topic, limits.peer_buckets, hash_key),
            peers_evidence: Buckets::new(limits.peer_evidence, limits.peer_buckets, hash_key),
            evidence_rate: Bucket::default(),
            pools: Buckets::new(limits.uncredentialed_pool, limits.peer_buckets, hash_key),
            verification: FairBudget::new(limits.verifications_per_s, limits.peer_buckets, hash_key),
            stats: AdmissionStats::default(),
            last_judged: Timestamp::MIN,
            config,
        }
    }

    /// The same with other signatures.
    #[must_use]
    pub fn with_signatures(self, signatures: Arc<dyn Signatures>) -> Self {
        Self { signatures, ..self }
    }

    /// Judges a gossip message that `source` forwarded on `topic`. `check` is asked about
    /// evidence when its turn comes (P13.8).
    pub fn judge(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        source: PeerKey,
        topic: &Topic,
        heard: &Heard,
        check: EvidenceCheck<'_>,
    ) -> Judgement {
        let mut news = Vec::new();
        let stop = self.judge_into(book, now, source, topic, heard, check, &mut news);
        Judgement::new(stop, news)
    }

    /// As [`Admission::judge`], appending what was learned to `news`.
    #[expect(clippy::too_many_arguments, reason = "what a message is judged by")]
    pub(crate) fn judge_into(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        source: PeerKey,
        topic: &Topic,
        heard: &Heard,
        check: EvidenceCheck<'_>,
        news: &mut Vec<News>,
    ) -> Stop {
        let stop = match (self.open(topic, heard), topic.subject()) {
            (Err(stop), _) => stop,
            (Ok(AnyStatement::DriverOffer(offer)), Subject::Drivers(cell)) => {
                self.admit(book, now, Route::Gossip(cell, source), offer, news)
            }
            (Ok(AnyStatement::RiderOffer(offer)), Subject::Riders(cell)) => {
                self.admit(book, now, Route::Gossip(cell, source), offer, news)
            }
            (Ok(AnyStatement::Evidence(evidence)), Subject::Evidence) => {
                self.admit_evidence(book, now, source, evidence, check, news)
            }
            (Ok(AnyStatement::Revocation(revocation)), Subject::Evidence) => {
                self.admit_revocation(book, now, source, revocation, news)
            }
            (Ok(_), _) => Stop::Topic,
        };
        self.count(now, stop);
        stop
    }

    /// Admits an offer that came with a statement of its author, as in an INVITE: the
    /// same checks, but there is no topic, and the limits of the exchange stand in for
    /// those of gossip. A known offer is [`Stop::Duplicate`] and in the book.
    pub fn admit_direct(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        source: PeerKey,
        heard: &Heard,
    ) -> Judgement {
        let mut news = Vec::new();
        let stop = match self.open_statement(heard, STATEMENT_BYTES_MAX) {
            Err(stop) => stop,
            Ok(AnyStatement::DriverOffer(offer)) => {
                self.admit(book, now, Route::Direct(source), offer, &mut news)
            }
            Ok(AnyStatement::RiderOffer(offer)) => {
                self.admit(book, now, Route::Direct(source), offer, &mut news)
            }
            Ok(_) => Stop::Topic,
        };
        self.count(now, stop);
        Judgement::new(stop, news)
    }

    /// Checks the certificates of any statement for use outside gossip, such as a
    /// REQUEST, and remembers them when they hold.
    ///
    /// # Errors
    /// [`CertRefusal`] says what is wrong with them. A certificate that is merely
    /// unknown is no error: see [`Standing::missing`].
    pub fn verify_certificates(
        &mut self,
        now: Timestamp,
        signer: &PublicKey,
        side: crate::journal::Role,
        issued: Timestamp,
        cert_id: Option<StatementId>,
        certs: &[Vec<u8>],
    ) -> Result<Standing, CertRefusal> {
        let role = match side {
            crate::journal::Role::Driver => Role::Driver,
            crate::journal::Role::Rider => Role::Rider,
        };
        let read = |index: usize| AnyStatement::decode(certs[index].as_slice());
        let certs = Inline { bytes: certs, read: &read };
        let chain =
            self.certificates.resolve(now, &Bearer { signer, role, issued, cert_id, certs, last: None })?;
        chain.verify(&*self.signatures)?;
        let standing = chain.standing.clone();
        self.certificates.keep(chain);
        Ok(standing)
    }

    /// Verified certificates, issuers, and what is known of identities.
    #[must_use]
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Remembers what this node's own receipts say of an identity (or of a key that has
    /// none): see [`Certificates::remember`].
    pub fn remember(&mut self, identity: &PublicKey, level: Level) {
        self.certificates.remember(identity, level);
    }

    /// Bans a key or an identity until then, or for good. A ban never gets shorter. When the
    /// table is full of weightier bans nothing happens; those of keys that no issuer vouches
    /// for give way to newer ones.
    pub fn ban(&mut self, now: Timestamp, key: &PublicKey, until: Option<Timestamp>, is_credentialed: bool) {
        let is_vouched = is_credentialed && self.credentials_matter();
        self.bans.ban(now, key, until, is_vouched);
    }

    /// Whether the key, or the identity behind it, is banned at this moment.
    #[must_use]
    pub fn is_banned(&self, key: &PublicKey, identity: Option<&PublicKey>, now: Timestamp) -> bool {
        self.bans.is_banned(key, now) || identity.is_some_and(|identity| self.bans.is_banned(identity, now))
    }

    /// How many bans are kept.
    #[must_use]
    pub fn bans(&self) -> usize {
        self.bans.len()
    }

    /// What became of the messages so far.
    #[must_use]
    pub const fn stats(&self) -> &AdmissionStats {
        &self.stats
    }

    /// A peer is gone. Its buckets stay until they are full again, lest coming back
    /// refill them; this is the moment to drop those that are.
    pub fn forget_peer(&mut self, peer: &PeerKey) {
        let now = self.last_judged;
        if self.peers.is_full(peer, now) {
            self.peers.prune(now);
            self.peers_by_topic.prune(now);
            self.peers_evidence.prune(now);
        }
    }

    /// Drops what is over: bans and full buckets. Worth a call a minute; without it the
    /// tables keep their bounds all the same.
    pub fn expire(&mut self, now: Timestamp) {
        self.bans.expire(now);
        self.evidence.expire(now - self.config.limits.refusal);
        self.peers.prune(now);
        self.peers_by_topic.prune(now);
        self.peers_evidence.prune(now);
        self.pools.prune(now);
    }

    /// Removes the offers of banned authors and of those whose credential has been
    /// revoked since. Returns whose.
    pub fn purge(&self, book: &mut OfferBook, now: Timestamp) -> Vec<PublicKey> {
        let outcasts = |key: &PublicKey, identity: Option<&PublicKey>, cert_id: Option<&StatementId>| {
            self.is_banned(key, identity, now) || self.certificates.leads_to_revoked(cert_id)
        };
        let drivers = book.drivers().map(|b| (*b.key(), b.identity().copied(), b.offer.body().cert_id));
        let riders = book.riders().map(|b| (*b.key(), b.identity().copied(), b.offer.body().cert_id));
        let gone: Vec<PublicKey> = drivers
            .chain(riders)
            .filter(|(key, identity, cert_id)| outcasts(key, identity.as_ref(), cert_id.as_ref()))
            .map(|(key, ..)| key)
            .collect();
        for key in &gone {
            book.remove(key);
        }
        gone
    }

    fn count(&mut self, now: Timestamp, stop: Stop) {
        self.stats.add(stop);
        self.last_judged = now;
    }

    /// Steps 1 to 6: what the bytes and the topic say.
    fn open<'h>(&self, topic: &Topic, heard: &'h Heard) -> Result<&'h AnyStatement, Stop> {
        let bytes_max = match topic.subject() {
            Subject::Drivers(_) | Subject::Riders(_) => STATEMENT_BYTES_MAX,
            Subject::Evidence => EVIDENCE_BYTES_MAX,
        };
        if *topic.network() != self.config.network {
            return Err(Stop::Topic);
        }
        self.open_if(heard, bytes_max, |kind| match topic.subject() {
            Subject::Drivers(_) => kind == Kind::DriverOffer,
            Subject::Riders(_) => kind == Kind::RiderOffer,
            Subject::Evidence => matches!(kind, Kind::Evidence | Kind::Revocation),
        })
    }

    fn open_statement<'h>(&self, heard: &'h Heard, bytes_max: usize) -> Result<&'h AnyStatement, Stop> {
        self.open_if(heard, bytes_max, |kind| matches!(kind, Kind::DriverOffer | Kind::RiderOffer))
    }

    fn open_if<'h>(
        &self,
        heard: &'h Heard,
        bytes_max: usize,
        belongs: impl Fn(Kind) -> bool,
    ) -> Result<&'h AnyStatement, Stop> {
        // 1
        if heard.bytes().len() > bytes_max {
            return Err(Stop::Size);
        }
        // 2
        let header = heard.header().map_err(|_| Stop::Envelope)?;
        // 3
        let kind = header.kind().map_err(|_| Stop::Unsupported)?;
        // 4
        if header.network != self.network || !belongs(kind) {
            return Err(Stop::Topic);
        }
        // 4 and 5: the body is read before the signer's key, whose form costs more; both reject.
        let statement =
            heard.statement().map_err(|error| if error.clause == "P2.8" { Stop::Key } else { Stop::Body })?;
        // 6
        match statement.ext().unknown_critical() {
            Some(_) => Err(Stop::CriticalExtension),
            None => Ok(statement),
        }
    }

    fn admit<O: Newsworthy>(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        route: Route,
        offer: &Signed<O>,
        news: &mut Vec<News>,
    ) -> Stop {
        match self.try_admit(book, now, route, offer, news) {
            Ok(()) => Stop::None,
            Err(stop) => stop,
        }
    }

    /// Steps 7 to 18.
    fn try_admit<O: Newsworthy>(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        route: Route,
        offer: &Signed<O>,
        news: &mut Vec<News>,
    ) -> Result<(), Stop> {
        let body = offer.body();
        let district = body.cell().parent(Resolution::TOPIC);
        let expires = body.made() + body.ttl();
        // 7
        if matches!(route, Route::Gossip(topic, _) if topic != district) {
            return Err(Stop::Cell);
        }
        // 8
        if body.made() > now + self.config.limits.clock_tolerance {
            return Err(Stop::Future);
        }
        if now > expires + self.config.limits.clock_tolerance {
            return Err(Stop::Stale);
        }
        // 9
        let author = offer.signer().as_bytes();
        let known = book.find(author);
        let (sequence, may_speak) = book.look(known, offer, now);
        match sequence {
            Sequence::Same => return Err(Stop::Duplicate),
            Sequence::Old => return Err(Stop::OldSequence),
            Sequence::Unheard | Sequence::New | Sequence::Fork => {}
        }
        // 10
        let cert_id = body.cert_id();
        if !self.bans.is_empty() {
            let identity = self.certificates.identity_of(cert_id.as_ref());
            if self.is_banned(offer.signer(), identity, now) {
                return Err(Stop::Banned);
            }
        }
        if self.certificates.leads_to_revoked(cert_id.as_ref()) {
            return Err(Stop::Revoked);
        }
        // 11
        if let Route::Gossip(topic, peer) = route {
            let in_topic = self.peers_by_topic.take(&(peer, topic), now);
            if !(self.peers.take(&peer, now) && in_topic) {
                return Err(Stop::PeerRate);
            }
            // What comes with an INVITE is bounded by the rate of those: a driver that has
            // just started again, and offered before that, can still be found.
            if !may_speak {
                return Err(Stop::AuthorRate);
            }
        }
        if !self.verification.allows(route.peer(), now) {
            return Err(Stop::VerificationRate);
        }
        // 12, 13
        let missing = || DecodeError::new("P4.3", "no such certificate");
        let read = |index: usize| match offer.certificate(index) {
            Some(read) => read.cloned().map_err(Clone::clone),
            None => Err(missing()),
        };
        let bearer = Bearer {
            signer: offer.signer(),
            role: O::ROLE,
            issued: body.made(),
            cert_id,
            certs: Inline { bytes: body.certs(), read: &read },
            last: known.and_then(|known| O::booked(book, known)?.cert.as_ref()),
        };
        let chain = self.certificates.resolve(now, &bearer).map_err(stop_of)?;
        let level = chain.standing.level;
        if !self.bans.is_empty() && self.is_banned(offer.signer(), chain.standing.identity.as_ref(), now) {
            return Err(Stop::Banned);
        }
        let is_stranger = self.credentials_matter() && !level.is_credentialed();
        let pooled = is_stranger && matches!(route, Route::Gossip(..));
        if pooled && !self.pools.has_token(&district, now) {
            return Err(Stop::PoolRate);
        }
        // 14
        let missing = chain.standing.missing;
        let awaits_certificate = self.check_work(offer, district, level, missing)?;
        // 15
        self.verification.charge(route.peer(), 1 + chain.cost(), now);
        let offer = offer.clone().verify_with(&*self.signatures).map_err(|_| Stop::Signature)?;
        chain.verify(&*self.signatures).map_err(stop_of)?;
        let cert = chain.leaf().cloned();
        let is_new_cert = chain.cost() > 0;
        self.certificates.keep(chain);
        if let Some(id) = missing.filter(|_| self.credentials_matter()) {
            news.push(News::CertificateWanted(id, *route.peer()));
        }
        if awaits_certificate {
            return Err(Stop::CertificateUnknown);
        }
        // 16
        if pooled {
            self.pools.take(&district, now);
        }
        if sequence == Sequence::Fork {
            book.charge(known, offer.body(), now);
            news.extend(two_stories(book, known, &offer));
            return Err(Stop::Equivocation);
        }
        // 17
        let late = matches!(route, Route::Gossip(..))
            && now > offer.body().made() + self.config.limits.clock_tolerance;
        let Some(entry) = known.or_else(|| book.enrol(offer.signer().as_bytes(), now)) else {
            return Err(Stop::Full);
        };
        let since = offer.body().made().min(now).max(now - offer.body().ttl());
        let booked = Booked { offer: offer.clone(), cert: cert.clone(), level, since, repeats: false };
        if let Err(stop) = self.settle(book, now, entry, booked, news) {
            match known {
                Some(_) => book.charge(known, offer.body(), now),
                None => book.dismiss(entry),
            }
            return Err(stop);
        }
        if let Some(cert) = cert.filter(|_| is_new_cert && O::ROLE == Role::Driver) {
            news.extend(cert.verify_with(&*self.signatures).map(News::Shift));
        }
        // 18, with the charge of 16
        book.record(entry, &offer, now);
        if late {
            self.stats.add_late();
        }
        Ok(())
    }

    /// Steps 17 and 18 of the book: an offer goes in, a withdrawal takes one out, and one
    /// that ended within the tolerance of clocks changes nothing.
    fn settle<O: Newsworthy>(
        &self,
        book: &mut OfferBook,
        now: Timestamp,
        entry: EntryId,
        mut booked: Booked<O>,
        news: &mut Vec<News>,
    ) -> Result<(), Stop> {
        if !booked.offer.body().is_live() {
            book.remove(booked.key());
            news.push(News::Withdrawn(*booked.key(), O::SIDE));
        } else if booked.expires() > now {
            let put = book.put(now, entry, booked.clone(), self.credentials_matter());
            booked.repeats = put.map_err(|full| match full {
                Full::Share => Stop::Share,
                Full::Cell | Full::Book => Stop::Full,
            })?;
            news.push(O::news(booked));
        }
        Ok(())
    }

    /// Step 14. Says whether only a certificate that is not known here is in the way.
    fn check_work<O: Offer>(
        &self,
        offer: &Signed<O>,
        district: Cell,
        level: Level,
        missing: Option<StatementId>,
    ) -> Result<bool, Stop> {
        let body = offer.body();
        match body.pow() {
            Some(pow) => {
                let (signer, cell) = (offer.signer(), district.index());
                let is_right = pow_ok(self.network, signer, cell, body.made(), pow, self.config.pow_bits);
                if is_right { Ok(false) } else { Err(Stop::WorkWrong) }
            }
            None if level.is_credentialed() || self.config.pow_bits == 0 => Ok(false),
            // Without issuers no certificate makes up for the work.
            None if missing.is_some() && self.credentials_matter() => Ok(true),
            None => Err(Stop::WorkMissing),
        }
    }

    /// Where no issuer is configured everybody is uncredentialed, and the limits that
    /// tell strangers apart do not apply (P20.1).
    fn credentials_matter(&self) -> bool {
        !self.certificates.issuers().is_empty()
    }
}

/// Both sides of an equivocation, when the book still holds the first.
fn two_stories<O: Offer>(book: &OfferBook, known: Option<EntryId>, second: &Verified<O>) -> Option<News> {
    let first = O::booked(book, known?)?;
    if first.offer.body().seq() != second.body().seq() {
        return None;
    }
    Some(News::Equivocation {
        accused: *second.signer(),
        first: Arc::clone(first.offer.bytes()),
        second: Arc::clone(second.bytes()),
    })
}

fn stop_of(refusal: CertRefusal) -> Stop {
    match refusal {
        CertRefusal::Invalid(_) => Stop::Certificate,
        CertRefusal::NotShown(_) => Stop::CertificateNotShown,
        CertRefusal::Unsupported(_) => Stop::CertificateExtension,
        CertRefusal::Expired(_) => Stop::CertificateExpired,
        CertRefusal::Revoked(_) => Stop::Revoked,
        CertRefusal::Signature(_) => Stop::CertificateSignature,
    }
}
