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
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new()
    }
}

impl Parser {
    /// A stream starts in step: its first bytes may be a SYNC or a header.
    pub fn new() -> Parser {
        Parser { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, synced: true }
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
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// `count` bytes were put at the front of `space`.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Forgets what was received and discards what comes up to the next SYNC.
    pub fn resync(&mut self) {
        self.start = 0;
        self.end = 0;
        self.synced = false;
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
