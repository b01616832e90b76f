//! A directory's entries, one after the other.

use crate::sys::{files, Errno};
use std::ffi::CStr;
use std::os::unix::io::OwnedFd;

pub struct Entries {
    directory: OwnedFd,
    /// From the kernel; those from `next` to `filled` are still to do.
    buffer: Vec<u8>,
    next: usize,
    filled: usize,
}

/// An entry and the directory it is in.
pub struct Entry<'a> {
    pub directory: &'a OwnedFd,
    pub name: &'a CStr,
    /// None when only a look at it would tell.
    pub is_directory: Option<bool>,
}

impl Entries {
    /// `buffer_bytes` are asked for at once.
    pub fn of(directory: OwnedFd, buffer_bytes: usize) -> Entries {
        Entries { directory, buffer: vec![0; buffer_bytes], next: 0, filled: 0 }
    }

    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// The next one but "." and ".."; None when there is no more.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, Errno> {
        let at = loop {
            if self.next >= self.filled {
                self.next = 0;
                self.filled = files::read_directory(&self.directory, &mut self.buffer)?;
                if self.filled == 0 {
                    return Ok(None);
                }
            }
            let at = self.next;
            let entry = files::entry(&self.buffer[at..self.filled]).ok_or(Errno(libc::EIO))?;
            self.next += entry.length;
            if !matches!(entry.name.to_bytes(), b"." | b"..") {
                break at;
            }
        };
        let entry = files::entry(&self.buffer[at..self.filled]).ok_or(Errno(libc::EIO))?;
        let is_directory = match entry.kind {
            libc::DT_UNKNOWN => None,
            kind => Some(kind == libc::DT_DIR),
        };
        Ok(Some(Entry { directory: &self.directory, name: entry.name, is_directory }))
    }

    /// Begins anew.
    pub fn rewind(&mut self) -> Result<(), Errno> {
        files::seek(&self.directory, 0)?;
        self.filled = 0;
        self.next = 0;
        Ok(())
    }
}
