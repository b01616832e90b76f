//! Bytes on their way to the host. Bounded: whoever produces asks for `room` first.

use crate::wire::frame::{Header, Kind, HEADER_BYTES, SYNC};

/// DATA is taken from programs and files only while less than this waits to be sent.
const FULL_BYTES: usize = 256 * 1024;
/// Kept in memory at most once everything was sent.
const KEEP_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// What was sent already.
    sent: usize,
    /// There is no host: whatever is added is gone.
    closed: bool,
}

impl Outbox {
    pub fn new() -> Outbox {
        Outbox { bytes: Vec::with_capacity(4096), ..Outbox::default() }
    }

    /// One that has no room, ever.
    pub fn closed() -> Outbox {
        Outbox { closed: true, ..Outbox::default() }
    }

    /// Bytes of DATA that may be added now. Other frames may always be: their number is bounded.
    pub fn room(&self) -> usize {
        if self.closed {
            return 0;
        }
        FULL_BYTES.saturating_sub(self.bytes.len() - self.sent)
    }

    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first `count` of the pending bytes are gone.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.clear();
            self.bytes.shrink_to(KEEP_BYTES);
        } else if self.sent > FULL_BYTES {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub fn sync(&mut self) {
        self.bytes.extend_from_slice(&SYNC);
    }

    pub fn frame(&mut self, kind: Kind, flags: u8, stream: u32, generation: u32, payload: &[u8]) {
        if self.closed {
            return;
        }
        let header = Header { length: payload.len() as u32, stream, kind, flags, generation };
        self.bytes.extend_from_slice(&header.bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Adds a DATA frame whose payload `fill` appends, so that a program's output is copied once. An empty payload adds
    /// nothing, unless it carries END. Returns the payload's length and what `fill` returned.
    pub fn data<T>(&mut self, stream: u32, generation: u32, fill: impl FnOnce(&mut Vec<u8>) -> (u8, T)) -> (usize, T) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        let (flags, result) = fill(&mut self.bytes);
        let length = self.bytes.len() - at - HEADER_BYTES;
        let header = Header { length: length as u32, stream, kind: Kind::Data, flags, generation };
        if length == 0 && !header.is_end() {
            self.bytes.truncate(at);
        } else {
            self.bytes[at..at + HEADER_BYTES].copy_from_slice(&header.bytes());
        }
        (length, result)
    }
}
