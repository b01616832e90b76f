//! Cuts a byte stream into frames, and finds its place again after bytes that are none.

use super::frame::{Frame, Header, HEADER_BYTES, MAX_PAYLOAD_BYTES, SYNC};

/// One whole frame, and as much again to read ahead into.
const BUFFER_BYTES: usize = 2 * (HEADER_BYTES + MAX_PAYLOAD_BYTES);

/// Owns one fixed buffer that the caller reads into; frames are borrowed from it.
pub struct Parser {
    buffer: Vec<u8>,
    /// What is unread lies in `start..end`.
    start: usize,
    end: usize,
    /// Whether a header is expected at `start`; otherwise all is discarded up to the next SYNC.
    synced: bool,
    /// Where in the buffer a frame was cut short by a host that went away, as far as one can tell.
    cut_at: Option<usize>,
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new()
    }
}

impl Parser {
    /// A stream starts in step: its first bytes may be a SYNC or a header.
    pub fn new() -> Parser {
        Parser { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, synced: true, cut_at: None }
    }

    /// Where the caller puts bytes; never empty once `next_frame` has returned None.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            // The same pages again and again: in a resumed guest each new one is a copy made by the host.
            self.start = 0;
            self.end = 0;
        } else if self.start > BUFFER_BYTES / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.cut_at = self.cut_at.map(|at| at - self.start);
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// `count` bytes were put at the front of `space`.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The host looks gone. Half a frame is then either its last or, since the news of a host's coming can be slower
    /// than its bytes, one whose rest is on its way: a SYNC in the place of the rest tells.
    pub fn host_gone(&mut self) {
        if self.synced && self.start < self.end {
            self.cut_at = Some(self.end);
        }
    }

    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The next frame, or None until more bytes have come.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        loop {
            if !self.synced && !self.find_sync() {
                return None;
            }
            if let Some(at) = self.cut_at {
                let news = &self.buffer[at..self.end];
                let known = news.len().min(SYNC.len());
                if news[..known] != SYNC[..known] {
                    self.cut_at = None; // The rest of the frame.
                } else if known == SYNC.len() {
                    self.start = at;
                    self.cut_at = None;
                } else {
                    return None;
                }
            }
            let rest = &self.buffer[self.start..self.end];
            let bytes = <&[u8; HEADER_BYTES]>::try_from(rest.get(..HEADER_BYTES)?).ok()?;
            if *bytes == SYNC {
                self.start += SYNC.len();
                continue;
            }
            match Header::parse(bytes) {
                Ok(header) => {
                    let whole = HEADER_BYTES + header.length as usize;
                    if rest.len() < whole {
                        return None;
                    }
                    let at = self.start;
                    self.start += whole;
                    return Some(Frame { header, payload: &self.buffer[at + HEADER_BYTES..at + whole] });
                }
                Err(_) => self.synced = false,
            }
        }
    }

    /// Moves behind the next SYNC. Without one, keeps only what may be the beginning of it.
    fn find_sync(&mut self) -> bool {
        while self.end - self.start >= SYNC.len() {
            let rest = &self.buffer[self.start..self.end];
            if rest.starts_with(&SYNC) {
                self.start += SYNC.len();
                self.synced = true;
                return true;
            }
            match rest[1..].iter().position(|&byte| byte == SYNC[0]) {
                Some(at) => self.start += 1 + at,
                None => self.start = self.end,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Kind;
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let header = Header { length: length as u32, stream: 1, kind: Kind::Data, flags: 0, generation: 1 };
        [&header.bytes()[..], &vec![7; length]].concat()
    }

    /// Lengths of the payloads found, `piece` bytes received at a time.
    fn found(parser: &mut Parser, bytes: &[u8], piece: usize) -> Vec<usize> {
        let mut lengths = Vec::new();
        for piece in bytes.chunks(piece) {
            let space = parser.space();
            space[..piece.len()].copy_from_slice(piece);
            parser.filled(piece.len());
            while let Some(frame) = parser.next_frame() {
                lengths.push(frame.payload.len());
            }
        }
        lengths
    }

    #[test]
    fn half_a_frame_of_a_host_that_is_gone_gives_way_to_the_next_hosts_sync() {
        for piece in [1, 7, 1000] {
            let mut parser = Parser::new();
            assert!(found(&mut parser, &frame(200)[..100], piece).is_empty());
            parser.host_gone();
            parser.host_gone();
            assert_eq!(found(&mut parser, &[&SYNC[..], &frame(3), &frame(4)].concat(), piece), [3, 4]);
        }
    }

    #[test]
    fn a_host_that_only_looked_gone_goes_on_in_the_middle_of_its_frame() {
        let bytes = [&SYNC[..], &frame(3), &frame(200), &frame(4)].concat();
        for cut in 0..bytes.len() {
            let mut parser = Parser::new();
            let mut lengths = found(&mut parser, &bytes[..cut], 64);
            parser.host_gone();
            lengths.extend(found(&mut parser, &bytes[cut..], 64));
            assert_eq!(lengths, [3, 200, 4], "cut at {}", cut);
        }
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let bytes = [frame(0), SYNC.to_vec(), frame(3), frame(300), SYNC.to_vec(), SYNC.to_vec(), frame(1)].concat();
        for piece in 1..=bytes.len() {
            assert_eq!(found(&mut Parser::new(), &bytes, piece), [0, 3, 300, 1], "pieces of {}", piece);
        }
    }

    #[test]
    fn the_longest_frames_always_find_room() {
        let mut parser = Parser::new();
        let bytes = [frame(1), frame(MAX_PAYLOAD_BYTES), frame(MAX_PAYLOAD_BYTES - 1)].concat();
        for piece in [1000, 65_536, 65_537, 1] {
            assert_eq!(found(&mut parser, &bytes, piece), [1, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES - 1]);
        }
        assert_eq!(parser.buffer.len(), BUFFER_BYTES);
    }

    #[test]
    fn after_a_broken_header_all_is_discarded_up_to_a_sync() {
        let mut parser = Parser::new();
        let mut broken = frame(0);
        broken[8] = 0;
        assert!(found(&mut parser, &[broken, frame(1)].concat(), 5).is_empty());
        assert!(!parser.is_synced());
        let noise = vec![0xff; 3 * BUFFER_BYTES];
        assert!(found(&mut parser, &noise, 60_000).is_empty());
        assert!(found(&mut parser, &SYNC[..9], 4).is_empty());
        assert_eq!(found(&mut parser, &[SYNC.to_vec(), frame(2)].concat(), 3), [2], "a sync begun in vain");
        assert!(parser.is_synced());
    }

    #[test]
    fn enough_zeros_lead_out_of_any_frame() {
        let zeros = vec![0; HEADER_BYTES + MAX_PAYLOAD_BYTES];
        for left in [1, 11, 12, 15, 16, 17, 1000, MAX_PAYLOAD_BYTES] {
            let mut parser = Parser::new();
            let begun = frame(MAX_PAYLOAD_BYTES);
            found(&mut parser, &begun[..left], 65_536);
            found(&mut parser, &zeros, 65_536);
            assert_eq!(found(&mut parser, &[SYNC.to_vec(), frame(2)].concat(), 65_536), [2], "after {} bytes", left);
        }
    }
}
