//! Rows become records again; what cannot is damage.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hailmesh_market::journal::{
    Bound, ENDED_SLOTS_KEPT, KeyRecord, Record, RideId, SecretPurpose, SecretSeed, SlotRef,
};
use hailmesh_types::{AgreementId, Amount, Currency, PeerKey, Private, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Kind, Outcome};

use super::{Cell, Connection, Row, Value};
use crate::Error;
use crate::rows::{ERASED_KEYS_KEPT, End, Progress, SlotRow, Statement, role_from_code, state_from_name};

/// `seq` of the slots to recover: live ones, the newest ended ones ($1 of them), and the
/// last one of every key that is not erased.
macro_rules! recovered {
    () => {
        "SELECT seq FROM slots WHERE role = 1 AND outcome IS NULL \
         UNION SELECT seq FROM slots WHERE role = 2 AND outcome IS NULL \
         UNION SELECT seq FROM \
             (SELECT seq FROM slots WHERE outcome IS NOT NULL ORDER BY seq DESC LIMIT $1) AS newest \
         UNION SELECT s.seq FROM keys AS k JOIN slots AS s ON s.key = k.key \
             WHERE k.secret IS NOT NULL AND s.slot = \
             (SELECT MAX(t.slot) FROM slots AS t WHERE t.key = s.key AND t.lane = s.lane)"
    };
}

/// `seq` of the slots of the rides from $1 to $2.
macro_rules! of_rides {
    () => {
        "SELECT seq FROM slots WHERE ride BETWEEN $1 AND $2"
    };
}

macro_rules! slots_sql {
    ($chosen:expr) => {
        concat!(
            "SELECT seq, key, lane, slot, role, ride, counterparty, peer, request, accept, agreement, \
             fare, currency, bound_at, deadline, firm_at, outcome, \
             shown, proof, ended_at FROM slots WHERE seq IN (",
            $chosen,
            ")"
        )
    };
}

macro_rules! statements_sql {
    ($chosen:expr) => {
        concat!(
            "SELECT s.seq, t.kind, t.id, t.own, t.bytes FROM slots AS s JOIN statements AS t \
             ON t.key = s.key AND t.lane = s.lane AND t.slot = s.slot WHERE s.seq IN (",
            $chosen,
            ") ORDER BY t.seq"
        )
    };
}

macro_rules! steps_sql {
    ($chosen:expr) => {
        concat!(
            "SELECT s.seq, t.phase, t.wrong_codes, t.made_at FROM slots AS s JOIN steps AS t \
             ON t.key = s.key AND t.lane = s.lane AND t.slot = s.slot WHERE s.seq IN (",
            $chosen,
            ") ORDER BY t.seq"
        )
    };
}

macro_rules! secrets_sql {
    ($chosen:expr) => {
        concat!(
            "SELECT s.seq, t.purpose, t.bytes FROM slots AS s JOIN secrets AS t \
             ON t.key = s.key AND t.lane = s.lane AND t.slot = s.slot WHERE s.seq IN (",
            $chosen,
            ")"
        )
    };
}

/// The queries for some choice of slots, all with the same parameters.
struct Selection {
    slots: &'static str,
    statements: &'static str,
    secrets: &'static str,
    steps: &'static str,
}

const RECOVERED: Selection = Selection {
    slots: slots_sql!(recovered!()),
    statements: statements_sql!(recovered!()),
    secrets: secrets_sql!(recovered!()),
    steps: steps_sql!(recovered!()),
};

const OF_RIDES: Selection = Selection {
    slots: slots_sql!(of_rides!()),
    statements: statements_sql!(of_rides!()),
    secrets: secrets_sql!(of_rides!()),
    steps: steps_sql!(of_rides!()),
};

const KEYS: &str = concat!(
    "SELECT key, role, secret, cert, created, until, replaces_lost FROM keys WHERE secret IS NOT NULL \
     OR key IN (SELECT key FROM slots WHERE seq IN (",
    recovered!(),
    ")) OR seq IN (SELECT seq FROM keys WHERE secret IS NULL ORDER BY seq DESC LIMIT $2) ORDER BY seq"
);

