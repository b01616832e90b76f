//! The agent's connections: found, accepted, read, written, let go.

use super::{Agent, Stop, LINK, LISTENER};
use crate::console::say;
use crate::link::{Link, LinkKind, Received};
use crate::sys::epoll::Interest;
use crate::sys::{process, vsock, Errno};
use crate::transport;
use crate::wire::frame::Kind;
use std::os::unix::io::OwnedFd;

/// Connections at once; further ones are turned away.
const MAX_LINKS: usize = 4;
/// Reads from one link before the streams have their turn.
const TURN_READS: usize = 16;

impl Agent {
    /// Takes over a connection that does not block.
    pub fn add_link(&mut self, fd: OwnedFd, kind: LinkKind) -> Result<(), Errno> {
        let link = Link::new(fd, kind, self.next_link, &self.epoll)?;
        self.next_link = LINK | (self.next_link + 1);
        self.stays |= kind == LinkKind::Port;
        self.links.push(link);
        Ok(())
    }

    /// Takes over a listening vsock socket.
    pub fn listen(&mut self, listener: OwnedFd) -> Result<(), Errno> {
        self.epoll.add(&listener, LISTENER, Interest::Read)?;
        self.stays = true;
        self.listener = Some(listener);
        Ok(())
    }

    /// Looks for the virtio-serial port for so long: the kernel may find it later than us.
    pub fn search_port(&mut self, milliseconds: u64) {
        self.stays = true;
        self.search_until = Some(process::now_ms().saturating_add(milliseconds));
    }

    /// Whether there is a virtio-serial port: then the machine is QEMU's.
    pub fn has_port(&self) -> bool {
        self.links.iter().any(|link| link.kind == LinkKind::Port)
    }

    pub(super) fn look_for_port(&mut self) -> Result<Option<Stop>, Errno> {
        if let Some(port) = transport::open_port() {
            self.search_until = None;
            say(&["the host's port is open"]);
            self.add_link(port, LinkKind::Port)?;
        } else if self.search_until.map_or(false, |until| process::now_ms() >= until) {
            self.search_until = None;
            if self.listener.is_none() {
                return Ok(Some(Stop::Unreachable));
            }
        }
        Ok(None)
    }

    pub(super) fn accept_links(&mut self) -> Result<(), Errno> {
        while let Some(listener) = &self.listener {
            match vsock::accept(listener) {
                Ok((socket, true)) if self.links.len() < MAX_LINKS => self.add_link(socket, LinkKind::Socket)?,
                Ok((_, true)) => say(&["too many connections: one was turned away"]),
                Ok((_, false)) => say(&["a connection that is not the host's was turned away"]),
                Err(errno) if errno.would_block() => return Ok(()),
                Err(Errno(libc::EINTR | libc::ECONNABORTED)) => {}
                Err(errno) => {
                    say(&["cannot accept a connection: errno ", &errno.0.to_string()]);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads from every link and carries out what has come.
    pub(super) fn receive(&mut self) {
        for index in (0..self.links.len()).rev() {
            if let Some(token) = self.links.get(index).map(|link| link.token) {
                self.receive_from(index, token);
            }
        }
    }

    fn receive_from(&mut self, index: usize, token: u64) {
        // Out of the link while frames borrow from it and their actions change everything else.
        let mut parser = match self.links[index].parser.take() {
            Some(parser) => parser,
            None => return,
        };
        for _ in 0..TURN_READS {
            let link = match self.link(token) {
                Some(link) if link.wants_input() => link,
                _ => break,
            };
            match link.receive(&mut parser) {
                Received::Bytes => {}
                Received::Nothing => break,
                Received::Closed => {
                    self.remove_link(token);
                    return;
                }
            }
            while let Some(frame) = parser.next_frame() {
                // Only a HELLO may come by another link than the generation's own.
                if frame.header.kind == Kind::Hello || self.active == Some(token) {
                    let action = self.session.accept(frame);
                    self.carry_out(action, token);
                }
            }
        }
        if let Some(link) = self.link(token) {
            link.parser = Some(parser);
        }
    }

    pub(super) fn link(&mut self, token: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.token == token)
    }

    /// Lets go of a link. Streams it carried stand still until the next generation ends them.
    pub(super) fn remove_link(&mut self, token: u64) {
        self.links.retain(|link| link.token != token);
        if self.active == Some(token) {
            self.active = None;
        }
    }

    pub(super) fn flush(&mut self) {
        let mut broken = None;
        for link in &mut self.links {
            if link.flush(&self.epoll).is_err() {
                broken = Some(link.token);
            }
        }
        if let Some(token) = broken {
            self.remove_link(token);
        }
    }
}
