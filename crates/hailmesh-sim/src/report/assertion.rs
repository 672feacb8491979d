//! `p2p.served_share>=0.98`: what a run has to reach.
//!
//! ```text
//! assertion = figure OP limit          OP is one of >= <= > < == !=
//! limit     = NUMBER | [NUMBER *] figure [+ NUMBER | - NUMBER]
//! figure    = POLICY [@FLEET] . METRIC
//! ```
//!
//! Figures are means over the seeds of a run, judged for each fleet on its own. A figure
//! without a fleet on the right is that of the fleet that is judged:
//! `p2p.wait_s.all_mean <= 1.05 * batched:5.wait_s.all_mean` compares at every fleet,
//! `p2p@3200.served_share >= batched:5.served_share - 0.003` at one. A figure that has no
//! value (the mean wait of a run that served nobody) fulfils nothing.

use std::fmt;
use std::str::FromStr;

use super::figures::{Figures, METRICS, metric_names};
use super::group::{Group, groups};

/// A condition on the figures of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    text: String,
    left: Term,
    op: Op,
    limit: Limit,
}

/// A figure of a policy, maybe at one fleet.
#[derive(Debug, Clone, PartialEq)]
struct Term {
    policy: String,
    fleet: Option<u32>,
    metric: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
    Unequal,
}

#[derive(Debug, Clone, PartialEq)]
enum Limit {
    Number(f64),
    Figure { factor: f64, term: Term, offset: f64 },
}

/// An assertion that cannot be judged. Every one of these is the user's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AssertionError {
    /// Not of the form.
    #[error(
        "assertion \"{0}\": expected POLICY.METRIC OP LIMIT with one of >= <= > < == !=, such as \
         p2p.served_share>=0.98 or p2p.wait_s.all_mean<=1.05*batched:5.wait_s.all_mean"
    )]
    Form(String),
    /// No such figure.
    #[error("assertion \"{text}\": unknown metric \"{metric}\"; known are {}", metric_names())]
    Metric {
        /// The assertion.
        text: String,
        /// What is no metric.
        metric: String,
    },
    /// No such policy among the runs.
    #[error("assertion \"{text}\": no run has the policy \"{policy}\"; there are {known}")]
    Policy {
        /// The assertion.
        text: String,
        /// What is no policy of these runs.
        policy: String,
        /// Those that are.
        known: String,
    },
    /// No such fleet among the runs.
    #[error("assertion \"{text}\": no run has a fleet of {fleet}; there are {known}")]
    Fleet {
        /// The assertion.
        text: String,
        /// What is no fleet of these runs.
        fleet: u32,
        /// Those that are.
        known: String,
    },
}

/// An assertion that does not hold, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// The assertion as it was given.
    pub assertion: String,
    /// The fleet at which it does not hold.
    pub fleet: u32,
    /// The seeds over which was averaged, with commas.
    pub seeds: String,
    /// The figure on its left.
    pub value: Option<f64>,
    /// The limit on its right.
    pub limit: Option<f64>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: Option<f64>| value.map_or_else(|| "no value".to_owned(), short);
        let Self { assertion, fleet, seeds, value, limit } = self;
        let mean = if seeds.contains(',') { "mean of seeds" } else { "seed" };
        write!(
            f,
            "{assertion} does not hold at fleet {fleet} ({mean} {seeds}): {} against {}",
            show(*value),
            show(*limit)
        )
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Assertion {
    type Err = AssertionError;

    fn from_str(text: &str) -> Result<Self, AssertionError> {
        let form = || AssertionError::Form(text.to_owned());
        let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let at = squeezed.find(['>', '<', '=', '!']).ok_or_else(form)?;
        let (left, rest) = squeezed.split_at(at);
        let ops = [
            (">=", Op::AtLeast),
            ("<=", Op::AtMost),
            ("==", Op::Equal),
            ("!=", Op::Unequal),
            (">", Op::Above),
            ("<", Op::Below),
        ];
        let (right, op) =
            ops.iter().find_map(|(sign, op)| Some((rest.strip_prefix(sign)?, *op))).ok_or_else(form)?;
        let (left, tail) = Term::read(left, text)?;
        if !tail.is_empty() {
            return Err(form());
        }
        Ok(Self { text: text.trim().to_owned(), left, op, limit: Limit::read(right, text)? })
    }
}

