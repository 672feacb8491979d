//! The loop: whatever happens is told to the marketplace, and what it asks for is done.
//!
//! No decision is taken here: what decides is the marketplace, which the simulator and
//! the model checker run as well. After *every* input its outputs are drained into the
//! [`Queue`], which lets nothing that follows a batch of records leave before the batch
//! is durable. Only verdicts on gossip overtake: they promise nothing.

mod halting;
mod network;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hailmesh_market::{
    Answer, AskId, Command, CommandError, Config as MarketConfig, DriverProfile, Event, Input, Keys,
    Marketplace, Output, Record, Role,
};
use hailmesh_net as net;
use hailmesh_types::{GeoPoint, PeerKey, Timestamp};
use hailmesh_wire::{AnyStatement, RideState, Topic};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep_until};

use crate::clock::Clock;
use crate::error::NodeError;
use crate::events::{EventLog, NodeEvent};
use crate::fail_point::FailPoint;
use crate::journal::{Ack, Journal};
use crate::keys::IdentityKey;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::start_mark::Mark;
use crate::status::{Problem, Seen};
use crate::translate;
use crate::work::Found;

use halting::Halt;
pub(crate) use network::{Current, Link};
pub(crate) use reading::{Core, Reading};

/// Events of the network that are taken in one turn.
const EVENTS_PER_TURN: usize = 64;
/// How often the clock and the figures are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often good peers are written down.
const REMEMBER: Duration = Duration::from_secs(60);
/// When good peers are written down after a start, and after anybody who is in a ride of this
/// node has come from elsewhere: long enough for that peer to say where it listens, and soon
/// enough for a node that is killed young to find its way back.
pub(crate) const REMEMBER_SOON: Duration = Duration::from_secs(5);
/// How long a handshake in flight may delay the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long the very same problem is not told again.
const PROBLEM_AGAIN_MS: u64 = 60_000;
/// How long the network gets to send the last messages.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What a handle asks of the loop.
pub(crate) enum Request {
    Command(Box<Command>, oneshot::Sender<Result<Answer, NodeError>>),
    Read(Reading),
    Dial(net::Multiaddr),
    Shutdown,
}

/// Something to be done when all records before it are durable.
pub(crate) enum Effect {
    /// What the marketplace asked for.
    Output(Output),
    /// Tells somebody who waits; with the reason why it did not happen if the records
    /// before it could not be kept.
    Reply(Box<dyn FnOnce(Option<NodeError>) + Send>),
}

/// Who the node is, for as long as it runs.
pub(crate) struct Identity {
    pub(crate) role: Option<Role>,
    pub(crate) key: IdentityKey,
    /// The transport identity of riders and relays.
    pub(crate) transport: Option<PeerKey>,
}

impl Identity {
    pub(crate) fn keys(&self, lost: bool, new_host: bool) -> Keys {
        Keys {
            role: self.role,
            identity: self.key.signing_key().clone(),
            transport: self.transport,
            lost,
            new_host,
        }
    }
}

/// What the user last said, to be said again to a new marketplace. Consent to share a
/// position is not among it: a user who is in doubt whether it still stands gives it anew.
#[derive(Default)]
pub(crate) struct LastSaid {
    pub(crate) position: Option<GeoPoint>,
    pub(crate) profile: Option<DriverProfile>,
}

