//! Records become rows.
//!
//! What may not be is refused by the schema. The statements here decide only what
//! counts as *already done*, and name the reason when nothing was changed.

use hailmesh_market::journal::{Bound, KeyRecord, Record, SlotRef};
use hailmesh_types::{PeerKey, PublicKey, StatementId, Timestamp};

use super::{Cell, Connection, Execute, Script, Session, Value};
use crate::Error;
use crate::rows::{BANS_KEPT, EVIDENCE_KEPT, End, PEERS_KEPT, Progress, Statement, describe, int, role_code};

/// All batches at once, in a transaction of its own, where that is quicker. Says whether
/// that is done: it is not when anything of them is stored already or is refused, and
/// then [`append`] knows what is right, and names what is not.
pub(super) async fn append_quickly<C: Connection>(
    session: &mut Session<C>,
    batches: &[&[Record]],
) -> Result<bool, Error> {
    let mut script = Script::default();
    if !C::SCRIPTS || apply_all(&mut script, batches).await.is_err() {
        return Ok(false);
    }
    session.in_transaction = true;
    let connection = session.connection()?;
    let result = match connection.run(script).await {
        Ok(()) => Ok(true),
        Err(error) if error.breaks_connection() => Err(error),
        Err(_) => connection.rollback().await.map(|()| false),
    };
    session.in_transaction = false;
    result
}

/// All batches, in the transaction that was begun; ends it.
pub(super) async fn append<C: Connection>(
    session: &mut Session<C>,
    batches: &[&[Record]],
) -> Result<(), Error> {
    let applied = apply_all(session.connection()?, batches).await;
    finish(session, applied).await
}

/// Remembers addresses of peers, in the transaction that was begun; ends it.
pub(super) async fn remember_peers<C: Connection>(
    session: &mut Session<C>,
    peers: &[(PeerKey, String)],
) -> Result<(), Error> {
    let applied = put_peers(session.connection()?, peers).await;
    finish(session, applied).await
}

/// Commits what was applied, or takes it back. A refused commit is taken back too: the
/// deferred foreign keys are checked there.
async fn finish<C: Connection>(session: &mut Session<C>, applied: Result<(), Error>) -> Result<(), Error> {
    let connection = session.connection()?;
    let mut result = match applied {
        Ok(()) => connection.commit().await,
        Err(error) => Err(error),
    };
    // With any other failure the connection goes, and the transaction with it.
    if result.as_ref().is_err_and(|error| !error.breaks_connection())
        && let Err(error) = connection.rollback().await
    {
        result = Err(error);
    }
    session.in_transaction = false;
    result
}

pub(super) async fn set_meta<C: Connection>(
    c: &mut C,
    name: &'static str,
    value: &[u8],
) -> Result<(), Error> {
    c.execute(
        "INSERT INTO meta (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[name.into(), value.into()],
    )
    .await
    .map(drop)
}

async fn apply_all<C: Execute>(c: &mut C, batches: &[&[Record]]) -> Result<(), Error> {
    // Two plain loops: an iterator adapter here makes a future that cannot be proved Send.
    for batch in batches {
        for record in *batch {
            apply(c, record).await.map_err(|error| error.about(|| describe(record)))?;
        }
    }
    forget_old(c, batches).await
}

/// Keeps what strangers can fill within its limits (P20).
async fn forget_old<C: Execute>(c: &mut C, batches: &[&[Record]]) -> Result<(), Error> {
    let any = |kind: fn(&Record) -> bool| batches.iter().any(|batch| batch.iter().any(kind));
    let (evidence, bans) = (
        any(|record| matches!(record, Record::Evidence { .. })),
        any(|record| matches!(record, Record::Ban { .. })),
    );
    if evidence {
        let sql = "DELETE FROM evidence WHERE seq <= (SELECT MAX(seq) FROM evidence) - $1";
        c.execute(sql, &[limit(EVIDENCE_KEPT)]).await?;
    }
    if bans {
        // Those for ever stay first, then those that end last.
        let sql = "DELETE FROM bans WHERE (SELECT COUNT(*) FROM bans) > $1 AND key NOT IN \
                   (SELECT key FROM bans ORDER BY COALESCE(until, 9000000000000) DESC, key LIMIT $1)";
        c.execute(sql, &[limit(BANS_KEPT)]).await?;
    }
    Ok(())
}

