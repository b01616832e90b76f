//! A program's standard input, on its way from the host.

use crate::stream::Port;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::{fd, terminal};
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// How the program learns that nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The pipe is closed.
    Close,
    /// A terminal has another direction: it is told as a person would.
    Type,
}

#[derive(Default)]
pub struct Input {
    /// None when there is none, or the program no longer reads.
    fd: Option<(Rc<OwnedFd>, End)>,
    /// Not yet written; bounded by the credit the host has.
    waiting: Vec<u8>,
    written: usize,
    /// The host has sent everything.
    ended: bool,
    /// A write would have blocked: an event tells when it no longer does.
    blocked: bool,
}

impl Input {
    /// `fd` must not block; `token` is for the events about it.
    pub fn new(fd: Rc<OwnedFd>, end: End, epoll: &Epoll, token: u64) -> crate::sys::Result<Input> {
        if end == End::Close {
            epoll.add(&fd, token, Interest::Write)?; // A terminal is watched already, for both.
        }
        Ok(Input { fd: Some((fd, end)), ..Input::default() })
    }

    /// Takes the host's bytes.
    pub fn take(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) {
        self.ended |= end;
        if self.fd.is_none() {
            port.consumed(bytes.len());
            return;
        }
        self.waiting.extend_from_slice(bytes);
        self.run(port);
    }

    pub fn writable(&mut self) {
        self.blocked = false;
    }

    /// Writes what the program takes, and tells it when that was all.
    pub fn run(&mut self, port: &mut Port<'_>) {
        while let (Some((fd, end)), false) = (&self.fd, self.blocked) {
            let rest = &self.waiting[self.written..];
            if rest.is_empty() {
                self.waiting.clear();
                self.written = 0;
                if !self.ended {
                    return;
                }
                if *end == End::Type {
                    if let Some(byte) = terminal::end_of_input(fd) {
                        match fd::write(fd, &[byte]) {
                            Err(errno) if errno.would_block() => {
                                self.blocked = true;
                                return;
                            }
                            _ => {}
                        }
                    }
                }
                self.fd = None;
                return;
            }
            match fd::write(fd, rest) {
                Ok(count) => {
                    self.written += count;
                    port.consumed(count);
                }
                Err(errno) if errno.would_block() => self.blocked = true,
                Err(errno) if errno.0 == libc::EINTR => {}
                Err(_) => {
                    // Nobody reads any more: the rest counts as consumed, or the host would wait for ever.
                    port.consumed(rest.len());
                    self.close();
                }
            }
        }
    }

    pub fn close(&mut self) {
        self.fd = None;
        self.waiting = Vec::new();
        self.written = 0;
    }
}
