//! Operations that take one moment.

use super::{mode, path, split};
use crate::error::{failed, invalid};
use crate::sys::files::{self, Status};
use crate::sys::{c_string, Errno};
use crate::users::User;
use crate::wire::reply::{Error, FileInfo, FileType, Reply};
use crate::wire::request::{MakeDirectory, Rename, Stat};
use std::ffi::CStr;
use std::os::unix::io::OwnedFd;

const DIRECTORY_MODE: u32 = 0o755;
/// Directories made for one path: more cannot fit it.
const MAX_DEPTH: usize = 2048;

/// What the host is told about a file. `target` is a symbolic link's.
pub(super) fn info(name: &[u8], status: &Status, target: Vec<u8>) -> FileInfo {
    let file_type = match status.mode & libc::S_IFMT {
        libc::S_IFREG => FileType::Regular,
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        _ => FileType::Other,
    };
    FileInfo {
        name: name.to_vec(),
        file_type,
        mode: status.mode & super::MODE_BITS,
        uid: status.uid,
        gid: status.gid,
        size: status.size,
        modified_ns: status.modified_ns,
        target,
    }
}

pub fn stat(request: &Stat<'_>, workdir: &[u8]) -> Result<Reply, Error> {
    let at = path(request.path, workdir)?;
    let fail = |errno| failed("cannot look at", request.path, errno);
    let status = files::status(None, &at, request.follow).map_err(fail)?;
    let target = if status.is_symlink() { files::link_target(None, &at).map_err(fail)? } else { Vec::new() };
    Ok(Reply::Info(info(split(at.as_bytes()).1, &status, target)))
}

pub fn rename(request: &Rename<'_>, workdir: &[u8]) -> Result<Reply, Error> {
    let (from, to) = (path(request.from, workdir)?, path(request.to, workdir)?);
    files::rename(None, &from, None, &to).map_err(|errno| failed("cannot rename", request.from, errno))?;
    Ok(Reply::Done(0))
}

pub fn make_directory(request: &MakeDirectory<'_>, workdir: &[u8], owner: &User) -> Result<Reply, Error> {
    let at = path(request.path, workdir)?;
    let mode = mode(request.mode, DIRECTORY_MODE)?;
    let fail = |errno| failed("cannot make the directory", request.path, errno);
    if request.parents {
        let (parent, _) = split(at.as_bytes());
        make_parents(parent, owner).map_err(fail)?;
    }
    match make_owned(&at, mode, owner) {
        Err(Errno(libc::EEXIST)) if request.parents => match files::status(None, &at, true).map_err(fail)? {
            status if status.is_directory() => Ok(Reply::Done(0)),
            _ => Err(fail(Errno(libc::EEXIST))),
        },
        made => made.map(|()| Reply::Done(0)).map_err(fail),
    }
}

/// Makes the directories of `path` that are missing.
pub(super) fn make_parents(path: &[u8], owner: &User) -> Result<(), Errno> {
    if path.is_empty() || files::status(None, c_string(path)?.as_c_str(), true).is_ok() {
        return Ok(()); // The usual case, in one look.
    }
    let ends = path.iter().enumerate().filter(|&(at, &byte)| byte == b'/' && at > 0).map(|(at, _)| at);
    for end in ends.chain(std::iter::once(path.len())).take(MAX_DEPTH) {
        match make_owned(&c_string(&path[..end])?, DIRECTORY_MODE, owner) {
            Ok(()) | Err(Errno(libc::EEXIST)) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Makes a directory and gives it away by its descriptor: a name could be another's by then.
fn make_owned(path: &CStr, mode: u32, owner: &User) -> Result<(), Errno> {
    files::make_directory(None, path, mode)?;
    let made: OwnedFd = files::open(None, path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
    files::set_owner(&made, owner.uid, owner.gid)?;
    files::set_mode(&made, mode) // Past the umask, and after the change of owner, which clears setgid.
}

/// The root, or a path that ends in it, names nothing in a directory.
pub(super) fn need_name<'a>(at: &'a CStr, asked: &[u8]) -> Result<(&'a [u8], &'a [u8]), Error> {
    match split(at.to_bytes()) {
        (_, b"" | b"." | b"..") => Err(invalid("the path must end in a name", asked)),
        (directory, name) => Ok((directory, name)),
    }
}
