//! A program's standard input, or a connection's, on its way from the host.

use super::{Feed, Sink};
use crate::stream::Port;

#[derive(Default)]
pub struct Input {
    sink: Sink,
    feed: Feed,
}

impl Input {
    /// `feed` may have something already.
    pub fn new(sink: Sink, feed: Feed) -> Input {
        Input { sink, feed }
    }

    /// Takes the host's bytes.
    pub fn take(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) {
        self.feed.push(bytes, end);
        self.run(port);
    }

    pub fn writable(&mut self) {
        self.sink.writable();
    }

    /// Writes what is taken, and tells whoever reads when that was all.
    pub fn run(&mut self, port: &mut Port<'_>) {
        self.feed.run(&mut self.sink, port);
        if self.feed.is_over() && self.sink.is_open() {
            self.sink.end();
        }
    }

    /// Nothing more is written: all was, or nobody reads.
    pub fn is_closed(&self) -> bool {
        !self.sink.is_open()
    }

    pub fn close(&mut self) {
        self.sink.close();
    }
}
