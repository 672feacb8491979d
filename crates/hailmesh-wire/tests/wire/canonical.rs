//! One value, one encoding (P2.2 to P2.4).

use hailmesh_wire::*;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::common::{Generate, Source, each_kind, entropy};

/// Where the heads of a canonical encoding begin, with major type, argument and length.
fn heads(bytes: &[u8]) -> Vec<(usize, u8, u64, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (major, low) = (bytes[at] >> 5, bytes[at] & 0x1f);
        let extra = match low {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => 0,
        };
        let argument = match extra {
            0 => u64::from(low),
            _ => bytes[at + 1..at + 1 + extra].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        };
        found.push((at, major, argument, 1 + extra));
        at += 1 + extra;
        if major == 2 {
            at += usize::try_from(argument).unwrap();
        }
    }
    found
}

/// The same head with a longer argument than needed, in every way.
fn longer(major: u8, argument: u64, len: usize) -> Vec<Vec<u8>> {
    let big = argument.to_be_bytes();
    [(2, 24_u8, 1_usize), (3, 25, 2), (5, 26, 4), (9, 27, 8)]
        .into_iter()
        .filter(|(total, _, _)| *total > len)
        .map(|(_, low, extra)| {
            let mut head = vec![major << 5 | low];
            head.extend_from_slice(&big[8 - extra..]);
            head
        })
        .collect()
}

fn replace(bytes: &[u8], at: usize, len: usize, with: &[u8]) -> Vec<u8> {
    [&bytes[..at], with, &bytes[at + len..]].concat()
}

fn refuses_longer_heads<T: Generate>(bytes: &[u8]) -> TestCaseResult {
    let body = T::generate(&mut Source::new(bytes)).encode_body();
    for (at, major, argument, len) in heads(&body) {
        if major == 7 {
            prop_assert_eq!(body[at], 0xf6, "nothing else of major type 7 is ever written");
            continue;
        }
        prop_assert!(matches!(major, 0 | 2 | 4), "{} writes major type {major}", T::KIND);
        for head in longer(major, argument, len) {
            let refused = T::decode_body(&replace(&body, at, len, &head));
            prop_assert!(refused.is_err(), "{} reads {head:02x?} at {at}", T::KIND);
            prop_assert!(refused.unwrap_err().clause.starts_with("P2."));
        }
    }
    Ok(())
}

fn refuses_other_forms<T: Generate>(bytes: &[u8]) -> TestCaseResult {
    let body = T::generate(&mut Source::new(bytes)).encode_body();
    let refused = |changed: &[u8]| T::decode_body(changed).err().map(|error| error.clause);
    let fields = body[0] & 0x1f;
    prop_assert!(body[0] >> 5 == 4 && fields < 24);

    prop_assert_eq!(refused(&[&body[..], &[0]].concat()), Some("P2.4"), "a byte after the end");
    let more = |tail: &[u8]| [&[body[0] + 1], &body[1..], tail].concat();
    prop_assert!(refused(&more(&[0xf6])).is_some(), "a null at the end");
    prop_assert!(refused(&more(&[0x80])).is_some(), "an empty list at the end");
    prop_assert!(refused(&more(&[0x00])).is_some(), "a surplus element");
    let indefinite = [&[0x9f], &body[1..], &[0xff]].concat();
    prop_assert_eq!(refused(&indefinite), Some("P2.2"), "an array without a length");
    prop_assert_eq!(refused(&replace(&body, 0, 1, &[0xd8, 0x2a, body[0]])), Some("P2.2"), "a tag");
    prop_assert_eq!(refused(&replace(&body, 0, 1, &[0xa0 | fields])), Some("P2.2"), "a map");
    prop_assert!(refused(&body[..body.len() - 1]).is_some(), "cut short");
    prop_assert!(refused(&[]).is_some(), "nothing");
    Ok(())
}

