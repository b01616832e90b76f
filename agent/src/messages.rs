//! Messages on their way to the host as a stream's bytes, each behind its length as a varint.

use crate::stream::{Port, Progress};
use crate::wire::fields::put_varint;

const CHANNEL: u8 = 1;

#[derive(Default)]
pub struct Messages {
    waiting: Vec<u8>,
    sent: usize,
}

impl Messages {
    pub fn push(&mut self, message: &[u8]) {
        put_varint(&mut self.waiting, message.len() as u64);
        self.waiting.extend_from_slice(message);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what may be sent now. Returns what is to be waited for when that was not all.
    pub fn send(&mut self, port: &mut Port<'_>) -> Option<Progress> {
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            let count = port.allowed().min(rest.len());
            if count == 0 {
                return Some(port.blocked());
            }
            port.send(CHANNEL, |bytes| bytes.extend_from_slice(&rest[..count]));
            self.sent += count;
        }
        self.waiting.clear();
        self.sent = 0;
        None
    }

    /// Nothing more will be sent.
    pub fn end(&self, port: &mut Port<'_>) {
        port.end(CHANNEL);
    }
}
