//! Changes to bytes, decided by bytes.

use crate::Input;

/// Bytes at which formats change their mind: ends of ranges, heads of CBOR, separators.
const TELLING: [u8; 24] = [
    0x00, 0x01, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x20, 0x2c, 0x40, 0x58, 0x59, 0x7f, 0x80, 0x81, 0x86, 0x9f,
    0xa0, 0xbf, 0xf6, 0xf9, 0xff, b'"', b'\n',
];
/// Most changes of one input.
const CHANGES_MAX: usize = 6;
/// Most bytes that one change puts in.
const PIECE_MAX: usize = 64;

/// `base` with up to six changes, which the input decides: flipped bits, other bytes,
/// pieces left out, doubled, put in from the input or from `donor`, and a cut end. Longer
/// than twice the base and a little it never gets.
#[must_use]
pub fn mutated(base: &[u8], donor: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..input.below(CHANGES_MAX + 1) {
        change(&mut bytes, donor, input);
    }
    bytes.truncate(2 * base.len() + PIECE_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, donor: &[u8], input: &mut Input<'_>) {
    let how = input.below(9);
    let at = input.below(bytes.len() + 1).min(bytes.len());
    let piece = |bytes: &[u8], input: &mut Input<'_>| {
        let end = (at + 1 + input.below(PIECE_MAX)).min(bytes.len());
        at..end
    };
    match how {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << input.below(8);
            }
        }
        1 => {
            if let (Some(byte), Some(telling)) = (bytes.get_mut(at), input.pick(&TELLING)) {
                *byte = *telling;
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = byte.wrapping_add(input.byte().wrapping_sub(8));
            }
        }
        3 => {
            let piece = piece(bytes, input);
            bytes.drain(piece);
        }
        4 => {
            let piece = piece(bytes, input);
            let copy = bytes[piece].to_vec();
            let to = input.below(bytes.len() + 1).min(bytes.len());
            bytes.splice(to..to, copy);
        }
        5 => {
            let count = input.below(PIECE_MAX);
            bytes.splice(at..at, input.take(count).iter().copied());
        }
        6 => {
            let from = input.below(donor.len() + 1).min(donor.len());
            let end = (from + input.below(PIECE_MAX)).min(donor.len());
            let replaced = at..(at + end - from).min(bytes.len());
            bytes.splice(replaced, donor[from..end].iter().copied());
        }
        7 => bytes.truncate(at),
        _ => {
            if let Some(telling) = input.pick(&TELLING) {
                bytes.insert(at, *telling);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn nothing_decided_changes_nothing() {
        assert_eq!(mutated(b"abc", b"xyz", &mut Input::new(&[])), b"abc");
    }

    #[test]
    fn every_decision_is_a_change_of_bounded_length() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut longer, mut shorter, mut other) = (0, 0, 0);
        for _ in 0..2_000 {
            let mut decisions = [0; 96];
            rng.fill_bytes(&mut decisions);
            let changed = mutated(&[7; 40], &[9; 40], &mut Input::new(&decisions));
            assert!(changed.len() <= 2 * 40 + PIECE_MAX);
            longer += usize::from(changed.len() > 40);
            shorter += usize::from(changed.len() < 40);
            other += usize::from(changed.len() == 40 && changed != [7; 40]);
        }
        assert!(longer > 100 && shorter > 100 && other > 100, "{longer} {shorter} {other}");
    }
}
