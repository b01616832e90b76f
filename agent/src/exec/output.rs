//! One of a program's outputs, on its way to the host.

use crate::stream::{Port, Progress};
use crate::sys::fd;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// Frames sent in one go before others have their turn.
const TURN_FRAMES: usize = 4;

pub struct Output {
    channel: u8,
    /// None once it is through.
    fd: Option<Rc<OwnedFd>>,
    /// There may be bytes to read.
    ready: bool,
    /// After the program's end: bytes that were in the pipe when it ended and are not sent yet.
    owed: Option<usize>,
}

impl Output {
    pub fn new(channel: u8, fd: Rc<OwnedFd>) -> Output {
        Output { channel, fd: Some(fd), ready: false, owed: None }
    }

    pub fn channel(&self) -> u8 {
        self.channel
    }

    pub fn readable(&mut self) {
        self.ready = true;
    }

    /// The program is gone: what it wrote is in the pipe, and what comes later is from others.
    pub fn writer_ended(&mut self) {
        self.ready = true;
        self.owed = self.fd.as_deref().map(fd::waiting_bytes);
    }

    pub fn is_closed(&self) -> bool {
        self.fd.is_none()
    }

    /// Everything is sent that the program itself can have written.
    pub fn is_delivered(&self) -> bool {
        self.is_closed() || self.owed == Some(0)
    }

    /// Sends what there is, within credit and room. Returns whether there is more to send at once.
    pub fn run(&mut self, port: &mut Port<'_>) -> bool {
        for _ in 0..TURN_FRAMES {
            let source = match &self.fd {
                Some(source) if self.ready => source,
                _ => return false,
            };
            let allowed = port.allowed();
            if allowed == 0 {
                return port.blocked() == Progress::More;
            }
            match port.send(self.channel, |bytes| fd::read_onto(source, bytes, allowed)) {
                Ok(0) => self.close(port),
                Ok(count) => {
                    self.owed = self.owed.map(|owed| owed.saturating_sub(count));
                    // A pipe that gave less than was asked for is empty: news of more, or of its end, comes as an
                    // event. Once the program has ended the end may be there already: then it goes in the same write.
                    if count < allowed && self.owed.is_none() {
                        self.ready = false;
                    }
                }
                Err(errno) if errno.would_block() => {
                    self.ready = false;
                    self.owed = self.owed.map(|_| 0);
                }
                Err(errno) if errno.0 == libc::EINTR => {}
                // A terminal whose last program is gone says EIO.
                Err(_) => self.close(port),
            }
        }
        self.ready && self.fd.is_some() && port.blocked() == Progress::More
    }

    fn close(&mut self, port: &mut Port<'_>) {
        self.fd = None;
        port.end(self.channel);
    }
}