/// Everything a marketplace needs, in the order described at [`Record`].
pub(super) async fn load<C: Connection>(c: &mut C, what: &str) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    let mut given_back = std::collections::BTreeSet::new();
    let kept = [count(ENDED_SLOTS_KEPT), count(ERASED_KEYS_KEPT)];
    for row in c.fetch(KEYS, &kept).await? {
        let mut columns = Columns::new(what, "keys", row);
        let key = columns.public_key()?;
        let role = columns.role()?;
        let secret = columns.optional(Columns::array::<32>)?;
        let erased = secret.is_none();
        records.push(Record::Key(KeyRecord {
            key,
            role,
            secret: SecretSeed(secret.unwrap_or_default()),
            cert: columns.optional(|columns| columns.bytes().map(Arc::from))?,
            created: columns.time()?,
            until: columns.time()?,
            replaces_lost: columns.number::<u8>()? == 1,
        }));
        if erased {
            records.push(Record::KeyErased { key });
        }
        given_back.insert(key);
    }
    for row in c.fetch("SELECT key, below FROM sequences ORDER BY key", &[]).await? {
        let mut columns = Columns::new(what, "sequences", row);
        let (key, below) = (columns.public_key()?, columns.number()?);
        if given_back.contains(&key) {
            records.push(Record::SeqReserved { key, below });
        }
    }
    for slot in slots(c, what, &RECOVERED, &kept[..1]).await?.into_values() {
        slot.records(&mut records);
    }
    let outbox = "SELECT key, lane, slot, statement, recipient, peer, bytes, due_at FROM outbox ORDER BY seq";
    for row in c.fetch(outbox, &[]).await? {
        let mut columns = Columns::new(what, "outbox", row);
        records.push(Record::OutboxPut {
            slot: columns.slot()?,
            statement: columns.statement_id()?,
            to: columns.public_key()?,
            peer: PeerKey::from_bytes(columns.array()?),
            bytes: columns.bytes()?.into(),
            at: columns.time()?,
        });
    }
    for row in c.fetch("SELECT accused, kind, bytes, found_at FROM evidence ORDER BY seq", &[]).await? {
        let mut columns = Columns::new(what, "evidence", row);
        records.push(Record::Evidence {
            accused: columns.public_key()?,
            kind: columns.number()?,
            bytes: columns.bytes()?.into(),
            at: columns.time()?,
        });
    }
    for row in c.fetch("SELECT key, until FROM bans ORDER BY key", &[]).await? {
        let mut columns = Columns::new(what, "bans", row);
        let key = columns.public_key()?;
        records.push(Record::Ban { key, until: columns.optional(Columns::time)? });
    }
    Ok(records)
}

/// Rides that are over, newest first.
pub(super) async fn ended<C: Connection>(
    c: &mut C,
    what: &str,
    before: Option<RideId>,
    limit: usize,
) -> Result<Vec<Vec<Record>>, Error> {
    let before = before.map_or([0xff; 16], RideId::to_bytes);
    let rides = c
        .fetch(
            "SELECT DISTINCT s.ride FROM slots AS s WHERE s.ride < $1 AND NOT EXISTS \
             (SELECT 1 FROM slots AS live WHERE live.ride = s.ride AND live.outcome IS NULL) \
             ORDER BY s.ride DESC LIMIT $2",
            &[(&before).into(), count(limit)],
        )
        .await?;
    let rides = rides
        .into_iter()
        .map(|row| Columns::new(what, "slots", row).array::<16>())
        .collect::<Result<Vec<_>, _>>()?;
    let (Some(newest), Some(oldest)) = (rides.first(), rides.last()) else {
        return Ok(Vec::new());
    };
    let mut found: BTreeMap<[u8; 16], Vec<Record>> = rides.iter().map(|ride| (*ride, Vec::new())).collect();
    for slot in slots(c, what, &OF_RIDES, &[oldest.into(), newest.into()]).await?.into_values() {
        // Between them may lie a ride that is not over.
        if let Some(records) = found.get_mut(&slot.bound.ride.to_bytes()) {
            slot.records(records);
        }
    }
    Ok(found.into_values().rev().collect())
}

