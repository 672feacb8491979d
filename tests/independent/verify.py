#!/usr/bin/env python3
"""Checks every golden vector with no code of Hailmesh, by docs/protocol.md.

CBOR comes from `cbor2`, Ed25519 from `cryptography`, SHA-256 from the standard library,
BLAKE3 from `blake3` if it is there. Prints `N passed, M failed` and exits with 1 if
anything failed.

    verify.py [FOLDER]      default: crates/hailmesh-wire/tests/vectors
"""

import json
import sys
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.dont_write_bytecode = True
from statements import (  # noqa: E402
    KINDS, PREV, REPLACES, TARIFF, Refused, Statement, canonical, cell, f, listed, need, network_id, one_of,
    opt, prefixed, raw, record, uint, upto,
)

try:
    import blake3
except ImportError:
    blake3 = None

HERE = Path(__file__).resolve().parent
DEFAULT_FOLDER = HERE.parent.parent / "crates" / "hailmesh-wire" / "tests" / "vectors"


# --- P9: fares -----------------------------------------------------------------------


def rd(a, b):
    return (2 * a + b) // (2 * b)


def fare(tariff, dist, ride_ms, wait_ms):
    """The items of P9.1, or nothing when the sum is no amount."""
    distance = rd(tariff["per_km"] * dist, 1_000)
    time = rd(tariff["per_min"] * ride_ms, 60_000)
    subtotal = tariff["base"] + distance + time
    surged = rd(subtotal * tariff["surge"], 1_000)
    ride = max(tariff["minimum"], surged)
    charged = max(0, min(wait_ms, 3_600_000) - tariff["wait_free"])
    waiting = rd(tariff["wait_per_min"] * charged, 60_000)
    items = {
        "base": tariff["base"],
        "distance": distance,
        "time": time,
        "surge": surged - subtotal,
        "minimum_top_up": ride - surged,
        "waiting": waiting,
        "total": ride + waiting,
    }
    return items if all(item <= 1_000_000_000 for item in items.values()) else None


def limit(tariff, dist, ride_ms, max_fare, counter):
    """The most that an ACCEPT may name (P9.2)."""
    if counter is not None:
        return min(counter, max_fare)
    price = fare(tariff, dist, ride_ms, 0)
    return None if price is None else min(price["total"], max_fare)


def final(tariff, asked, agreed, is_metered, countered, driven, wait_ms, extra):
    """The items and the total of P9.3; `asked` and `driven` are (metres, milliseconds)."""
    fixed = countered or not is_metered
    parts = fare(tariff, *(asked if fixed else driven), 0)
    waiting = fare(tariff, 0, 0, wait_ms)
    if parts is None or waiting is None:
        return None
    waiting = waiting["waiting"]
    ride = agreed if fixed else min(agreed, parts["total"])
    up, down = max(0, ride - parts["total"]), max(0, parts["total"] - ride)
    codes = ["base", "distance", "time", "surge", "minimum_top_up"]
    items = [[code + 1, parts[name]] for code, name in enumerate(codes)]
    items += [[6, waiting], [7, up + extra], [8, down]]
    items = [item for item in items if item[1]] or [[1, 0]]
    total = ride + waiting + extra
    if total > 1_000_000_000 or up + extra > 1_000_000_000:
        return None
    return {"items": items, "total": total, "amended": extra > 0, "up": up}


def check_complete(tariff, request, accept, countered, complete):
    total = sum(-amount if code == 8 else amount for code, amount in complete["items"])
    need(total == complete["total"], "P9.4", "the items do not add up")
    if complete["amended"]:
        return
    expected = final(
        tariff,
        (request["dist"], request["ride_time"]),
        accept["fare"],
        accept["fare_kind"] == 2,
        countered,
        (complete["dist"], complete["ride_time"]),
        complete["wait"],
        0,
    )
    need(expected is not None and expected["total"] == total, "P9.3", "another total")
    extra = sum(amount for code, amount in complete["items"] if code == 7)
    need(extra == expected["up"], "P9.4", "an extra that is not needed")


def tariff_of(offer):
    return None if offer["tariff"] is None else TARIFF(offer["tariff"])


