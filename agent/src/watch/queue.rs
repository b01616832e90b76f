//! The kernel's events, one after the other.

use crate::sys::epoll::Event;
use crate::sys::{fd, inotify, Errno};
use std::os::unix::io::OwnedFd;

/// Room for a few hundred events.
const BUFFER_BYTES: usize = 16 * 1024;

/// An event that was taken out.
pub struct Change {
    pub watch: i32,
    pub mask: u32,
    pub cookie: u32,
    pub name: Vec<u8>,
}

impl Change {
    pub fn has(&self, bits: u32) -> bool {
        self.mask & bits != 0
    }
}

pub struct Queue {
    buffer: Vec<u8>,
    next: usize,
    filled: usize,
    /// There may be more to read.
    readable: bool,
    lost: bool,
}

impl Queue {
    pub fn new() -> Queue {
        Queue { buffer: vec![0; BUFFER_BYTES], next: 0, filled: 0, readable: true, lost: false }
    }

    pub fn news(&mut self, event: Event) {
        self.readable |= event.readable;
    }

    /// The kernel has dropped events.
    pub fn has_lost(&self) -> bool {
        self.lost
    }

    /// Takes the next one out; None when there is none left of what was read.
    pub fn next_change(&mut self) -> Option<Change> {
        let event = inotify::event(self.buffer.get(self.next..self.filled)?)?;
        self.next += event.length;
        self.lost |= event.mask & libc::IN_Q_OVERFLOW != 0;
        Some(Change { watch: event.watch, mask: event.mask, cookie: event.cookie, name: event.name.to_vec() })
    }

    /// Reads some more. Returns whether there were any.
    pub fn fill(&mut self, inotify: &OwnedFd) -> Result<bool, Errno> {
        self.next = 0;
        self.filled = 0;
        if !self.readable {
            return Ok(false);
        }
        match fd::read(inotify, &mut self.buffer) {
            Ok(count) => self.filled = count,
            Err(errno) if errno.would_block() => self.readable = false,
            Err(Errno(libc::EINTR)) => return Ok(true),
            Err(errno) => return Err(errno),
        }
        Ok(self.filled > 0)
    }
}
