//! The attacks there are.

use std::fmt;
use std::str::FromStr;

use hailmesh_wire::EvidenceKind;

use super::{Adversary, bytes, chains, driving, evidence, gossip, riding};

/// Whether an attack leaves a proof behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It signs two things that contradict each other by this rule (P18.1).
    Proof(EvidenceKind),
    /// It does not, and why not.
    None(&'static str),
}

macro_rules! behaviours {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, $program:path, $exposure:expr, $met:expr; )*) => {
        /// An attack.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Behaviour {
            $( $(#[$doc])* $name, )*
        }

        impl Behaviour {
            /// Every one.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// Its name, in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$name => $text, )*
                }
            }

            /// Whether it leaves a proof behind.
            #[must_use]
            pub const fn exposure(self) -> Exposure {
                match self {
                    $( Self::$name => $exposure, )*
                }
            }

            /// What an attack that took place met with, any of these: steps of admission
            /// (P13.7, P13.8) for gossip, frames for exchanges.
            #[must_use]
            pub const fn met_with(self) -> &'static [&'static str] {
                match self {
                    $( Self::$name => &$met, )*
                }
            }

            pub(super) fn program(self) -> Box<dyn Adversary> {
                match self {
                    $( Self::$name => Box::new(<$program>::default()), )*
                }
            }
        }
    };
}

use EvidenceKind::{E1, E2, E3, E4a, E4b, E4c, E4d, E5a, E5b, E6, E7, E8, E9};
use Exposure::{None as Never, Proof};

const UNSIGNED: Exposure = Never("nothing that it signed contradicts itself");
const ABSENT: Exposure = Never("that nobody came is no contradiction (P24.3, P24.9)");
const TIME: Exposure = Never("no rule of evidence rests on time (P24.2)");