def tariff_hash(offer):
    return prefixed("hailmesh-tariff-v1", cbor2.dumps(offer["tariff"], canonical=True))


def board_hash(secret):
    return prefixed("hailmesh-board-v1", secret)


# --- P3: the face of a chain ----------------------------------------------------------


def check_prev(statement, is_driver):
    """P3.8."""
    prev, slot = PREV(statement["prev"]), statement["slot"]
    outcome, proof = prev["outcome"], prev["proof"]
    first = outcome in (0, 11)
    need(first == (slot == 0), "P3.8", "an outcome that does not go with the slot")
    need((prev["accept_id"] is None) == first, "P3.8", "accept_id")
    need(outcome in ((0, 1, 2, 3, 4, 5, 8, 9, 11) if is_driver else (0, 5, 6, 7, 8, 9, 10)), "P3.8", "an outcome")
    if not is_driver or outcome in (0, 1, 4, 9, 11):
        return need(proof is None, "P3.8", "a proof where there is none")
    need(proof is not None, "P3.8", "no proof")
    if outcome == 8:
        return need(len(proof) == 16, "P3.8", "not a boarding secret")
    try:
        end = Statement(proof).verify()
    except Refused as error:
        raise Refused("P3.8", f"the proof is broken: {error}") from error
    need(end.name == ("COSIGN" if outcome == 5 else "RELEASE"), "P3.8", "a proof of another kind")
    return need(end["accept_id"] == prev["accept_id"], "P3.8", "a proof for another ACCEPT")


# --- P10: receipts -------------------------------------------------------------------

ORDER = [
    "DRIVER_OFFER",
    "COUNTER",
    "REQUEST",
    "ACCEPT",
    "CONFIRM",
    "ACK",
    "ARRIVED",
    "BOARDED",
    "COMPLETE",
    "COSIGN",
    "VOID",
    "RELEASE",
    "NO_SHOW",
    "DISPUTE",
    "RATING",
]
EITHER = {"NO_SHOW", "DISPUTE", "RATING"}
BY_DRIVER = {"ACCEPT", "COUNTER", "ACK", "ARRIVED", "BOARDED", "COMPLETE", "VOID"}
SHOWN = {1: "expired", 2: "released", 3: "cancelled", 4: "cancelled", 5: "completed", 6: "void", 7: "released"}
SHOWN |= {8: "completed", 9: "no_show", 10: "cancelled", 11: "cancelled"}
OPENING = record([f("purpose", uint(1, 3)), f("salt", raw(32)), f("content", upto(768))], "P10.1")
RECEIPT = record(
    [
        f("version", one_of(1)),
        f("network", upto(16)),
        f("statements", listed(upto(1_024), 4, 16)),
        opt("certs", listed(upto(288), 1, 4)),
        opt("openings", listed(OPENING, 1, 3)),
    ],
    "P10.1",
)


def standing(certs, leaf, holder, role, at, issuers):
    """Identity and issuer behind a key (P8.9, P16)."""
    found = {cert.id: cert for cert in certs}
    cert = found.get(leaf)
    if cert is None:
        return None, None
    need(cert["subject"] == holder, "P16.2", "a certificate for another key")

    def check_credential(credential, mode):
        need(credential["mode"] == mode, "P16.1", "a credential of another mode")
        need(credential["roles"] & role, "P16.1", "a credential for another role")
        need(not issuers or credential.signer in issuers, "P16.1", "an unknown issuer")

    if cert.name == "CREDENTIAL":
        check_credential(cert, 2)
        need(cert["from"] <= at <= cert["until"], "P8.9", "not covered")
        return None, cert.signer
    need(cert["role"] == role, "P16.2", "a certificate for another role")
    need(cert["from"] <= at <= cert["until"], "P8.9", "not covered")
    credential = found.get(cert["cred_id"])
    if credential is None:
        return cert.signer, None
    need(credential.name == "CREDENTIAL", "P16.2", "cred_id names no credential")
    need(credential["subject"] == cert.signer, "P16.2", "a credential for another identity")
    check_credential(credential, 1)
    inside = credential["from"] <= cert["from"] and cert["until"] <= credential["until"]
    need(inside, "P16.2", "a certificate that outlasts its credential")
    return cert.signer, credential.signer


