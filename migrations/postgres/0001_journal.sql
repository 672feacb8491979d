-- What a node must remember (P11). The same file name in ../sqlite says the same in
-- the other dialect.
--
-- The schema refuses by itself what must never be stored, even if the program above
-- it is wrong (P11.5): a slot bound twice, a gap in a chain, two live bindings of one
-- driver lane or one rider key, one REQUEST answered twice, a second end of a slot,
-- changed statement bytes, a secret that comes back.
--
-- Times are milliseconds since 1970, amounts are minor units, roles are 1 driver and
-- 2 rider, outcomes are the numbers of P3.6. `seq` columns only give an order.

-- Refuses a change, with the reason given to the trigger. All tables of one node live in
-- a schema of their own, so that several nodes can share a database.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Shift keys and ride keys (W9). The secret is absent once the key is erased.
CREATE TABLE keys (
    key           BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(key) = 32),
    seq           BIGINT  NOT NULL UNIQUE,
    role          BIGINT  NOT NULL CHECK (role IN (1, 2)),
    secret        BYTEA   CHECK (secret IS NULL OR octet_length(secret) = 32),
    cert          BYTEA,
    created       BIGINT  NOT NULL CHECK (created BETWEEN 1600000000000 AND 4100000000000),
    until         BIGINT  NOT NULL CHECK (until BETWEEN 1600000000000 AND 4100000000000),
    replaces_lost BIGINT  NOT NULL CHECK (replaces_lost IN (0, 1)),
    UNIQUE (key, role)
);

CREATE TRIGGER keys_stay BEFORE DELETE ON keys FOR EACH ROW
    EXECUTE FUNCTION refuse('a key is never removed');

CREATE TRIGGER keys_keep_their_meaning BEFORE UPDATE ON keys FOR EACH ROW
    WHEN (NEW.key IS DISTINCT FROM OLD.key OR NEW.role IS DISTINCT FROM OLD.role OR NEW.seq IS DISTINCT FROM OLD.seq
    OR NEW.created IS DISTINCT FROM OLD.created OR NEW.replaces_lost IS DISTINCT FROM OLD.replaces_lost
    OR (NEW.secret IS NOT NULL AND NEW.secret IS DISTINCT FROM OLD.secret))
    EXECUTE FUNCTION refuse('a key never changes and an erased one never comes back');

-- Sequence numbers of offers that are used up (W10).
CREATE TABLE sequences (
    key   BYTEA   NOT NULL PRIMARY KEY REFERENCES keys (key) DEFERRABLE INITIALLY DEFERRED,
    below BIGINT  NOT NULL CHECK (below >= 0)
);

CREATE TRIGGER sequences_stay BEFORE DELETE ON sequences FOR EACH ROW
    EXECUTE FUNCTION refuse('used sequence numbers are never given back');

CREATE TRIGGER sequences_only_rise BEFORE UPDATE ON sequences FOR EACH ROW
    WHEN (NEW.below < OLD.below OR NEW.key IS DISTINCT FROM OLD.key)
    EXECUTE FUNCTION refuse('used sequence numbers are never given back');

-- Bound slots (W1 to W8). A row is inserted when the slot is bound, and is live until
-- it has an outcome.
CREATE TABLE slots (
    key          BYTEA   NOT NULL,
    lane         BIGINT  NOT NULL CHECK (lane BETWEEN 0 AND 255),
    slot         BIGINT  NOT NULL CHECK (slot >= 0),
    seq          BIGINT  NOT NULL UNIQUE,
    role         BIGINT  NOT NULL,
    ride         BYTEA   NOT NULL CHECK (octet_length(ride) = 16),
    counterparty BYTEA   NOT NULL CHECK (octet_length(counterparty) = 32),
    peer         BYTEA   NOT NULL CHECK (octet_length(peer) = 32),
    request      BYTEA   NOT NULL CHECK (octet_length(request) = 32),
    accept       BYTEA   NOT NULL CHECK (octet_length(accept) = 32),
    agreement    BYTEA   NOT NULL CHECK (octet_length(agreement) = 32),
    fare         BIGINT  NOT NULL CHECK (fare BETWEEN 0 AND 1000000000),
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    bound_at     BIGINT  NOT NULL CHECK (bound_at BETWEEN 1600000000000 AND 4100000000000),
    deadline     BIGINT  NOT NULL CHECK (deadline BETWEEN 1600000000000 AND 4100000000000),
    firm_at      BIGINT  CHECK (firm_at BETWEEN 1600000000000 AND 4100000000000),
    outcome      BIGINT,
    shown        TEXT    CHECK (shown IN ('completed', 'cancelled', 'released', 'void', 'no_show', 'expired', 'declined')),
    proof        BYTEA   CHECK (octet_length(proof) = 32),
    ended_at     BIGINT  CHECK (ended_at BETWEEN 1600000000000 AND 4100000000000),
    PRIMARY KEY (key, lane, slot),
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
);

