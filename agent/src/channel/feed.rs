//! The host's bytes until something has taken them.

use super::Sink;
use crate::stream::Port;

#[derive(Default)]
pub struct Feed {
    /// Not yet taken from `taken` on; bounded by the credit the host has.
    waiting: Vec<u8>,
    taken: usize,
    /// The host has sent everything.
    ended: bool,
}

impl Feed {
    pub fn push(&mut self, bytes: &[u8], end: bool) {
        self.waiting.extend_from_slice(bytes);
        self.ended |= end;
    }

    /// Everything came and was taken.
    pub fn is_over(&self) -> bool {
        self.ended && self.waiting.is_empty()
    }

    /// Has `sink` take what it takes now, and credits the host. Returns how many bytes that were. With nobody to read
    /// the rest it counts as consumed, or the host would wait for ever.
    pub fn run(&mut self, sink: &mut Sink, port: &mut Port<'_>) -> usize {
        let rest = &self.waiting[self.taken..];
        if rest.is_empty() {
            return 0;
        }
        let count = sink.write(rest);
        port.consumed(if sink.is_open() { count } else { rest.len() });
        self.taken += count;
        if self.taken == self.waiting.len() || !sink.is_open() {
            self.waiting.clear();
            self.taken = 0;
        }
        count
    }
}