/// All slots of one ride.
pub(super) async fn ride<C: Connection>(c: &mut C, what: &str, ride: RideId) -> Result<Vec<Record>, Error> {
    let ride = ride.to_bytes();
    let mut records = Vec::new();
    for slot in slots(c, what, &OF_RIDES, &[(&ride).into(), (&ride).into()]).await?.into_values() {
        slot.records(&mut records);
    }
    Ok(records)
}

pub(super) async fn peers<C: Connection>(c: &mut C, what: &str) -> Result<Vec<(PeerKey, String)>, Error> {
    let rows = c.fetch("SELECT peer, address FROM peers ORDER BY seq DESC", &[]).await?;
    let peer = |row| {
        let mut columns = Columns::new(what, "peers", row);
        Ok((PeerKey::from_bytes(columns.array()?), columns.text()?))
    };
    rows.into_iter().map(peer).collect()
}

pub(super) async fn start_mark<C: Connection>(c: &mut C, what: &str) -> Result<Option<[u8; 32]>, Error> {
    let mark = meta(c, "start_mark").await?;
    let whole = |mark: Vec<u8>| {
        mark.try_into().map_err(|_| corrupt(what, "meta", "the start mark is not of 32 bytes"))
    };
    mark.map(whole).transpose()
}

/// A lively answer shows that the connection, and with it the lock, is there.
pub(super) async fn check<C: Connection>(c: &mut C, what: &str) -> Result<(), Error> {
    match meta(c, "openings").await? {
        Some(_) => Ok(()),
        None => Err(corrupt(what, "meta", "the count of openings is gone")),
    }
}

/// A value of the table `meta`.
pub(super) async fn meta<C: Connection>(c: &mut C, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
    let rows = c.fetch("SELECT value FROM meta WHERE name = $1", &[name.into()]).await?;
    Ok(rows.into_iter().flatten().next().and_then(|cell| match cell {
        Cell::Bytes(value) => Some(value),
        _ => None,
    }))
}

/// The chosen slots with everything that belongs to them, by the order of their binding.
async fn slots<C: Connection>(
    c: &mut C,
    what: &str,
    selection: &Selection,
    values: &[Value<'_>],
) -> Result<BTreeMap<i64, SlotRow>, Error> {
    let mut found = BTreeMap::new();
    for row in c.fetch(selection.slots, values).await? {
        let mut columns = Columns::new(what, "slots", row);
        found.insert(columns.number()?, slot(&mut columns)?);
    }
    for row in c.fetch(selection.statements, values).await? {
        let mut columns = Columns::new(what, "statements", row);
        let Some(slot) = found.get_mut(&columns.number()?) else { continue };
        slot.statements.push(Statement {
            kind: columns.code("kind", Kind::from_code)?,
            id: columns.statement_id()?,
            own: columns.number::<u8>()? == 1,
            bytes: columns.bytes()?.into(),
        });
    }
    for row in c.fetch(selection.secrets, values).await? {
        let mut columns = Columns::new(what, "secrets", row);
        let Some(slot) = found.get_mut(&columns.number()?) else { continue };
        let purpose = columns.code("purpose", SecretPurpose::from_code)?;
        slot.secrets.insert(purpose, Private(columns.bytes()?));
    }
    for row in c.fetch(selection.steps, values).await? {
        let mut columns = Columns::new(what, "steps", row);
        let Some(slot) = found.get_mut(&columns.number()?) else { continue };
        let phase = columns.state()?;
        slot.progress.push(Progress { phase, wrong_codes: columns.number()?, at: columns.time()? });
    }
    Ok(found)
}

fn slot(columns: &mut Columns<'_>) -> Result<SlotRow, Error> {
    let slot = columns.slot()?;
    let role = columns.role()?;
    let mut row = SlotRow::new(Bound {
        slot,
        role,
        ride: RideId::from_bytes(columns.array()?),
        counterparty: columns.public_key()?,
        peer: PeerKey::from_bytes(columns.array()?),
        request: columns.statement_id()?,
        accept: columns.statement_id()?,
        agreement: AgreementId::from_bytes(columns.array()?),
        fare: columns.amount()?,
        currency: columns.currency()?,
        at: columns.time()?,
        deadline: columns.time()?,
    });
    row.firm = columns.optional(Columns::time)?;
    let outcome = columns.optional(|columns| columns.code("outcome", Outcome::from_code))?;
    let shown = columns.optional(Columns::state)?;
    let proof = columns.optional(Columns::statement_id)?;
    let at = columns.optional(Columns::time)?;
    row.end = outcome.zip(shown).zip(at).map(|((outcome, shown), at)| End { outcome, shown, proof, at });
    Ok(row)
}

fn count(kept: usize) -> Value<'static> {
    i64::try_from(kept).unwrap_or(i64::MAX).into()
}