-- P3.4: at most one live slot per lane over all driver keys.
CREATE UNIQUE INDEX one_live_slot_per_driver_lane ON slots (lane) WHERE role = 1 AND outcome IS NULL;
-- At most one live slot per rider key.
CREATE UNIQUE INDEX one_live_slot_per_rider_key ON slots (key) WHERE role = 2 AND outcome IS NULL;
CREATE INDEX slots_by_ride ON slots (ride);

-- P3.2, P3.3: slots count from 0, and slot n + 1 opens when slot n has ended. Those
-- before it have, or it could not have been bound.
CREATE FUNCTION slots_follow_each_other() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.slot IS DISTINCT FROM (
        SELECT COALESCE(MAX(slot) + 1, 0) FROM slots WHERE key = NEW.key AND lane = NEW.lane) THEN
        RAISE EXCEPTION 'not the next slot of its chain'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slots_follow_each_other BEFORE INSERT ON slots FOR EACH ROW EXECUTE FUNCTION slots_follow_each_other();

CREATE FUNCTION slots_begin_live() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.outcome IS NOT NULL OR EXISTS (
        SELECT 1 FROM slots WHERE key = NEW.key AND lane = NEW.lane AND slot = NEW.slot - 1 AND outcome IS NULL) THEN
        RAISE EXCEPTION 'the slot before it has not ended'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slots_begin_live BEFORE INSERT ON slots FOR EACH ROW EXECUTE FUNCTION slots_begin_live();

CREATE TRIGGER slots_stay BEFORE DELETE ON slots FOR EACH ROW
    EXECUTE FUNCTION refuse('a slot is never removed');

CREATE TRIGGER slots_are_bound_once BEFORE UPDATE ON slots FOR EACH ROW
    WHEN (NEW.key IS DISTINCT FROM OLD.key OR NEW.lane IS DISTINCT FROM OLD.lane OR NEW.slot IS DISTINCT FROM OLD.slot OR NEW.seq IS DISTINCT FROM OLD.seq
    OR NEW.role IS DISTINCT FROM OLD.role OR NEW.ride IS DISTINCT FROM OLD.ride OR NEW.counterparty IS DISTINCT FROM OLD.counterparty
    OR NEW.request IS DISTINCT FROM OLD.request OR NEW.accept IS DISTINCT FROM OLD.accept OR NEW.agreement IS DISTINCT FROM OLD.agreement
    OR NEW.fare IS DISTINCT FROM OLD.fare OR NEW.currency IS DISTINCT FROM OLD.currency OR NEW.bound_at IS DISTINCT FROM OLD.bound_at
    OR NEW.deadline IS DISTINCT FROM OLD.deadline
    OR (OLD.firm_at IS NOT NULL AND NEW.firm_at IS DISTINCT FROM OLD.firm_at))
    EXECUTE FUNCTION refuse('what a slot was bound to never changes');

-- The other side may still be heard from elsewhere (W12): `peer` follows it.
CREATE TRIGGER slots_end_once BEFORE UPDATE ON slots FOR EACH ROW
    WHEN (OLD.outcome IS NOT NULL AND (NEW.outcome IS DISTINCT FROM OLD.outcome OR NEW.shown IS DISTINCT FROM OLD.shown
    OR NEW.proof IS DISTINCT FROM OLD.proof OR NEW.ended_at IS DISTINCT FROM OLD.ended_at
    OR NEW.firm_at IS DISTINCT FROM OLD.firm_at))
    EXECUTE FUNCTION refuse('the slot has ended');

-- What happened between firm and the end (W7): phases, and wrong boarding codes (P8.6).
CREATE TABLE steps (
    seq         BIGINT  NOT NULL PRIMARY KEY,
    key         BYTEA   NOT NULL,
    lane        BIGINT  NOT NULL,
    slot        BIGINT  NOT NULL,
    phase       TEXT    NOT NULL CHECK (phase IN ('firm', 'en_route', 'arrived', 'in_progress')),
    wrong_codes BIGINT  NOT NULL CHECK (wrong_codes BETWEEN 0 AND 255),
    made_at     BIGINT  NOT NULL CHECK (made_at BETWEEN 1600000000000 AND 4100000000000),
    FOREIGN KEY (key, lane, slot) REFERENCES slots (key, lane, slot) DEFERRABLE INITIALLY DEFERRED
);

CREATE INDEX steps_by_slot ON steps (key, lane, slot);

CREATE TRIGGER steps_stay BEFORE DELETE ON steps FOR EACH ROW
    EXECUTE FUNCTION refuse('a step is never removed');

