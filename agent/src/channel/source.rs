//! A descriptor that bytes are read from as they come.

use crate::sys::epoll::Event;
use crate::sys::{fd, Errno};
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

pub struct Source {
    /// None once it is through.
    fd: Option<Rc<OwnedFd>>,
    /// There may be bytes to read.
    ready: bool,
    /// Its end was told of: nothing will be told any more.
    ending: bool,
    /// After its program's end: bytes that were in the pipe when it ended and are not read yet.
    owed: Option<usize>,
    /// What its end was, if it was not an orderly one.
    failure: Option<Errno>,
}

impl Source {
    /// `fd` must not block, and whoever owns it passes on its events.
    pub fn new(fd: Rc<OwnedFd>) -> Source {
        Source { fd: Some(fd), ready: false, ending: false, owed: None, failure: None }
    }

    pub fn event(&mut self, event: Event) {
        self.ready |= event.readable;
        self.ending |= event.ending;
    }

    /// The program is gone: what it wrote is in the pipe, and what comes later is from others.
    pub fn writer_ended(&mut self) {
        self.ready = true;
        self.owed = self.fd.as_deref().map(fd::waiting_bytes);
    }

    pub fn is_ready(&self) -> bool {
        self.ready && self.fd.is_some()
    }

    pub fn is_closed(&self) -> bool {
        self.fd.is_none()
    }

    /// Everything was read that the program itself can have written.
    pub fn is_drained(&self) -> bool {
        self.is_closed() || self.owed == Some(0)
    }

    pub fn failure(&self) -> Option<Errno> {
        self.failure
    }

    pub fn close(&mut self) {
        self.fd = None;
    }

    /// Appends at most `limit` bytes to `bytes`.
    pub fn read(&mut self, bytes: &mut Vec<u8>, limit: usize) {
        let read = match &self.fd {
            Some(fd) => fd::read_onto(fd, bytes, limit),
            None => return,
        };
        match read {
            Ok(0) => self.close(),
            Ok(count) => {
                self.owed = self.owed.map(|owed| owed.saturating_sub(count));
                // What gave less than was asked for is empty: news of more, or of its end, comes as an event. Once its
                // program has ended the end may be there already: then it goes in the same write.
                if count < limit && self.owed.is_none() && !self.ending {
                    self.ready = false;
                }
            }
            Err(errno) if errno.would_block() => {
                self.ready = false;
                self.owed = self.owed.map(|_| 0);
            }
            Err(errno) if errno.0 == libc::EINTR => {}
            // A terminal whose last program is gone says EIO.
            Err(errno) => {
                self.failure = Some(errno);
                self.close();
            }
        }
    }
}