async fn apply<C: Execute>(c: &mut C, record: &Record) -> Result<(), Error> {
    match record {
        Record::Key(key) => put_key(c, key).await,
        Record::KeyErased { key } => erase_key(c, key).await,
        Record::SeqReserved { key, below } => reserve(c, key, *below).await,
        Record::Bound(bound) => bind(c, bound).await,
        Record::Peer { slot, peer } => redirect(c, slot, peer).await,
        Record::Firm { slot, at } => firm(c, slot, *at).await,
        Record::Progress { slot, phase, wrong_codes, at } => {
            progress(c, slot, &Progress { phase: *phase, wrong_codes: *wrong_codes, at: *at }).await
        }
        Record::Ended { slot, outcome, shown, proof, at } => {
            end(c, slot, &End { outcome: *outcome, shown: *shown, proof: *proof, at: *at }).await
        }
        Record::Statement { slot, kind, id, own, bytes } => {
            put_statement(c, slot, &Statement { kind: *kind, id: *id, own: *own, bytes: bytes.clone() }).await
        }
        Record::Secret { slot, purpose, bytes } => {
            put_secret(c, slot, i64::from(*purpose as u8), bytes.expose()).await
        }
        Record::OutboxPut { slot, statement, to, peer, bytes, at } => {
            put_outbox(c, slot, statement, [to.as_bytes(), peer.as_bytes()], bytes, *at).await
        }
        Record::OutboxDone { statement } => c
            .execute("DELETE FROM outbox WHERE statement = $1", &[statement.as_bytes().into()])
            .await
            .map(drop),
        Record::Evidence { accused, kind, bytes, at } => put_evidence(c, accused, *kind, bytes, *at).await,
        Record::Ban { key, until } => put_ban(c, key, *until).await,
    }
}

async fn put_key<C: Execute>(c: &mut C, record: &KeyRecord) -> Result<(), Error> {
    // The same key may come again with a newer certificate, but never after its erasure.
    let changed = c
        .execute(
            "INSERT INTO keys (key, seq, role, secret, cert, created, until, replaces_lost) \
             VALUES ($1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM keys), $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (key) DO UPDATE SET cert = excluded.cert, until = excluded.until \
             WHERE keys.secret = excluded.secret AND keys.role = excluded.role \
             AND keys.created = excluded.created AND keys.replaces_lost = excluded.replaces_lost",
            &[
                record.key.as_bytes().into(),
                role_code(record.role).into(),
                (&record.secret.0).into(),
                record.cert.as_deref().into(),
                ms(record.created),
                ms(record.until),
                i64::from(record.replaces_lost).into(),
            ],
        )
        .await?;
    if changed == 0 { Err(Error::conflict("it is stored otherwise, or erased")) } else { Ok(()) }
}

async fn erase_key<C: Execute>(c: &mut C, key: &PublicKey) -> Result<(), Error> {
    let changed = c.execute("UPDATE keys SET secret = NULL WHERE key = $1", &[key.as_bytes().into()]).await?;
    if changed == 0 { Err(Error::conflict("it is not stored")) } else { Ok(()) }
}

async fn reserve<C: Execute>(c: &mut C, key: &PublicKey, below: u64) -> Result<(), Error> {
    c.execute(
        "INSERT INTO sequences (key, below) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET below = excluded.below WHERE excluded.below > sequences.below",
        &[key.as_bytes().into(), int(below)?.into()],
    )
    .await
    .map(drop)
}

async fn bind<C: Execute>(c: &mut C, bound: &Bound) -> Result<(), Error> {
    let [key, lane, slot] = name(&bound.slot)?;
    c.execute(
        "INSERT INTO slots (key, lane, slot, seq, role, ride, counterparty, peer, request, accept, \
         agreement, fare, currency, bound_at, deadline) \
         VALUES ($1, $2, $3, (SELECT COALESCE(MAX(seq), 0) + 1 FROM slots), $4, $5, $6, $7, $8, $9, \
         $10, $11, $12, $13, $14)",
        &[
            key,
            lane,
            slot,
            role_code(bound.role).into(),
            (&bound.ride.to_bytes()).into(),
            bound.counterparty.as_bytes().into(),
            bound.peer.as_bytes().into(),
            bound.request.as_bytes().into(),
            bound.accept.as_bytes().into(),
            bound.agreement.as_bytes().into(),
            int(bound.fare.minor())?.into(),
            bound.currency.as_str().into(),
            ms(bound.at),
            ms(bound.deadline),
        ],
    )
    .await
    .map(drop)
}