CREATE TRIGGER steps_never_change BEFORE UPDATE ON steps FOR EACH ROW
    EXECUTE FUNCTION refuse('a step never changes');

CREATE FUNCTION steps_follow_the_slot() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM slots
        WHERE key = NEW.key AND lane = NEW.lane AND slot = NEW.slot AND outcome IS NULL) THEN
        RAISE EXCEPTION 'the slot is not bound, or has ended'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
    END IF;
    IF NEW.wrong_codes < (SELECT MAX(wrong_codes) FROM steps
        WHERE key = NEW.key AND lane = NEW.lane AND slot = NEW.slot) THEN
        RAISE EXCEPTION 'wrong codes are not taken back'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER steps_follow_the_slot BEFORE INSERT ON steps FOR EACH ROW EXECUTE FUNCTION steps_follow_the_slot();

-- Signed statements, byte for byte, ours and theirs; `seq` counts those of a slot.
CREATE TABLE statements (
    seq   BIGINT  NOT NULL,
    key   BYTEA   NOT NULL,
    lane  BIGINT  NOT NULL,
    slot  BIGINT  NOT NULL,
    id    BYTEA   NOT NULL CHECK (octet_length(id) = 32),
    kind  BIGINT  NOT NULL CHECK (kind BETWEEN 1 AND 255),
    own   BIGINT  NOT NULL CHECK (own IN (0, 1)),
    bytes BYTEA   NOT NULL CHECK (octet_length(bytes) > 0),
    PRIMARY KEY (key, lane, slot, id),
    FOREIGN KEY (key, lane, slot) REFERENCES slots (key, lane, slot) DEFERRABLE INITIALLY DEFERRED
);

CREATE TRIGGER statements_stay BEFORE DELETE ON statements FOR EACH ROW
    EXECUTE FUNCTION refuse('a statement is never removed');

CREATE TRIGGER statements_never_change BEFORE UPDATE ON statements FOR EACH ROW
    EXECUTE FUNCTION refuse('a statement never changes');

-- Openings, boarding secret and code: what only the two parties of a ride may see.
CREATE TABLE secrets (
    key     BYTEA   NOT NULL,
    lane    BIGINT  NOT NULL,
    slot    BIGINT  NOT NULL,
    purpose BIGINT  NOT NULL CHECK (purpose BETWEEN 1 AND 255),
    bytes   BYTEA   NOT NULL,
    PRIMARY KEY (key, lane, slot, purpose),
    FOREIGN KEY (key, lane, slot) REFERENCES slots (key, lane, slot) DEFERRABLE INITIALLY DEFERRED
);

-- What is sent until it was heard (P11.3). A row may belong to a slot that was never
-- bound: the RELEASE of an ACCEPT that was not chosen.
CREATE TABLE outbox (
    statement BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(statement) = 32),
    seq       BIGINT  NOT NULL,
    key       BYTEA   NOT NULL CHECK (octet_length(key) = 32),
    lane      BIGINT  NOT NULL CHECK (lane BETWEEN 0 AND 255),
    slot      BIGINT  NOT NULL CHECK (slot >= 0),
    recipient BYTEA   NOT NULL CHECK (octet_length(recipient) = 32),
    peer      BYTEA   NOT NULL CHECK (octet_length(peer) = 32),
    bytes     BYTEA   NOT NULL,
    due_at    BIGINT  NOT NULL CHECK (due_at BETWEEN 1600000000000 AND 4100000000000)
);

CREATE TRIGGER outbox_never_changes BEFORE UPDATE ON outbox FOR EACH ROW
    EXECUTE FUNCTION refuse('a statement never changes');

-- Evidence and bans (W11).
CREATE TABLE evidence (
    seq      BIGINT  NOT NULL PRIMARY KEY,
    accused  BYTEA   NOT NULL CHECK (octet_length(accused) = 32),
    kind     BIGINT  NOT NULL CHECK (kind BETWEEN 0 AND 255),
    bytes    BYTEA   NOT NULL,
    found_at BIGINT  NOT NULL CHECK (found_at BETWEEN 1600000000000 AND 4100000000000)
);

CREATE INDEX evidence_by_accused ON evidence (accused, kind);

CREATE TABLE bans (
    key   BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(key) = 32),
    until BIGINT  CHECK (until BETWEEN 1600000000000 AND 4100000000000)
);

-- Peers that were good to know (P15.1).
CREATE TABLE peers (
    peer    BYTEA   NOT NULL CHECK (octet_length(peer) = 32),
    address TEXT    NOT NULL,
    seq     BIGINT  NOT NULL UNIQUE,
    PRIMARY KEY (peer, address)
);
