//! A schedule: which host crashes where, and what the network does about it. Its name is
//! one line, from which it can be replayed alone.

use std::fmt;
use std::str::FromStr;

/// A host of a scenario by its index: drivers first, then riders.
pub(crate) type Name = usize;

/// Where a crash falls, seen from one batch of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    /// Before the transaction: the batch is lost with everything after it.
    Before,
    /// After the transaction and before the send.
    After,
    /// After the sends that follow the batch, and before anything else.
    Sent,
    /// After the sends were heard and before the outbox is cleared.
    Heard,
}

impl Position {
    pub(crate) const ALL: [Self; 4] = [Self::Before, Self::After, Self::Sent, Self::Heard];

    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Sent => "sent",
            Self::Heard => "heard",
        }
    }
}

/// What becomes of what a host is told in its first second after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Net {
    /// It arrives.
    Calm,
    /// It is lost, and so is what the host said just before it crashed.
    Lost,
    /// What is asked arrives twice, on both sides, and so does what the host said just
    /// before it crashed.
    Twice,
    /// It arrives late and in reverse, and what the host said just before it crashed
    /// arrives last of all.
    Turned,
}

impl Net {
    pub(crate) const ALL: [Self; 4] = [Self::Calm, Self::Lost, Self::Twice, Self::Turned];

    const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Lost => "lost",
            Self::Twice => "twice",
            Self::Turned => "turned",
        }
    }
}

/// One crash: of this host, at its batch of this number, counted over all its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crash {
    pub(crate) host: Name,
    pub(crate) batch: usize,
    pub(crate) position: Position,
}

/// A whole schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) scenario: String,
    pub(crate) crashes: Vec<Crash>,
    pub(crate) net: Net,
}

impl Plan {
    /// A run of a scenario in which nothing fails.
    pub(crate) fn calm(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned(), crashes: Vec::new(), net: Net::Calm }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crash = |crash: &Crash| format!("{}.{}.{}", crash.host, crash.batch, crash.position.name());
        let crashes: Vec<String> = self.crashes.iter().map(crash).collect();
        write!(f, "{}/{}/{}", self.scenario, crashes.join("+"), self.net.name())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: expected SCENARIO/HOST.BATCH.POSITION[+…]/NET");
        let [scenario, crashes, net] = text.split('/').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let crash = |text: &str| {
            let [host, batch, position] = text.split('.').collect::<Vec<_>>()[..] else { return None };
            let position = Position::ALL.into_iter().find(|one| one.name() == position)?;
            Some(Crash { host: host.parse().ok()?, batch: batch.parse().ok()?, position })
        };
        let crashes = crashes.split('+').filter(|text| !text.is_empty());
        let crashes = crashes.map(crash).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        let net = Net::ALL.into_iter().find(|one| one.name() == net).ok_or_else(wrong)?;
        Ok(Self { scenario: scenario.to_owned(), crashes, net })
    }
}

#[test]
fn a_schedule_is_its_name() {
    let crash = |host, batch, position| Crash { host, batch, position };
    let crashes = vec![crash(0, 4, Position::Before), crash(1, 12, Position::Heard)];
    let plan = Plan { scenario: "ride".to_owned(), crashes, net: Net::Turned };
    assert_eq!(plan.to_string(), "ride/0.4.before+1.12.heard/turned");
    assert_eq!(plan.to_string().parse(), Ok(plan));
    assert_eq!("ride//calm".parse(), Ok(Plan::calm("ride")));
    assert!("ride/0.4/calm".parse::<Plan>().is_err());
}
