//! The end of an output: its last bytes, up to a limit, known by their offset from the output's beginning.

use std::collections::VecDeque;

/// Memory is taken in pieces as the ring fills, so that nothing is moved when it grows.
const PIECE_BYTES: usize = 64 * 1024;

pub struct Ring {
    /// All of `piece_bytes`, but for the last.
    pieces: VecDeque<Vec<u8>>,
    piece_bytes: usize,
    limit: usize,
    /// Bytes of the first piece that are dropped already.
    dropped: usize,
    /// Offsets of the first byte that is kept, and of the next that will be.
    start: u64,
    end: u64,
}

impl Ring {
    pub fn new(limit: usize) -> Ring {
        let piece_bytes = PIECE_BYTES.min(limit.max(1));
        Ring { pieces: VecDeque::new(), piece_bytes, limit, dropped: 0, start: 0, end: 0 }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// As many bytes were written so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes kept now.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Has `read` append some bytes, at most as many as it is told, which are at most `most`. What is too much by then
    /// is dropped, the oldest first.
    pub fn fill(&mut self, most: usize, read: impl FnOnce(&mut Vec<u8>, usize)) {
        if self.pieces.back().map_or(true, |last| last.len() == self.piece_bytes) {
            self.pieces.push_back(Vec::with_capacity(self.piece_bytes));
        }
        if let Some(last) = self.pieces.back_mut() {
            let before = last.len();
            read(last, most.min(self.piece_bytes - before));
            self.end += (last.len() - before) as u64;
            if last.is_empty() {
                self.pieces.pop_back();
            }
        }
        self.drop_to(self.limit);
    }

    /// Bytes from `offset` on, at most `most`, as many as lie together. `offset` must be kept.
    pub fn bytes(&self, offset: u64, most: usize) -> &[u8] {
        let at = offset.saturating_sub(self.start) as usize + self.dropped;
        let piece = self.pieces.get(at / self.piece_bytes).map_or(&[][..], Vec::as_slice);
        let rest = piece.get(at % self.piece_bytes..).unwrap_or(&[]);
        &rest[..rest.len().min(most)]
    }

    /// Drops all that is kept.
    pub fn clear(&mut self) {
        self.drop_to(0);
        self.pieces.clear();
        self.dropped = 0;
    }

    /// Gives back memory that will not be filled.
    pub fn shrink(&mut self) {
        if let Some(last) = self.pieces.back_mut() {
            last.shrink_to_fit();
        }
    }

    fn drop_to(&mut self, limit: usize) {
        let excess = self.len().saturating_sub(limit);
        self.start += excess as u64;
        self.dropped += excess;
        while self.dropped >= self.piece_bytes {
            self.pieces.pop_front();
            self.dropped -= self.piece_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(ring: &mut Ring, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut count = 0;
            ring.fill(bytes.len(), |piece, most| {
                count = most;
                piece.extend_from_slice(&bytes[..most]);
            });
            assert!(count > 0, "there is always room");
            bytes = &bytes[count..];
        }
    }

    fn read(ring: &Ring, mut offset: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while offset < ring.end() {
            let bytes = ring.bytes(offset, 1000);
            assert!(!bytes.is_empty(), "what is kept can be read");
            all.extend_from_slice(bytes);
            offset += bytes.len() as u64;
        }
        all
    }

    #[test]
    fn the_last_bytes_are_kept() {
        let mut ring = Ring::new(10);
        write(&mut ring, b"hello");
        assert_eq!((ring.start(), ring.end(), read(&ring, 0)), (0, 5, b"hello".to_vec()));
        assert_eq!(ring.bytes(1, 2), b"el");
        write(&mut ring, b" there, you");
        assert_eq!((ring.start(), ring.end(), read(&ring, 6)), (6, 16, b"there, you".to_vec()));
        assert_eq!(ring.bytes(16, 5), b"", "nothing was written there yet");
        ring.clear();
        assert_eq!((ring.start(), ring.end(), ring.len()), (16, 16, 0));
        write(&mut ring, b"!");
        assert_eq!(read(&ring, 16), b"!");
    }

    #[test]
    fn every_size_and_every_step_keeps_the_same() {
        let text: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
        for &limit in &[1, 7, 1024, 65_535, 65_536, 65_537, 200_000, 400_000, 500_000] {
            for &step in &[333usize, 4096, 65_536, 100_000] {
                let mut ring = Ring::new(limit);
                for piece in text[..if limit < 1024 { 5000 } else { text.len() }].chunks(step) {
                    write(&mut ring, piece);
                    assert!(ring.len() <= limit);
                }
                let end = ring.end() as usize;
                assert_eq!(ring.len(), limit.min(end));
                assert!(read(&ring, ring.start()) == text[end - ring.len()..end], "{} in steps of {}", limit, step);
                assert!(ring.pieces.len() <= limit / ring.piece_bytes + 2);
            }
        }
    }

    #[test]
    fn who_reads_nothing_leaves_nothing() {
        let mut ring = Ring::new(100);
        ring.fill(100, |_, most| assert_eq!(most, 100));
        assert_eq!((ring.len(), ring.pieces.len()), (0, 0));
        write(&mut ring, &[1; 60]);
        ring.fill(1000, |_, most| assert_eq!(most, 40));
        ring.shrink();
        write(&mut ring, &[2; 60]);
        assert_eq!(read(&ring, ring.start()), [&[1; 40][..], &[2; 60]].concat());
    }
}