def check_receipt(encoded, issuers):
    """P10.4, in its order; returns the facts."""
    need(len(encoded) <= 16_384, "P10.1", "too long")
    receipt = RECEIPT(canonical(encoded))
    network = network_id(receipt["network"].decode())
    read = [Statement(envelope).readable(network) for envelope in receipt["statements"]]
    certs = [Statement(envelope).readable(network) for envelope in receipt["certs"] or []]
    last = -1
    for statement in read:
        need(statement.name in ORDER, "P10.2", f"a {statement.name}")
        rank = ORDER.index(statement.name)
        need(rank > last or (rank == last and statement.name in EITHER), "P10.2", "out of order")
        last = rank
    for statement in [*read, *certs]:
        try:
            statement.verify()
        except Refused as error:
            raise Refused("P2.8", str(error)) from error
    one = {statement.name: statement for statement in read if statement.name not in EITHER}
    for name in ("DRIVER_OFFER", "REQUEST", "ACCEPT", "CONFIRM"):
        need(name in one, "P10.2", f"no {name}")
    offer, request, accept, confirm = (one[name] for name in ("DRIVER_OFFER", "REQUEST", "ACCEPT", "CONFIRM"))
    driver, rider = accept.signer, confirm.signer

    inline = [Statement(cert).readable(network).verify() for cert in offer["certs"] or []]
    behind_driver = standing(certs + inline, offer["cert_id"], driver, 1, accept["issued"], issuers)
    inline = [Statement(cert).readable(network).verify() for cert in request["certs"] or []]
    behind_rider = standing(certs + inline, request["cert_id"], request.signer, 2, request["issued"], issuers)
    known = {driver, request.signer, behind_driver[0], behind_rider[0]}
    need(all(cert["subject"] in known for cert in certs), "P16.2", "a certificate of neither")

    need(request["offer_id"] == offer.id, "P4.5", "another offer")
    need(accept["offer_id"] == offer.id, "P4.6", "another offer")
    tariff = tariff_of(offer)
    need(tariff is not None and accept["tariff_hash"] == tariff_hash(offer), "P4.6", "another tariff")
    counter = one.get("COUNTER")
    need(request["counter_id"] == (counter.id if counter else None), "P5.10", "another COUNTER")

    need(accept["request_id"] == request.id, "P2.6", "another REQUEST")
    need(confirm["accept_id"] == accept.id, "P2.6", "another ACCEPT")
    agreement = prefixed("hailmesh-agreement-v1", request.id, accept.id)
    for statement in read:
        named = statement.body.get("agreement_id")
        need(named is None or named == agreement, "P2.6", f"another agreement in {statement.name}")
        if statement.name in ("COSIGN", "VOID", "RELEASE"):
            need(statement["accept_id"] == accept.id, "P2.6", f"another ACCEPT in {statement.name}")

    need(offer.signer == driver, "P5.6", "another driver's offer")
    for statement in read:
        letter = (statement.signer, statement.body.get("to"))
        if statement.name in EITHER:
            need(letter in ((driver, rider), (rider, driver)), "P5.6", "a stranger's statement")
        elif statement.name in BY_DRIVER:
            need(letter == (driver, rider), "P5.6", "not the driver's")
        elif statement is not offer:
            need(letter == (rider, driver), "P5.6", "not the rider's")

    most = limit(tariff, request["dist"], request["ride_time"], request["max_fare"], counter and counter["fare"])
    need(most is not None and accept["fare"] <= most, "P9.2", "too high a fare")
    need(request["drop_cell"] is not None or accept["fare_kind"] == 2, "P4.5", "fixed, as directed")
    need((request["drop_cell"] is None) == (confirm["drop_commit"] is None), "P4.7", "drop_commit")
    check_prev(accept, True)
    check_prev(confirm, False)

    for name in ("ACK", "COMPLETE"):
        need(name not in one or one[name]["confirm_id"] == confirm.id, "P4.8", "another CONFIRM")
    for name in ("ACK", "VOID"):
        need(name not in one or one[name]["slot"] == accept["slot"], "P4.8", "another slot")
    for name in ("COSIGN", "RELEASE"):
        slot = one[name]["slot"] if name in one else None
        need(slot is None or slot == confirm["slot"], "P4.8", "another slot")
    secrets = [one[name]["board_secret"] for name in ("BOARDED", "COMPLETE", "VOID") if name in one]
    secrets = [secret for secret in secrets if secret is not None]
    need(all(board_hash(secret) == confirm["board_hash"] for secret in secrets), "P8.4", "another secret")

    complete, cosign = one.get("COMPLETE"), one.get("COSIGN")
    if cosign:
        need(complete is not None and cosign["complete_id"] == complete.id, "P9.3", "another COMPLETE")
        need(cosign["total"] == complete["total"], "P9.3", "another total")
        check_complete(tariff, request, accept, counter is not None, complete)
    void, release = one.get("VOID"), one.get("RELEASE")
    need(not (cosign and release), "P18.1", "co-signed and released")
    need(not (release and release["outcome"] == 2), "P18.1", "confirmed and not chosen")
    need(not ("ACK" in one and void and void["outcome"] in (1, 2)), "P18.1", "firm, then a hold that ended")

    purposes = []
    for opening in receipt["openings"] or []:
        purpose, salt, content = opening
        commitment = {1: confirm["pickup_commit"], 2: confirm["drop_commit"], 3: accept["vehicle_commit"]}[purpose]
        opened = prefixed("hailmesh-commit-v1", bytes([purpose]), salt, content)
        need(commitment == opened, "P2.7", "an opening of something else")
        purposes.append(purpose)
    need(len(set(purposes)) == len(purposes), "P10.1", "an opening twice")

    ends = []
    if cosign:
        ends.append(["rider", 5])
    pair = [["driver", void["outcome"]]] if void else []
    if release:
        answers = void and void["outcome"] in (2, 3) and release["outcome"] != 6
        pair.insert(0 if answers else len(pair), ["rider", release["outcome"]])
    ends += pair
    states = ["requested", "held", "committed"]
    states += [state for name, state in (("ACK", "firm"), ("ARRIVED", "arrived")) if name in one]
    states += ["in_progress"] if secrets else []
    states += [SHOWN[ends[0][1]]] if ends else []
    ratings = [statement for statement in read if statement.name == "RATING"]
    rated = [
        [rating.signer.hex(), rating["stars"]]
        for rating in ratings
        if sum(other.signer == rating.signer for other in ratings) == 1 and states[-1] == "completed"
    ]
    return {
        "network": receipt["network"].decode(),
        "driver": driver.hex(),
        "rider": rider.hex(),
        "driver_identity": behind_driver[0] and behind_driver[0].hex(),
        "rider_identity": behind_rider[0] and behind_rider[0].hex(),
        "driver_issuer": behind_driver[1] and behind_driver[1].hex(),
        "agreement": agreement.hex(),
        "fare": accept["fare"],
        "currency": tariff["currency"].decode(),
        "fare_kind": accept["fare_kind"],
        "countered": counter is not None,
        "asked": complete and complete["total"],
        "total": cosign and cosign["total"],
        "states": states,
        "ends": ends,
        "disputed": any(statement.name == "DISPUTE" for statement in read),
        "rated": rated,
    }


