//! Reading, writing, pipes.

use super::{check, check_size, Result};
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd};

/// Reads into `buffer`; 0 at the end of the file.
pub fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the pointer and length are those of a slice we hold exclusively.
    check_size(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// Appends at most `limit` bytes read from `fd` to `buffer`, without clearing the room first.
pub fn read_onto(fd: &OwnedFd, buffer: &mut Vec<u8>, limit: usize) -> Result<usize> {
    buffer.reserve(limit);
    let room = buffer.spare_capacity_mut();
    let limit = limit.min(room.len());
    // SAFETY: the kernel writes at most `limit` bytes into spare capacity that is at least as long.
    let count = check_size(unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), limit) })?;
    // SAFETY: the kernel has initialised these `count` bytes of the capacity.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

pub fn write(fd: &OwnedFd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the pointer and length are those of a slice.
    check_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

/// A pipe: where to read, where to write. Both close on exec.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two integers into an array of two.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((own(ends[0]), own(ends[1])))
}

/// Takes over a descriptor that a system call has just returned.
pub(super) fn own(fd: libc::c_int) -> OwnedFd {
    // SAFETY: callers pass a descriptor fresh from the kernel, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    // SAFETY: takes and returns integers only.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// Bytes that wait to be read from a pipe or terminal.
pub fn waiting_bytes(fd: &OwnedFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one integer.
    match check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut count) }) {
        Ok(_) => usize::try_from(count).unwrap_or(0),
        Err(_) => 0,
    }
}

/// Makes sure that descriptors 0, 1 and 2 are open, so that no pipe ever gets one of these numbers.
pub fn occupy_standard_streams() {
    loop {
        // SAFETY: the path is a NUL-terminated literal.
        let fd = unsafe { libc::open(b"/dev/null\0".as_ptr().cast(), libc::O_RDWR) };
        if fd < 0 {
            return;
        }
        if fd > 2 {
            drop(own(fd));
            return;
        }
    }
}

/// Takes over a descriptor given to this process when it started, and makes it not block and close on exec.
pub fn inherited(descriptor: i32) -> Result<OwnedFd> {
    // SAFETY: takes and returns integers only; fails for a number that is not open.
    check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    let fd = own(descriptor);
    set_nonblocking(&fd)?;
    Ok(fd)
}
