//! One case, from the first start to the last look at the journals.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hailmesh_market::Role;
use hailmesh_types::StatementId;

use crate::audit::{Audit, Heard, Violation};
use crate::host::{Host, Look, News, Point};
use crate::plan::{Kept, Moment, Name, Plan};

/// How long both sides may take until they agree about the end of everything and nothing is
/// on its way: with a crash, and on a machine that is busy with other cases.
const SETTLED: Duration = Duration::from_secs(90);
/// The same where a fault was made on purpose and the end is not worth waiting for.
const SETTLED_FAULTY: Duration = Duration::from_secs(12);
/// How long a process that has sent something waits for it to be heard before it is killed
/// all the same.
const HEARD: Duration = Duration::from_millis(500);
/// How long a process may take to end in order.
const FAREWELL: Duration = Duration::from_secs(30);
/// How often it is looked whether everybody is there for a node that comes back.
const LOOK: Duration = Duration::from_millis(10);

/// What came of a case.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) violations: Vec<Violation>,
    pub(crate) points: Vec<Point>,
    /// Whether somebody was killed: not when the point was never reached.
    pub(crate) is_killed: bool,
    /// What the batch at the fail point said.
    pub(crate) killed_at: Option<Point>,
    /// Whether the other side had heard all that was sent, where it was to
    /// ([`Moment::Sent`]).
    pub(crate) was_heard: bool,
    pub(crate) took: Duration,
    pub(crate) complaints: String,
    pub(crate) transcript: Vec<String>,
}

/// The watcher of one case.
struct Stage<'a> {
    plan: &'a Plan,
    hosts: Vec<Host>,
    audit: Audit,
    points: Vec<Point>,
    tell: Sender<News>,
    news: Receiver<News>,
    began: Instant,
    /// The victim is stopped at its point, until these were heard or for so long.
    held: Option<(Vec<StatementId>, Instant)>,
    is_killed: bool,
    was_heard: bool,
    /// The number of the last question how everybody stands, and whether it is open.
    asked: (u64, bool),
    is_ending: bool,
    transcript: Option<Vec<String>>,
}

/// Runs a case; the files are in a folder of its own.
pub(crate) fn run(plan: &Plan, folder: &Path, postgres: Option<&str>, is_told: bool) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (tell, news) = channel();
    let store = postgres.filter(|_| plan.kept == Kept::Postgres).map(str::to_owned);
    let host = |name: Name, role: Role| {
        Host::new(name, role, folder.join(format!("{name}-{}", role.name())), store.clone())
    };
    let mut stage = Stage {
        plan,
        hosts: vec![host(0, Role::Driver), host(1, Role::Rider)],
        audit: Audit::new(),
        points: Vec::new(),
        tell,
        news,
        began: Instant::now(),
        held: None,
        is_killed: false,
        was_heard: false,
        asked: (0, false),
        is_ending: false,
        transcript: is_told.then(Vec::new),
    };
    stage.start(0);
    stage.watch(&runtime);
    let took = stage.began.elapsed();
    for host in &mut stage.hosts {
        if host.is_up() {
            host.kill();
            host.buried();
        }
    }
    let ledgers: Vec<_> = stage
        .hosts
        .iter()
        .filter(|host| host.starts > 0)
        .map(|host| runtime.block_on(host.journal()))
        .collect();
    stage.audit.at_the_end(&stage.hosts, ledgers);
    let killed_at = plan.kill.as_ref().and_then(|(host, at)| {
        stage.points.iter().find(|point| point.host == *host && point.batch == at.batch).cloned()
    });
    Ran {
        violations: stage.audit.violations(),
        points: stage.points,
        is_killed: stage.is_killed,
        killed_at,
        was_heard: stage.was_heard,
        took,
        complaints: stage.hosts.iter().map(Host::complaints).collect(),
        transcript: stage.transcript.unwrap_or_default(),
    }
}

