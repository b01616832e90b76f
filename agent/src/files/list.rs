//! Sending a directory's entries.

use super::simple::info;
use super::{path, Entries};
use crate::error::failed;
use crate::messages::Messages;
use crate::stream::{Port, Progress, Work};
use crate::sys::{files, Errno};
use crate::wire::reply::{Error, ErrorCode, Reply};
use std::ffi::CStr;
use std::os::unix::io::OwnedFd;

const BUFFER_BYTES: usize = 32 * 1024;
/// Entries looked at in one go before others have their turn.
const TURN_ENTRIES: usize = 128;

pub struct List {
    entries: Entries,
    path: Vec<u8>,
    messages: Messages,
    at_end: bool,
}

impl List {
    pub fn open(asked: &[u8], workdir: &[u8]) -> Result<List, Error> {
        let at = path(asked, workdir)?;
        let directory = files::open(None, &at, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK, 0)
            .map_err(|errno| failed("cannot list", asked, errno))?;
        let entries = Entries::of(directory, BUFFER_BYTES);
        Ok(List { entries, path: asked.to_vec(), messages: Messages::default(), at_end: false })
    }

    /// Encodes some more entries.
    fn fill(&mut self) -> Result<(), Errno> {
        for _ in 0..TURN_ENTRIES {
            match self.entries.next_entry()? {
                Some(entry) => encode(entry.directory, entry.name, &mut self.messages)?,
                None => {
                    self.at_end = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Appends an entry, unless it is gone by now.
fn encode(directory: &OwnedFd, name: &CStr, out: &mut Messages) -> Result<(), Errno> {
    let status = match files::status(Some(directory), name, false) {
        Ok(status) => status,
        Err(Errno(libc::ENOENT)) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let target = match status.is_symlink() {
        true => files::link_target(Some(directory), name).unwrap_or_default(), // Gone or replaced by now.
        false => Vec::new(),
    };
    out.push(&info(name.to_bytes(), &status, target).encode());
    Ok(())
}

impl Work for List {
    fn run(&mut self, port: &mut Port<'_>, _now_ms: u64) -> Progress {
        if self.messages.is_empty() && !self.at_end {
            if let Err(errno) = self.fill() {
                return Progress::Ended(Reply::Error(failed("cannot list", &self.path, errno)));
            }
        }
        if let Some(blocked) = self.messages.send(port) {
            return blocked;
        }
        if self.at_end {
            self.messages.end(port);
            return Progress::Ended(Reply::Done(0));
        }
        Progress::More
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}