/// The state of the loop.
pub(crate) struct Engine {
    pub(crate) identity: Identity,
    pub(crate) config: MarketConfig,
    pub(crate) clock: Clock,
    pub(crate) market: Marketplace,
    pub(crate) halt: Option<Halt>,
    pub(crate) journal: Journal,
    pub(crate) mark: Option<Mark>,
    pub(crate) commits: mpsc::Sender<Vec<Vec<Record>>>,
    pub(crate) acks: mpsc::Receiver<Ack>,
    pub(crate) work: mpsc::UnboundedSender<hailmesh_market::WorkOrder>,
    pub(crate) work_done: mpsc::Receiver<Found>,
    pub(crate) queue: Queue<Effect>,
    pub(crate) link: Link,
    /// Peers connected, and where from.
    pub(crate) peers: BTreeMap<PeerKey, hailmesh_market::Origin>,
    pub(crate) connected_since: Option<Timestamp>,
    pub(crate) topics: BTreeSet<Topic>,
    /// When good peers are written down next.
    pub(crate) remember_at: Instant,
    /// The network is to follow the marketplace's new key.
    pub(crate) key_replaced: bool,
    /// The marketplace is to be rebuilt as soon as no commit is on its way.
    pub(crate) rebuild_due: bool,
    pub(crate) seen: Seen,
    pub(crate) said: LastSaid,
    /// The own offer that is out, as it was sent.
    pub(crate) offer_out: Option<Arc<[u8]>>,
    pub(crate) last_error: Option<Problem>,
    pub(crate) log: Arc<EventLog>,
    pub(crate) metrics: Metrics,
    pub(crate) requests: mpsc::Receiver<Request>,
}