impl Stage<'_> {
    fn note(&mut self, text: impl FnOnce() -> String) {
        let ms = self.began.elapsed().as_millis();
        if let Some(lines) = &mut self.transcript {
            lines.push(format!("{ms:>6} {}", text()));
        }
    }

    fn start(&mut self, name: Name) {
        self.note(|| format!("{name} is started"));
        // Nobody has asked this process.
        self.asked.1 = false;
        let others: Vec<String> = self
            .hosts
            .iter()
            .filter(|host| host.name != name)
            .filter_map(|host| host.invite.clone())
            .collect();
        self.hosts[name].start(self.plan, &others.join(" "), &self.tell);
    }

    /// Until everybody has ended, or for too long.
    fn watch(&mut self, runtime: &tokio::runtime::Runtime) {
        let patience = if self.plan.fault.is_some() { SETTLED_FAULTY } else { SETTLED };
        let mut deadline = self.began + patience;
        while !self.hosts.iter().all(|host| host.has_ended) {
            let mut next = deadline;
            let back = self.hosts.iter().filter_map(|host| host.back).min();
            next = back.map_or(next, |back| next.min(back.max(Instant::now() + LOOK)));
            next = self.held.as_ref().map_or(next, |(_, until)| next.min(*until));
            match self.news.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok((name, Some(line))) => self.hear(name, &line),
                Ok((name, None)) => self.silent(name, runtime),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let now = Instant::now();
            if self.held.as_ref().is_some_and(|(left, until)| left.is_empty() || *until <= now) {
                let (left, _) = self.held.take().unwrap_or_else(|| (Vec::new(), now));
                self.was_heard = left.is_empty();
                self.kill();
            }
            self.start_again(now);
            if !self.is_ending && self.is_settled() {
                self.is_ending = true;
                deadline = now + FAREWELL;
                for host in &mut self.hosts {
                    host.tell("END");
                    host.is_dismissed = true;
                }
            }
            if now >= deadline {
                let why = self.hosts.iter().map(|host| format!("{} {:?}", host.role.name(), host.look));
                let what = format!("not settled in time: {}", why.collect::<Vec<_>>().join("; "));
                return self.audit.violation("L1", what);
            }
        }
    }

    /// Starts those whose time has come. They find the others only if they know where those
    /// are.
    fn start_again(&mut self, now: Instant) {
        let is_here = |host: &Host| !host.is_up() || (host.invite.is_some() && !host.is_dismissed);
        if !self.hosts.iter().all(is_here) {
            return;
        }
        let is_due = |host: &&mut Host| host.back.is_some_and(|back| back <= now);
        if let Some(host) = self.hosts.iter_mut().find(is_due) {
            host.back = None;
            let name = host.name;
            self.start(name);
        }
    }

    /// SIGKILL for the victim.
    fn kill(&mut self) {
        let Some((name, at)) = &self.plan.kill else { return };
        if at.moment == Moment::Within {
            // A moment that is drawn, not a wait for something.
            std::thread::sleep(Duration::from_micros(self.plan.within_us));
        }
        let name = *name;
        self.note(|| format!("{name} is killed"));
        self.is_killed = true;
        self.hosts[name].kill();
        self.hosts[name].invite = None;
        // The last words of a process can be its point, too: then everybody is needed once
        // more.
        self.is_ending = false;
        self.asked.1 = false;
        for other in 0..self.hosts.len() {
            if std::mem::take(&mut self.hosts[other].has_ended) {
                self.hosts[other].back = Some(Instant::now());
            }
        }
    }

    /// SIGKILL for one that wants it, unless it is the victim and stands at its point.
    fn leave(&mut self, name: Name) {
        let is_victim = self.plan.kill.as_ref().is_some_and(|(victim, _)| *victim == name);
        if is_victim && (self.held.is_some() || self.is_killed) {
            return;
        }
        self.note(|| format!("{name} leaves"));
        self.hosts[name].kill();
        self.hosts[name].invite = None;
        self.hosts[name].leaves = true;
        self.asked.1 = false;
    }

    /// A process says nothing any more.
    fn silent(&mut self, name: Name, runtime: &tokio::runtime::Runtime) {
        let status = self.hosts[name].buried();
        self.note(|| format!("{name} is dead: {status:?}"));
        let is_victim = self.is_killed && self.plan.kill.as_ref().is_some_and(|(victim, _)| *victim == name);
        let has_left = std::mem::take(&mut self.hosts[name].leaves);
        if !has_left && (!is_victim || self.hosts[name].starts > 1) {
            let in_order = self.hosts[name].is_dismissed && status.is_some_and(|status| status.success());
            if !in_order {
                let what = format!("the process of host {name} ended by itself: {status:?}");
                self.audit.violation("R", what);
            }
            if in_order && !self.is_ending {
                self.hosts[name].back = Some(Instant::now());
                return;
            }
            self.hosts[name].has_ended = true;
            return;
        }
        if !is_killed_by_signal(status) {
            self.audit.violation("R", format!("host {name} was to be killed and ended with {status:?}"));
        }
        // What it has left, before it puts it right itself.
        let journal = runtime.block_on(self.hosts[name].journal());
        self.audit.after_the_kill(&self.hosts, name, journal);
        let host = &mut self.hosts[name];
        host.before = Some(host.look.rides.clone());
        if has_left {
            host.back = Some(Instant::now());
            return;
        }
        if let Some(fault) = self.plan.fault {
            runtime.block_on(fault.strike(host.home()));
        }
        self.hosts[name].back = Some(Instant::now() + Duration::from_millis(self.plan.down_ms));
    }

    fn hear(&mut self, name: Name, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !matches!(word, "GOSSIP" | "LOOK" | "RECEIPT" | "FRAME") {
            self.note(|| format!("{name} {line}"));
        }
        match word {
            "POINT" => {
                let mut parts = rest.splitn(3, ' ');
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let (batch, queued, records) = (part(), part() == "1", part());
                if self.hosts[name].starts == 1 {
                    self.points.push(Point { host: name, batch, queued, records });
                }
            }
            "SOON" => self.kill(),
            "AT" => {
                let sent: Vec<StatementId> = rest
                    .split(' ')
                    .filter_map(|id| id.parse().ok())
                    .filter(|id| !self.audit.has_heard(id))
                    .collect();
                self.held = Some((sent, Instant::now() + HEARD));
            }
            "FRAME" => {
                let Some((peer, frame)) = rest.split_once(' ') else { return };
                let Some(heard) = Heard::frame(name, peer, frame) else {
                    return self.audit.violation("R", format!("host {name} hears what is no frame"));
                };
                self.note(|| format!("{name} hears {heard}"));
                if let Some((left, _)) = &mut self.held {
                    left.retain(|id| !heard.ids().contains(id));
                }
                self.audit.hear(heard);
            }
            "GOSSIP" => self.audit.hear(Heard::gossip(name, rest)),
            "CODE" => {
                for host in &mut self.hosts {
                    host.tell(line);
                }
                if let Some((agreement, code)) = rest.split_once(' ') {
                    self.hosts[name].codes.insert(agreement.to_owned(), code.to_owned());
                }
            }
            "AGAIN" => self.leave(name),
            "RATED" => self.hosts[name].has_rated = true,
            "READY" => self.ready(name, rest),
            "LOOK" => self.look(name, rest),
            "RECEIPT" => {
                let file = rest.split_once(' ').map_or("", |(_, file)| file);
                self.audit.receipt(name, file);
            }
            _ => {}
        }
    }

    fn ready(&mut self, name: Name, rest: &str) {
        let Some((peer, invite)) = rest.split_once(' ') else { return };
        self.hosts[name].peer = peer.parse().ok();
        if self.is_killed
            && self.plan.kill.as_ref().is_some_and(|(victim, _)| *victim == name)
            && self.hosts[name].starts == 1
        {
            // It was when it said so.
            return;
        }
        self.hosts[name].invite = Some(invite.to_owned());
        if let Some(peer) = self.hosts[name].peer {
            self.audit.meet(peer, name);
        }
        let codes: Vec<String> = self
            .hosts
            .iter()
            .flat_map(|host| &host.codes)
            .map(|(agreement, code)| format!("CODE {agreement} {code}"))
            .collect();
        for code in codes {
            self.hosts[name].tell(&code);
        }
        for other in 0..self.hosts.len() {
            if self.hosts[other].starts == 0 {
                self.start(other);
            }
        }
    }

    fn look(&mut self, name: Name, text: &str) {
        let look: Look = serde_json::from_str(text).expect("it was written here");
        let (outbox, lane) = (look.outbox, look.lane.clone());
        let states: Vec<String> = look.rides.iter().map(|ride| ride.state.clone()).collect();
        self.note(|| format!("{name} shows {states:?}, {lane}, {outbox} to be heard"));
        let host = &mut self.hosts[name];
        if let Some(before) = host.before.take() {
            self.audit.came_back(name, &before, &look.rides);
        }
        if look.accused > 0 {
            self.audit.violation("S6", format!("host {name} has evidence against somebody"));
        }
        let host = &mut self.hosts[name];
        if !is_still(&look) {
            self.asked.1 = false;
        } else if look.number > 0 {
            host.answered = look.number;
        }
        host.look = look;
    }

    /// Whether everything is over, by what all say when they are asked at one time.
    fn is_settled(&mut self) -> bool {
        if self.held.is_some() || self.hosts.iter().any(|host| !host.is_up()) {
            return false;
        }
        if !self.hosts.iter().all(|host| is_still(&host.look)) {
            return false;
        }
        let (number, is_open) = self.asked;
        if is_open {
            return self.hosts.iter().all(|host| host.answered == number);
        }
        self.asked = (number + 1, true);
        for host in &mut self.hosts {
            host.tell(&format!("LOOK {}", number + 1));
        }
        false
    }
}

/// Whether a node has nothing left to do.
fn is_still(look: &Look) -> bool {
    look.done && look.outbox == 0 && matches!(&*look.lane, "free" | "idle")
}

#[cfg(unix)]
fn is_killed_by_signal(status: Option<std::process::ExitStatus>) -> bool {
    use std::os::unix::process::ExitStatusExt;
    /// SIGKILL, on every Unix.
    const KILL: i32 = 9;
    status.is_some_and(|status| status.signal() == Some(KILL))
}

#[cfg(not(unix))]
fn is_killed_by_signal(status: Option<std::process::ExitStatus>) -> bool {
    status.is_some_and(|status| !status.success())
}
