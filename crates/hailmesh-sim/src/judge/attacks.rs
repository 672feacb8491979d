//! What is known of the attackers of a run: whom they say may be accused, what they own
//! up to, and what honest nodes have made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hailmesh_types::{NetworkName, PublicKey, StatementId};
use hailmesh_wire::{Evidence, NetworkId, Signatures, Signed, evidence};

use crate::adversary::{Behaviour, Exposure, Player};

/// Within this time evidence must be found once somebody honest has read what it takes,
/// milliseconds.
pub const EXPOSED_WITHIN_MS: u64 = 60_000;

/// What became of one attack, over all who tried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttackTally {
    /// Which.
    pub behaviour: Behaviour,
    /// How many nodes tried it.
    pub nodes: u32,
    /// How often, by their own count.
    pub attempts: u64,
    /// What it met with, and how often: steps of admission at every honest node that heard
    /// it, frames that honest nodes sent.
    pub met: BTreeMap<String, u64>,
    /// Contradictions that its authors own up to.
    pub contradictions: u64,
    /// Those of which some honest node has read all statements.
    pub complete: u64,
    /// Of those, how many were exposed in time.
    pub exposed: u64,
    /// The longest time from the moment when some honest node had read all until the first
    /// evidence, milliseconds.
    pub slowest_ms: u64,
    /// Most honest nodes that came to hold evidence against one of its keys.
    pub known_to: usize,
}

/// In a line.
impl fmt::Display for AttackTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met: Vec<String> = self.met.iter().map(|(what, count)| format!("{what} {count}")).collect();
        write!(f, "{}: {} attempts, met with {}; ", self.behaviour, self.attempts, met.join(", "))?;
        match self.behaviour.exposure() {
            _ if self.exposed > 0 => write!(
                f,
                "exposed in {}.{:03} s ({} of {} contradictions read, evidence at up to {} nodes)",
                self.slowest_ms / 1_000,
                self.slowest_ms % 1_000,
                self.exposed,
                self.complete,
                self.known_to
            ),
            Exposure::Proof(kind) => write!(f, "not exposed: nobody had read both sides of {kind}"),
            Exposure::None(why) => write!(f, "not exposable: {why}"),
        }
    }
}

impl AttackTally {
    /// How often it met with any of these.
    #[must_use]
    pub fn met_with(&self, any: &[&str]) -> u64 {
        any.iter().filter_map(|name| self.met.get(*name)).sum()
    }
}

struct Claim {
    host: u32,
    accused: PublicKey,
    statements: Vec<StatementId>,
}

/// When somebody was first exposed, and who knows.
struct Exposed {
    first_ms: u64,
    hosts: BTreeSet<u32>,
}

/// Looks at attackers: what they own up to, who has read it, and whom honest nodes accuse.
///
/// Hosts, honest and hostile, go by numbers that whoever judges gives them; times are
/// milliseconds since the start of the run.
#[derive(Default)]
pub struct Attacks {
    keys: BTreeSet<PublicKey>,
    claims: Vec<Claim>,
    /// Who has read what from which attacker, and when first. What a third one passes on is
    /// not meant for its reader, who refuses it (P5.6).
    reads: BTreeMap<(u32, StatementId), BTreeMap<u32, u64>>,
    exposed: BTreeMap<PublicKey, Exposed>,
    /// Evidence that has been verified.
    sound: BTreeSet<[u8; 32]>,
    by_host: BTreeMap<u32, Behaviour>,
    tallies: BTreeMap<Behaviour, AttackTally>,
}

impl Attacks {
    /// This key belongs to an attacker, so that it may be accused.
    pub fn key(&mut self, key: PublicKey) {
        self.keys.insert(key);
    }

