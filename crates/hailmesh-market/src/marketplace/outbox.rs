//! Statements that are sent until their answer shows that they were heard (P5.5, P11.3).

use std::sync::Arc;

use hailmesh_types::{Duration, PeerKey, StatementId, Timestamp};
use hailmesh_wire::Kind;

use crate::config::Timers as Periods;
use crate::input::AskId;
use crate::journal::SlotRef;
use crate::sorted::SortedMap;

/// After this long a row is sent only when STATUS asks for it, milliseconds (P12). Counted in
/// pauses: a clock that jumps by a day must not put a row to sleep.
const ROW_LIFE_MS: u64 = 24 * 3_600_000;

/// One statement on its way.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) slot: SlotRef,
    pub(super) statement: StatementId,
    pub(super) kind: Kind,
    pub(super) peer: PeerKey,
    pub(super) bytes: Arc<[u8]>,
    pub(super) since: Timestamp,
    next: Timestamp,
    pause: Duration,
    waited_ms: u64,
    in_flight: Option<AskId>,
}

/// All of them, by statement id.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    rows: SortedMap<StatementId, Row>,
    /// Heard, but not yet recorded as heard: nothing waits for that.
    pub(super) heard: Vec<StatementId>,
}

impl Outbox {
    /// Adds a row; it is first due at `due`.
    #[expect(clippy::too_many_arguments, reason = "a row is all of these")]
    pub(super) fn put(
        &mut self,
        slot: SlotRef,
        statement: StatementId,
        kind: Kind,
        peer: PeerKey,
        bytes: Arc<[u8]>,
        due: Timestamp,
        periods: &Periods,
    ) {
        let pause = if kind == Kind::Confirm { periods.confirm_retry } else { periods.outbox };
        let row = Row {
            slot,
            statement,
            kind,
            peer,
            bytes,
            since: due,
            next: due,
            pause,
            waited_ms: 0,
            in_flight: None,
        };
        self.rows.insert(statement, row);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn contains(&self, statement: &StatementId) -> bool {
        self.rows.contains_key(statement)
    }

    /// Whether a statement of this key is on its way.
    pub(super) fn has_key(&self, key: &hailmesh_types::PublicKey) -> bool {
        self.rows.values().any(|row| row.slot.key == *key)
    }

    /// Takes a row out because it was heard. Says whether it was there.
    pub(super) fn done(&mut self, statement: &StatementId) -> bool {
        let was = self.rows.remove(statement).is_some();
        if was {
            self.heard.push(*statement);
        }
        was
    }

    /// Takes out every row of a slot that `which` picks. Says whether there was one.
    pub(super) fn done_where(&mut self, slot: &SlotRef, which: impl Fn(Kind) -> bool) -> bool {
        let of_slot = self.rows.values().filter(|row| row.slot == *slot && which(row.kind));
        let ids: Vec<StatementId> = of_slot.map(|row| row.statement).collect();
        for id in &ids {
            self.done(id);
        }
        !ids.is_empty()
    }

    /// When something is next due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.rows.values().filter(|row| row.in_flight.is_none()).map(|row| row.next).min()
    }

    /// The rows that are due now, in order of their age.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Row> {
        let ready = |row: &&Row| row.in_flight.is_none() && row.next <= now;
        let mut rows: Vec<Row> = self.rows.values().filter(ready).cloned().collect();
        rows.sort_by_key(|row| (row.since, row.statement));
        rows
    }

    /// A row was sent: the pause doubles. `ask` is absent when it went as a reply.
    pub(super) fn sent(
        &mut self,
        statement: &StatementId,
        ask: Option<AskId>,
        now: Timestamp,
        periods: &Periods,
    ) {
        if let Some(row) = self.rows.get_mut(statement) {
            row.in_flight = ask;
            let most = if row.kind == Kind::Confirm { periods.confirm_retry_max } else { periods.outbox_max };
            row.next = now + row.pause;
            row.waited_ms += u64::from(row.pause.as_millis());
            row.pause = row.pause.saturating_mul(2).min(most);
            if row.waited_ms > ROW_LIFE_MS {
                row.next = Timestamp::MAX;
            }
        }
    }

    /// The exchange that carried a row is over, whatever came of it.
    pub(super) fn landed(&mut self, ask: AskId) {
        if let Some(row) = self.rows.values_mut().find(|row| row.in_flight == Some(ask)) {
            row.in_flight = None;
        }
    }

    /// Everything for a peer that has just become reachable is due at once.
    pub(super) fn wake(&mut self, peer: &PeerKey, now: Timestamp) {
        for row in self.rows.values_mut().filter(|row| row.peer == *peer && row.next != Timestamp::MAX) {
            row.next = now;
            row.in_flight = None;
        }
    }

    /// The other side of a slot is now reached at another transport identity.
    pub(super) fn redirect(&mut self, slot: &SlotRef, peer: PeerKey, now: Timestamp) {
        for row in self.rows.values_mut().filter(|row| row.slot == *slot && row.peer != peer) {
            row.peer = peer;
            row.next = now;
            row.in_flight = None;
        }
    }
}