impl Engine {
    /// Runs until the node is told to end, or every handle is gone.
    pub(crate) async fn run(mut self) -> Result<(), NodeError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending: Option<Instant> = None;
        let mut handles_gone = false;
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        loop {
            if ending.is_some_and(|by| self.is_settled() || by <= Instant::now()) {
                break;
            }
            let timeout = self.next_timeout().unwrap_or_else(|| Instant::now() + TICK);
            let remember_at = self.remember_at;
            tokio::select! {
                biased;
                Some(ack) = self.acks.recv() => self.on_ack(ack).await,
                Some(result) = halting::reloaded(&mut self.halt) => self.on_reloaded(result).await,
                request = self.requests.recv(), if !handles_gone => {
                    handles_gone = request.is_none();
                    match request {
                        Some(Request::Shutdown) | None if ending.is_none() => {
                            ending = Some(Instant::now() + FAREWELL);
                            self.begin_end().await;
                        }
                        Some(request) => self.on_request(request).await,
                        None => {}
                    }
                }
                Some((order, pow)) = self.work_done.recv() => self.input(Input::Work { order, pow }).await,
                () = sleep_until(timeout) => self.input(Input::Timeout).await,
                count = self.link.events(&mut events, EVENTS_PER_TURN) => {
                    if count == 0 {
                        self.on_network_ended().await;
                    }
                    for event in events.drain(..) {
                        self.on_network(event).await;
                    }
                }
                _ = tick.tick() => self.on_tick().await,
                () = sleep_until(remember_at) => self.remember_peers(),
            }
            if std::mem::take(&mut self.key_replaced) {
                self.follow_key().await;
            }
        }
        self.end().await;
        Ok(())
    }

    /// Does what recovering has caused, then says the first words of the user.
    ///
    /// # Errors
    /// A value that the marketplace refuses; what else it refuses is told in status.
    pub(crate) async fn begin(&mut self, words: Vec<Command>) -> Result<(), CommandError> {
        self.after_commit().await;
        self.input(Input::Addresses(self.link.offered())).await;
        for command in words {
            self.remember_said(command.clone());
            match self.market.command(self.clock.now(), command) {
                Ok(_) => {}
                Err(error @ CommandError::BadValue { .. }) => return Err(error),
                Err(error) => self.problem(&error.to_string(), "see `hailmesh doctor`"),
            }
            self.drain().await;
        }
        Ok(())
    }

    /// Gives up before the loop was entered.
    pub(crate) async fn abandon(mut self) {
        self.link.shutdown().await;
    }

    fn next_timeout(&self) -> Option<Instant> {
        if self.halt.is_some() {
            return None;
        }
        let (at, _) = self.market.poll_timeout()?;
        Some(self.clock.instant_of(at).into())
    }

    /// Tells the marketplace, and does what it asks for.
    pub(super) async fn input(&mut self, input: Input) {
        if self.halt.is_some() {
            // Nothing is decided while nothing can be kept; what peers sent is dropped.
            if let Input::Gossip { message, .. } = input {
                self.judge(message, hailmesh_market::Verdict::Ignore).await;
            }
            return;
        }
        self.market.handle_input(self.clock.now(), input);
        self.drain().await;
    }

    /// Takes every output, in order, then carries out what nothing holds back.
    pub(super) async fn drain(&mut self) {
        self.collect().await;
        self.flush().await;
    }

    async fn collect(&mut self) {
        while let Some(output) = self.market.poll_output() {
            match output {
                Output::Persist(records) => {
                    if records.iter().any(|record| matches!(record, Record::Bound(_) | Record::Peer { .. })) {
                        self.remember_soon();
                    }
                    self.queue.push_batch(records);
                }
                Output::Judge { message, verdict } => self.judge(message, verdict).await,
                output => self.queue.push(Effect::Output(output)),
            }
        }
    }

    /// Does what may be done now, and sets out to make durable what holds back the rest.
    pub(super) async fn flush(&mut self) {
        self.release().await;
        if self.rebuild_due {
            return;
        }
        if let Some(batches) = self.queue.begin_commit() {
            // One commit at a time: the channel has room. A writer that is gone is a
            // store that is gone.
            if self.commits.try_send(batches).is_err() {
                let detail = "the writer has ended".to_owned();
                let what = self.journal.store().kind().to_owned();
                self.halt_for(&hailmesh_store::Error::Unavailable { what, detail });
                self.release().await;
            }
        }
    }

    /// Does what has waited for the last commit, then goes on.
    async fn after_commit(&mut self) {
        self.release().await;
        self.journal.reach(FailPoint::AfterSend);
        self.flush().await;
    }

    async fn release(&mut self) {
        while let Some(effect) = self.queue.pop() {
            match effect {
                Effect::Output(output) => self.perform(output).await,
                Effect::Reply(reply) => reply(None),
            }
        }
    }

    async fn on_ack(&mut self, ack: Ack) {
        self.metrics.commit(ack.took, ack.result.is_ok());
        match ack.result {
            Ok(()) => {
                self.queue.committed();
                self.after_commit().await;
                if self.rebuild_due {
                    self.rebuild_from_store();
                }
            }
            Err(error) => {
                self.halt_for(&error);
                self.release().await;
            }
        }
    }

    /// The one place where effects happen.
    async fn perform(&mut self, output: Output) {
        match output {
            Output::Publish { topic, bytes } => {
                match AnyStatement::decode(bytes.to_vec()) {
                    Ok(AnyStatement::DriverOffer(offer)) => {
                        self.offer_out = offer.body().live.is_some().then(|| Arc::clone(&bytes));
                    }
                    Ok(AnyStatement::RiderOffer(offer)) => {
                        self.offer_out = offer.body().live.is_some().then(|| Arc::clone(&bytes));
                    }
                    _ => {}
                }
                self.link.send(net::Command::Publish { topic, data: bytes.to_vec() }).await;
            }
            Output::Send { ask, peer, addrs, frame } => {
                self.link.ask(ask, peer, translate::hints(&addrs), frame).await;
            }
            Output::Reply { exchange, frame } => self.link.reply(exchange, frame).await,
            Output::Subscribe(topic) => {
                self.topics.insert(topic.clone());
                self.link.send(net::Command::Subscribe(topic)).await;
            }
            Output::Unsubscribe(topic) => {
                self.topics.remove(&topic);
                self.link.send(net::Command::Unsubscribe(topic)).await;
            }
            Output::Dial { peer, addrs } => {
                for addr in translate::pinned(&addrs, &peer) {
                    self.link.send(net::Command::Dial { addr }).await;
                }
            }
            Output::Score { peer, score } => {
                self.link.send(net::Command::SetScore { peer, score: f64::from(score) }).await;
            }
            Output::Work(order) => {
                if self.work.send(order).is_err() {
                    tracing::warn!("nobody does the proofs of work any more");
                }
            }
            Output::Notify(event) => self.notify(event),
            // Drained before they get here.
            Output::Persist(_) | Output::Judge { .. } => {}
        }
    }

    pub(super) async fn judge(
        &mut self,
        message: hailmesh_market::MessageRef,
        verdict: hailmesh_market::Verdict,
    ) {
        self.metrics.verdict(verdict);
        let (message, verdict) = (translate::token(message), translate::verdict(verdict));
        self.link.tap(net::Tapped::Judged { id: message.id, verdict });
        self.link.send(net::Command::Judge { message, verdict }).await;
    }

    fn notify(&mut self, event: Event) {
        match &event {
            Event::Ride { ride, role, state, reason } => {
                let reason = reason.as_deref().unwrap_or_default();
                tracing::info!(%ride, role = role.name(), %state, reason, "ride");
                let view = matches!(state, RideState::Firm)
                    .then(|| self.market.ride(*ride, self.clock.now()))
                    .flatten();
                self.metrics.ride(*role, *state, view.and_then(|view| view.settle_ms));
            }
            Event::Asked { ride, valid_ms, .. } => {
                tracing::info!(%ride, valid_ms, "a rider asks: accept or decline")
            }
            Event::FareDisputed { ride, .. } => tracing::info!(%ride, "the final fare needs consent"),
            Event::OfferPublished { role, seq } => {
                tracing::debug!(role = role.name(), seq, "offer published")
            }
            Event::OfferWithdrawn { role } => tracing::info!(role = role.name(), "offer withdrawn"),
            Event::Evidence { accused, kind } => tracing::warn!(?accused, kind, "evidence of a fraud"),
            Event::Cloned { .. } => {
                let hint = "stop every other copy of this home, then start again: the key will be replaced";
                self.problem("this home was copied or rolled back: its key signs nothing any more", hint);
            }
            Event::KeyReplaced { key } => tracing::info!(?key, "new shift key"),
            Event::Seen { ride } => tracing::trace!(%ride, "the other side said where it is"),
            Event::BoardingRefused { ride, .. } => tracing::warn!(%ride, "boarding was refused"),
            Event::Notice(text) => tracing::info!("{text}"),
        }
        self.key_replaced |= matches!(event, Event::KeyReplaced { .. });
        self.log.push(self.clock.now(), NodeEvent::Market(event));
    }

    async fn on_request(&mut self, request: Request) {
        match request {
            Request::Command(command, reply) => self.on_command(*command, reply).await,
            Request::Read(reading) => self.read(reading).await,
            Request::Dial(addr) => self.link.send(net::Command::Dial { addr }).await,
            Request::Shutdown => {}
        }
    }

    async fn on_command(&mut self, command: Command, reply: oneshot::Sender<Result<Answer, NodeError>>) {
        if self.halt.is_some() {
            // The one who asked may be gone, here and below: then nobody is told.
            let _ = reply.send(Err(CommandError::StoreUnavailable.into()));
            return;
        }
        let said = command.clone();
        let result = self.market.command(self.clock.now(), command);
        if result.is_ok() {
            self.remember_said(said);
        }
        // A refused command changes nothing; it still waits its turn, so that answers
        // come in the order of the commands.
        self.collect().await;
        let result = result.map_err(NodeError::Command);
        self.queue.push(Effect::Reply(Box::new(move |failure| {
            let _ = reply.send(failure.map_or(result, Err));
        })));
        self.flush().await;
    }

    fn remember_said(&mut self, command: Command) {
        match command {
            Command::Move(point) => self.said.position = Some(*point.expose()),
            Command::GoOnline(profile) => self.said.profile = Some(profile),
            Command::GoOffline | Command::Shutdown => self.said.profile = None,
            _ => {}
        }
    }

    async fn on_tick(&mut self) {
        if let Some(jump) = self.clock.check() {
            self.metrics.clock_jump();
            let seconds = jump.by_ms / 1_000;
            self.problem(
                &format!("the clock of this machine has moved by {seconds} s (sleep, or it was set)"),
                "nothing to do if it is right now; keep it right with NTP",
            );
            // Backwards, every timer would stand still for that long (P12): timers are
            // armed anew from what is stored.
            if jump.by_ms < 0 && self.halt.is_none() {
                self.rebuild_due = true;
                if !self.queue.is_committing() {
                    self.rebuild_from_store();
                }
            }
        }
        let snapshot = self.snapshot();
        self.metrics.observe(&snapshot, self.halt.is_some(), self.clock.uptime());
        #[cfg(test)]
        if self.journal.faults.network.swap(false, std::sync::atomic::Ordering::SeqCst) {
            self.link.shutdown().await;
        }
        self.link.retry(self.clock.now());
        if self.link.is_down() {
            self.on_network_ended().await;
        }
    }

    /// Notes a problem, logs it and tells the user; one that goes on only now and then.
    pub(super) fn problem(&mut self, what: &str, hint: &str) {
        let at = self.clock.now();
        let same = |last: &&Problem| last.what == what && at.millis_since(last.at) < PROBLEM_AGAIN_MS;
        if self.last_error.as_ref().filter(same).is_some() {
            return;
        }
        tracing::warn!(hint, "{what}");
        let problem = Problem { at, what: what.to_owned(), hint: hint.to_owned() };
        self.last_error = Some(problem.clone());
        self.log.push(at, NodeEvent::Problem(problem));
    }

    /// Tells the marketplace that an exchange came to nothing.
    pub(super) async fn send_failed(&mut self, ask: AskId, peer: PeerKey) {
        self.input(Input::SendFailed { ask, peer }).await;
    }

    async fn begin_end(&mut self) {
        tracing::info!("shutting down");
        if self.halt.is_none() {
            // What is refused here has been shut down before.
            let _ = self.market.command(self.clock.now(), Command::Shutdown);
            self.said.profile = None;
            self.drain().await;
        }
    }

    /// Whether nothing is left that a few seconds more could finish.
    fn is_settled(&self) -> bool {
        if self.halt.is_some() {
            return true;
        }
        let bound = matches!(self.snapshot().state, "held" | "committed");
        !bound && self.queue.is_empty()
    }

    async fn end(mut self) {
        if self.link.published() {
            tokio::time::sleep(LAST_WORDS).await;
        }
        let good = self.link.good_peers().await;
        write_peers(self.journal.clone(), good).await;
        self.link.shutdown().await;
        // The writer ends first, so that nothing is on its way when the store closes.
        drop(self.commits);
        while self.acks.recv().await.is_some() {}
        self.journal.store().close().await;
        tracing::info!("stopped");
    }

    /// Good peers are to be written down before long.
    pub(super) fn remember_soon(&mut self) {
        self.remember_at = self.remember_at.min(Instant::now() + REMEMBER_SOON);
    }

    fn remember_peers(&mut self) {
        self.remember_at = Instant::now() + REMEMBER;
        let (journal, link) = (self.journal.clone(), self.link.handle());
        tokio::spawn(async move {
            let good = link.good_peers().await;
            write_peers(journal, good).await;
        });
    }
}

async fn write_peers(journal: Journal, good: Vec<(PeerKey, net::Multiaddr)>) {
    // The store takes the last one as the best, the network gives the best first.
    let peers: Vec<(PeerKey, String)> =
        good.into_iter().rev().map(|(key, addr)| (key, addr.to_string())).collect();
    if let Err(error) = journal.store().remember_peers(&peers).await {
        tracing::warn!(%error, "peers were not remembered");
    }
}

#[cfg(test)]
mod tests;
