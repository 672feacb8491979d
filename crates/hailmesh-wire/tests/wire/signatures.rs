//! Round trips, and what happens to statements that somebody tampered with.

use hailmesh_types::NetworkName;
use hailmesh_wire::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::common::{Generate, Source, each_kind, entropy, key, network, public};

fn body_round_trips<T: Generate>(bytes: &[u8]) -> TestCaseResult {
    let body = T::generate(&mut Source::new(bytes));
    let encoded = body.encode_body();
    let decoded = T::decode_body(&encoded);
    prop_assert_eq!(decoded.as_ref(), Ok(&body), "{}", T::KIND);
    Ok(())
}

fn statement_round_trips<T: Generate>(bytes: &[u8]) -> TestCaseResult
where
    Signed<T>: TryFrom<AnyStatement, Error = DecodeError>,
    AnyVerified: From<Verified<T>>,
{
    let made = T::signed(bytes, 9);
    let read =
        Signed::<T>::decode(made.bytes().as_ref()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(read.body(), made.body());
    prop_assert_eq!(read.id(), made.id());
    prop_assert_eq!(read.signer(), &public(9));
    prop_assert_eq!(read.network(), network());
    prop_assert!(read.clone().verify_by(&public(9), &Ed25519).is_ok());
    prop_assert_eq!(Verified::<T>::from_own_journal(made.bytes().clone(), &Ed25519), Ok(made.clone()));

    let any = AnyStatement::decode(made.bytes().clone()).unwrap();
    prop_assert_eq!((any.kind(), any.id(), any.to()), (T::KIND, made.id(), made.body().to()));
    prop_assert_eq!(
        (any.signer(), any.network(), any.issued()),
        (&public(9), network(), made.body().issued())
    );
    prop_assert_eq!(any.to().is_some(), T::KIND.is_direct());
    prop_assert_eq!(any.clone().verify(), Ok(AnyVerified::from(made.clone())));
    prop_assert_eq!(Signed::<T>::try_from(any), Ok(made.into_signed()));
    Ok(())
}

/// Changes bytes the way transport faults and attackers do.
#[derive(Debug, Clone)]
enum Mutation {
    Set { at: usize, to: u8 },
    Insert { at: usize, byte: u8 },
    Remove { at: usize },
    Cut { at: usize },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte =
        prop_oneof![any::<u8>(), Just(0xf6), Just(0x80), Just(0x9f), Just(0xff), Just(0x1b), Just(0x5b)];
    prop_oneof![
        4 => (any::<usize>(), byte.clone()).prop_map(|(at, to)| Mutation::Set { at, to }),
        1 => (any::<usize>(), byte).prop_map(|(at, byte)| Mutation::Insert { at, byte }),
        1 => any::<usize>().prop_map(|at| Mutation::Remove { at }),
        1 => any::<usize>().prop_map(|at| Mutation::Cut { at }),
    ]
}

fn mutate(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for mutation in mutations {
        let len = bytes.len().max(1);
        match *mutation {
            Mutation::Set { at, to } if !bytes.is_empty() => bytes[at % len] = to,
            Mutation::Insert { at, byte } => bytes.insert(at % len.min(bytes.len() + 1), byte),
            Mutation::Remove { at } if !bytes.is_empty() => {
                bytes.remove(at % len);
            }
            Mutation::Cut { at } => bytes.truncate(at % len),
            _ => {}
        }
    }
    bytes
}

/// Whatever decodes is canonical, from whomever it comes.
fn reads_canonically<T: Generate>(bytes: &[u8]) -> TestCaseResult {
    if let Ok(body) = T::decode_body(bytes) {
        prop_assert_eq!(body.encode_body(), bytes, "{}", T::KIND);
        let again = format!("{body:?}");
        prop_assert!(!again.is_empty());
    }
    Ok(())
}

fn survives_mutation<T: Generate>(bytes: &[u8], mutations: &[Mutation]) -> TestCaseResult {
    let body = T::generate(&mut Source::new(bytes)).encode_body();
    reads_canonically::<T>(&mutate(&body, mutations))?;
    let statement = T::signed(bytes, 3);
    let changed = mutate(statement.bytes(), mutations);
    if let Ok(read) = AnyStatement::decode(changed.as_slice()) {
        prop_assert_eq!(read.bytes().as_ref(), changed.as_slice());
        let unchanged = changed == statement.bytes().as_ref();
        prop_assert_eq!(read.clone().verify().is_ok(), unchanged, "{}", T::KIND);
    }
    Ok(())
}

proptest! {
    #[test]
    fn bodies_round_trip(bytes in entropy()) {
        each_kind!(body_round_trips, &bytes);
    }

    #[test]
    fn statements_round_trip(bytes in entropy()) {
        each_kind!(statement_round_trips, &bytes);
    }

    #[test]
    fn mutated_statements_never_verify(bytes in entropy(), mutations in vec(mutation(), 1..4)) {
        each_kind!(survives_mutation, &bytes, &mutations);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..600)) {
        each_kind!(reads_canonically, &bytes);
        let _ = AnyStatement::decode(bytes.as_slice());
        let _ = Header::peek(&bytes);
    }

    /// Bytes that begin like a record get deeper into the decoders.
    #[test]
    fn bytes_that_look_like_a_record(len in 0..24_u8, bytes in vec(prop_oneof![0..0x18_u8, any::<u8>()], 0..200)) {
        let mut record = vec![0x80 | len];
        record.extend(bytes);
        each_kind!(reads_canonically, &record);
    }
}

