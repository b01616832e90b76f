//! One byte stream to the host.

use crate::outbox::Outbox;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::{fd, Result};
use crate::wire::parser::Parser;
use std::os::unix::io::OwnedFd;

/// From here on the host is not listened to until it has read: every answer it is owed is held in memory.
const BACKLOG_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// Stays when the host goes: the next one finds it again.
    Port,
    /// Ends with its host.
    Socket,
}

/// What reading gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    Bytes,
    Nothing,
    /// A socket's end.
    Closed,
}

pub struct Link {
    pub token: u64,
    pub kind: LinkKind,
    pub outbox: Outbox,
    /// Taken out while its frames are carried out.
    pub parser: Option<Parser>,
    fd: OwnedFd,
    /// There may be bytes to read.
    pub readable: bool,
    /// Whether `fd` is watched for room to write.
    blocked: bool,
}

impl Link {
    /// Takes over `fd`, which must not block.
    pub fn new(fd: OwnedFd, kind: LinkKind, token: u64, epoll: &Epoll) -> Result<Link> {
        epoll.add(&fd, token, Interest::Read)?;
        Ok(Link { token, kind, outbox: Outbox::new(), parser: Some(Parser::new()), fd, readable: true, blocked: false })
    }

    /// Whether it is worth and allowed to read now.
    pub fn wants_input(&self) -> bool {
        self.readable && self.outbox.pending().len() < BACKLOG_BYTES
    }

    /// Reads what has come into the parser.
    pub fn receive(&mut self, parser: &mut Parser) -> Received {
        match fd::read(&self.fd, parser.space()) {
            Ok(0) => {
                // A port whose host is away reads as ended. So does one whose new host's first bytes were faster than
                // the news of it: what has come must not be thrown away.
                self.readable = false;
                parser.host_gone();
                if self.kind == LinkKind::Socket {
                    Received::Closed
                } else {
                    Received::Nothing
                }
            }
            Ok(count) => {
                parser.filled(count);
                Received::Bytes
            }
            Err(errno) if errno.would_block() || self.kind == LinkKind::Port => {
                self.readable = false;
                Received::Nothing
            }
            Err(errno) if errno.0 == libc::EINTR => Received::Nothing,
            Err(_) => Received::Closed,
        }
    }

    /// Sends as much as the host takes now. What is left goes when there is room again.
    pub fn flush(&mut self, epoll: &Epoll) -> Result<()> {
        while !self.outbox.is_empty() {
            match fd::write(&self.fd, self.outbox.pending()) {
                Ok(count) => self.outbox.advance(count),
                Err(errno) if errno.would_block() => {
                    if !self.blocked {
                        self.blocked = true;
                        epoll.change(&self.fd, self.token, Interest::Both)?;
                    }
                    return Ok(());
                }
                Err(errno) if errno.0 == libc::EINTR => {}
                Err(errno) => {
                    self.outbox.clear();
                    return if self.kind == LinkKind::Port { Ok(()) } else { Err(errno) };
                }
            }
        }
        if self.blocked {
            self.blocked = false;
            // Each write the host has taken in would wake us otherwise.
            epoll.change(&self.fd, self.token, Interest::Read)?;
        }
        Ok(())
    }
}
