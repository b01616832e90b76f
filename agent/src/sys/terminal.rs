//! Pseudo-terminals.

use super::fd::own;
use super::{check, Result};
use std::os::unix::io::{AsRawFd, OwnedFd};

/// A new terminal: the side a program's host holds, and the side the program gets.
pub fn open(rows: u16, columns: u16) -> Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is a NUL-terminated literal; a fresh descriptor comes back.
    let host = own(check(unsafe { libc::open(b"/dev/ptmx\0".as_ptr().cast(), flags | libc::O_NONBLOCK) })?);
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one integer.
    check(unsafe { libc::ioctl(host.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) })?;
    resize(&host, rows, columns)?;
    // SAFETY: TIOCGPTPEER takes open flags and returns a fresh descriptor.
    let program = own(check(unsafe { libc::ioctl(host.as_raw_fd(), libc::TIOCGPTPEER, flags) })?);
    Ok((host, program))
}

/// Sets the size; the kernel sends SIGWINCH to whom it concerns.
pub fn resize(host: &OwnedFd, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    check(unsafe { libc::ioctl(host.as_raw_fd(), libc::TIOCSWINSZ, &size) }).map(drop)
}

/// Gives the terminal to a user, so that programs can open it by name.
pub fn give(program: &OwnedFd, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: takes and returns integers only.
    check(unsafe { libc::fchown(program.as_raw_fd(), uid, gid) }).map(drop)
}

/// The byte that means "end of input" to whoever reads lines from the terminal; None when it is in raw mode.
pub fn end_of_input(host: &OwnedFd) -> Option<u8> {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr fills the termios when it succeeds, and it is read only then.
    let settings = unsafe {
        check(libc::tcgetattr(host.as_raw_fd(), settings.as_mut_ptr())).ok()?;
        settings.assume_init()
    };
    (settings.c_lflag & libc::ICANON != 0).then(|| settings.c_cc[libc::VEOF])
}
