//! When the store fails: nothing is signed until it works again.
//!
//! The marketplace in memory has run ahead of the journal and is not asked any more. A
//! new one is made from what the journal holds, as at a start; then it is told again
//! what it cannot know from there.

use std::collections::BTreeSet;

use hailmesh_market::{Command, Input, Marketplace, Record, Snapshot};
use hailmesh_store::Error;
use hailmesh_types::Private;
use hailmesh_wire::Topic;
use tokio::sync::oneshot;
use tokio::time::Duration;

use super::{Effect, Engine};
use crate::error::NodeError;

/// Pause between two attempts to go on.
const RETRY: Duration = Duration::from_secs(1);

/// The node decides nothing at the moment.
pub(crate) struct Halt {
    /// What status says.
    why: &'static str,
    /// What happened, in words.
    error: String,
    /// What was last known, for status.
    last: Box<Snapshot>,
    /// An attempt to go on; none when going on would be wrong.
    attempt: Option<oneshot::Receiver<Result<Vec<Record>, Error>>>,
}

impl Halt {
    pub(super) fn error(&self) -> NodeError {
        NodeError::Store(self.error.clone())
    }
}

const UNAVAILABLE: &str = "the store is unavailable";
const REFUSED: &str = "the store refused a record";
const RESTARTING: &str = "the marketplace is being rebuilt";

/// The outcome of the attempt that is under way; waits for ever without one.
pub(super) async fn reloaded(halt: &mut Option<Halt>) -> Option<Result<Vec<Record>, Error>> {
    let attempt = halt.as_mut().and_then(|halt| halt.attempt.as_mut());
    match attempt {
        Some(attempt) => Some(attempt.await.unwrap_or_else(|_| {
            Err(Error::Unavailable {
                what: "the journal".to_owned(),
                detail: "the attempt was lost".to_owned(),
            })
        })),
        None => std::future::pending().await,
    }
}

impl Engine {
    /// Whether going on from what is stored is right: not when the journal contradicts
    /// this node, or is somebody else's now.
    fn hint_for(error: &Error) -> (&'static str, bool, &'static str) {
        match error {
            Error::Unavailable { .. } => (
                UNAVAILABLE,
                true,
                "nothing is signed until it works again; check the disk space and permissions, or the database \
                 server: the node goes on by itself",
            ),
            Error::Conflict { .. } => (
                REFUSED,
                false,
                "nothing is signed any more; restart the node, and if it happens again look for a second copy of \
                 this home",
            ),
            _ => {
                (UNAVAILABLE, false, "nothing is signed any more; put the journal right and restart the node")
            }
        }
    }

    /// Stops deciding. Effects that waited for records never happen, and whoever waits
    /// for an answer is told.
    pub(super) fn halt_for(&mut self, error: &Error) {
        let (why, again, hint) = Self::hint_for(error);
        let text = error.to_string();
        // P11.1: withdraw. Where the journal contradicts this node or is somebody else's,
        // not even that is signed.
        let running = again && self.halt.is_none();
        let sent = self.offer_out.take().filter(|_| running);
        let withdrawal = sent.and_then(|sent| self.market.last_words(self.clock.now(), &sent));
        self.stop_deciding(why, text.clone());
        if let Some(withdrawal) = withdrawal {
            tracing::info!("the offer was withdrawn: nothing can be agreed without the store");
            self.queue.push(Effect::Output(withdrawal));
        }
        self.problem(&text, hint);
        if again {
            self.attempt(RETRY);
        }
    }

    /// Goes back to what is stored though the store works. No commit may be on its way:
    /// what it makes durable would be missing from what is read.
    pub(super) fn rebuild_from_store(&mut self) {
        self.stop_deciding(
            RESTARTING,
            "the marketplace is being rebuilt after a jump of the clock".to_owned(),
        );
        self.attempt(Duration::ZERO);
    }

    fn stop_deciding(&mut self, why: &'static str, error: String) {
        self.rebuild_due = false;
        let mut last = self.snapshot();
        last.halted = Some(why);
        for effect in self.queue.abandon() {
            match effect {
                Effect::Reply(reply) => reply(Some(NodeError::Store(error.clone()))),
                Effect::Output(_) => {}
            }
        }
        self.halt = Some(Halt { why, error, last: Box::new(last), attempt: None });
    }

    fn attempt(&mut self, pause: Duration) {
        let (tell, told) = oneshot::channel();
        let (journal, mark) = (self.journal.clone(), self.mark);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // Nobody may be left to hear it.
            let _ = tell.send(journal.reload(mark).await);
        });
        if let Some(halt) = &mut self.halt {
            halt.attempt = Some(told);
        }
    }

    /// What the marketplace shows, or last showed.
    pub(super) fn snapshot(&self) -> Snapshot {
        match &self.halt {
            Some(halt) => {
                Snapshot { halted: Some(halt.why), peers: self.peers.len(), ..(*halt.last).clone() }
            }
            None => self.market.snapshot(self.clock.now()),
        }
    }

    pub(super) async fn on_reloaded(&mut self, result: Result<Vec<Record>, Error>) {
        let records = match result {
            Ok(records) => records,
            Err(error) => {
                tracing::debug!(%error, "the store still fails");
                let (_, again, _) = Self::hint_for(&error);
                if let Some(halt) = &mut self.halt {
                    halt.error = error.to_string();
                    halt.attempt = None;
                }
                if again {
                    self.attempt(RETRY);
                } else {
                    self.halt_for(&error);
                }
                return;
            }
        };
        let mut seed = [0; 32];
        if let Err(error) = getrandom::fill(&mut seed) {
            let what = "randomness".to_owned();
            self.halt_for(&Error::Unavailable { what, detail: error.to_string() });
            return;
        }
        let keys = self.identity.keys(false, false);
        match Marketplace::recover(self.config.clone(), keys, seed, records, self.clock.now()) {
            Ok(market) => self.go_on(market).await,
            Err(error) => {
                let (what, detail) = ("the journal".to_owned(), error.to_string());
                self.halt_for(&Error::Corrupt { what, detail });
            }
        }
    }

    /// Tells a new marketplace what it cannot know from the journal.
    async fn go_on(&mut self, market: Marketplace) {
        self.market = market;
        self.halt = None;
        self.link.forget_asks();
        let left: BTreeSet<Topic> = std::mem::take(&mut self.topics);
        self.drain().await;
        self.follow_key().await;
        for (peer, origin) in self.peers.clone() {
            self.input(Input::PeerConnected { peer, origin }).await;
        }
        self.input(Input::Addresses(self.link.offered())).await;
        self.say_again().await;
        for topic in left.difference(&self.topics.clone()) {
            self.link.send(hailmesh_net::Command::Unsubscribe(topic.clone())).await;
        }
        if self.halt.is_none() {
            tracing::info!("the store works again: the node goes on");
        }
    }

    /// Position and profile, as the user last said them.
    pub(super) async fn say_again(&mut self) {
        let position = self.said.position.map(|point| Command::Move(Private(point)));
        let profile = self.said.profile.clone().map(Command::GoOnline);
        for command in position.into_iter().chain(profile) {
            if self.halt.is_some() {
                return;
            }
            if let Err(error) = self.market.command(self.clock.now(), command) {
                self.problem(&error.to_string(), "set the position and the offer again");
            }
            self.drain().await;
        }
    }
}