/// A statement of each kind, from bytes that make it rich.
fn sample<T: Generate>() -> Verified<T> {
    let bytes: Vec<u8> = (0..400_u32).map(|n| u8::try_from(n * 37 % 251).unwrap() | 1).collect();
    T::signed(&bytes, 5)
}

fn every_byte_counts<T: Generate>() -> TestCaseResult {
    let statement = sample::<T>();
    for at in 0..statement.bytes().len() {
        let mut changed = statement.bytes().to_vec();
        changed[at] ^= 1 << (at % 8);
        let verified = Signed::<T>::decode(changed).and_then(Signed::verify);
        prop_assert!(verified.is_err(), "{} with byte {at} changed still verifies", T::KIND);
    }
    Ok(())
}

#[test]
fn changing_any_byte_breaks_the_statement() -> TestCaseResult {
    each_kind!(every_byte_counts);
    Ok(())
}

fn is_not_replayed_elsewhere<T: Generate>() -> TestCaseResult {
    let statement = sample::<T>();
    let header = Header::peek(statement.bytes()).unwrap();
    let other = NetworkId::of(&NetworkName::default());
    let mut moved = statement.bytes().to_vec();
    // Six elements, version, kind (one or two bytes), head of the network id.
    let network_at = if T::KIND.code() < 24 { 4 } else { 5 };
    prop_assert!(moved[network_at..].starts_with(network().as_bytes()));
    moved[network_at..network_at + 8].copy_from_slice(other.as_bytes());
    let read = Signed::<T>::decode(moved).unwrap();
    prop_assert_eq!(read.network(), other);
    prop_assert_ne!(read.id(), statement.id());
    prop_assert_eq!(read.verify().unwrap_err().clause, "P2.5");

    for kind in Kind::ALL {
        if *kind == T::KIND || (kind.code() < 24) != (T::KIND.code() < 24) {
            continue;
        }
        let mut renamed = statement.bytes().to_vec();
        renamed[network_at - 2] = kind.code();
        prop_assert_eq!(Header::peek(&renamed).map(|found| found.body).ok(), {
            let fits = statement.bytes().len() <= kind.bytes_max();
            fits.then(|| header.body.clone())
        });
        prop_assert_eq!(Signed::<T>::decode(renamed.as_slice()).unwrap_err().clause, "P4.1");
        let replayed = AnyStatement::decode(renamed).and_then(AnyStatement::verify);
        prop_assert!(replayed.is_err(), "{} passes as {kind}", T::KIND);
    }
    Ok(())
}

