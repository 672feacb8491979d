-- What a node must remember (P11). The same file name in ../postgres says the same in
-- the other dialect.
--
-- The schema refuses by itself what must never be stored, even if the program above
-- it is wrong (P11.5): a slot bound twice, a gap in a chain, two live bindings of one
-- driver lane or one rider key, one REQUEST answered twice, a second end of a slot,
-- changed statement bytes, a secret that comes back.
--
-- Times are milliseconds since 1970, amounts are minor units, roles are 1 driver and
-- 2 rider, outcomes are the numbers of P3.6. `seq` columns only give an order.
--
-- Four commits lie on the path of a settlement, and each writes every page that it
-- touches to the log. So tables are their own index where they can be, and there is no
-- index that another one can stand in for.

-- "HAIL": tells our databases from those of other programs.
PRAGMA application_id = 1212238156;

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Shift keys and ride keys (W9). The secret is absent once the key is erased.
CREATE TABLE keys (
    seq           INTEGER NOT NULL PRIMARY KEY,
    key           BLOB    NOT NULL UNIQUE CHECK (length(key) = 32),
    role          INTEGER NOT NULL CHECK (role IN (1, 2)),
    secret        BLOB    CHECK (secret IS NULL OR length(secret) = 32),
    cert          BLOB,
    created       INTEGER NOT NULL CHECK (created BETWEEN 1600000000000 AND 4100000000000),
    until         INTEGER NOT NULL CHECK (until BETWEEN 1600000000000 AND 4100000000000),
    replaces_lost INTEGER NOT NULL CHECK (replaces_lost IN (0, 1)),
    UNIQUE (key, role)
) STRICT;

CREATE TRIGGER keys_stay BEFORE DELETE ON keys
BEGIN
    SELECT RAISE(ABORT, 'a key is never removed');
END;

CREATE TRIGGER keys_keep_their_meaning BEFORE UPDATE ON keys
WHEN NEW.key IS NOT OLD.key OR NEW.role IS NOT OLD.role OR NEW.seq IS NOT OLD.seq
    OR NEW.created IS NOT OLD.created OR NEW.replaces_lost IS NOT OLD.replaces_lost
    OR (NEW.secret IS NOT NULL AND NEW.secret IS NOT OLD.secret)
BEGIN
    SELECT RAISE(ABORT, 'a key never changes and an erased one never comes back');
END;