behaviours! {
    /// Two offers of a driver under one sequence number.
    TwoStories = "two-stories", gossip::TwoStories, Proof(E6), ["equivocation"];
    /// Two wishes of a rider under one sequence number.
    RiderTwoStories = "rider-two-stories", gossip::RiderTwoStories, Proof(E6), ["equivocation"];
    /// Two offers with one slot and different ACCEPTs before it.
    ForkedHeads = "forked-heads", gossip::ForkedHeads, Proof(E9), ["banned"];
    /// Two shifts of one identity at once.
    OverlappingShifts = "overlapping-shifts", gossip::OverlappingShifts, Proof(E7), ["accepted"];
    /// Sequence numbers that fall.
    SequenceRollback = "sequence-rollback", gossip::SequenceRollback,
        Never("an older offer may be late, and counts for nothing"), ["old_sequence"];
    /// What others said minutes before.
    StaleReplay = "stale-replay", gossip::StaleReplay, UNSIGNED, ["stale", "old_sequence"];
    /// Statements of another network.
    CrossNetwork = "cross-network", gossip::CrossNetwork, UNSIGNED, ["wrong_topic"];
    /// Offers from an hour ahead.
    FromTheFuture = "from-the-future", gossip::FromTheFuture, TIME, ["from_the_future"];
    /// Offers, and REQUESTs, on topics where they do not belong.
    WrongTopic = "wrong-topic", gossip::WrongTopic, UNSIGNED, ["wrong_cell", "wrong_topic"];
    /// Thirty drivers who are not there, of one node.
    Sybils = "sybils", gossip::Sybils, Never("every key keeps its word; only issuers bound their number (P24.6)"),
        ["accepted"];
    /// Stands around a victim and passes nothing on.
    Eclipse = "eclipse", gossip::Eclipse, Never("what is not said leaves no trace (P24.11)"), ["accepted"];
    /// INVITEs to everybody who waits, again and again.
    InviteSpam = "invite-spam", gossip::InviteSpam, UNSIGNED,
        ["answered with REFUSED rate", "answered with REFUSED unknown"];

    /// Public keys of small order, and their other encodings.
    WeakKeys = "weak-keys", bytes::WeakKeys, UNSIGNED, ["key"];
    /// Other encodings of a good offer.
    NonCanonical = "non-canonical", bytes::NonCanonical, UNSIGNED, ["envelope", "body"];
    /// Other forms of the signatures of others, some of them sent ahead of the good ones.
    Malleated = "malleated", bytes::Malleated, UNSIGNED, ["signature"];
    /// Broken copies of good offers, to take their place in a cache.
    ForgedCopies = "forged-copies", bytes::ForgedCopies, UNSIGNED, ["signature"];
    /// Fifteen offers a second that nobody signed.
    SignatureFlood = "signature-flood", bytes::SignatureFlood, UNSIGNED, ["signature"];
    /// Messages that are too long.
    Oversized = "oversized", bytes::Oversized, UNSIGNED, ["size"];
    /// Unknown versions, kinds and critical extensions.
    OtherVersions = "other-versions", bytes::OtherVersions, UNSIGNED, ["unsupported", "critical_extension"];
    /// Noise in place of frames.
    GarbageFrames = "garbage-frames", bytes::GarbageFrames, UNSIGNED, ["answered with REFUSED bad"];

    /// Evidence against honest drivers.
    Framing = "framing", evidence::Framing, UNSIGNED, ["evidence_wrong"];
    /// True evidence against keys that were made for it.
    EvidenceFlood = "evidence-flood", evidence::EvidenceFlood,
        Never("a key that nobody has heard of is not worth exposing (P13.8)"), ["evidence_irrelevant"];

    /// Offers rides and never answers.
    Ghost = "ghost", driving::Car<driving::Ghost>, ABSENT, ["asked with REQUEST"];
    /// Agrees and never acknowledges.
    AcceptAndVanish = "accept-and-vanish", driving::Car<driving::AcceptAndVanish>, ABSENT,
        ["asked with CONFIRM"];
    /// Is firm and never comes.
    AckAndVanish = "ack-and-vanish", driving::Car<driving::AckAndVanish>, ABSENT, ["asked with CONFIRM"];
    /// Answers when nobody waits any more.
    SlowReader = "slow-reader", driving::Car<driving::SlowReader>, TIME, ["asked with REQUEST"];
    /// One slot to everybody who asks.
    DoubleAccept = "double-accept", driving::Car<driving::DoubleAccept>, Proof(E9), ["asked with CONFIRM"];
    /// The same, and never offers again.
    SilentDoubleAccept = "silent-double-accept", driving::Car<driving::SilentDoubleAccept>,
        Never("its victims hold one ACCEPT each and do not find each other (P24.7)"), ["asked with CONFIRM"];
    /// Another tariff than the offered one.
    BaitTariff = "bait-tariff", driving::Car<driving::BaitTariff>, Proof(E5a), ["asked with REQUEST"];
    /// A higher fare than the offer allows.
    BaitFare = "bait-fare", driving::Car<driving::BaitFare>, Proof(E5b), ["asked with REQUEST"];
    /// STATUS that says what never was.
    LyingStatus = "lying-status", driving::Car<driving::LyingStatus>,
        Never("STATUS binds nobody and changes nothing (P8.8)"), ["answered with STATUS"];
    /// The CONFIRM of an honest rider, to other drivers.
    ReplayedConfirm = "replayed-confirm", driving::Car<driving::ReplayedConfirm>, UNSIGNED,
        ["answered with REFUSED unknown"];

    /// Firm, then "the hold had lapsed".
    FalseLapse = "false-lapse", driving::Car<chains::FalseLapse>, Proof(E3), ["asked with CONFIRM"];
    /// A slot freed with the RELEASE of an accomplice.
    BorrowedRelease = "borrowed-release", driving::Car<chains::BorrowedRelease>, Proof(E4b),
        ["asked with REQUEST"];
    /// A chain that goes on from an ACCEPT that nobody knows.
    ForkedChain = "forked-chain", driving::Car<chains::ForkedChain>, Proof(E4a), ["asked with REQUEST"];
    /// A later slot without any before it.
    VoidChain = "void-chain", driving::Car<chains::VoidChain>, Proof(E4d), ["asked with REQUEST"];
    /// A boarding that never was.
    FalseBoarding = "false-boarding", driving::Car<chains::FalseBoarding>, Proof(E4c), ["asked with CONFIRM"];
    /// Two ends of a slot that a rider had taken.
    ContradictoryEnds = "contradictory-ends", driving::Car<chains::ContradictoryEnds>, Proof(E8),
        ["asked with CONFIRM"];
    /// Two ends of a slot that a rider had turned down.
    EndsOfTheUntaken = "ends-of-the-untaken", driving::Car<chains::EndsOfTheUntaken>, Proof(E8),
        ["asked with REQUEST"];
    /// A slot promised twice, with so much between that the first might be forgotten.
    WitnessFlush = "witness-flush", chains::WitnessFlush, Proof(E1), ["asked with REQUEST"];

    /// Holds of drivers, never confirmed.
    HoldGriefing = "hold-griefing", riding::HoldGriefing, Never("a hold is a free option, and short (P24.1)"),
        ["answered with ACCEPT"];
    /// Fifty REQUESTs at once to one driver.
    ShoppingFlood = "shopping-flood", riding::ShoppingFlood, UNSIGNED, ["answered with REFUSED rate"];
    /// Two CONFIRMs of one slot, to one driver.
    TwoConfirms = "two-confirms", riding::Rider<riding::TwoConfirms>, Proof(E2), ["answered with ACK"];
    /// One slot to two drivers, and nobody at the kerb.
    TwoDrivers = "two-drivers", riding::TwoDrivers,
        Never("its victims hold one CONFIRM each and do not find each other (P24.7)"), ["answered with ACK"];
    /// The CONFIRM for one driver, shown to others.
    WrongDriver = "wrong-driver", riding::WrongDriver, UNSIGNED, ["answered with REFUSED unknown"];
    /// A CONFIRM under another ride key than asked.
    AnothersConfirm = "anothers-confirm", riding::Rider<riding::AnothersConfirm>, UNSIGNED,
        ["answered with REJECT bad", "answered with REJECT unknown", "answered with REFUSED bad",
            "answered with REFUSED unknown"];
    /// A CONFIRM that opens another place, or none.
    BadOpening = "bad-opening", riding::Rider<riding::BadOpening>, UNSIGNED, ["answered with REJECT bad"];
    /// Releases and co-signs what others agreed on.
    ForgedRelease = "forged-release", riding::ForgedRelease, UNSIGNED, ["answered with REFUSED unknown"];
    /// Co-signs a fare that was never proposed.
    ForgedCosign = "forged-cosign", riding::Rider<riding::ForgedCosign>, UNSIGNED, ["answered with ACK"];
    /// Two ends of a firm ride.
    ContradictoryReleases = "contradictory-releases", riding::Rider<riding::ContradictoryReleases>, Proof(E8),
        ["answered with VOID"];
}

impl Behaviour {
    /// Whether some of what contradicts itself is gossip.
    pub(crate) const fn contradicts_in_gossip(self) -> bool {
        matches!(
            self,
            Self::TwoStories
                | Self::RiderTwoStories
                | Self::ForkedHeads
                | Self::OverlappingShifts
                | Self::DoubleAccept
                | Self::BaitTariff
        )
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no attack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no attack is called {0:?}")]
pub struct UnknownBehaviour(pub String);

impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(text: &str) -> Result<Self, UnknownBehaviour> {
        let found = Self::ALL.iter().copied().find(|behaviour| behaviour.name() == text);
        found.ok_or_else(|| UnknownBehaviour(text.to_owned()))
    }
}