fn refuses_other_types<T: Generate>(bytes: &[u8]) -> TestCaseResult {
    let body = T::generate(&mut Source::new(bytes)).encode_body();
    for (at, major, argument, len) in heads(&body) {
        let instead: &[&[u8]] = match major {
            // Negative, boolean, float, undefined instead of an integer.
            0 => &[&[0x20], &[0xf4], &[0xf5], &[0xf9, 0, 0], &[0xf7]],
            7 => &[&[0xf7], &[0xf4]],
            _ => &[],
        };
        for other in instead {
            prop_assert!(T::decode_body(&replace(&body, at, len, other)).is_err(), "{} at {at}", T::KIND);
        }
        if major == 2 {
            // A text, and a byte string without a length, of the same content.
            let mut text = body.clone();
            text[at] |= 0x20;
            prop_assert!(T::decode_body(&text).is_err(), "{} reads a text at {at}", T::KIND);
            let end = at + len + usize::try_from(argument).unwrap();
            let chunks = [&body[..at], &[0x5f], &body[at..end], &[0xff], &body[end..]].concat();
            prop_assert!(T::decode_body(&chunks).is_err(), "{} reads chunks at {at}", T::KIND);
            // More bytes than there are, up to all of memory.
            let huge = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            prop_assert!(T::decode_body(&replace(&body, at, len, &huge)).is_err());
        }
        if major == 4 {
            let huge = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            prop_assert!(T::decode_body(&replace(&body, at, len, &huge)).is_err());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn longer_heads_are_refused(bytes in entropy()) {
        each_kind!(refuses_longer_heads, &bytes);
    }

    #[test]
    fn other_forms_are_refused(bytes in entropy()) {
        each_kind!(refuses_other_forms, &bytes);
    }

    #[test]
    fn other_types_are_refused(bytes in entropy()) {
        each_kind!(refuses_other_types, &bytes);
    }
}

#[test]
fn the_envelope_has_one_form() {
    let bytes: Vec<u8> = (1..=255).collect();
    let statement = EnRoute::signed(&bytes, 2);
    let good = statement.bytes().to_vec();
    assert!(Header::peek(&good).is_ok());
    let envelope_heads = heads(&good);
    assert_eq!(envelope_heads.len(), 7, "an array of six");
    for (at, major, argument, len) in envelope_heads {
        for head in longer(major, argument, len) {
            let error = Header::peek(&replace(&good, at, len, &head)).unwrap_err();
            assert_eq!(error.clause, "P2.4", "{head:02x?} at {at}");
        }
    }
    let clause = |bytes: &[u8]| Header::peek(bytes).unwrap_err().clause;
    assert_eq!(clause(&[&good[..], &[0]].concat()), "P2.4");
    assert_eq!(clause(&[&[0x87], &good[1..], &[0xf6]].concat()), "P2.1");
    assert_eq!(clause(&[&[0x9f], &good[1..], &[0xff]].concat()), "P2.2");
    assert_eq!(clause(&[0x86, 0x01]), "P2.2");
    assert_eq!(clause(&[]), "P2.2");
    assert_eq!(clause(&vec![0; 4_097]), "P4.1");
}

#[test]
fn an_absent_field_is_null_only_before_a_present_one() {
    let bare = Reject::generate(&mut Source::slim(&[]));
    assert_eq!(bare.slot, None);
    let encoded = bare.encode_body();
    assert_eq!(encoded[0], 0x86, "retry follows, so that slot is null");
    let extended = Reject { ext: Extensions::new(vec![(7, vec![1, 2])]).unwrap(), ..bare.clone() };
    let encoded = extended.encode_body();
    assert_eq!(encoded[0], 0x87);
    assert_eq!(Reject::decode_body(&encoded), Ok(extended));

    let release = Release::generate(&mut Source::slim(&[]));
    assert_eq!((release.agreement_id, release.slot, release.ref_id), (None, None, None));
    assert_eq!(release.encode_body()[0], 0x88, "ref is the last and left out");
}

#[test]
fn extensions_are_kept_signed_and_bounded() {
    let with = |pairs: Vec<(u16, Vec<u8>)>| Extensions::new(pairs).map_err(|error| error.clause);
    let kept = with(vec![(1, vec![9; 128]), (0x8001, vec![]), (0x8002, vec![7; 128])]).unwrap();
    assert_eq!(kept.unknown_critical(), Some(0x8001));
    assert_eq!(kept.get(0x8002), Some(&[7; 128][..]));
    assert_eq!(with(vec![(1, vec![]), (2, vec![])]).unwrap().unknown_critical(), None);
    assert_eq!(with(vec![(2, vec![]), (1, vec![])]), Err("P2.11"));
    assert_eq!(with(vec![(2, vec![]), (2, vec![])]), Err("P2.11"));
    assert_eq!(with(vec![(2, vec![0; 129])]), Err("P2.11"));
    assert_eq!(with(vec![(1, vec![0; 128]), (2, vec![0; 128]), (3, vec![0])]), Err("P2.11"));
    assert_eq!(with((0..9).map(|id| (id, vec![])).collect()), Err("P2.11"));

    let ack = Ack { ext: kept, ..Ack::generate(&mut Source::slim(&[])) };
    let mut encoded = ack.encode_body();
    assert_eq!(Ack::decode_body(&encoded), Ok(ack));
    // The ids of the first and second extension are one byte and three.
    let at = encoded.windows(4).position(|window| window == [0x82, 0x19, 0x80, 0x01]).unwrap();
    encoded[at + 2] = 0;
    assert_eq!(Ack::decode_body(&encoded).unwrap_err().clause, "P2.11", "1 after 1");
}
