//! Waiting for many descriptors at once. All are watched edge-triggered: an event says that something has changed, and
//! the owner remembers it until the descriptor has no more. A virtio port whose host is away, or a pipe whose reader
//! has no credit, is "ready" all the time: level-triggered, both would have us spin.

use super::fd::own;
use super::{check, Errno, Result};
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Events taken at once.
const BATCH: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    Read,
    Write,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    pub token: u64,
    /// Reading does not block: there are bytes, the end, or an error.
    pub readable: bool,
    pub writable: bool,
    /// The other side sends nothing more: what there is to read comes to an end, of which no other event tells.
    pub ending: bool,
}

pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> Result<Epoll> {
        // SAFETY: takes and returns integers only.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Epoll { fd: own(fd), events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] })
    }

    /// Watches `fd` until it is closed.
    pub fn add(&self, fd: &OwnedFd, token: u64, interest: Interest) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Watches for something else. What is ready already counts as new.
    pub fn change(&self, fd: &OwnedFd, token: u64, interest: Interest) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, operation: libc::c_int, fd: &OwnedFd, token: u64, interest: Interest) -> Result<()> {
        let wanted = match interest {
            Interest::Read => libc::EPOLLIN | libc::EPOLLRDHUP,
            Interest::Write => libc::EPOLLOUT,
            Interest::Both => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event { events: (wanted | libc::EPOLLET) as u32, u64: token };
        // SAFETY: the event outlives the call, which copies it.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) }).map(drop)
    }

    /// Waits up to `timeout_ms` (-1: for ever) and returns how many events there are for `event`.
    pub fn wait(&mut self, timeout_ms: i32) -> Result<usize> {
        // SAFETY: the kernel writes at most BATCH events into a vector of BATCH.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), BATCH as libc::c_int, timeout_ms)
        };
        match check(count) {
            Ok(count) => Ok(count as usize),
            Err(Errno(libc::EINTR)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Event `index` of the last `wait`.
    pub fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        let bits = event.events as libc::c_int;
        let broken = libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP;
        Event {
            token: event.u64,
            readable: bits & (libc::EPOLLIN | broken) != 0,
            writable: bits & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0,
            ending: bits & broken != 0,
        }
    }
}
