//! The bounds of P20 that the market keeps, in one place.

use hailmesh_types::Duration;

/// A rate with a burst: on average one event per `every`, at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Mean time between two events, microseconds, at least 1.
    pub every_us: u64,
    /// Events that may follow each other at once after a pause, at least 1.
    pub burst: u32,
}

impl Rate {
    /// So many events a second, 1 to 1,000,000.
    #[must_use]
    pub const fn per_second(events: u32, burst: u32) -> Self {
        let events = if events == 0 { 1 } else { events as u64 };
        Self { every_us: 1_000_000 / events, burst }
    }

    /// So many events in a span, at most all of them at once.
    #[must_use]
    pub const fn per_span(events: u32, span: Duration) -> Self {
        let events = if events == 0 { 1 } else { events };
        Self { every_us: span.as_millis() as u64 * 1_000 / events as u64, burst: events }
    }
}

/// Limits of everything that a stranger can fill (P20). All are tunable; the default is
/// the protocol's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Offers kept per resolution-7 cell, both sides together.
    pub offers_per_cell: usize,
    /// Offers kept in all, both sides together.
    pub offers: usize,
    /// Greatest share of a cell's offers that may be uncredentialed, percent, 0 to 100.
    pub uncredentialed_percent: u8,
    /// Places in a cell that uncredentialed offers have whatever their share.
    pub uncredentialed_places: usize,
    /// Authors in the sequence table.
    pub authors: usize,
    /// How long an author stays in the sequence table after its last offer expired.
    pub author_grace: Duration,
    /// How far a clock may be off for offers, REQUEST, INVITE and COUNTER (P12).
    pub clock_tolerance: Duration,
    /// Verified certificates kept.
    pub certificates: usize,
    /// Bans and refusals kept.
    pub bans: usize,
    /// How long a ban of an uncredentialed key and a refusal last (P18.1, P20).
    pub refusal: Duration,
    /// Pieces of evidence remembered, by identity and kind.
    pub evidence: usize,
    /// Offers of one author.
    pub author: Rate,
    /// Offers of all uncredentialed authors of one resolution-7 cell.
    pub uncredentialed_pool: Rate,
    /// Offers that one peer forwards on one topic.
    pub peer_topic: Rate,
    /// Offers that one peer forwards on all topics.
    pub peer: Rate,
    /// Evidence and revocations that one peer forwards.
    pub peer_evidence: Rate,
    /// Evidence and revocations in all.
    pub evidence_rate: Rate,
    /// Signatures verified per second, shared fairly by the peers that sent them.
    pub verifications_per_s: u32,
    /// Buckets kept of (peer, topic) and of peers, each.
    pub peer_buckets: usize,
    /// Identities whose standing with this node is remembered (P16.4, levels L1 and L3).
    pub identities: usize,
    /// Match exchanges that one peer begins.
    pub exchanges: Rate,
    /// Match exchanges of one peer that are unanswered.
    pub exchanges_in_flight: usize,
    /// REQUESTs at a driver from one credentialed identity.
    pub requests_per_identity: Rate,
    /// REQUESTs at a driver from one address prefix or relay, where uncredentialed.
    pub requests_per_origin: Rate,
    /// Buckets kept of identities and origins, each.
    pub request_buckets: usize,
    /// Lapsed holds of one credentialed identity per driver and `lapse_span`.
    pub lapsed_holds_per_identity: u32,
    /// Lane time that lapsed holds of all uncredentialed riders may take per `lapse_span`.
    pub lapsed_uncredentialed: Duration,
    /// Lane time that lapsed holds of all riders may take per `lapse_span`.
    pub lapsed_all: Duration,
    /// The span that lapsed holds are counted over.
    pub lapse_span: Duration,
    /// `hold` for riders below L3 once `lapsed_all` is used up.
    pub hold_short: Duration,
    /// Asks that wait for a human.
    pub pending_asks: usize,
    /// COUNTERs per (ride key, attempt, driver).
    pub counters: u8,
    /// INVITEs that a rider takes.
    pub invites: Rate,
    /// INVITEs open at a rider.
    pub invites_open: usize,
    /// ACCEPTs kept as a witness (P5.13), and how long.
    pub witnessed_accepts: usize,
    /// How long an ACCEPT is kept as a witness.
    pub witness_span: Duration,
    /// RELEASE(NOT_CHOSEN) sent for ACCEPTs nobody asked for.
    pub unasked_releases: Rate,
    /// STATUS from one counterparty, and moves of it to another transport identity (W12).
    pub status: Rate,
    /// CHAIN_ASK from one counterparty.
    pub chain_ask: Rate,
    /// POSITION from one counterparty.
    pub position: Rate,
    /// Wrong boarding codes per agreement.
    pub wrong_codes: u8,
    /// EN_ROUTE per agreement.
    pub en_route: u8,
    /// ARRIVED per agreement.
    pub arrived: u8,
    /// COMPLETE per agreement.
    pub complete: u8,
    /// DISPUTE per agreement and side.
    pub disputes: u8,
    /// RATING per agreement and side.
    pub ratings: u8,
    /// Answers kept to be given again.
    pub sticky_answers: usize,
    /// How long an answer is kept to be given again.
    pub sticky_span: Duration,
    /// Rows of the outbox; beyond them no new business is taken.
    pub outbox: usize,
    /// Topics of this node (P13.2), at most 64.
    pub topics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            offers_per_cell: 20_000,
            offers: 100_000,
            uncredentialed_percent: 25,
            uncredentialed_places: 64,
            authors: 200_000,
            author_grace: secs(60),
            clock_tolerance: secs(30),
            certificates: 50_000,
            bans: 10_000,
            refusal: secs(24 * 3_600),
            evidence: 10_000,
            author: Rate { every_us: 10_000_000, burst: 3 },
            uncredentialed_pool: Rate::per_second(10, 20),
            peer_topic: Rate::per_second(50, 200),
            peer: Rate::per_second(200, 800),
            peer_evidence: Rate::per_second(1, 10),
            evidence_rate: Rate::per_second(5, 5),
            verifications_per_s: 2_000,
            peer_buckets: 4_096,
            identities: 10_000,
            exchanges: Rate::per_second(20, 40),
            exchanges_in_flight: 4,
            requests_per_identity: Rate::per_span(6, secs(60)),
            requests_per_origin: Rate::per_span(60, secs(60)),
            request_buckets: 10_000,
            lapsed_holds_per_identity: 3,
            lapsed_uncredentialed: secs(9),
            lapsed_all: secs(120),
            lapse_span: secs(600),
            hold_short: secs(2),
            pending_asks: 3,
            counters: 3,
            invites: Rate::per_span(10, secs(60)),
            invites_open: 5,
            witnessed_accepts: 64,
            witness_span: secs(600),
            unasked_releases: Rate::per_second(5, 5),
            status: Rate { every_us: 2_000_000, burst: 2 },
            chain_ask: Rate { every_us: 10_000_000, burst: 1 },
            position: Rate { every_us: 2_000_000, burst: 2 },
            wrong_codes: 3,
            en_route: 120,
            arrived: 3,
            complete: 5,
            disputes: 3,
            ratings: 1,
            sticky_answers: 10_000,
            sticky_span: secs(600),
            outbox: 1_000,
            topics: 64,
        }
    }
}
