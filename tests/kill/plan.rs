//! A case: which process of which ride is killed at which point. Its name is one line, from
//! which it can be replayed alone.

use std::fmt;
use std::str::FromStr;

use crate::fault::Fault;
use crate::scenario::{Scenario, scenario};

/// A process of a case by its index: drivers first, then riders.
pub(crate) type Name = usize;

/// Which store the nodes keep their journals in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    /// A file for each.
    Sqlite,
    /// A schema for each, on one server.
    Postgres,
}

impl Kept {
    const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// When the process is killed, seen from the batch of records at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Before the transaction begins.
    Before,
    /// Some moment after that, most likely in the transaction.
    Within,
    /// After the transaction and before the send.
    After,
    /// After the send: the other side has it.
    Sent,
    /// After the answer came and before the outbox is cleared.
    Heard,
}

impl Moment {
    pub(crate) const ALL: [Self; 5] = [Self::Before, Self::Within, Self::After, Self::Sent, Self::Heard];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Within => "within",
            Self::After => "after",
            Self::Sent => "sent",
            Self::Heard => "heard",
        }
    }
}

/// A fail point: the batch of this name, and the moment. Batches are named by the clause of
/// P11.1 that asks for them, `W1` to `W12`, and counted for each clause from the start of
/// the process: `W7.2` is its third word about a ride. `note` is a batch that nothing waits
/// for, that a statement was heard for instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FailAt {
    pub(crate) batch: String,
    pub(crate) moment: Moment,
}

impl fmt::Display for FailAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.batch, self.moment.name())
    }
}

impl FromStr for FailAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: expected CLAUSE.NUMBER.MOMENT");
        let (batch, moment) = text.rsplit_once('.').ok_or_else(wrong)?;
        let moment = Moment::ALL.into_iter().find(|one| one.name() == moment).ok_or_else(wrong)?;
        Ok(Self { batch: batch.to_owned(), moment })
    }
}

/// One case.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kept: Kept,
    pub(crate) scenario: Scenario,
    /// Who is killed, and where; nobody in the run that shows where somebody can be.
    pub(crate) kill: Option<(Name, FailAt)>,
    /// For how long it is down, milliseconds.
    pub(crate) down_ms: u64,
    /// How long after the beginning of the transaction the kill comes ([`Moment::Within`]),
    /// microseconds.
    pub(crate) within_us: u64,
    /// What is done wrongly on purpose.
    pub(crate) fault: Option<Fault>,
}

impl Plan {
    /// A ride in which nobody is killed.
    pub(crate) const fn calm(kept: Kept, scenario: Scenario) -> Self {
        Self { kept, scenario, kill: None, down_ms: 0, within_us: 0, fault: None }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.kept.name(), self.scenario.name)?;
        if let Some((host, at)) = &self.kill {
            write!(f, "{host}.{at}/{}.{}", self.down_ms, self.within_us)?;
        }
        self.fault.map_or(Ok(()), |fault| write!(f, "/{}", fault.name()))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text}: expected STORE/SCENARIO/[HOST.CLAUSE.NUMBER.MOMENT/DOWN.WITHIN[/FAULT]]");
        let parts: Vec<&str> = text.split('/').collect();
        let [kept, name, kill, rest @ ..] = &parts[..] else { return Err(wrong()) };
        let kept = Kept::ALL.into_iter().find(|one| one.name() == *kept).ok_or_else(wrong)?;
        let mut plan = Self::calm(kept, scenario(name).ok_or_else(wrong)?);
        if kill.is_empty() {
            return Ok(plan);
        }
        let (host, at) = kill.split_once('.').ok_or_else(wrong)?;
        plan.kill = Some((host.parse().map_err(|_| wrong())?, at.parse()?));
        let times = rest.first().and_then(|times| times.split_once('.')).ok_or_else(wrong)?;
        plan.down_ms = times.0.parse().map_err(|_| wrong())?;
        plan.within_us = times.1.parse().map_err(|_| wrong())?;
        if let Some(fault) = rest.get(1) {
            plan.fault = Some(Fault::ALL.into_iter().find(|one| one.name() == *fault).ok_or_else(wrong)?);
        }
        Ok(plan)
    }
}

#[test]
fn a_case_is_its_name() {
    for name in [
        "sqlite/ride/0.W1.0.before/0.250",
        "postgres/driver-cancels/1.note.3.heard/2600.0",
        "sqlite/ride/1.W4.0.sent/0.0/the-last-batch-is-lost",
        "sqlite/toll/",
    ] {
        assert_eq!(name.parse::<Plan>().unwrap().to_string(), name);
    }
    for name in ["sqlite", "sqlite/nothing/", "sqlite/ride/0.W1/0.0", "sqlite/ride/0.W1.0.before", ""] {
        assert!(name.parse::<Plan>().is_err(), "{name}");
    }
}
