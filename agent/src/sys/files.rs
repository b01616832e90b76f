//! Files, by a directory's descriptor and a name: what is looked at is what is then acted on.

use super::fd::own;
use super::{check, check_size, Errno, Result};
use std::ffi::CStr;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Where a path is looked up: the current directory for one without a directory's descriptor.
fn at(directory: Option<&OwnedFd>) -> libc::c_int {
    directory.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd)
}

/// Opens a file. `mode` counts when `flags` create one. Closes on exec.
pub fn open(directory: Option<&OwnedFd>, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    // SAFETY: a NUL-terminated path; a fresh descriptor comes back.
    check(unsafe { libc::openat(at(directory), path.as_ptr(), flags | libc::O_CLOEXEC, mode) }).map(own)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub modified_ns: i64,
    /// The file system it is on.
    pub device: u64,
}

impl Status {
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
}

/// What a path, or with an empty one `directory` itself, is.
pub fn status(directory: Option<&OwnedFd>, path: &CStr, follow: bool) -> Result<Status> {
    let flags = libc::AT_EMPTY_PATH | if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstatat fills the stat when it succeeds, and it is read only then.
    let stat = unsafe {
        check(libc::fstatat(at(directory), path.as_ptr(), stat.as_mut_ptr(), flags))?;
        stat.assume_init()
    };
    Ok(Status {
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec),
        device: stat.st_dev,
    })
}

/// Where a symbolic link points to.
pub fn link_target(directory: Option<&OwnedFd>, path: &CStr) -> Result<Vec<u8>> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and length are those of the vector.
    let length = check_size(unsafe {
        libc::readlinkat(at(directory), path.as_ptr(), target.as_mut_ptr().cast(), target.len())
    })?;
    target.truncate(length);
    Ok(target)
}

pub fn make_directory(directory: Option<&OwnedFd>, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::mkdirat(at(directory), path.as_ptr(), mode) }).map(drop)
}

/// Removes a name; of a directory when `is_directory`, which must be empty.
pub fn unlink(directory: Option<&OwnedFd>, path: &CStr, is_directory: bool) -> Result<()> {
    let flags = if is_directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::unlinkat(at(directory), path.as_ptr(), flags) }).map(drop)
}

pub fn rename(from_directory: Option<&OwnedFd>, from: &CStr, to_directory: Option<&OwnedFd>, to: &CStr) -> Result<()> {
    // SAFETY: two NUL-terminated paths.
    check(unsafe { libc::renameat(at(from_directory), from.as_ptr(), at(to_directory), to.as_ptr()) }).map(drop)
}

pub fn set_mode(file: &OwnedFd, mode: u32) -> Result<()> {
    // SAFETY: takes and returns integers only.
    check(unsafe { libc::fchmod(file.as_raw_fd(), mode) }).map(drop)
}

pub fn set_owner(file: &OwnedFd, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: takes and returns integers only.
    check(unsafe { libc::fchown(file.as_raw_fd(), uid, gid) }).map(drop)
}

/// Moves where the next read begins.
pub fn seek(file: &OwnedFd, offset: u64) -> Result<()> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: takes and returns integers only.
    let returned = unsafe { libc::lseek(file.as_raw_fd(), offset, libc::SEEK_SET) };
    if returned < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

/// Reads some of a directory's entries into `buffer`, for `entry`; 0 at the end.
pub fn read_directory(directory: &OwnedFd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the pointer and length are those of a slice we hold exclusively.
    let returned =
        unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
    usize::try_from(returned).map_err(|_| Errno::last())
}

/// One entry of what `read_directory` gave.
pub struct Entry<'a> {
    pub name: &'a CStr,
    /// `DT_DIR` and the like.
    pub kind: u8,
    /// Bytes it takes.
    pub length: usize,
}

/// The first entry of `bytes`. None when there is none.
pub fn entry(bytes: &[u8]) -> Option<Entry<'_>> {
    // linux_dirent64: inode u64, offset i64, length u16, type u8, name.
    const LENGTH: usize = 16;
    const KIND: usize = 18;
    const NAME: usize = 19;
    let length = usize::from(u16::from_ne_bytes([*bytes.get(LENGTH)?, *bytes.get(LENGTH + 1)?]));
    let name = bytes.get(NAME..length)?;
    let end = name.iter().position(|&byte| byte == 0)?;
    Some(Entry { name: CStr::from_bytes_with_nul(&name[..=end]).ok()?, kind: *bytes.get(KIND)?, length })
}

/// Bytes of the file system a path is on: all, and those that are taken.
pub fn space(path: &CStr) -> Result<(u64, u64)> {
    let mut space = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: statvfs fills its argument when it succeeds, and it is read only then.
    let space = unsafe {
        check(libc::statvfs(path.as_ptr(), space.as_mut_ptr()))?;
        space.assume_init()
    };
    let taken = space.f_blocks.saturating_sub(space.f_bfree);
    Ok((space.f_blocks.saturating_mul(space.f_frsize), taken.saturating_mul(space.f_frsize)))
}