/// Where the other side is reached is all that may change of a slot that has ended.
async fn redirect<C: Execute>(c: &mut C, slot: &SlotRef, peer: &PeerKey) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    let changed = c
        .execute(
            "UPDATE slots SET peer = $4 WHERE key = $1 AND lane = $2 AND slot = $3",
            &[key, lane, number, peer.as_bytes().into()],
        )
        .await?;
    if changed == 0 { Err(not_bound()) } else { Ok(()) }
}

async fn firm<C: Execute>(c: &mut C, slot: &SlotRef, at: Timestamp) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    let changed = c
        .execute(
            "UPDATE slots SET firm_at = $4 WHERE key = $1 AND lane = $2 AND slot = $3 \
             AND firm_at IS NULL AND outcome IS NULL",
            &[key, lane, number, ms(at)],
        )
        .await?;
    if changed > 0 {
        return Ok(());
    }
    let known = c
        .fetch("SELECT firm_at FROM slots WHERE key = $1 AND lane = $2 AND slot = $3", &[key, lane, number])
        .await?;
    match known.first().map(Vec::as_slice) {
        Some([Cell::Int(_)]) => Ok(()),
        Some(_) => Err(Error::conflict("the slot has ended")),
        None => Err(not_bound()),
    }
}

async fn progress<C: Execute>(c: &mut C, slot: &SlotRef, now: &Progress) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    // The same step again, at the same time, is already done.
    c.execute(
        "INSERT INTO steps (seq, key, lane, slot, phase, wrong_codes, made_at) \
         SELECT (SELECT COALESCE(MAX(seq), 0) + 1 FROM steps), $1, $2, $3, $4, $5, $6 \
         WHERE NOT EXISTS (SELECT 1 FROM steps WHERE key = $1 AND lane = $2 AND slot = $3 \
         AND phase = $4 AND wrong_codes = $5 AND made_at = $6)",
        &[key, lane, number, now.phase.name().into(), i64::from(now.wrong_codes).into(), ms(now.at)],
    )
    .await
    .map(drop)
}

async fn end<C: Execute>(c: &mut C, slot: &SlotRef, end: &End) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    let proof: Value<'_> = end.proof.as_ref().map(|proof| proof.as_bytes().as_slice()).into();
    let outcome = i64::from(end.outcome.code());
    let changed = c
        .execute(
            "UPDATE slots SET outcome = $4, shown = $5, proof = $6, ended_at = $7 \
             WHERE key = $1 AND lane = $2 AND slot = $3 AND outcome IS NULL",
            &[key, lane, number, outcome.into(), end.shown.name().into(), proof, ms(end.at)],
        )
        .await?;
    if changed > 0 {
        return Ok(());
    }
    let known = c
        .fetch(
            "SELECT outcome, shown, proof FROM slots WHERE key = $1 AND lane = $2 AND slot = $3",
            &[key, lane, number],
        )
        .await?;
    let given = [
        Cell::Int(outcome),
        Cell::Text(end.shown.name().to_owned()),
        end.proof.map_or(Cell::Null, |proof| Cell::Bytes(proof.as_bytes().to_vec())),
    ];
    match known.first() {
        Some(stored) if *stored == given => Ok(()),
        Some(_) => Err(Error::conflict("the slot has ended otherwise")),
        None => Err(not_bound()),
    }
}

async fn put_statement<C: Execute>(c: &mut C, slot: &SlotRef, new: &Statement) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    let id: Value<'_> = new.id.as_bytes().into();
    let changed = c
        .execute(
            "INSERT INTO statements (seq, key, lane, slot, id, kind, own, bytes) \
             VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM statements \
             WHERE key = $1 AND lane = $2 AND slot = $3), $1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (key, lane, slot, id) DO NOTHING",
            &[
                key,
                lane,
                number,
                id,
                i64::from(new.kind.code()).into(),
                i64::from(new.own).into(),
                (&*new.bytes).into(),
            ],
        )
        .await?;
    if changed > 0 {
        return Ok(());
    }
    let known = c
        .fetch(
            "SELECT kind, own, bytes FROM statements \
             WHERE key = $1 AND lane = $2 AND slot = $3 AND id = $4",
            &[key, lane, number, id],
        )
        .await?;
    match known.first().map(Vec::as_slice) {
        // The other side may sign the same words twice, with two signatures: the first counts.
        Some([Cell::Int(kind), Cell::Int(own), _])
            if !new.own && *own == 0 && *kind == i64::from(new.kind.code()) =>
        {
            Ok(())
        }
        Some([Cell::Int(kind), Cell::Int(1), Cell::Bytes(bytes)])
            if new.own && *kind == i64::from(new.kind.code()) && **bytes == *new.bytes =>
        {
            Ok(())
        }
        _ => Err(Error::conflict("the statement is stored with other bytes")),
    }
}

