//! One channel to the host.

use super::Source;
use crate::stream::{Port, Progress};
use crate::sys::epoll::Event;
use crate::sys::Errno;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// Frames sent in one go before others have their turn.
const TURN_FRAMES: usize = 4;

pub struct Output {
    channel: u8,
    source: Source,
}

impl Output {
    pub fn new(channel: u8, fd: Rc<OwnedFd>) -> Output {
        Output { channel, source: Source::new(fd) }
    }

    pub fn channel(&self) -> u8 {
        self.channel
    }

    pub fn event(&mut self, event: Event) {
        self.source.event(event);
    }

    /// The program is gone that wrote what is in the pipe.
    pub fn writer_ended(&mut self) {
        self.source.writer_ended();
    }

    pub fn is_closed(&self) -> bool {
        self.source.is_closed()
    }

    /// Everything is sent that the program itself can have written.
    pub fn is_delivered(&self) -> bool {
        self.source.is_drained()
    }

    pub fn failure(&self) -> Option<Errno> {
        self.source.failure()
    }

    /// Sends what there is, within credit and room. Returns whether there is more to send at once.
    pub fn run(&mut self, port: &mut Port<'_>) -> bool {
        for _ in 0..TURN_FRAMES {
            if !self.source.is_ready() {
                return false;
            }
            let allowed = port.allowed();
            if allowed == 0 {
                return port.blocked() == Progress::More;
            }
            let source = &mut self.source;
            port.send(self.channel, |bytes| source.read(bytes, allowed));
            if self.source.is_closed() {
                port.end(self.channel);
            }
        }
        self.source.is_ready() && port.blocked() == Progress::More
    }
}
