//! Small damage to bytes.

use super::random::Random;

/// Bytes that mean something somewhere: lengths, ends, field keys, the first of a SYNC.
const TELLING: [u8; 10] = [0, 1, 2, 0x0a, 0x7f, 0x80, 0xff, 0x4b, 0x4e, 16];
/// Bytes that one piece of damage touches at most.
const MAX_PIECE: usize = 64;
/// Bytes that a piece taken from elsewhere has at most: room for a few whole frames.
const MAX_SPLICE: usize = 4096;

/// Damages `bytes` once. `other` is where bytes that are right somewhere else come from.
pub fn damage(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() + 1);
    let piece = at..at + random.below(MAX_PIECE.min(bytes.len() - at) + 1);
    match random.below(8) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = TELLING[random.below(TELLING.len())];
            }
        }
        3 => drop(bytes.drain(piece)),
        4 => {
            let count = 1 + random.below(MAX_PIECE);
            let new = random.bytes(count);
            drop(bytes.splice(at..at, new));
        }
        5 => {
            let twice = bytes[piece].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, twice));
        }
        6 => {
            let from = random.below(other.len() + 1);
            let count = random.below(MAX_SPLICE.min(other.len() - from) + 1);
            drop(bytes.splice(piece, other[from..from + count].iter().copied()));
        }
        _ => bytes.truncate(at.max(bytes.len() / 2)),
    }
}
