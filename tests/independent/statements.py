"""Hailmesh statements, read without any code of Hailmesh: canonical CBOR, keys, the tables
of P4, envelopes and signatures, by docs/protocol.md."""

import hashlib

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """What does not keep the protocol, and the clause that says so."""

    def __init__(self, clause, what):
        super().__init__(f"{clause}: {what}")
        self.clause = clause


def need(condition, clause, what):
    if not condition:
        raise Refused(clause, what)


# --- P2: CBOR, hashes, keys ----------------------------------------------------------


def canonical(raw):
    """The one value that these bytes encode (P2.2 to P2.4)."""
    try:
        value = cbor2.loads(raw)
    except Exception as error:
        raise Refused("P2.2", f"no CBOR: {error}") from error
    walk(value, 1)
    need(cbor2.dumps(value, canonical=True) == raw, "P2.4", "not the canonical encoding")
    return value


def walk(value, depth):
    """Only integers, byte strings, arrays and null, nested at most 5 deep (P2.2)."""
    need(depth <= 6, "P2.2", "nested too deeply")
    if isinstance(value, (list, tuple)):
        for element in value:
            walk(element, depth + 1)
    else:
        need(value is None or type(value) in (int, bytes), "P2.2", f"a {type(value).__name__}")


def prefixed(prefix, *parts):
    return hashlib.sha256(prefix.encode() + b"\0" + b"".join(parts)).digest()


def network_id(name):
    return prefixed("hailmesh-network-v1", name.encode())[:8]


P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P


def double(point):
    x, y = point
    k = D * x * x * y * y % P
    return (
        2 * x * y * pow(1 + k, P - 2, P) % P,
        (y * y + x * x) * pow(1 - k, P - 2, P) % P,
    )