# --- P18: evidence -------------------------------------------------------------------


def check_evidence(evidence, network):
    """P18.1; returns (permanent, counted)."""
    kind, accused = evidence["kind"], evidence["accused"]
    found = [Statement(envelope).readable(network) for envelope in evidence["statements"]]
    expected = {7: 1, 6: 3, 9: 3}.get(kind, 2)
    need(len(found) == expected, "P18.1", f"{len(found)} statements")
    need(len({statement.id for statement in found}) == expected, "P18.1", "one statement twice")
    named = {6: "CONFIRM", 9: "REQUEST"}.get(kind)
    for statement in found:
        need(statement.signer == accused or statement.name == named, "P18.1", "not signed by the accused")
    for statement in found:
        statement.verify()
    by_name = {}
    for statement in found:
        by_name.setdefault(statement.name, []).append(statement)
    shape = {name: len(statements) for name, statements in by_name.items()}
    need(contradicts(kind, shape, by_name, found, accused), "P18.1", "nothing is shown")
    return kind not in (7, 8, 9, 10, 12), kind in (8, 9, 10, 12)


def neighbours(statements):
    first, second = sorted(statements, key=lambda statement: statement["slot"])
    return (first, second) if second["slot"] == first["slot"] + 1 else None


def prev_of(statement):
    return PREV(statement["prev"])