#[test]
fn a_statement_is_of_one_kind_and_one_network() -> TestCaseResult {
    each_kind!(is_not_replayed_elsewhere);
    Ok(())
}

#[test]
fn the_same_body_as_another_kind_does_not_verify() {
    // Withdrawn offers of both sides in slot 0 have the same body.
    let body =
        DriverOffer { live: None, addrs: vec![], certs: vec![], slot: 0, head: None, ..Source::offer() };
    let statement = Verified::sign(&key(1), network(), body);
    let mut renamed = statement.bytes().to_vec();
    assert_eq!(renamed[2], Kind::DriverOffer.code());
    renamed[2] = Kind::RiderOffer.code();
    let rider = Signed::<RiderOffer>::decode(renamed).expect("the body fits");
    assert_ne!(rider.id(), statement.id());
    assert_eq!(rider.verify().unwrap_err().clause, "P2.5");
}

impl Source<'_> {
    fn offer() -> DriverOffer {
        DriverOffer::generate(&mut Source::slim(&[]))
    }
}

#[test]
fn the_signer_must_be_the_expected_one() {
    let statement = sample::<Ack>().into_signed();
    let error = statement.clone().verify_by(&public(1), &Ed25519).unwrap_err();
    assert_eq!(error.clause, "P5.6");
    assert!(error.what.contains(&public(1).to_string()), "{error}");
    assert!(statement.verify_by(&public(5), &Ed25519).is_ok());
}

#[test]
fn another_signer_breaks_the_signature() {
    let statement = sample::<Confirm>();
    let mut stolen = statement.bytes().to_vec();
    let at = stolen.windows(32).position(|window| window == public(5).as_bytes()).unwrap();
    stolen[at..at + 32].copy_from_slice(public(6).as_bytes());
    assert_eq!(Signed::<Confirm>::decode(stolen).unwrap().verify().unwrap_err().clause, "P2.5");
}

#[test]
fn weak_and_malformed_signers_are_refused_at_decode() {
    let statement = sample::<Confirm>();
    let at = statement.bytes().windows(32).position(|window| window == public(5).as_bytes()).unwrap();
    let mut small_order = [0; 32];
    small_order[0] = 1;
    let mut second_encoding = [0xff; 32];
    second_encoding[0] = 0xee;
    second_encoding[31] = 0x7f;
    let mut off_curve = [0; 32];
    off_curve[0] = 2;
    for bad in [small_order, second_encoding, off_curve] {
        let mut bytes = statement.bytes().to_vec();
        bytes[at..at + 32].copy_from_slice(&bad);
        assert!(Header::peek(&bytes).is_ok(), "the envelope alone does not tell");
        assert_eq!(Signed::<Confirm>::decode(bytes).unwrap_err().clause, "P2.8");
    }
}

/// The order of the base point, little-endian: s and s + this are the same scalar.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_signature_has_one_form() {
    let statement = sample::<Confirm>();
    let mut bytes = statement.bytes().to_vec();
    let at = bytes.len() - 32;
    let mut carry = 0;
    for (byte, add) in bytes[at..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    let read = Signed::<Confirm>::decode(bytes).unwrap();
    assert_eq!(read.id(), statement.id(), "the signature is not part of the name (P2.6)");
    assert_eq!(read.verify().unwrap_err().clause, "P2.5");
}

