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

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use hailmesh_types::PublicKey;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms).unwrap()
    }

    const fn id(number: u8) -> StatementId {
        StatementId::from_bytes([number; 32])
    }

    const fn peer(number: u8) -> PeerKey {
        PeerKey::from_bytes([number; 32])
    }

    fn key(number: u8) -> PublicKey {
        SigningKey::from_bytes(&[number; 32]).verifying_key().into()
    }

    fn slot(number: u64) -> SlotRef {
        SlotRef { key: key(1), lane: 0, slot: number }
    }

    /// An outbox with a VOID (1) and an ACK (2) of slot 1 and a CONFIRM (3) of slot 2, to peers
    /// 1, 2 and 1, first due at 1,000, 900 and 800.
    fn three() -> Outbox {
        let (mut outbox, periods) = (Outbox::default(), Periods::default());
        for (number, kind, of, to, due) in
            [(1, Kind::Void, 1, 1, 1_000), (2, Kind::Ack, 1, 2, 900), (3, Kind::Confirm, 2, 1, 800)]
        {
            outbox.put(slot(of), id(number), kind, peer(to), Arc::from([number]), at(due), &periods);
        }
        outbox
    }

    fn due(outbox: &Outbox, ms: u64) -> Vec<StatementId> {
        outbox.due(at(ms)).iter().map(|row| row.statement).collect()
    }

    #[test]
    fn rows_are_due_by_age_and_gone_when_heard() {
        let mut outbox = three();
        assert_eq!((outbox.len(), outbox.next_due()), (3, Some(at(800))));
        assert_eq!(due(&outbox, 799), []);
        assert_eq!(due(&outbox, 900), [id(3), id(2)]);
        assert_eq!(due(&outbox, 5_000), [id(3), id(2), id(1)]);
        assert!(outbox.contains(&id(3)) && !outbox.contains(&id(4)));
        assert!(outbox.has_key(&key(1)) && !outbox.has_key(&key(2)));
        assert!(outbox.done(&id(3)) && !outbox.done(&id(3)));
        assert_eq!((outbox.len(), &outbox.heard), (2, &vec![id(3)]));
        assert!(!outbox.done_where(&slot(2), |_| true), "another slot");
        assert!(!outbox.done_where(&slot(1), |kind| kind == Kind::Confirm), "another kind");
        assert!(outbox.done_where(&slot(1), |kind| kind == Kind::Ack));
        assert_eq!(due(&outbox, 5_000), [id(1)]);
        assert!(outbox.done_where(&slot(1), |_| true) && !outbox.has_key(&key(1)));
    }

    #[test]
    fn the_pause_doubles_up_to_a_bound_and_a_day_of_it_is_the_end() {
        let periods = Periods::default();
        for (number, first, most) in
            [(1, periods.outbox, periods.outbox_max), (3, periods.confirm_retry, periods.confirm_retry_max)]
        {
            let mut outbox = three();
            for other in [1, 2, 3].into_iter().filter(|other| *other != number) {
                outbox.done(&id(other));
            }
            let (mut now, mut pause, mut waited) = (at(1_000), first, 0);
            while let Some(next) = outbox.next_due().filter(|next| *next != Timestamp::MAX) {
                now = now.max(next);
                outbox.sent(&id(number), None, now, &periods);
                waited += u64::from(pause.as_millis());
                let expected = if waited > ROW_LIFE_MS { Timestamp::MAX } else { now + pause };
                assert_eq!(outbox.next_due(), Some(expected), "after {waited} ms");
                pause = pause.saturating_mul(2).min(most);
            }
            let day = 24 * 3_600 * 1_000;
            assert!(waited > day && waited - u64::from(most.as_millis()) <= day, "{waited}");
            // Only STATUS asks for it now; it is not forgotten.
            outbox.wake(&peer(1), now);
            assert_eq!((outbox.next_due(), outbox.len()), (Some(Timestamp::MAX), 1));
        }
        // A pause that comes to a day exactly is not beyond it.
        let mut outbox = three();
        let day = Periods { outbox: Duration::from_secs(24 * 3_600), ..periods };
        outbox.put(slot(9), id(9), Kind::Void, peer(9), Arc::from([9]), at(0), &day);
        outbox.sent(&id(9), None, at(0), &day);
        assert_eq!(outbox.rows.get(&id(9)).unwrap().next, at(0) + Duration::from_secs(24 * 3_600));
    }

    #[test]
    fn what_is_under_way_waits_until_it_has_landed() {
        let (mut outbox, periods) = (three(), Periods::default());
        outbox.sent(&id(3), Some(AskId(7)), at(800), &periods);
        outbox.sent(&id(2), Some(AskId(8)), at(900), &periods);
        assert_eq!((due(&outbox, 99_000), outbox.next_due()), (vec![id(1)], Some(at(1_000))));
        outbox.landed(AskId(7));
        assert_eq!(due(&outbox, 99_000), [id(3), id(1)]);
        outbox.landed(AskId(8));
        assert_eq!(due(&outbox, 99_000), [id(3), id(2), id(1)]);
    }

    #[test]
    fn a_peer_that_is_back_is_told_at_once_and_no_other() {
        let (mut outbox, periods) = (three(), Periods::default());
        for number in 1..=3 {
            outbox.sent(&id(number), Some(AskId(number.into())), at(1_000), &periods);
        }
        outbox.wake(&peer(1), at(1_001));
        assert_eq!((due(&outbox, 1_001), outbox.next_due()), (vec![id(3), id(1)], Some(at(1_001))));
        assert_eq!(due(&outbox, 1_000), []);
    }

    #[test]
    fn a_slot_whose_other_side_has_moved_is_told_there() {
        let (mut outbox, periods) = (three(), Periods::default());
        for number in 1..=3 {
            outbox.sent(&id(number), Some(AskId(number.into())), at(1_000), &periods);
        }
        outbox.redirect(&slot(1), peer(1), at(1_001));
        assert_eq!(due(&outbox, 1_001), [id(2)], "what went there already is under way");
        assert_eq!(outbox.rows.get(&id(2)).unwrap().peer, peer(1));
        outbox.redirect(&slot(1), peer(3), at(1_002));
        assert_eq!(due(&outbox, 1_002), [id(2), id(1)]);
        assert_eq!(outbox.rows.get(&id(3)).unwrap().peer, peer(1), "another slot");
    }
}