fn corrupt(what: &str, table: &str, detail: impl fmt::Display) -> Error {
    Error::Corrupt { what: what.to_owned(), detail: format!("table {table}: {detail}") }
}

/// The columns of one row, read from left to right.
struct Columns<'a> {
    what: &'a str,
    table: &'static str,
    cells: std::iter::Peekable<std::vec::IntoIter<Cell>>,
}

impl<'a> Columns<'a> {
    fn new(what: &'a str, table: &'static str, row: Row) -> Self {
        Self { what, table, cells: row.into_iter().peekable() }
    }

    fn bad(&self, detail: impl fmt::Display) -> Error {
        corrupt(self.what, self.table, detail)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<Option<T>, Error> {
        if self.cells.next_if_eq(&Cell::Null).is_some() { Ok(None) } else { read(self).map(Some) }
    }

    fn number<T: TryFrom<i64>>(&mut self) -> Result<T, Error> {
        match self.cells.next() {
            Some(Cell::Int(number)) => {
                number.try_into().map_err(|_| self.bad(format!("{number} is out of range")))
            }
            _ => Err(self.bad("a number is missing")),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        match self.cells.next() {
            Some(Cell::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.bad("bytes are missing")),
        }
    }

    fn text(&mut self) -> Result<String, Error> {
        match self.cells.next() {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(self.bad("a text is missing")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|bytes: Vec<u8>| self.bad(format!("{} bytes instead of {N}", bytes.len())))
    }

    fn public_key(&mut self) -> Result<PublicKey, Error> {
        let bytes = self.array()?;
        PublicKey::from_bytes(&bytes).map_err(|error| self.bad(error))
    }

    fn statement_id(&mut self) -> Result<StatementId, Error> {
        self.array().map(StatementId::from_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, Error> {
        Timestamp::from_millis(self.number()?).map_err(|error| self.bad(error))
    }

    fn amount(&mut self) -> Result<Amount, Error> {
        Amount::from_minor(self.number()?).map_err(|error| self.bad(error))
    }

    fn currency(&mut self) -> Result<Currency, Error> {
        self.text()?.parse().map_err(|error| self.bad(error))
    }

    fn role(&mut self) -> Result<hailmesh_market::Role, Error> {
        let code = self.number()?;
        role_from_code(code).ok_or_else(|| self.bad(format!("{code} is no role")))
    }

    fn state(&mut self) -> Result<hailmesh_wire::RideState, Error> {
        let name = self.text()?;
        state_from_name(&name).ok_or_else(|| self.bad(format!("{name:?} is no state of a ride")))
    }

    fn code<T>(&mut self, name: &str, from: impl FnOnce(u8) -> Option<T>) -> Result<T, Error> {
        let code = self.number()?;
        from(code).ok_or_else(|| self.bad(format!("{code} is no {name}")))
    }

    fn slot(&mut self) -> Result<SlotRef, Error> {
        Ok(SlotRef { key: self.public_key()?, lane: self.number()?, slot: self.number()? })
    }
}
