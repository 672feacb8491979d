//! Frames, attachments, openings and hashes (P5.1 to P5.3, P2.6, P2.7, P16.6).

use hailmesh_types::{AgreementId, Hash, PeerKey, StatementId, Tariff, Text, Timestamp};
use hailmesh_wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::{Source, entropy, network, public};

fn frame(bytes: &[u8]) -> Frame {
    let mut s = Source::new(bytes);
    let content = match s.int(0, 4) {
        0 => FrameContent::Statement(vec![7; usize::try_from(s.int(0, 1_024)).unwrap()]),
        1 => FrameContent::Wait { ms: u32::try_from(s.int(0, 30_000)).unwrap() },
        2 => FrameContent::None,
        3 => FrameContent::Position(Position {
            agreement_id: AgreementId::from_bytes([3; 32]),
            point: s.point(),
            heading: u16::try_from(s.int(0, 359)).unwrap(),
            speed: u16::try_from(s.int(0, 65_535)).unwrap(),
            accuracy: u16::try_from(s.int(0, 65_535)).unwrap(),
            time: s.time(),
        }),
        _ => FrameContent::Refused(RejectReason::from_code(u8::try_from(s.int(0, 255)).unwrap())),
    };
    let mut frame = Frame::new(content);
    for n in 0..s.int(0, 6) {
        frame = frame.with(match (n + s.int(0, 6)) % 7 {
            0 => Attachment::DriverOffer(vec![1; 300]),
            1 => Attachment::PickupOpening(s.opening()),
            2 => Attachment::DropOpening(s.opening()),
            3 => Attachment::VehicleOpening(s.opening()),
            4 => Attachment::Certificate(vec![2; 288]),
            5 => Attachment::Statement(vec![3; 1_024]),
            _ => Attachment::BoardingSecret([9; 16]),
        });
    }
    frame
}

proptest! {
    #[test]
    fn frames_round_trip(bytes in entropy()) {
        let frame = frame(&bytes);
        let encoded = frame.encode();
        prop_assert_eq!(Frame::decode(&encoded), Ok(frame));
        let padded = pad(&encoded).unwrap();
        prop_assert!(limits::FRAME_SIZES.contains(&padded.len()));
        prop_assert_eq!(unpad(&padded), Ok(&encoded[..]));
        // Another size, another length or a filler that says something is refused.
        prop_assert!(unpad(&padded[..padded.len() - 1]).is_err());
        if padded.len() < 8_192 {
            let mut larger = padded.clone();
            larger.resize(padded.len() * 2, 0);
            prop_assert_eq!(unpad(&larger).unwrap_err().clause, "P5.1");
        }
        if encoded.len() + 4 < padded.len() {
            let mut talking = padded.clone();
            *talking.last_mut().unwrap() = 1;
            prop_assert_eq!(unpad(&talking).unwrap_err().clause, "P5.1");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..900), at in any::<usize>(), to in any::<u8>()) {
        let _ = Frame::decode(&bytes);
        let _ = unpad(&bytes);
        let opening = Opening { salt: [0; 32], content: bytes.clone() };
        let _ = (PickupPlace::from_opening(&opening), DropPlace::from_opening(&opening));
        let _ = VehicleCard::from_opening(&opening);
        let mut changed = frame(&bytes).encode();
        let at = at % changed.len();
        changed[at] = to;
        if let Ok(read) = Frame::decode(&changed) {
            prop_assert_eq!(read.encode(), changed);
        }
    }

    #[test]
    fn places_round_trip(bytes in entropy()) {
        let mut s = Source::new(&bytes);
        let pickup = PickupPlace {
            point: s.point(),
            name: s.text(),
            phone: s.text(),
            note: s.text(),
            peer: PeerKey::from_bytes([5; 32]),
            addrs: s.addrs(),
        };
        let opening = pickup.to_opening([1; 32]);
        prop_assert!(opening.content.len() <= limits::OPENING_CONTENT_BYTES_MAX);
        prop_assert_eq!(PickupPlace::from_opening(&opening), Ok(pickup));
        prop_assert_eq!(Opening::decode(&opening.encode()), Ok(opening));
        let drop = DropPlace { point: s.point(), note: s.text() };
        prop_assert_eq!(DropPlace::from_opening(&drop.to_opening([1; 32])), Ok(drop));
        let card = VehicleCard {
            plate: s.text(),
            model: s.text(),
            colour: s.text(),
            photo: (s.int(0, 1) == 1).then(|| Hash::from_bytes([4; 32])),
            credential_salt: (s.int(0, 1) == 1).then_some([6; 32]),
        };
        prop_assert_eq!(VehicleCard::from_opening(&card.to_opening([1; 32])), Ok(card));
    }
}

