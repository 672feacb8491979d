//! The rides of a node, page by page: those in memory together with those that only the
//! store still holds.

use std::collections::BTreeMap;

use hailmesh_market::{Record, RideId, RideView, StoredRide};
use hailmesh_wire::Ed25519;

use crate::error::NodeError;
use crate::handle::NodeHandle;

/// Most rides on one page.
pub const RIDES_MAX: usize = 500;

/// Some rides of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct RidesPage {
    /// Newest first. The first page also holds every ride that is not over, however old.
    pub items: Vec<RideView>,
    /// Older ones are before this ride; none when there are none.
    pub next: Option<RideId>,
}

impl NodeHandle {
    /// Rides that were begun before the ride `before`, or the newest, at most `limit` of
    /// them, 1 to [`RIDES_MAX`].
    ///
    /// # Errors
    /// [`NodeError::BadInput`] for another limit; [`NodeError::Store`] while the store
    /// does not work; [`NodeError::History`] when what it holds cannot be read.
    pub async fn rides_page(&self, before: Option<RideId>, limit: usize) -> Result<RidesPage, NodeError> {
        if !(1..=RIDES_MAX).contains(&limit) {
            return Err(NodeError::BadInput(format!("limit {limit}: expected 1 to {RIDES_MAX}")));
        }
        let remembered = self.rides().await?;
        let mut found = BTreeMap::new();
        // One more than asked for shows whether there are older ones.
        for records in self.shared.journal.ended(before, limit + 1).await.map_err(store)? {
            if let Some(stored) = read(records)? {
                let view = stored.view();
                found.insert(view.ride, view);
            }
        }
        for view in &remembered {
            let is_there = found.get(&view.ride).is_some_and(|_| is_worn(view));
            if !is_there && before.is_none_or(|before| view.ride < before) {
                found.insert(view.ride, view.clone());
            }
        }
        let mut items: Vec<RideView> = found.into_values().rev().collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().map(|last| last.ride).filter(|_| more);
        if let (None, Some(next)) = (before, next) {
            let open = remembered.into_iter().filter(|view| view.ride < next && view.state.is_open());
            items.extend(open);
        }
        Ok(RidesPage { items, next })
    }

    /// A ride that only the store still holds.
    pub(crate) async fn stored_ride(&self, ride: RideId) -> Result<Option<StoredRide>, NodeError> {
        read(self.shared.journal.ride(ride).await.map_err(store)?)
    }
}

/// Whether memory has forgotten the statements of a ride that is over.
pub(crate) fn is_worn(view: &RideView) -> bool {
    view.agreement.is_none() && !view.state.is_open()
}

fn read(records: Vec<Record>) -> Result<Option<StoredRide>, NodeError> {
    StoredRide::read(records, &Ed25519).map_err(|error| NodeError::History(error.to_string()))
}

fn store(error: hailmesh_store::Error) -> NodeError {
    match error {
        hailmesh_store::Error::Corrupt { .. } => NodeError::History(error.to_string()),
        error => NodeError::Store(error.to_string()),
    }
}