-- Sequence numbers of offers that are used up (W10).
CREATE TABLE sequences (
    key   BLOB    NOT NULL PRIMARY KEY REFERENCES keys (key) DEFERRABLE INITIALLY DEFERRED,
    below INTEGER NOT NULL CHECK (below >= 0)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER sequences_stay BEFORE DELETE ON sequences
BEGIN
    SELECT RAISE(ABORT, 'used sequence numbers are never given back');
END;

CREATE TRIGGER sequences_only_rise BEFORE UPDATE ON sequences
WHEN NEW.below < OLD.below OR NEW.key IS NOT OLD.key
BEGIN
    SELECT RAISE(ABORT, 'used sequence numbers are never given back');
END;

-- Bound slots (W1 to W8). A row is inserted when the slot is bound, and is live until
-- it has an outcome.
CREATE TABLE slots (
    seq          INTEGER NOT NULL PRIMARY KEY,
    key          BLOB    NOT NULL,
    lane         INTEGER NOT NULL CHECK (lane BETWEEN 0 AND 255),
    slot         INTEGER NOT NULL CHECK (slot >= 0),
    role         INTEGER NOT NULL,
    ride         BLOB    NOT NULL CHECK (length(ride) = 16),
    counterparty BLOB    NOT NULL CHECK (length(counterparty) = 32),
    peer         BLOB    NOT NULL CHECK (length(peer) = 32),
    request      BLOB    NOT NULL CHECK (length(request) = 32),
    accept       BLOB    NOT NULL CHECK (length(accept) = 32),
    agreement    BLOB    NOT NULL CHECK (length(agreement) = 32),
    fare         INTEGER NOT NULL CHECK (fare BETWEEN 0 AND 1000000000),
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    bound_at     INTEGER NOT NULL CHECK (bound_at BETWEEN 1600000000000 AND 4100000000000),
    deadline     INTEGER NOT NULL CHECK (deadline BETWEEN 1600000000000 AND 4100000000000),
    firm_at      INTEGER CHECK (firm_at BETWEEN 1600000000000 AND 4100000000000),
    outcome      INTEGER,
    shown        TEXT    CHECK (shown IN ('completed', 'cancelled', 'released', 'void', 'no_show', 'expired', 'declined')),
    proof        BLOB    CHECK (length(proof) = 32),
    ended_at     INTEGER CHECK (ended_at BETWEEN 1600000000000 AND 4100000000000),
    UNIQUE (key, lane, slot),
    UNIQUE (key, request),
    FOREIGN KEY (key, role) REFERENCES keys (key, role) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT end_is_whole CHECK ((outcome IS NULL) = (ended_at IS NULL)
        AND (outcome IS NULL) = (shown IS NULL) AND (outcome IS NOT NULL OR proof IS NULL)),
    -- P3.8: which side may end a slot how.
    CONSTRAINT outcome_of_role CHECK (outcome IS NULL OR (role = 1 AND outcome IN (1, 2, 3, 4, 5, 8, 9, 11))
        OR (role = 2 AND outcome IN (5, 6, 7, 8, 9, 10))),
    -- P3.6, P3.7: a firm slot did not lapse, and one that was not firm was not released from.
    CONSTRAINT outcome_of_state CHECK (outcome IS NULL OR (outcome IN (1, 2, 7) AND firm_at IS NULL)
        OR (outcome = 3 AND firm_at IS NOT NULL) OR outcome NOT IN (1, 2, 3, 7))
) STRICT;

-- P3.4: at most one live slot per lane over all driver keys.
CREATE UNIQUE INDEX one_live_slot_per_driver_lane ON slots (lane) WHERE role = 1 AND outcome IS NULL;
-- At most one live slot per rider key.
CREATE UNIQUE INDEX one_live_slot_per_rider_key ON slots (key) WHERE role = 2 AND outcome IS NULL;
CREATE INDEX slots_by_ride ON slots (ride);

-- P3.2, P3.3: slots count from 0, and slot n + 1 opens when slot n has ended. Those
-- before it have, or it could not have been bound.
CREATE TRIGGER slots_follow_each_other BEFORE INSERT ON slots
WHEN NEW.slot IS NOT (SELECT COALESCE(MAX(slot) + 1, 0) FROM slots WHERE key = NEW.key AND lane = NEW.lane)
BEGIN
    SELECT RAISE(ABORT, 'not the next slot of its chain');
END;

CREATE TRIGGER slots_begin_live BEFORE INSERT ON slots
WHEN NEW.outcome IS NOT NULL OR EXISTS (
    SELECT 1 FROM slots WHERE key = NEW.key AND lane = NEW.lane AND slot = NEW.slot - 1 AND outcome IS NULL)
BEGIN
    SELECT RAISE(ABORT, 'the slot before it has not ended');
END;

CREATE TRIGGER slots_stay BEFORE DELETE ON slots
BEGIN
    SELECT RAISE(ABORT, 'a slot is never removed');
END;

CREATE TRIGGER slots_are_bound_once BEFORE UPDATE ON slots
WHEN NEW.key IS NOT OLD.key OR NEW.lane IS NOT OLD.lane OR NEW.slot IS NOT OLD.slot OR NEW.seq IS NOT OLD.seq
    OR NEW.role IS NOT OLD.role OR NEW.ride IS NOT OLD.ride OR NEW.counterparty IS NOT OLD.counterparty
    OR NEW.request IS NOT OLD.request OR NEW.accept IS NOT OLD.accept OR NEW.agreement IS NOT OLD.agreement
    OR NEW.fare IS NOT OLD.fare OR NEW.currency IS NOT OLD.currency OR NEW.bound_at IS NOT OLD.bound_at
    OR NEW.deadline IS NOT OLD.deadline
    OR (OLD.firm_at IS NOT NULL AND NEW.firm_at IS NOT OLD.firm_at)
BEGIN
    SELECT RAISE(ABORT, 'what a slot was bound to never changes');
END;

-- The other side may still be heard from elsewhere (W12): `peer` follows it.
CREATE TRIGGER slots_end_once BEFORE UPDATE ON slots
WHEN OLD.outcome IS NOT NULL AND (NEW.outcome IS NOT OLD.outcome OR NEW.shown IS NOT OLD.shown
    OR NEW.proof IS NOT OLD.proof OR NEW.ended_at IS NOT OLD.ended_at OR NEW.firm_at IS NOT OLD.firm_at)
BEGIN
    SELECT RAISE(ABORT, 'the slot has ended');
END;

-- What happened between firm and the end (W7): phases, and wrong boarding codes (P8.6).
CREATE TABLE steps (
    seq         INTEGER NOT NULL PRIMARY KEY,
    key         BLOB    NOT NULL,
    lane        INTEGER NOT NULL,
    slot        INTEGER NOT NULL,
    phase       TEXT    NOT NULL CHECK (phase IN ('firm', 'en_route', 'arrived', 'in_progress')),
    wrong_codes INTEGER NOT NULL CHECK (wrong_codes BETWEEN 0 AND 255),
    made_at     INTEGER NOT NULL CHECK (made_at BETWEEN 1600000000000 AND 4100000000000),
    FOREIGN KEY (key, lane, slot) REFERENCES slots (key, lane, slot) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE INDEX steps_by_slot ON steps (key, lane, slot);

CREATE TRIGGER steps_stay BEFORE DELETE ON steps
BEGIN
    SELECT RAISE(ABORT, 'a step is never removed');
END;

CREATE TRIGGER steps_never_change BEFORE UPDATE ON steps
BEGIN
    SELECT RAISE(ABORT, 'a step never changes');
END;

CREATE TRIGGER steps_are_of_live_slots BEFORE INSERT ON steps
WHEN NOT EXISTS (SELECT 1 FROM slots
    WHERE key = NEW.key AND lane = NEW.lane AND slot = NEW.slot AND outcome IS NULL)
BEGIN
    SELECT RAISE(ABORT, 'the slot is not bound, or has ended');
END;

CREATE TRIGGER steps_count_wrong_codes BEFORE INSERT ON steps
WHEN NEW.wrong_codes < (SELECT MAX(wrong_codes) FROM steps
    WHERE key = NEW.key AND lane = NEW.lane AND slot = NEW.slot)
BEGIN
    SELECT RAISE(ABORT, 'wrong codes are not taken back');
END;

-- Signed statements, byte for byte, ours and theirs; `seq` counts those of a slot.
CREATE TABLE statements (
    seq   INTEGER NOT NULL,
    key   BLOB    NOT NULL,
    lane  INTEGER NOT NULL,
    slot  INTEGER NOT NULL,
    id    BLOB    NOT NULL CHECK (length(id) = 32),
    kind  INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 255),
    own   INTEGER NOT NULL CHECK (own IN (0, 1)),
    bytes BLOB    NOT NULL CHECK (length(bytes) > 0),
    PRIMARY KEY (key, lane, slot, id),
    FOREIGN KEY (key, lane, slot) REFERENCES slots (key, lane, slot) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TRIGGER statements_stay BEFORE DELETE ON statements
BEGIN
    SELECT RAISE(ABORT, 'a statement is never removed');
END;

CREATE TRIGGER statements_never_change BEFORE UPDATE ON statements
BEGIN
    SELECT RAISE(ABORT, 'a statement never changes');
END;

-- Openings, boarding secret and code: what only the two parties of a ride may see.
CREATE TABLE secrets (
    key     BLOB    NOT NULL,
    lane    INTEGER NOT NULL,
    slot    INTEGER NOT NULL,
    purpose INTEGER NOT NULL CHECK (purpose BETWEEN 1 AND 255),
    bytes   BLOB    NOT NULL,
    PRIMARY KEY (key, lane, slot, purpose),
    FOREIGN KEY (key, lane, slot) REFERENCES slots (key, lane, slot) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- What is sent until it was heard (P11.3). A row may belong to a slot that was never
-- bound: the RELEASE of an ACCEPT that was not chosen.
CREATE TABLE outbox (
    statement BLOB    NOT NULL PRIMARY KEY CHECK (length(statement) = 32),
    seq       INTEGER NOT NULL,
    key       BLOB    NOT NULL CHECK (length(key) = 32),
    lane      INTEGER NOT NULL CHECK (lane BETWEEN 0 AND 255),
    slot      INTEGER NOT NULL CHECK (slot >= 0),
    recipient BLOB    NOT NULL CHECK (length(recipient) = 32),
    peer      BLOB    NOT NULL CHECK (length(peer) = 32),
    bytes     BLOB    NOT NULL,
    due_at    INTEGER NOT NULL CHECK (due_at BETWEEN 1600000000000 AND 4100000000000)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER outbox_never_changes BEFORE UPDATE ON outbox
BEGIN
    SELECT RAISE(ABORT, 'a statement never changes');
END;

-- Evidence and bans (W11).
CREATE TABLE evidence (
    seq      INTEGER NOT NULL PRIMARY KEY,
    accused  BLOB    NOT NULL CHECK (length(accused) = 32),
    kind     INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 255),
    bytes    BLOB    NOT NULL,
    found_at INTEGER NOT NULL CHECK (found_at BETWEEN 1600000000000 AND 4100000000000)
) STRICT;

CREATE INDEX evidence_by_accused ON evidence (accused, kind);

CREATE TABLE bans (
    key   BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    until INTEGER CHECK (until BETWEEN 1600000000000 AND 4100000000000)
) STRICT, WITHOUT ROWID;

-- Peers that were good to know (P15.1).
CREATE TABLE peers (
    peer    BLOB    NOT NULL CHECK (length(peer) = 32),
    address TEXT    NOT NULL,
    seq     INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (peer, address)
) STRICT;