async fn put_secret<C: Execute>(c: &mut C, slot: &SlotRef, purpose: i64, bytes: &[u8]) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    c.execute(
        "INSERT INTO secrets (key, lane, slot, purpose, bytes) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (key, lane, slot, purpose) DO UPDATE SET bytes = excluded.bytes",
        &[key, lane, number, purpose.into(), bytes.into()],
    )
    .await
    .map(drop)
}

async fn put_outbox<C: Execute>(
    c: &mut C,
    slot: &SlotRef,
    statement: &StatementId,
    [to, peer]: [&[u8; 32]; 2],
    bytes: &[u8],
    at: Timestamp,
) -> Result<(), Error> {
    let [key, lane, number] = name(slot)?;
    let changed = c
        .execute(
            "INSERT INTO outbox (statement, seq, key, lane, slot, recipient, peer, bytes, due_at) \
             VALUES ($1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM outbox), $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (statement) DO NOTHING",
            &[statement.as_bytes().into(), key, lane, number, to.into(), peer.into(), bytes.into(), ms(at)],
        )
        .await?;
    if changed > 0 {
        return Ok(());
    }
    let known =
        c.fetch("SELECT bytes FROM outbox WHERE statement = $1", &[statement.as_bytes().into()]).await?;
    match known.first().map(Vec::as_slice) {
        Some([Cell::Bytes(stored)]) if stored == bytes => Ok(()),
        _ => Err(Error::conflict("the statement waits there with other bytes")),
    }
}

async fn put_evidence<C: Execute>(
    c: &mut C,
    accused: &PublicKey,
    kind: u8,
    bytes: &[u8],
    at: Timestamp,
) -> Result<(), Error> {
    c.execute(
        "INSERT INTO evidence (seq, accused, kind, bytes, found_at) \
         SELECT (SELECT COALESCE(MAX(seq), 0) + 1 FROM evidence), $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM evidence WHERE accused = $1 AND kind = $2 AND bytes = $3)",
        &[accused.as_bytes().into(), i64::from(kind).into(), bytes.into(), ms(at)],
    )
    .await
    .map(drop)
}

async fn put_ban<C: Execute>(c: &mut C, key: &PublicKey, until: Option<Timestamp>) -> Result<(), Error> {
    let until: Value<'_> = until.map(|until| until.as_millis().cast_signed()).into();
    c.execute(
        "INSERT INTO bans (key, until) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET until = excluded.until",
        &[key.as_bytes().into(), until],
    )
    .await
    .map(drop)
}

async fn put_peers<C: Execute>(c: &mut C, peers: &[(PeerKey, String)]) -> Result<(), Error> {
    for (peer, address) in peers {
        c.execute(
            "INSERT INTO peers (peer, address, seq) \
             VALUES ($1, $2, (SELECT COALESCE(MAX(seq), 0) + 1 FROM peers)) \
             ON CONFLICT (peer, address) DO UPDATE SET seq = excluded.seq",
            &[peer.as_bytes().into(), address.as_str().into()],
        )
        .await?;
    }
    c.execute(
        "DELETE FROM peers WHERE seq NOT IN (SELECT seq FROM peers ORDER BY seq DESC LIMIT $1)",
        &[limit(PEERS_KEPT)],
    )
    .await
    .map(drop)
}

/// The three columns that name a slot.
fn name(slot: &SlotRef) -> Result<[Value<'_>; 3], Error> {
    Ok([slot.key.as_bytes().into(), i64::from(slot.lane).into(), int(slot.slot)?.into()])
}

fn ms(at: Timestamp) -> Value<'static> {
    at.as_millis().cast_signed().into()
}

fn limit(kept: usize) -> Value<'static> {
    i64::try_from(kept).unwrap_or(i64::MAX).into()
}

fn not_bound() -> Error {
    Error::conflict("the slot is not bound")
}