def check_key(raw):
    """Decompresses, has one encoding, is not of small order (P2.8)."""
    need(len(raw) == 32, "P2.8", "a key of another length")
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    need(y < P, "P2.8", "a key in a second encoding")
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    square = u * pow(v, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    need(x * x % P == square, "P2.8", "a key off the curve")
    if x & 1 != sign:
        x = P - x
    need(x % P != 0 or sign == 0, "P2.8", "a key in a second encoding")
    point = double(double(double((x, y))))
    need(point != (0, 1), "P2.8", "a key of small order")


# --- P4: fields ----------------------------------------------------------------------


class Field:
    """A field of an array: how it is checked, and whether it may be absent."""

    def __init__(self, name, check, optional=False):
        self.name, self.check, self.optional = name, check, optional


def f(name, check):
    return Field(name, check)


def opt(name, check):
    return Field(name, check, True)


def uint(low=0, high=2**64 - 1):
    def check(value, clause):
        need(type(value) is int and low <= value <= high, clause, f"{value!r}: {low} to {high}")

    return check


def integer(low, high):
    return uint(low, high)


def raw(length):
    def check(value, clause):
        need(type(value) is bytes and len(value) == length, clause, f"not {length} bytes")

    return check


def upto(most):
    def check(value, clause):
        need(type(value) is bytes and len(value) <= most, clause, f"not at most {most} bytes")

    return check


def one_of(*codes):
    def check(value, clause):
        need(type(value) is int and value in codes, clause, f"{value!r} is none of {codes}")

    return check


def key(value, clause):
    need(type(value) is bytes, clause, "not a key")
    check_key(value)


def listed(element, low, high):
    def check(value, clause):
        need(isinstance(value, list) and low <= len(value) <= high, clause, f"not {low} to {high} elements")
        for one in value:
            element(one, clause)

    return check


def text(most):
    def check(value, clause):
        need(type(value) is bytes and len(value) <= most, clause, f"not a text of at most {most} bytes")
        try:
            letters = value.decode()
        except UnicodeDecodeError as error:
            raise Refused(clause, "not UTF-8") from error
        for letter in letters:
            code = ord(letter)
            control = code < 0x20 or 0x7F <= code < 0xA0
            turns = code in (0x61C, 0x200E, 0x200F) or 0x2028 <= code <= 0x202E or 0x2066 <= code <= 0x2069
            need(not control and not turns, clause, f"U+{code:04X} in a text")

    return check


def cell(low, high):
    """A valid H3 cell index of resolution low to high."""

    def check(value, clause):
        need(type(value) is int and 0 <= value < 2**64, clause, "not a cell")
        resolution, base = value >> 52 & 15, value >> 45 & 127
        need(value >> 63 == 0 and value >> 59 & 15 == 1 and value >> 56 & 7 == 0, clause, "not a cell")
        need(low <= resolution <= high and base <= 121, clause, "a cell of another resolution")
        digits = [value >> 3 * (15 - r) & 7 for r in range(1, 16)]
        need(all(digit < 7 for digit in digits[:resolution]), clause, "not a cell")
        need(all(digit == 7 for digit in digits[resolution:]), clause, "not a cell")
        pentagons = (4, 14, 24, 38, 49, 58, 63, 72, 83, 97, 107, 117)
        first = next((digit for digit in digits[:resolution] if digit), 0)
        need(not (base in pentagons and first == 1), clause, "a deleted part of a pentagon")

    return check


def currency(value, clause):
    need(type(value) is bytes and len(value) == 3, clause, "not a currency")
    need(all(65 <= letter <= 90 for letter in value), clause, "not a currency")


def eta(value, clause):
    uint(0, 7_200_000)(value, clause)
    need(value % 30_000 == 0, clause, "not a multiple of 30 s")


def digits(value, clause):
    need(type(value) is bytes and len(value) == 6 and value.isdigit(), clause, "not six digits")


def ascending(value, clause):
    listed(uint(), 0, 256)(value, clause)
    need(all(one < other for one, other in zip(value, value[1:])), clause, "not ascending")


def extensions(value, clause):
    clause = "P2.11"
    need(isinstance(value, list) and 1 <= len(value) <= 8, clause, "not 1 to 8 extensions")
    for pair in value:
        need(isinstance(pair, list) and len(pair) == 2, clause, "not a pair")
        uint(0, 65_535)(pair[0], clause)
        upto(128)(pair[1], clause)
    need(sum(len(pair[1]) for pair in value) <= 256, clause, "more than 256 bytes")
    need(all(one[0] < other[0] for one, other in zip(value, value[1:])), clause, "ids do not ascend")


def record(fields, clause, rule=None):
    """Checks an array against its table and returns it as a dictionary (P2.3)."""

    def read(value, _clause=None):
        need(isinstance(value, list), "P2.2", "not an array")
        need(len(value) <= len(fields), "P2.4", "too many elements")
        need(not value or value[-1] is not None, "P2.4", "an absent field at the end")
        found = {}
        for index, field in enumerate(fields):
            element = value[index] if index < len(value) else None
            if element is None:
                need(field.optional, "P2.3", f"{field.name} is missing")
            else:
                field.check(element, clause)
            found[field.name] = element
        if rule:
            rule(found, clause)
        return found

    return read


ID = raw(32)
TIME = uint(1_600_000_000_000, 4_100_000_000_000)
DUR = uint(0, 2**32 - 1)
U8, U16, U32, U64 = uint(0, 255), uint(0, 65_535), uint(0, 2**32 - 1), uint()
AMOUNT = uint(0, 1_000_000_000)
LANE = one_of(0)
ADDRS = listed(upto(64), 1, 3)
CERTS = listed(upto(288), 1, 2)
EXT = opt("ext", extensions)
DIRECT = [f("to", key), f("issued", TIME)]
RATE = uint(0, 10_000_000)


def tariff_rule(tariff, clause):
    most = 5 * max(tariff["minimum"], tariff["base"])
    need(tariff["cancel_fee"] <= most and tariff["no_show_fee"] <= most, clause, "too high a fee")


TARIFF = record(
    [
        f("currency", currency),
        f("base", RATE),
        f("per_km", RATE),
        f("per_min", RATE),
        f("minimum", RATE),
        f("wait_per_min", RATE),
        f("wait_free", uint(0, 900_000)),
        f("cancel_fee", U32),
        f("cancel_free", uint(30_000, 600_000)),
        f("no_show_fee", U32),
        f("surge", uint(1_000, 5_000)),
    ],
    "P4.4",
    tariff_rule,
)
PREV = record([f("outcome", uint(0, 11)), opt("accept_id", ID), opt("proof", upto(320))], "P3.5")
STATUS_ENTRY = record(
    [f("agreement_id", ID), f("state", uint(1, 15)), f("own_last", ID), opt("heard_last", ID)], "P4.8"
)
ITEM = record([f("code", uint(1, 8)), f("amount", AMOUNT)], "P4.8")
REPLACES = record([opt("cert", ID), f("how", one_of(1, 2))], "P4.8")


def offer_rule(live):
    def rule(offer, clause):
        if offer["status"] == 1:
            for name in live:
                need(offer[name] is not None, "P2.3", f"{name} is missing")
        else:
            never = [*live, "addrs", "certs", "max_fare", "currency"]
            for name in never:
                need(offer.get(name) is None, clause, f"{name} in a withdrawn offer")
        need(offer["certs"] is None or offer["cert_id"] is not None, clause, "certs without cert_id")
        if "head" in offer:
            need((offer["head"] is None) == (offer["slot"] == 0), clause, "head and slot do not go together")
        else:
            need((offer["max_fare"] is None) == (offer["currency"] is None), clause, "half a fare")

    return rule


OFFER_HEAD = [
    f("seq", uint(1)),
    f("issued", TIME),
    f("ttl", uint(10_000, 120_000)),
    f("status", one_of(1, 2)),
    f("cell", cell(7, 10)),
    f("slot", U64),
    opt("class", U16),
    opt("seats", uint(1, 16)),
    opt("features", U32),
]
OFFER_TAIL = [opt("addrs", ADDRS), opt("cert_id", ID), opt("certs", CERTS), opt("pow", raw(8))]


def request_rule(request, clause):
    need(request["certs"] is None or request["cert_id"] is not None, clause, "certs without cert_id")


def accept_rule(accept, clause):
    need(accept["pickup_by"] - accept["issued"] <= 86_400_000, clause, "pickup_by is too late")


def void_rule(void, clause):
    need(void["outcome"] in (1, 2, 3, 4, 8, 9), clause, "an outcome of somebody else")
    if void["outcome"] != 4:
        need((void["agreement_id"] is not None) == (void["outcome"] in (3, 8, 9)), clause, "agreement_id")
    need((void["board_secret"] is not None) == (void["outcome"] == 8), clause, "board_secret")


def release_rule(release, clause):
    need(release["outcome"] in (2, 6, 7, 8, 9, 10), clause, "an outcome of somebody else")
    for name in ("agreement_id", "slot"):
        need((release[name] is None) == (release["outcome"] == 2), clause, name)


def chain_rule(ask, clause):
    need(ask["from"] <= ask["to_slot"] < ask["from"] + 6, clause, "not 1 to 6 slots")


def complete_rule(complete, _clause):
    codes = [item[0] for item in complete["items"]]
    need(len(set(codes)) == len(codes), "P4.11", "an item twice")


def window(most, clause=None, start="from"):
    def rule(body, found_clause):
        lasts = body["until"] - body[start]
        limit = most(body) if callable(most) else most
        need(0 <= lasts <= limit, clause or found_clause, f"lasts {lasts} ms")

    return rule


def shift_rule(cert, clause):
    window((12 if cert["role"] == 1 else 24) * 3_600_000)(cert, clause)
    if cert["replaces"] is not None:
        replaces = REPLACES(cert["replaces"])
        need(replaces["cert"] is not None or replaces["how"] == 2, "P16.3", "closed without a certificate")


def ride_statement(*fields):
    return [*DIRECT, f("agreement_id", ID), *fields, EXT]


KINDS = {
    0x01: (
        "DRIVER_OFFER",
        record(
            [*OFFER_HEAD, opt("tariff", TARIFF), opt("accept_mode", one_of(1, 2)), *OFFER_TAIL, opt("head", ID), EXT],
            "P4.2",
            offer_rule(["class", "seats", "features", "tariff", "accept_mode"]),
        ),
    ),
    0x02: (
        "RIDER_OFFER",
        record(
            [
                *OFFER_HEAD,
                opt("attempt", uint(1, 65_535)),
                opt("max_fare", AMOUNT),
                opt("currency", currency),
                opt("peer", ID),
                *OFFER_TAIL,
                EXT,
            ],
            "P4.3",
            offer_rule(["class", "seats", "features", "attempt", "peer"]),
        ),
    ),
    0x10: (
        "REQUEST",
        record(
            [
                *DIRECT,
                f("offer_id", ID),
                f("driver_slot", U64),
                f("rider_slot", U64),
                f("attempt", uint(1, 65_535)),
                f("nonce", raw(16)),
                f("pickup_cell", cell(7, 9)),
                opt("drop_cell", cell(5, 7)),
                f("dist", uint(0, 500_000)),
                f("ride_time", uint(0, 43_200_000)),
                f("party", uint(1, 16)),
                f("class", U16),
                f("features", U32),
                f("max_fare", AMOUNT),
                f("ttl", uint(1_000, 30_000)),
                opt("counter_id", ID),
                opt("invite_id", ID),
                opt("cert_id", ID),
                opt("certs", CERTS),
                opt("pow", raw(8)),
                EXT,
            ],
            "P4.5",
            request_rule,
        ),
    ),
    0x11: (
        "ACCEPT",
        record(
            [
                *DIRECT,
                f("request_id", ID),
                f("offer_id", ID),
                f("tariff_hash", ID),
                f("lane", LANE),
                f("slot", U64),
                f("prev", PREV),
                f("fare_kind", one_of(1, 2)),
                f("fare", AMOUNT),
                f("eta", eta),
                f("hold", uint(2_000, 20_000)),
                f("pickup_by", TIME),
                f("vehicle_commit", ID),
                EXT,
            ],
            "P4.6",
            accept_rule,
        ),
    ),
    0x12: (
        "CONFIRM",
        record(
            [
                *DIRECT,
                f("accept_id", ID),
                f("agreement_id", ID),
                f("slot", U64),
                f("prev", PREV),
                f("pickup_commit", ID),
                opt("drop_commit", ID),
                f("board_hash", ID),
                EXT,
            ],
            "P4.7",
        ),
    ),
    0x13: ("ACK", record(ride_statement(f("confirm_id", ID), f("lane", LANE), f("slot", U64)), "P4.8")),
    0x14: (
        "VOID",
        record(
            [
                *DIRECT,
                f("accept_id", ID),
                opt("agreement_id", ID),
                f("lane", LANE),
                f("slot", U64),
                f("outcome", uint(0, 11)),
                f("reason", U8),
                f("fee", AMOUNT),
                opt("ref", ID),
                opt("board_secret", raw(16)),
                EXT,
            ],
            "P4.8",
            void_rule,
        ),
    ),
    0x15: (
        "RELEASE",
        record(
            [
                *DIRECT,
                f("accept_id", ID),
                opt("agreement_id", ID),
                opt("slot", U64),
                f("outcome", uint(0, 11)),
                f("reason", U8),
                f("fee", AMOUNT),
                opt("ref", ID),
                EXT,
            ],
            "P4.8",
            release_rule,
        ),
    ),
    0x16: (
        "REJECT",
        record(
            [*DIRECT, f("about", ID), f("reason", U8), opt("slot", U64), f("retry", uint(0, 600_000)), EXT], "P4.8"
        ),
    ),
    0x17: (
        "COUNTER",
        record(
            [
                *DIRECT,
                f("request_id", ID),
                f("n", uint(1, 3)),
                f("fare", AMOUNT),
                f("eta", eta),
                f("valid", uint(5_000, 60_000)),
                EXT,
            ],
            "P4.8",
        ),
    ),
    0x18: (
        "STATUS",
        record(
            [*DIRECT, f("nonce", raw(16)), opt("reply_to", raw(16)), f("entries", listed(STATUS_ENTRY, 0, 4)), EXT],
            "P4.8",
        ),
    ),
    0x19: (
        "INVITE",
        record(
            [
                *DIRECT,
                f("rider_offer_id", ID),
                f("offer_id", ID),
                f("slot", U64),
                f("eta", eta),
                f("valid", uint(2_000, 10_000)),
                EXT,
            ],
            "P4.8",
        ),
    ),
    0x1A: (
        "CHAIN_ASK",
        record([*DIRECT, f("accept_id", ID), f("from", U64), f("to_slot", U64), EXT], "P4.8", chain_rule),
    ),
    0x20: ("EN_ROUTE", record(ride_statement(f("eta", DUR)), "P4.8")),
    0x21: ("ARRIVED", record(ride_statement(f("cell", cell(7, 9))), "P4.8")),
    0x22: ("BOARD_ASK", record(ride_statement(f("code", digits)), "P4.8")),
    0x23: ("BOARDED", record(ride_statement(f("board_secret", raw(16))), "P4.8")),
    0x24: (
        "COMPLETE",
        record(
            ride_statement(
                f("confirm_id", ID),
                opt("board_secret", raw(16)),
                f("dist", U32),
                f("ride_time", DUR),
                f("wait", DUR),
                f("items", listed(ITEM, 1, 8)),
                f("total", AMOUNT),
                f("amended", one_of(0, 1)),
            ),
            "P4.8",
            complete_rule,
        ),
    ),
    0x25: (
        "COSIGN",
        record(
            ride_statement(f("accept_id", ID), f("complete_id", ID), f("slot", U64), f("total", AMOUNT)), "P4.8"
        ),
    ),
    0x26: (
        "NO_SHOW",
        record(
            ride_statement(opt("arrived_id", ID), f("waited", DUR), f("fee", AMOUNT), opt("heard", upto(400))), "P4.8"
        ),
    ),
    0x27: ("DISPUTE", record(ride_statement(f("about", ID), f("code", U8), f("text", text(256))), "P4.8")),
    0x28: (
        "RATING",
        record(
            ride_statement(opt("complete_id", ID), f("stars", uint(1, 5)), f("tags", U32), f("text", text(140))),
            "P4.8",
        ),
    ),
    0x30: (
        "EVIDENCE",
        record(
            [
                f("kind", uint(1, 13)),
                f("accused", key),
                f("statements", listed(upto(1_024), 1, 3)),
                opt("certs", CERTS),
                EXT,
            ],
            "P4.8",
        ),
    ),
    0x31: (
        "REVOCATION",
        record(
            [f("seq", U64), f("issued", TIME), f("until", TIME), f("serials", ascending), EXT],
            "P4.8",
            window(35 * 86_400_000, start="issued"),
        ),
    ),
    0x40: (
        "CREDENTIAL",
        record(
            [
                f("serial", U64),
                f("issued", TIME),
                f("mode", one_of(1, 2)),
                f("subject", key),
                f("roles", uint(1, 3)),
                f("from", TIME),
                f("until", TIME),
                opt("classes", listed(U16, 1, 8)),
                opt("vehicle_commit", ID),
                EXT,
            ],
            "P4.8",
            window(lambda body: (30 * 24 if body["mode"] == 1 else 48) * 3_600_000, "P16.1"),
        ),
    ),
    0x41: (
        "SHIFT_CERT",
        record(
            [
                f("serial", U64),
                f("issued", TIME),
                f("subject", key),
                f("role", one_of(1, 2)),
                f("from", TIME),
                f("until", TIME),
                opt("cred_id", ID),
                opt("replaces", REPLACES),
                EXT,
            ],
            "P4.8",
            shift_rule,
        ),
    ),
}


class Statement:
    """An envelope whose form, key and body have been checked; the signature only by `verify`."""

    def __init__(self, envelope):
        need(len(envelope) <= 4_096, "P4.1", "too long")
        value = canonical(envelope)
        need(isinstance(value, list) and len(value) == 6, "P2.1", "not six elements")
        version, kind, network, signer, body, signature = value
        uint(0, 255)(version, "P2.1")
        uint(0, 255)(kind, "P2.1")
        for part, length in ((network, 8), (signer, 32), (signature, 64)):
            need(type(part) is bytes and len(part) == length, "P2.1", "a part of another length")
        need(type(body) is bytes, "P2.1", "no body")
        need(version == 1, "P25.1", "another version")
        need(kind in KINDS, "P4.1", "an unknown kind")
        most = 4_096 if kind in (0x30, 0x31) else 320 if kind in (0x15, 0x25) else 1_024
        need(len(envelope) <= most, "P4.1", "too long")
        self.kind, self.network, self.signer, self.signature = kind, network, signer, signature
        self.name, read = KINDS[kind]
        self.body = read(canonical(body))
        check_key(signer)
        self.tail = bytes([version, kind]) + network + signer + len(body).to_bytes(4, "big") + body
        self.id = prefixed("hailmesh-id-v1", self.tail)
        self.envelope = envelope

    def __getitem__(self, field):
        return self.body[field]

    def verify(self):
        try:
            message = b"hailmesh-sig-v1\0" + self.tail
            Ed25519PublicKey.from_public_bytes(self.signer).verify(self.signature, message)
        except InvalidSignature as error:
            raise Refused("P2.5", "the signature does not fit") from error
        return self

    def readable(self, network):
        """Of this network, and without critical extensions that nobody knows."""
        need(self.network == network, "P2.7", "another network")
        need(all(pair[0] < 0x8000 for pair in self["ext"] or []), "P2.11", "a critical extension")
        return self