def contradicts(kind, shape, by_name, found, accused):
    def only(*names):
        return [by_name[name][0] for name in names]

    if kind == 1:
        return shape == {"ACCEPT": 2} and len({statement["slot"] for statement in found}) == 1
    if kind == 2:
        return shape == {"CONFIRM": 2} and len({statement["slot"] for statement in found}) == 1
    if kind == 3:
        if shape == {"ACK": 1, "VOID": 1}:
            ack, void = only("ACK", "VOID")
            return ack["slot"] == void["slot"] and void["outcome"] == 1
        if shape == {"ACK": 1, "ACCEPT": 1}:
            ack, accept = only("ACK", "ACCEPT")
            return accept["slot"] == ack["slot"] + 1 and prev_of(accept)["outcome"] == 1
        return False
    if kind == 4:
        if shape not in ({"ACCEPT": 2}, {"CONFIRM": 2}):
            return False
        pair = neighbours(found)
        if pair is None:
            return False
        bound = pair[0].id if "ACCEPT" in shape else pair[0]["accept_id"]
        return prev_of(pair[1])["accept_id"] not in (None, bound)
    if kind == 5:
        pair = neighbours(found) if shape == {"ACCEPT": 2} else None
        if pair is None:
            return False
        prev = prev_of(pair[1])
        try:
            check_prev(pair[1], True)
        except Refused:
            return False
        is_signed = prev["outcome"] in (2, 3, 5) and prev["accept_id"] == pair[0].id
        return is_signed and Statement(prev["proof"]).signer != pair[0]["to"]
    if kind == 6:
        if shape != {"ACK": 1, "CONFIRM": 1, "ACCEPT": 1}:
            return False
        ack, confirm, accept = only("ACK", "CONFIRM", "ACCEPT")
        prev = prev_of(accept)
        follows = accept["slot"] == ack["slot"] + 1 and ack["confirm_id"] == confirm.id
        names = prev["outcome"] == 8 and prev["accept_id"] == confirm["accept_id"]
        secret = prev["proof"] or b""
        return follows and names and len(secret) == 16 and board_hash(secret) != confirm["board_hash"]
    if kind == 7:
        if shape not in ({"ACCEPT": 1}, {"CONFIRM": 1}):
            return False
        try:
            check_prev(found[0], "ACCEPT" in shape)
        except Refused:
            return True
        return False
    if kind == 8:
        if shape != {"DRIVER_OFFER": 1, "ACCEPT": 1}:
            return False
        offer, accept = only("DRIVER_OFFER", "ACCEPT")
        is_named = offer["tariff"] is not None and accept["offer_id"] == offer.id
        return is_named and accept["tariff_hash"] != tariff_hash(offer)
    if kind == 9:
        if "REQUEST" not in shape or "ACCEPT" not in shape:
            return False
        request, accept = only("REQUEST", "ACCEPT")
        if accept.signer != accused or accept["request_id"] != request.id or request["to"] != accused:
            return False
        if "COUNTER" in shape:
            (counter,) = only("COUNTER")
            return request["counter_id"] == counter.id and accept["fare"] > min(counter["fare"], request["max_fare"])
        if "DRIVER_OFFER" not in shape or request["counter_id"] is not None:
            return False
        (offer,) = only("DRIVER_OFFER")
        if not offer.id == accept["offer_id"] == request["offer_id"] or offer["tariff"] is None:
            return False
        most = limit(tariff_of(offer), request["dist"], request["ride_time"], request["max_fare"], None)
        return most is not None and accept["fare"] > most
    if kind == 10:
        if shape not in ({"DRIVER_OFFER": 2}, {"RIDER_OFFER": 2}):
            return False
        return found[0]["seq"] == found[1]["seq"]
    if kind == 11:
        if shape != {"SHIFT_CERT": 2}:
            return False
        a, b = found

        def replaces(newer, older):
            if newer["replaces"] is None:
                return False
            cert = REPLACES(newer["replaces"])["cert"]
            return cert == older.id if cert is not None else older["issued"] <= newer["issued"]

        both_drive = a["role"] == b["role"] == 1 and a["subject"] != b["subject"]
        overlap = a["from"] < b["until"] and b["from"] < a["until"]
        return both_drive and overlap and not replaces(a, b) and not replaces(b, a)
    if kind == 12:
        ends = [end_of(statement) for statement in found]
        return None not in ends and ends[0][0] == ends[1][0] and ends[0][1] != ends[1][1]
    if kind == 13:
        if shape == {"DRIVER_OFFER": 1, "ACCEPT": 1}:
            offer, accept = only("DRIVER_OFFER", "ACCEPT")
            return offer["slot"] == accept["slot"] + 1 and offer["head"] not in (None, accept.id)
        return shape == {"DRIVER_OFFER": 2} and (
            found[0]["slot"] == found[1]["slot"] and found[0]["head"] != found[1]["head"]
        )
    return False