    /// Whether a key belongs to an attacker.
    #[must_use]
    pub fn is_hostile(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// An attacker owns up: these statements of this key contradict each other.
    pub fn claim(&mut self, host: u32, accused: PublicKey, statements: Vec<StatementId>) {
        self.claims.push(Claim { host, accused, statements });
    }

    /// An honest host has read a statement that an attacker said to it, or published.
    pub fn read(&mut self, at_ms: u64, host: u32, from: u32, statement: StatementId) {
        self.reads.entry((from, statement)).or_default().entry(host).or_insert(at_ms);
    }

    /// An honest host says that it holds evidence against this key. Says what must not be.
    pub fn accused(&mut self, at_ms: u64, host: u32, accused: PublicKey) -> Option<String> {
        let entry = self.exposed.entry(accused);
        let exposed = entry.or_insert_with(|| Exposed { first_ms: at_ms, hosts: BTreeSet::new() });
        exposed.hosts.insert(host);
        (!self.keys.contains(&accused)).then(|| format!("host {host} accuses an honest key"))
    }

    /// An honest host holds this evidence. Says what must not be.
    pub fn exposed(
        &mut self,
        at_ms: u64,
        host: u32,
        accused: PublicKey,
        bytes: &[u8],
        network: &NetworkName,
        signatures: &dyn Signatures,
    ) -> Option<String> {
        if let Some(wrong) = self.accused(at_ms, host, accused) {
            return Some(wrong);
        }
        let name = *blake3::hash(bytes).as_bytes();
        if !self.sound.contains(&name) {
            if let Err(why) = verify(bytes, accused, NetworkId::of(network), signatures) {
                return Some(format!("host {host} holds evidence that shows nothing: {why}"));
            }
            self.sound.insert(name);
        }
        None
    }

    fn entry(&mut self, behaviour: Behaviour) -> &mut AttackTally {
        self.tallies.entry(behaviour).or_insert_with(|| AttackTally {
            behaviour,
            nodes: 0,
            attempts: 0,
            met: BTreeMap::new(),
            contradictions: 0,
            complete: 0,
            exposed: 0,
            slowest_ms: 0,
            known_to: 0,
        })
    }

    /// What an attacker has done, at the end; without a player it never began.
    pub fn tally(&mut self, host: u32, behaviour: Behaviour, player: Option<&Player>) {
        self.by_host.insert(host, behaviour);
        let tally = self.entry(behaviour);
        tally.nodes += 1;
        let Some(player) = player else { return };
        tally.attempts += player.attempts();
        for (what, count) in player.heard() {
            *tally.met.entry(what.clone()).or_default() += count;
        }
    }

    /// What honest nodes made of the gossip of an attacker; after [`Attacks::tally`].
    pub fn judged(&mut self, host: u32, step: &str, count: u64) {
        let Some(behaviour) = self.by_host.get(&host).copied() else { return };
        *self.entry(behaviour).met.entry(step.to_owned()).or_default() += count;
    }

    /// When the first honest node had read all of these, and which.
    fn complete_ms(&self, author: u32, statements: &[StatementId]) -> Option<(u64, u32)> {
        let first = self.reads.get(&(author, *statements.first()?))?;
        let all = |host: &u32| {
            let at =
                statements.iter().map(|statement| self.reads.get(&(author, *statement))?.get(host).copied());
            Some((at.collect::<Option<Vec<u64>>>()?.into_iter().max()?, *host))
        };
        first.keys().filter_map(all).min()
    }

    /// Whether evidence was found against a key of this attacker after some honest host had
    /// read all that it takes.
    #[must_use]
    pub fn is_exposed(&self, author: u32) -> bool {
        self.claims.iter().filter(|claim| claim.host == author).any(|claim| {
            self.exposed.contains_key(&claim.accused) && self.complete_ms(author, &claim.statements).is_some()
        })
    }

    /// Contradictions that some honest host has read as a whole, and nobody holds evidence of.
    #[must_use]
    pub fn unexposed(&self) -> usize {
        let open = self.claims.iter().filter(|claim| !self.exposed.contains_key(&claim.accused));
        open.filter(|claim| self.complete_ms(claim.host, &claim.statements).is_some()).count()
    }

    /// Judges what attackers own up to, at the end; what was read less than
    /// [`EXPOSED_WITHIN_MS`] before it need not be exposed yet. Says when and what must not
    /// be. After [`Attacks::tally`].
    pub fn close(&mut self, end_ms: u64) -> Vec<(u64, String)> {
        let mut wrong = Vec::new();
        for claim in std::mem::take(&mut self.claims) {
            let Some(behaviour) = self.by_host.get(&claim.host).copied() else { continue };
            let complete = self.complete_ms(claim.host, &claim.statements);
            let exposed = self.exposed.get(&claim.accused);
            let known_to = exposed.map_or(0, |exposed| exposed.hosts.len());
            let took = complete.and_then(|(at, _)| Some(exposed?.first_ms.saturating_sub(at)));
            let tally = self.entry(behaviour);
            tally.contradictions += 1;
            tally.known_to = tally.known_to.max(known_to);
            let Some((at_ms, reader)) = complete else { continue };
            // What is too late for the run to tell does not count.
            if took.is_none() && at_ms + EXPOSED_WITHIN_MS > end_ms {
                continue;
            }
            tally.complete += 1;
            match took {
                Some(took) if took <= EXPOSED_WITHIN_MS => {
                    tally.exposed += 1;
                    tally.slowest_ms = tally.slowest_ms.max(took);
                }
                _ => wrong.push((
                    at_ms,
                    format!(
                        "{behaviour} of host {} is not exposed: host {reader} had read it all",
                        claim.host
                    ),
                )),
            }
        }
        wrong
    }

    /// What became of each attack.
    #[must_use]
    pub fn tallies(self) -> Vec<AttackTally> {
        self.tallies.into_values().collect()
    }
}

/// Judges evidence as a stranger would.
fn verify(
    bytes: &[u8],
    accused: PublicKey,
    network: NetworkId,
    signatures: &dyn Signatures,
) -> Result<(), String> {
    let statement = Signed::<Evidence>::decode(bytes).map_err(|error| error.to_string())?;
    let statement = statement.verify_with(signatures).map_err(|error| error.to_string())?;
    let found = evidence::check(statement.body(), network, signatures).map_err(|error| error.to_string())?;
    if found.accused == accused { Ok(()) } else { Err("it accuses somebody else".to_owned()) }
}
