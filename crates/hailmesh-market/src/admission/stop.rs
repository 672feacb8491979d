//! Where admission stopped a message, and how often.

use std::collections::BTreeMap;

use crate::output::Verdict;

macro_rules! stops {
    ($( $(#[$doc:meta])* $stop:ident = $name:literal, $clause:literal, $verdict:ident; )*) => {
        /// The step of P13.7 or P13.8 that stopped a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Stop {
            $( $(#[$doc])* $stop, )*
        }

        impl Stop {
            /// Every one, in the order of the checks.
            pub const ALL: &[Self] = &[ $( Self::$stop, )* ];

            /// A stable name for metrics and explanations, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$stop => $name, )*
                }
            }

            /// The step of the protocol.
            #[must_use]
            pub const fn clause(self) -> &'static str {
                match self {
                    $( Self::$stop => $clause, )*
                }
            }

            /// What the peer that forwarded it deserves (P13.6).
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self {
                    $( Self::$stop => Verdict::$verdict, )*
                }
            }
        }
    };
}

stops! {
    /// Nothing: it was admitted.
    None = "accepted", "P13.7/18", Accept;
    /// Too long.
    Size = "size", "P13.7/1", Reject;
    /// Not a canonical envelope.
    Envelope = "envelope", "P13.7/2", Reject;
    /// Another version or an unknown kind.
    Unsupported = "unsupported", "P13.7/3", Ignore;
    /// A network or a kind that does not belong to the topic.
    Topic = "wrong_topic", "P13.7/4", Reject;
    /// The signer is not a usable key.
    Key = "key", "P13.7/4", Reject;
    /// Not a canonical body, or outside the bounds of P4.
    Body = "body", "P13.7/5", Reject;
    /// A critical extension that this version does not know.
    CriticalExtension = "critical_extension", "P13.7/6", Ignore;
    /// Its cell belongs to another topic.
    Cell = "wrong_cell", "P13.7/7", Reject;
    /// Issued too far in the future by this node's clock.
    Future = "from_the_future", "P13.7/8", Ignore;
    /// Ended already by this node's clock.
    Stale = "stale", "P13.7/8", Ignore;
    /// The very offer that was last heard of this author.
    Duplicate = "duplicate", "P13.7/9", Ignore;
    /// Older than the last one heard of this author.
    OldSequence = "old_sequence", "P13.7/9", Ignore;
    /// The author or its identity is banned here.
    Banned = "banned", "P13.7/10", Ignore;
    /// An issuer has taken the author's credential back.
    Revoked = "revoked", "P13.7/10", Ignore;
    /// The forwarding peer sends too much.
    PeerRate = "peer_rate", "P13.7/11", Ignore;
    /// The author offers too often.
    AuthorRate = "author_rate", "P13.7/11", Ignore;
    /// Uncredentialed authors offer too often in this cell.
    PoolRate = "uncredentialed_rate", "P13.7/11", Ignore;
    /// Too many signatures to check.
    VerificationRate = "verification_rate", "P13.7/11", Ignore;
    /// A certificate that contradicts the offer or itself.
    Certificate = "certificate", "P13.7/12", Reject;
    /// At odds with a certificate that is known here and did not come along.
    CertificateNotShown = "certificate_not_shown", "P13.7/12", Ignore;
    /// A certificate with a critical extension that this version does not know.
    CertificateExtension = "certificate_extension", "P13.7/12", Ignore;
    /// The certificate has ended by this node's clock.
    CertificateExpired = "certificate_expired", "P13.7/13", Ignore;
    /// A proof of work that proves none.
    WorkWrong = "work_wrong", "P13.7/14", Reject;
    /// A proof of work is owed and absent.
    WorkMissing = "work_missing", "P13.7/14", Ignore;
    /// The signature does not fit.
    Signature = "signature", "P13.7/15", Reject;
    /// The signature of a certificate does not fit.
    CertificateSignature = "certificate_signature", "P13.7/15", Reject;
    /// Only a certificate that is not known here speaks for the author: it is asked for.
    CertificateUnknown = "certificate_unknown", "P13.7/14", Ignore;
    /// Another offer with the same sequence number: two stories at once.
    Equivocation = "equivocation", "P13.7/16", Ignore;
    /// The uncredentialed authors' share of the cell is taken.
    Share = "uncredentialed_share", "P13.7/17", Ignore;
    /// The book, the cell or the sequence table is full.
    Full = "full", "P13.7/17", Ignore;
    /// Evidence that is known here already.
    EvidenceKnown = "evidence_known", "P13.8", Ignore;
    /// Evidence against a key that nobody vouches for and nobody here has heard of.
    EvidenceIrrelevant = "evidence_irrelevant", "P13.8", Ignore;
    /// Too much evidence.
    EvidenceRate = "evidence_rate", "P13.8", Ignore;
    /// Evidence that shows nothing (P18).
    EvidenceWrong = "evidence_wrong", "P13.8", Reject;
    /// A revocation by nobody that counts here, an old one, or one outside its time.
    RevocationIrrelevant = "revocation_irrelevant", "P13.8", Ignore;
}

/// What admission has done since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionStats {
    by_stop: [u64; Stop::ALL.len()],
    late: u64,
}

impl Default for AdmissionStats {
    fn default() -> Self {
        Self { by_stop: [0; Stop::ALL.len()], late: 0 }
    }
}

impl AdmissionStats {
    /// Messages judged, whatever became of them.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.by_stop.iter().sum()
    }

    /// Messages admitted.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        self.by_stop[Stop::None as usize]
    }

    /// Messages that ended at this step.
    #[must_use]
    pub const fn count(&self, stop: Stop) -> u64 {
        self.by_stop[stop as usize]
    }

    /// Offers of those admitted that were older than the tolerance of clocks when they
    /// came by gossip. Gossip takes seconds, so many of them mean that a clock is wrong.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// How many messages each step stopped, by its stable name; steps that stopped none
    /// are left out.
    #[must_use]
    pub fn stopped(&self) -> BTreeMap<&'static str, u64> {
        let counted = Stop::ALL.iter().map(|stop| (*stop, self.count(*stop)));
        counted
            .filter(|(stop, count)| *stop != Stop::None && *count > 0)
            .map(|(s, n)| (s.name(), n))
            .collect()
    }

    pub(super) fn add(&mut self, stop: Stop) {
        self.by_stop[stop as usize] += 1;
    }

    pub(super) fn add_late(&mut self) {
        self.late += 1;
    }
}
