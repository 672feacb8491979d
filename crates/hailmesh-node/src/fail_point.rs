//! Points at which a test lets the process of a node die, to see what is left of it.
//!
//! They are passed in the code that ships, by the node with its real store. Whoever embeds
//! a node may have them pointed out ([`Node::start_with_fail_points`]); nobody else can: no
//! setting, no variable of the environment and no feature of the build reaches them, and a
//! node that was started in any other way asks one `Option` for each commit.
//!
//! [`Node::start_with_fail_points`]: crate::Node::start_with_fail_points

use std::fmt;
use std::sync::Arc;

use hailmesh_market::Record;

/// Where a node stands with what P11.1 calls a write: one transaction, which holds one
/// batch of records or several that have gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPoint<'a> {
    /// The transaction is about to begin.
    BeforeCommit(&'a [Vec<Record>]),
    /// It is durable, and nothing that waits for it has been done.
    AfterCommit(&'a [Vec<Record>]),
    /// Everything that waited for the last transaction has been handed to the network and
    /// to whoever waits for an answer; nothing after it has begun.
    AfterSend,
}

/// Is told whenever a node passes a [`FailPoint`], on the task that passes it: the node
/// goes on when the call returns, and never if it does not.
#[derive(Clone)]
pub struct FailPoints(Arc<dyn Fn(FailPoint<'_>) + Send + Sync>);

impl FailPoints {
    /// Calls `reached` at every point.
    #[must_use]
    pub fn new(reached: impl Fn(FailPoint<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(reached))
    }

    pub(crate) fn reach(&self, point: FailPoint<'_>) {
        (self.0)(point);
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailPoints")
    }
}