impl Assertion {
    /// Whether runs with these policies and fleets can be judged.
    ///
    /// # Errors
    /// A policy or fleet that no run has, with those that there are.
    pub fn check(&self, policies: &[String], fleets: &[u32]) -> Result<(), AssertionError> {
        let right = match &self.limit {
            Limit::Number(_) => None,
            Limit::Figure { term, .. } => Some(term),
        };
        for term in std::iter::once(&self.left).chain(right) {
            if !policies.contains(&term.policy) {
                return Err(AssertionError::Policy {
                    text: self.text.clone(),
                    policy: term.policy.clone(),
                    known: policies.join(", "),
                });
            }
            if let Some(fleet) = term.fleet.filter(|fleet| !fleets.contains(fleet)) {
                let known: Vec<String> = fleets.iter().map(ToString::to_string).collect();
                return Err(AssertionError::Fleet {
                    text: self.text.clone(),
                    fleet,
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Where it does not hold. What no run can answer does not hold either.
    #[must_use]
    pub fn judge(&self, runs: &[Figures]) -> Vec<Failed> {
        let groups = groups(runs);
        let judged = groups.iter().filter(|group| self.left.is_of(group, None));
        let failed: Vec<Failed> = judged.clone().filter_map(|group| self.judge_one(group, &groups)).collect();
        if judged.count() > 0 {
            return failed;
        }
        let fleet = self.left.fleet.unwrap_or_default();
        vec![Failed { assertion: self.text.clone(), fleet, seeds: String::new(), value: None, limit: None }]
    }

    fn judge_one(&self, group: &Group<'_>, all: &[Group<'_>]) -> Option<Failed> {
        let value = group.mean(&self.left.metric);
        let limit = match &self.limit {
            Limit::Number(number) => Some(*number),
            Limit::Figure { factor, term, offset } => all
                .iter()
                .find(|other| term.is_of(other, Some(group.fleet)))
                .and_then(|other| other.mean(&term.metric))
                .map(|figure| factor * figure + offset),
        };
        let holds = value.zip(limit).is_some_and(|(value, limit)| match self.op {
            Op::AtLeast => value >= limit,
            Op::AtMost => value <= limit,
            Op::Above => value > limit,
            Op::Below => value < limit,
            Op::Equal => value == limit,
            Op::Unequal => value != limit,
        });
        let seeds = group.seeds();
        (!holds).then(|| Failed { assertion: self.text.clone(), fleet: group.fleet, seeds, value, limit })
    }
}

impl Term {
    /// A figure at the beginning of a text, and what follows it.
    fn read<'a>(part: &'a str, whole: &str) -> Result<(Self, &'a str), AssertionError> {
        let form = || AssertionError::Form(whole.to_owned());
        let (policy, rest) = part.split_once('.').ok_or_else(form)?;
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let (metric, tail) = rest.split_at(end);
        let (policy, fleet) = match policy.split_once('@') {
            Some((policy, fleet)) => (policy, Some(fleet.parse().map_err(|_| form())?)),
            None => (policy, None),
        };
        if policy.is_empty() {
            return Err(form());
        }
        if !METRICS.iter().any(|(name, _)| *name == metric) {
            return Err(AssertionError::Metric { text: whole.to_owned(), metric: metric.to_owned() });
        }
        Ok((Self { policy: policy.to_owned(), fleet, metric: metric.to_owned() }, tail))
    }

    fn is_of(&self, group: &Group<'_>, otherwise: Option<u32>) -> bool {
        self.policy == group.policy && self.fleet.or(otherwise).is_none_or(|fleet| fleet == group.fleet)
    }
}

impl Limit {
    fn read(part: &str, whole: &str) -> Result<Self, AssertionError> {
        let form = || AssertionError::Form(whole.to_owned());
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        if let Some(number) = number(part) {
            return Ok(Self::Number(number));
        }
        let (factor, figure) = match part.split_once('*') {
            Some((factor, figure)) => (number(factor).ok_or_else(form)?, figure),
            None => (1.0, part),
        };
        let (term, tail) = Term::read(figure, whole)?;
        let offset = match tail {
            "" => 0.0,
            _ => number(tail).filter(|_| tail.starts_with(['+', '-'])).ok_or_else(form)?,
        };
        Ok(Self::Figure { factor, term, offset })
    }
}

/// At most six decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::run;
    use super::*;

    fn runs() -> Vec<Figures> {
        let figures =
            |policy, fleet, seed, waits: &[Option<u64>]| Figures::of(&run(policy, fleet, seed, waits), 1.0);
        vec![
            figures("p2p", 10, 0, &[Some(100), Some(100)]),
            figures("p2p", 10, 1, &[Some(120), None]),
            figures("batched:5", 10, 0, &[Some(100), Some(100)]),
            figures("batched:5", 10, 1, &[Some(100), Some(100)]),
            figures("p2p", 20, 0, &[Some(50), Some(50)]),
            figures("batched:5", 20, 0, &[Some(50), Some(50)]),
        ]
    }

    fn failures(text: &str) -> Vec<u32> {
        let assertion: Assertion = text.parse().unwrap();
        assertion.judge(&runs()).iter().map(|failed| failed.fleet).collect()
    }

    #[test]
    fn means_over_seeds_are_judged_at_every_fleet() {
        assert_eq!(failures("p2p.served_share>=0.75"), [] as [u32; 0]);
        assert_eq!(failures("p2p.served_share >= 0.76"), [10]);
        assert_eq!(failures("p2p@20.served_share>=1"), [] as [u32; 0]);
        assert_eq!(failures("p2p.served_share>1"), [10, 20]);
        assert_eq!(failures("p2p.double_bookings==0"), [] as [u32; 0]);
        assert_eq!(failures("p2p.double_bookings!=0"), [10, 20]);
        assert_eq!(failures("p2p.wait_s.p95<60"), [10]);
    }

    #[test]
    fn another_policy_is_a_limit() {
        assert_eq!(failures("p2p.wait_s.all_mean<=1.05*batched:5.wait_s.all_mean"), [10]);
        assert_eq!(failures("p2p.served_share>=batched:5.served_share-0.25"), [] as [u32; 0]);
        assert_eq!(failures("p2p.served_share>=batched:5.served_share-0.2"), [10]);
        assert_eq!(failures("p2p.wait_s.mean<=2*batched:5@20.wait_s.mean+11"), [] as [u32; 0]);
    }

    #[test]
    fn a_failure_says_what_was_found() {
        let assertion: Assertion = "p2p@10.served_share>=0.98".parse().unwrap();
        assert_eq!(
            assertion.judge(&runs())[0].to_string(),
            "p2p@10.served_share>=0.98 does not hold at fleet 10 (mean of seeds 0,1): 0.75 against 0.98"
        );
    }

    #[test]
    fn no_value_fulfils_nothing() {
        let nobody = [Figures::of(&run("p2p", 10, 0, &[None]), 1.0)];
        for text in ["p2p.wait_s.mean<=1000", "p2p.wait_s.mean!=0", "batched:5.served>=0"] {
            let assertion: Assertion = text.parse().unwrap();
            assert_eq!(assertion.judge(&nobody).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_no_assertion_is_refused_with_what_is_known() {
        let error = |text: &str| text.parse::<Assertion>().unwrap_err().to_string();
        let unknown = error("p2p.happiness>=1");
        assert!(unknown.contains("\"happiness\"") && unknown.contains("wait_s.all_mean"), "{unknown}");
        assert!(error("p2p.served>=1.1*p2p.joy").contains("\"joy\""));
        for bad in [
            "",
            "p2p",
            "p2p.served",
            "p2p.served=1",
            "p2p.served>=",
            "p2p.served>=NaN",
            "p2p.served>=inf",
            ".served>=1",
            "p2p.served+1>=1",
            "p2p@x.served>=1",
            "p2p.served>=x*p2p.served",
            "p2p.served>=p2p.served*2",
        ] {
            assert!(bad.parse::<Assertion>().is_err(), "{bad}");
        }
        let assertion: Assertion = "p2p.served>=batched:9.served".parse().unwrap();
        let known = ["p2p".to_owned(), "batched:5".to_owned()];
        let error = assertion.check(&known, &[10]).unwrap_err().to_string();
        assert!(error.contains("\"batched:9\"") && error.contains("p2p, batched:5"), "{error}");
        let assertion: Assertion = "p2p@11.served>=1".parse().unwrap();
        assert!(assertion.check(&known, &[10]).unwrap_err().to_string().contains("there are 10"));
        let assertion: Assertion = "p2p@10.served>=batched:5.served".parse().unwrap();
        assert_eq!(assertion.check(&known, &[10]), Ok(()));
    }
}