#[test]
fn frames_out_of_bounds_say_why() {
    let refusal = |frame: Frame| Frame::decode(&frame.encode()).unwrap_err().to_string();
    let wait = Frame::new(FrameContent::Wait { ms: 30_001 });
    assert_eq!(refusal(wait), "P5.2: WAIT: 30001 ms: at most 30000 are allowed");
    let many = (0..7).fold(Frame::new(FrameContent::None), |f, _| f.with(Attachment::Statement(vec![])));
    assert_eq!(refusal(many), "P5.3: 7 further statements: at most 6 are allowed");
    let nine =
        (0..9).fold(Frame::new(FrameContent::None), |f, _| f.with(Attachment::BoardingSecret([0; 16])));
    assert_eq!(refusal(nine), "P5.2: attachments has not 1 to 8 elements");
    let long = Frame::new(FrameContent::None).with(Attachment::Certificate(vec![0; 289]));
    assert_eq!(refusal(long), "P5.3: certificate: 289 bytes: at most 288 are allowed");
    let long = Opening { salt: [0; 32], content: vec![0; 769] };
    let long = Frame::new(FrameContent::None).with(Attachment::DropOpening(long));
    assert_eq!(refusal(long), "P5.3: content of 769 bytes: at most 768 are allowed");

    let clause = |bytes: &[u8]| Frame::decode(bytes).unwrap_err().to_string();
    assert_eq!(clause(&[0x82, 0x01, 0x01]), "P5.2: STATEMENT: the payload is missing");
    assert_eq!(clause(&[0x83, 0x01, 0x03, 0x40]), "P5.2: NONE: a payload where none belongs");
    assert_eq!(clause(&[0x82, 0x02, 0x03]), "P5.2: version 2: expected 1 to 1");
    assert_eq!(clause(&[0x82, 0x01, 0x06]), "P5.2: code 6: expected one of [1, 2, 3, 4, 5]");
    assert_eq!(clause(&[0x83, 0x01, 0x03, 0xf6]), "P2.4: the encoding is not the canonical one");
    assert_eq!(clause(&[0x84, 0x01, 0x03, 0xf6, 0x80]), "P5.2: attachments has not 1 to 8 elements");
    assert_eq!(clause(&vec![0; 8_189]), "P5.1: a frame of 8189 bytes: at most 8188 are allowed");
}

#[test]
fn padding_takes_the_least_size() {
    for (frame_bytes, size) in
        [(0, 512), (508, 512), (509, 1_024), (4_092, 4_096), (4_093, 8_192), (8_188, 8_192)]
    {
        let padded = pad(&vec![1; frame_bytes]).unwrap();
        assert_eq!(padded.len(), size, "{frame_bytes}");
        assert_eq!(unpad(&padded).unwrap().len(), frame_bytes);
    }
    assert_eq!(pad(&vec![1; 8_189]), Err(FrameTooLong(8_189)));
    for bytes in [&[][..], &[0, 0, 0], &[0xff; 512], &[0; 500]] {
        assert_eq!(unpad(bytes).unwrap_err().clause, "P5.1");
    }
}

#[test]
fn debug_shows_no_place() {
    let place: hailmesh_types::GeoPoint = "40.7580,-73.9855".parse().unwrap();
    let pickup = PickupPlace {
        point: place,
        name: Text::new("Ada").unwrap(),
        phone: Text::new("+1 212 555 0100").unwrap(),
        note: Text::default(),
        peer: PeerKey::from_bytes([5; 32]),
        addrs: vec![Address::new([4, 203, 0, 113, 7]).unwrap()],
    };
    let position = Position {
        agreement_id: AgreementId::from_bytes([3; 32]),
        point: place,
        heading: 0,
        speed: 0,
        accuracy: 5,
        time: Timestamp::MIN,
    };
    let frame = Frame::new(FrameContent::Position(position))
        .with(Attachment::PickupOpening(pickup.to_opening([1; 32])))
        .with(Attachment::BoardingSecret([0xab; 16]));
    let shown = format!("{frame:?} {pickup:?} {:?} {:?}", pickup.to_opening([1; 32]), pickup.addrs);
    for secret in ["40.7", "407580000", "Ada", "555", "203", "113", "171"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn hashes_depend_on_everything() {
    let opening = Opening { salt: [1; 32], content: vec![2; 9] };
    let other = Opening { salt: [2; 32], ..opening.clone() };
    let pickup = commit(Purpose::Pickup, &opening);
    assert_ne!(pickup, commit(Purpose::Drop, &opening));
    assert_ne!(pickup, commit(Purpose::Pickup, &other));
    let (a, b) = (StatementId::from_bytes([1; 32]), StatementId::from_bytes([2; 32]));
    assert_ne!(agreement_id(&a, &b), agreement_id(&b, &a));
    assert_ne!(board_hash(&[1; 16]), board_hash(&[2; 16]));
    let dearer = Tariff { per_km: 121, ..Tariff::default() };
    assert_ne!(tariff_hash(&Tariff::default()), tariff_hash(&dearer));
    // Parts are joined; with nothing to hash it is the SHA-256 of one zero byte.
    assert_eq!(prefixed("abc", &[b"d", b"ef"]), prefixed("abc", &[b"def"]));
    assert_eq!(prefixed("", &[])[..4], [0x6e, 0x34, 0x0b, 0x9c]);
}

#[test]
fn proof_of_work_counts_bits_and_lasts_an_hour() {
    let (signer, cell) = (public(1), 0x0872_a100_d2ff_ffff);
    let issued = Timestamp::from_millis(1_700_000_000_000).unwrap();
    let ok = |cell, issued, pow, bits| pow_ok(network(), &signer, cell, issued, pow, bits);
    let pow = pow_search(network(), &signer, cell, issued, 10, 0, 100_000).expect("one in 1,024");
    assert!(ok(cell, issued, &pow, 10) && ok(cell, issued, &pow, 0));
    assert!(!ok(cell, issued, &pow, 255));
    let hour = hailmesh_types::Duration::from_secs(3_600);
    let changed = [
        ok(cell + 1, issued, &pow, 10),
        ok(cell, issued + hour, &pow, 10),
        pow_ok(network(), &public(2), cell, issued, &pow, 10),
        pow_ok(NetworkId([0; 8]), &signer, cell, issued, &pow, 10),
    ];
    // Each would pass by chance once in 1,024; all of them together never.
    assert!(changed.iter().filter(|passes| **passes).count() <= 1, "{changed:?}");
    assert_eq!(pow_search(network(), &signer, cell, issued, 255, 0, 10), None);
    // The same hour, whatever the minute.
    let start = Timestamp::from_millis(issued.as_millis() / 3_600_000 * 3_600_000).unwrap();
    assert!(ok(cell, start, &pow, 10));
}