def end_of(statement):
    if statement.name in ("VOID", "RELEASE"):
        return statement["accept_id"], statement["outcome"]
    if statement.name == "COSIGN":
        return statement["accept_id"], 5
    if statement.name in ("ACCEPT", "CONFIRM"):
        prev = prev_of(statement)
        return None if prev["accept_id"] is None else (prev["accept_id"], prev["outcome"])
    return None


# --- the vectors ---------------------------------------------------------------------


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, expected {wanted!r}")


def tariff_from_json(entry):
    return {name: value.encode() if name == "currency" else value for name, value in entry.items()}


def statement_case(case):
    statement = Statement(bytes.fromhex(case["envelope"])).verify()
    expect(statement.kind, case["kind"], "kind")
    expect(statement.network, network_id(case["network"]), "network")
    expect(statement.signer.hex(), case["signer"], "signer")
    expect(statement.id.hex(), case["id"], "id")
    # Ed25519 is deterministic: the seed gives the very signature.
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(case["seed"]))
    signature = secret.sign(b"hailmesh-sig-v1\0" + statement.tail)
    expect(signature.hex(), statement.signature.hex(), "signature")


def hash_case(case):
    what = case["what"]
    unhex = lambda name: bytes.fromhex(case[name])
    if what == "network":
        found = network_id(case["name"])
    elif what == "agreement":
        found = prefixed("hailmesh-agreement-v1", unhex("request"), unhex("accept"))
    elif what == "tariff":
        names = ["currency", "base", "per_km", "per_min", "minimum", "wait_per_min", "wait_free"]
        names += ["cancel_fee", "cancel_free", "no_show_fee", "surge"]
        fields = [tariff_from_json(case["tariff"])[name] for name in names]
        TARIFF(fields)
        found = prefixed("hailmesh-tariff-v1", cbor2.dumps(fields, canonical=True))
    elif what == "board":
        found = board_hash(unhex("secret"))
    elif what == "commit":
        found = prefixed("hailmesh-commit-v1", bytes([case["purpose"]]), unhex("salt"), unhex("content"))
    elif what == "pow":
        hour = (case["issued"] // 3_600_000).to_bytes(8, "big")
        parts = [network_id(case["network"]), unhex("signer"), case["cell"].to_bytes(8, "big"), hour, unhex("pow")]
        found = int.from_bytes(prefixed("hailmesh-pow-v1", *parts), "big")
        return expect(found >> (256 - case["bits"]), 0, "leading bits")
    elif what == "cell":
        found = prefixed("hailmesh-cell-v1", network_id(case["network"]), case["cell"].to_bytes(8, "big"))
    elif what == "digest":
        found = prefixed("hailmesh-digest-v1", unhex("salt"), unhex("author"))
    elif what == "topic":
        cell(7, 7)(case["cell"], "P13.1")
        return expect(f"/hailmesh/1/{case['network']}/{case['side']}/{case['cell']:015x}", case["topic"], "topic")
    elif what == "message_id":
        if blake3 is None:
            return "SKIPPED a BLAKE3 vector: the module blake3 is not installed"
        found = blake3.blake3(case["topic"].encode() + b"\0" + unhex("message")).digest()[:16]
    else:
        raise AssertionError(f"an unknown hash {what}")
    return expect(found.hex(), case["hash"], what)


def fare_case(case):
    found = fare(tariff_from_json(case["tariff"]), case["dist"], case["ride_ms"], case["wait_ms"])
    expect(found, case["fare"], "fare")


def limit_case(case):
    tariff = tariff_from_json(case["tariff"])
    found = limit(tariff, case["dist"], case["ride_ms"], case["max_fare"], case["counter"])
    expect(found, case["limit"], "limit")


def final_case(case):
    found = final(
        tariff_from_json(case["tariff"]),
        (case["asked_dist"], case["asked_ride_ms"]),
        case["fare"],
        case["fare_kind"] == 2,
        case["countered"],
        (case["dist"], case["ride_ms"]),
        case["wait_ms"],
        case["extra"],
    )
    if found is not None:
        del found["up"]
    expect(found, case["final"], "final fare")


def receipt_case(case):
    issuers = [bytes.fromhex(issuer) for issuer in case["issuers"]]
    expect(check_receipt(bytes.fromhex(case["receipt"]), issuers), case["facts"], "facts")


def group(clause):
    """P2.1 to P2.4 and the bounds of P4 are one thing: the form. Which of them a reader
    meets first is its own affair; later checks have an order."""
    form = ("P2.1", "P2.2", "P2.3", "P2.4", "P2.11")
    return "form" if clause in form or clause.startswith("P4.") else clause


def refused(check, wanted, same):
    try:
        check()
    except Refused as error:
        return expect(same(error.clause), same(wanted), str(error))
    raise AssertionError(f"not refused; expected {wanted}")


def broken_receipt_case(case):
    refused(lambda: check_receipt(bytes.fromhex(case["receipt"]), []), case["clause"], str)


def read_evidence(case):
    envelope = Statement(bytes.fromhex(case["envelope"])).verify()
    expect(envelope.name, "EVIDENCE", "kind")
    return envelope, network_id(case["network"])


def evidence_case(case):
    envelope, network = read_evidence(case)
    expect(envelope["kind"], case["kind"], "kind of evidence")
    expect(envelope["accused"].hex(), case["accused"], "accused")
    expect(check_evidence(envelope, network), (case["permanent"], case["counted"]), "consequence")


def no_evidence_case(case):
    envelope, network = read_evidence(case)
    refused(lambda: check_evidence(envelope, network), case["clause"], str)


def refused_case(case):
    refused(lambda: Statement(bytes.fromhex(case["envelope"])).verify(), case["clause"], group)


FILES = [
    ("statements.json", "statements", statement_case),
    ("hashes.json", "hashes", hash_case),
    ("fares.json", "fares", fare_case),
    ("fares.json", "limits", limit_case),
    ("fares.json", "finals", final_case),
    ("receipts.json", "valid", receipt_case),
    ("receipts.json", "invalid", broken_receipt_case),
    ("evidence.json", "valid", evidence_case),
    ("evidence.json", "invalid", no_evidence_case),
    ("refused.json", "refused", refused_case),
]


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    passed = failed = 0
    seen_kinds = set()
    for file, section, check in FILES:
        cases = json.loads((folder / file).read_text(encoding="utf-8"))[section]
        if not cases:
            failed += 1
            print(f"FAILED {file} {section}: no vectors")
        for number, case in enumerate(cases):
            name = case.get("name") or case.get("what") or number
            if check is statement_case:
                seen_kinds.add(case["kind"])
            try:
                note = check(case)
            except (Refused, AssertionError, KeyError, ValueError, TypeError, IndexError) as error:
                failed += 1
                print(f"FAILED {file} {section} {name}: {type(error).__name__}: {error}")
                continue
            if isinstance(note, str):
                print(note)
            else:
                passed += 1
    for kind in sorted(set(KINDS) - seen_kinds):
        failed += 1
        print(f"FAILED no vector of {KINDS[kind][0]}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
