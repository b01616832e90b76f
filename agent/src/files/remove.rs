//! Removing a file, or a directory with all it holds.

use super::entries::Entry;
use super::simple::need_name;
use super::{path, Entries};
use crate::error::failed;
use crate::stream::{Port, Progress, Work};
use crate::sys::{c_string, files, Errno};
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::request::Remove;
use std::ffi::{CStr, CString};
use std::os::unix::io::OwnedFd;

const BUFFER_BYTES: usize = 8 * 1024;
/// Names removed in one go before others have their turn.
const TURN_NAMES: usize = 128;
/// Directories inside each other; each holds a descriptor and a buffer.
const MAX_DEPTH: usize = 1024;
/// A directory that is filled while it is emptied is gone through so often.
const MAX_ROUNDS: u32 = 3;

/// A directory on its way to be empty. Entered by its descriptor, never by its path, and never through a symbolic
/// link: whoever swaps names meanwhile gains nothing.
struct Level {
    entries: Entries,
    /// Its name in the level above.
    name: CString,
    rounds: u32,
}

/// A recursive removal under way.
pub struct Removal {
    parent: OwnedFd,
    levels: Vec<Level>,
    path: Vec<u8>,
    /// Mounts inside are not emptied.
    device: u64,
}

/// Removes at once, or returns the removal that is to be run.
pub fn remove(request: &Remove<'_>, workdir: &[u8]) -> Result<Option<Removal>, Error> {
    let at = path(request.path, workdir)?;
    let (parent, name) = need_name(&at, request.path)?;
    let fail = |errno| failed("cannot remove", request.path, errno);
    let parent = if parent.is_empty() { b"." } else { parent };
    let parent = match files::open(None, &c_string(parent).map_err(fail)?, libc::O_PATH | libc::O_DIRECTORY, 0) {
        Err(Errno(libc::ENOENT)) if request.recursive => return Ok(None),
        opened => opened.map_err(fail)?,
    };
    let name = c_string(name).map_err(fail)?;
    let status = match files::status(Some(&parent), &name, false) {
        Err(Errno(libc::ENOENT)) if request.recursive => return Ok(None),
        status => status.map_err(fail)?,
    };
    if !status.is_directory() || !request.recursive {
        files::unlink(Some(&parent), &name, status.is_directory()).map_err(fail)?;
        return Ok(None);
    }
    let level = enter(&parent, &name).map_err(fail)?;
    Ok(Some(Removal { parent, levels: vec![level], path: request.path.to_vec(), device: status.device }))
}

fn enter(directory: &OwnedFd, name: &CStr) -> Result<Level, Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let entries = Entries::of(files::open(Some(directory), name, flags, 0)?, BUFFER_BYTES);
    Ok(Level { entries, name: name.to_owned(), rounds: 0 })
}

impl Removal {
    /// Does one step; true when everything is gone.
    fn step(&mut self) -> Result<bool, Errno> {
        let depth = self.levels.len();
        let level = match self.levels.last_mut() {
            Some(level) => level,
            None => return Ok(true),
        };
        match level.entries.next_entry()? {
            Some(Entry { directory, name, .. }) => match files::unlink(Some(directory), name, false) {
                Ok(()) | Err(Errno(libc::ENOENT)) => {}
                Err(Errno(libc::EISDIR | libc::EPERM)) if is_directory(directory, name) => {
                    if depth >= MAX_DEPTH {
                        return Err(Errno(libc::ELOOP));
                    }
                    let inner = enter(directory, name)?;
                    if files::status(Some(inner.entries.directory()), Default::default(), true)?.device != self.device {
                        return Err(Errno(libc::EXDEV));
                    }
                    self.levels.push(inner);
                }
                Err(errno) => return Err(errno),
            },
            None => {
                let name = level.name.clone();
                let above = if depth >= 2 { self.levels[depth - 2].entries.directory() } else { &self.parent };
                match files::unlink(Some(above), &name, true) {
                    Ok(()) | Err(Errno(libc::ENOENT)) => {
                        self.levels.pop();
                    }
                    Err(Errno(libc::ENOTEMPTY)) => self.again()?,
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(self.levels.is_empty())
    }

    /// Goes through the innermost directory once more: something was added meanwhile.
    fn again(&mut self) -> Result<(), Errno> {
        if let Some(level) = self.levels.last_mut() {
            level.rounds += 1;
            if level.rounds >= MAX_ROUNDS {
                return Err(Errno(libc::ENOTEMPTY));
            }
            level.entries.rewind()?;
        }
        Ok(())
    }
}

fn is_directory(directory: &OwnedFd, name: &CStr) -> bool {
    files::status(Some(directory), name, false).map_or(false, |status| status.is_directory())
}

impl Work for Removal {
    fn run(&mut self, _port: &mut Port<'_>, _now_ms: u64) -> Progress {
        for _ in 0..TURN_NAMES {
            match self.step() {
                Ok(false) => {}
                Ok(true) => return Progress::Ended(Reply::Done(0)),
                Err(errno) => return Progress::Ended(Reply::Error(failed("cannot remove", &self.path, errno))),
            }
        }
        Progress::More
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// What a race comes to: a link is there by the time the directory is entered.
    #[test]
    fn a_link_in_a_directorys_place_is_not_entered() {
        let scratch = std::env::temp_dir().join(format!("kiln-enter-{}", std::process::id()));
        assert!(std::fs::create_dir_all(scratch.join("directory")).is_ok());
        assert!(symlink("directory", scratch.join("link")).is_ok());
        let enter_named = |name: &str| {
            let parent = c_string(scratch.to_string_lossy().as_bytes())?;
            enter(&files::open(None, &parent, libc::O_PATH | libc::O_DIRECTORY, 0)?, &c_string(name.as_bytes())?)
        };
        assert!(enter_named("directory").is_ok());
        assert!(matches!(enter_named("link"), Err(Errno(libc::ENOTDIR | libc::ELOOP))));
        assert!(std::fs::remove_dir_all(&scratch).is_ok());
    }
}
