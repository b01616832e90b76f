//! A descriptor that bytes are written to as it takes them.

use crate::sys::{fd, tcp, terminal};
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// How whoever reads learns that nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The pipe is closed.
    Close,
    /// A terminal has another direction: it is told as a person would.
    Type,
    /// So has a connection, which knows of it.
    Shutdown,
}

#[derive(Default)]
pub struct Sink {
    /// None when there is none, nobody reads any more, or all was said.
    fd: Option<(Rc<OwnedFd>, End)>,
    /// A write would have blocked: an event tells when it no longer does.
    blocked: bool,
}

impl Sink {
    /// `fd` must not block, and whoever owns it passes on its events.
    pub fn new(fd: Rc<OwnedFd>, end: End) -> Sink {
        Sink { fd: Some((fd, end)), blocked: false }
    }

    pub fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    pub fn writable(&mut self) {
        self.blocked = false;
    }

    pub fn close(&mut self) {
        self.fd = None;
    }

    /// Writes what is taken now of `bytes` and returns how many that were. Closes when nobody reads.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let (Some((fd, _)), true) = (&self.fd, taken < bytes.len() && !self.blocked) {
            match fd::write(fd, &bytes[taken..]) {
                Ok(count) => taken += count,
                Err(errno) if errno.would_block() => self.blocked = true,
                Err(errno) if errno.0 == libc::EINTR => {}
                Err(_) => self.close(),
            }
        }
        taken
    }

    /// Says that nothing more comes, and closes; later, when there is no room to say it.
    pub fn end(&mut self) {
        match &self.fd {
            Some((fd, End::Type)) if !self.blocked => {
                let refused = terminal::end_of_input(fd).and_then(|byte| fd::write(fd, &[byte]).err());
                if refused.map_or(false, |errno| errno.would_block()) {
                    self.blocked = true;
                    return;
                }
            }
            Some((_, End::Type)) => return,
            Some((fd, End::Shutdown)) => {
                let _ = tcp::end_writing(fd); // One that is broken already has heard it.
            }
            Some((_, End::Close)) | None => {}
        }
        self.close();
    }
}