#[test]
fn other_versions_and_kinds_are_told_apart_from_bad_bytes() {
    let statement = sample::<Ack>();
    let mut newer = statement.bytes().to_vec();
    newer[1] = 2;
    let header = Header::peek(&newer).unwrap();
    assert_eq!(header.version, 2);
    assert_eq!(header.kind().unwrap_err().clause, "P25.1");
    assert_eq!(AnyStatement::decode(newer).unwrap_err().clause, "P25.1");
    let mut unknown = statement.bytes().to_vec();
    unknown[2] = 0x03;
    assert_eq!(Header::peek(&unknown).unwrap().kind_code, 3);
    assert_eq!(AnyStatement::decode(unknown).unwrap_err().to_string(), "P4.1: unknown kind 0x03");
}

#[test]
fn debug_shows_no_secret() {
    let boarded = Boarded { board_secret: [0xab; 16], ..sample::<Boarded>().body().clone() };
    let shown = format!("{:?}", Verified::sign(&key(1), network(), boarded));
    assert!(shown.contains("board_secret: <private>"), "{shown}");
    let ask = BoardAsk { code: *b"777777", ..sample::<BoardAsk>().body().clone() };
    let shown = format!("{ask:?}");
    assert!(shown.contains("code: <private>"), "{shown}");
}

#[test]
fn what_is_heard_is_read_as_if_it_were_read_alone() {
    let mut source = Source::slim(&[7; 400]);
    let made = Verified::sign(&key(3), network(), DriverOffer::generate(&mut source));
    let mut broken = made.bytes().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    for bytes in [made.bytes().to_vec(), broken, made.bytes()[1..].to_vec(), Vec::new(), vec![0; 70_000]] {
        let heard = Heard::from(bytes.clone());
        assert_eq!(heard.header().map_err(Clone::clone), Header::peek(&bytes).as_ref().map_err(Clone::clone));
        assert_eq!(heard.clone().statement().cloned().map_err(Clone::clone), AnyStatement::decode(bytes));
    }
}

#[test]
fn a_check_counts_for_its_own_signatures_only() {
    let mut source = Source::slim(&[8; 400]);
    let body = RiderOffer::generate(&mut source);
    let simulated = SimulatedSignatures::new([5; 32]);
    let real = Verified::sign(&key(3), network(), body.clone());
    let fast = Verified::sign_with(&simulated, &key(3), network(), body);
    assert_eq!(real.id(), fast.id(), "the signature is no part of the name");
    assert_eq!(real.bytes()[..real.bytes().len() - 64], fast.bytes()[..fast.bytes().len() - 64]);
    for (made, signatures) in [(&real, &Ed25519 as &dyn Signatures), (&fast, &simulated)] {
        let other: &dyn Signatures = if signatures.tag() == simulated.tag() { &Ed25519 } else { &simulated };
        // In both orders, and again: whatever is remembered must not leak.
        for first in [true, false] {
            let read = Signed::<RiderOffer>::decode(made.bytes().clone()).unwrap();
            for turn in 0..4 {
                let right = (turn % 2 == 0) == first;
                let by = if right { signatures } else { other };
                assert_eq!(read.clone().verify_with(by).is_ok(), right, "turn {turn}");
            }
        }
    }
}

#[test]
fn certificates_inside_are_read_in_place() {
    let mut source = Source::slim(&[9; 400]);
    let cert = Verified::sign(&key(4), network(), ShiftCert::generate(&mut source));
    let mut body = DriverOffer::generate(&mut source);
    body.cert_id = Some(cert.id());
    body.certs = vec![cert.bytes().to_vec(), vec![1, 2, 3]];
    let offer =
        Signed::<DriverOffer>::decode(Verified::sign(&key(3), network(), body).bytes().clone()).unwrap();
    for _ in 0..2 {
        let Some(Ok(AnyStatement::ShiftCert(read))) = offer.certificate(0) else { panic!("a SHIFT_CERT") };
        assert_eq!((read.id(), read.bytes()), (cert.id(), cert.bytes()));
        assert_eq!(
            offer.certificate(1).unwrap().unwrap_err(),
            &AnyStatement::decode(vec![1, 2, 3]).unwrap_err()
        );
        assert!(offer.certificate(2).is_none());
    }
}
