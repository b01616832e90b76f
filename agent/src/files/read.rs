//! Sending a file.

use super::path;
use crate::error::{failed, invalid};
use crate::stream::{Port, Progress, Work};
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::{fd, files, Errno};
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::request::ReadFile;
use std::os::unix::io::OwnedFd;

const CHANNEL: u8 = 1;
/// Frames sent in one go before others have their turn.
const TURN_FRAMES: usize = 4;

pub struct Read {
    file: OwnedFd,
    path: Vec<u8>,
    /// Bytes still to send at most.
    left: u64,
    /// There may be bytes to read: always so for a regular file.
    ready: bool,
}

impl Read {
    /// `token` is for events about it: a pipe or device may have nothing to read yet, and must not hold up the rest.
    pub fn open(request: &ReadFile<'_>, workdir: &[u8], epoll: &Epoll, token: u64) -> Result<Read, Error> {
        let at = path(request.path, workdir)?;
        let fail = |errno| failed("cannot read", request.path, errno);
        let file = files::open(None, &at, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0).map_err(fail)?;
        if files::status(Some(&file), Default::default(), true).map_err(fail)?.is_directory() {
            return Err(fail(Errno(libc::EISDIR)));
        }
        if request.offset > 0 {
            files::seek(&file, request.offset).map_err(|errno| match errno.0 {
                libc::ESPIPE | libc::EINVAL => invalid("cannot read from an offset", request.path),
                _ => fail(errno),
            })?;
        }
        match epoll.add(&file, token, Interest::Read) {
            Ok(()) | Err(Errno(libc::EPERM)) => {} // A regular file: never waits, cannot be watched.
            Err(errno) => return Err(fail(errno)),
        }
        let left = if request.length == 0 { u64::MAX } else { request.length };
        Ok(Read { file, path: request.path.to_vec(), left, ready: true })
    }
}

impl Work for Read {
    fn event(&mut self, _channel: u8, event: Event) {
        self.ready |= event.readable;
    }

    fn run(&mut self, port: &mut Port<'_>, _now_ms: u64) -> Progress {
        for _ in 0..TURN_FRAMES {
            let allowed = port.allowed().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if self.left > 0 && !self.ready {
                return Progress::Waiting;
            }
            if self.left > 0 && allowed == 0 {
                return port.blocked();
            }
            let file = &self.file;
            let count = match self.left {
                0 => Ok(0),
                _ => port.send(CHANNEL, |bytes| fd::read_onto(file, bytes, allowed)),
            };
            match count {
                Ok(0) => {
                    port.end(CHANNEL);
                    return Progress::Ended(Reply::Done(0));
                }
                Ok(count) => self.left -= count as u64,
                Err(errno) if errno.would_block() => self.ready = false,
                Err(errno) if errno.0 == libc::EINTR => {}
                Err(errno) => return Progress::Ended(Reply::Error(failed("cannot read", &self.path, errno))),
            }
        }
        Progress::More
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}
