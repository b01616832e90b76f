//! System calls behind safe functions. The only module with `unsafe` in it: each block says why it is sound.

pub mod epoll;
pub mod fd;
pub mod files;
pub mod inotify;
pub mod interface;
pub mod machine;
pub mod memory;
pub mod process;
pub mod spawn;
pub mod tcp;
pub mod terminal;
pub mod vsock;

use std::ffi::CString;

/// The number of a failed system call's error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

pub type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    pub fn last() -> Errno {
        // SAFETY: glibc's errno is a valid pointer to this thread's own integer.
        Errno(unsafe { *libc::__errno_location() })
    }

    /// Nothing to read, or no room to write, just now.
    pub fn would_block(self) -> bool {
        self.0 == libc::EAGAIN
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// What a system call returned, or its error.
fn check(returned: libc::c_int) -> Result<libc::c_int> {
    if returned < 0 {
        Err(Errno::last())
    } else {
        Ok(returned)
    }
}

fn check_size(returned: libc::ssize_t) -> Result<usize> {
    usize::try_from(returned).map_err(|_| Errno::last())
}

/// For the kernel a string ends at its first NUL: one inside is refused.
pub fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Errno(libc::EINVAL))
}
