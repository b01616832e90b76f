//! Sending a directory's entries.

use super::path;
use super::simple::info;
use crate::error::failed;
use crate::stream::{Port, Progress, Work};
use crate::sys::{files, Errno};
use crate::wire::fields::put_varint;
use crate::wire::reply::{Error, ErrorCode, Reply};
use std::ffi::CStr;
use std::os::unix::io::OwnedFd;

const CHANNEL: u8 = 1;
const BUFFER_BYTES: usize = 32 * 1024;
/// Entries looked at in one go before others have their turn.
const TURN_ENTRIES: usize = 128;

pub struct List {
    directory: OwnedFd,
    path: Vec<u8>,
    /// Entries from the kernel; those from `next` to `filled` are still to do.
    buffer: Vec<u8>,
    next: usize,
    filled: usize,
    /// Encoded and not yet sent.
    waiting: Vec<u8>,
    sent: usize,
    at_end: bool,
}

impl List {
    pub fn open(asked: &[u8], workdir: &[u8]) -> Result<List, Error> {
        let at = path(asked, workdir)?;
        let directory = files::open(None, &at, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK, 0)
            .map_err(|errno| failed("cannot list", asked, errno))?;
        Ok(List {
            directory,
            path: asked.to_vec(),
            buffer: vec![0; BUFFER_BYTES],
            next: 0,
            filled: 0,
            waiting: Vec::new(),
            sent: 0,
            at_end: false,
        })
    }

    /// Encodes some more entries.
    fn fill(&mut self) -> Result<(), Errno> {
        self.waiting.clear();
        self.sent = 0;
        for _ in 0..TURN_ENTRIES {
            if self.next >= self.filled {
                self.next = 0;
                self.filled = files::read_directory(&self.directory, &mut self.buffer)?;
                if self.filled == 0 {
                    self.at_end = true;
                    return Ok(());
                }
            }
            let (name, length) = match files::entry(&self.buffer[self.next..self.filled]) {
                Some(entry) => entry,
                None => return Err(Errno(libc::EIO)),
            };
            self.next += length;
            encode(&self.directory, name, &mut self.waiting)?;
        }
        Ok(())
    }
}

/// Appends an entry, unless it is gone by now.
fn encode(directory: &OwnedFd, name: &CStr, out: &mut Vec<u8>) -> Result<(), Errno> {
    if matches!(name.to_bytes(), b"." | b"..") {
        return Ok(());
    }
    let status = match files::status(Some(directory), name, false) {
        Ok(status) => status,
        Err(Errno(libc::ENOENT)) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let target = match status.is_symlink() {
        true => files::link_target(Some(directory), name).unwrap_or_default(), // Gone or replaced by now.
        false => Vec::new(),
    };
    let message = info(name.to_bytes(), &status, target).encode();
    put_varint(out, message.len() as u64);
    out.extend_from_slice(&message);
    Ok(())
}

impl Work for List {
    fn run(&mut self, port: &mut Port<'_>, _now_ms: u64) -> Progress {
        if self.sent == self.waiting.len() && !self.at_end {
            if let Err(errno) = self.fill() {
                return Progress::Ended(Reply::Error(failed("cannot list", &self.path, errno)));
            }
        }
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            let count = port.allowed().min(rest.len());
            if count == 0 {
                return port.blocked();
            }
            port.send(CHANNEL, |bytes| bytes.extend_from_slice(&rest[..count]));
            self.sent += count;
        }
        if self.at_end {
            port.end(CHANNEL);
            return Progress::Ended(Reply::Done(0));
        }
        Progress::More
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}
