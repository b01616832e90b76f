//! Receiving a file: beside its place first, and put there when it is whole.

use super::simple::{make_parents, need_name};
use super::{mode, path};
use crate::error::failed;
use crate::stream::{Port, Progress, Work};
use crate::sys::{c_string, fd, files, Errno};
use crate::users::User;
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::request::WriteFile;
use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::io::OwnedFd;

const FILE_MODE: u32 = 0o644;
/// Names tried for the new file before giving up.
const MAX_TRIES: u32 = 16;

pub struct Write {
    /// The directory both names are in.
    directory: OwnedFd,
    name: CString,
    /// None once it has its place.
    temporary: Option<CString>,
    file: OwnedFd,
    mode: u32,
    path: Vec<u8>,
    written: u64,
}

impl Write {
    /// `unique` makes the new file's name one that nobody else uses.
    pub fn open(request: &WriteFile<'_>, workdir: &[u8], owner: &User, unique: u64) -> Result<Write, Error> {
        let at = path(request.path, workdir)?;
        let mode = mode(request.mode, FILE_MODE)?;
        let (parent, name) = need_name(&at, request.path)?;
        let fail = |errno| failed("cannot write", request.path, errno);
        if request.parents {
            make_parents(parent, owner).map_err(fail)?;
        }
        let parent = if parent.is_empty() { b"." } else { parent };
        let directory =
            files::open(None, &c_string(parent).map_err(fail)?, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(fail)?;
        let name = c_string(name).map_err(fail)?;
        match files::status(Some(&directory), &name, false) {
            Ok(status) if status.is_directory() => return Err(fail(Errno(libc::EISDIR))),
            _ => {} // Missing, or to be replaced.
        }
        let (temporary, file) = new_file(&directory, unique).map_err(fail)?;
        let write =
            Write { directory, name, temporary: Some(temporary), file, mode, path: request.path.to_vec(), written: 0 };
        files::set_owner(&write.file, owner.uid, owner.gid).map_err(fail)?;
        Ok(write)
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match fd::write(&self.file, bytes) {
                Ok(0) => return Err(Errno(libc::EIO)),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.written += count as u64;
                }
                Err(Errno(libc::EINTR)) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Puts the file in its place.
    fn finish(&mut self) -> Result<(), Errno> {
        files::set_mode(&self.file, self.mode)?;
        let temporary = match &self.temporary {
            Some(temporary) => temporary,
            None => return Ok(()),
        };
        match files::rename(Some(&self.directory), temporary, Some(&self.directory), &self.name) {
            Ok(()) => {
                self.temporary = None;
                Ok(())
            }
            // Something is mounted there, as on /etc/hosts: its content can be replaced, its name can not.
            Err(Errno(libc::EBUSY)) => self.replace_content(),
            Err(errno) => Err(errno),
        }
    }

    fn replace_content(&self) -> Result<(), Errno> {
        let flags = libc::O_WRONLY | libc::O_TRUNC | libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let mut target = File::from(files::open(Some(&self.directory), &self.name, flags, 0)?);
        let mut source = File::from(self.file.try_clone()?);
        source.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut source, &mut target)?;
        Ok(())
    }
}

fn new_file(directory: &OwnedFd, unique: u64) -> Result<(CString, OwnedFd), Errno> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    for attempt in 0..MAX_TRIES {
        let name = c_string([".kiln-", &unique.to_string(), "-", &attempt.to_string()].concat().as_bytes())?;
        match files::open(Some(directory), &name, flags, 0o600) {
            Ok(file) => return Ok((name, file)),
            Err(Errno(libc::EEXIST)) => {} // Left by a machine that ended in the middle of a write.
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno(libc::EEXIST))
}

impl Work for Write {
    fn input(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) -> Progress {
        let done = self.append(bytes).and_then(|()| if end { self.finish() } else { Ok(()) });
        match done {
            Err(errno) => Progress::Ended(Reply::Error(failed("cannot write", &self.path, errno))),
            Ok(()) if end => Progress::Ended(Reply::Done(self.written)),
            Ok(()) => {
                port.consumed(bytes.len());
                Progress::Waiting
            }
        }
    }

    fn run(&mut self, _port: &mut Port<'_>, _now_ms: u64) -> Progress {
        Progress::Waiting // Everything happens as the bytes come.
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}

impl Drop for Write {
    /// A file that is not whole leaves nothing.
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = files::unlink(Some(&self.directory), temporary, false);
        }
    }
}
