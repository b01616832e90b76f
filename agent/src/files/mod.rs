//! What the host does to files.

mod entries;
mod list;
mod read;
mod remove;
mod simple;
mod write;

pub use entries::Entries;
pub use list::List;
pub use read::Read;
pub use remove::{remove, Removal};
pub use simple::{make_directory, rename, stat};
pub use write::Write;

use crate::error::invalid;
use crate::sys::c_string;
use crate::wire::reply::Error;
use std::ffi::CString;

/// The kernel's limit, without the NUL.
const MAX_PATH_BYTES: usize = 4095;
/// Permission bits with setuid, setgid and sticky.
const MODE_BITS: u32 = 0o7777;

/// A path as the kernel wants it. A relative one begins at the image's working directory, as an exec's does.
pub fn path(bytes: &[u8], workdir: &[u8]) -> Result<CString, Error> {
    let whole =
        if bytes.starts_with(b"/") || bytes.is_empty() { bytes.to_vec() } else { [workdir, b"/", bytes].concat() };
    if whole.is_empty() || whole.len() > MAX_PATH_BYTES {
        return Err(invalid("a path has 1 to 4095 bytes", bytes));
    }
    c_string(&whole).map_err(|_| invalid("a path has no NUL byte", b""))
}

/// The mode to give, `default` for 0.
fn mode(asked: u32, default: u32) -> Result<u32, Error> {
    match asked {
        0 => Ok(default),
        mode if mode & !MODE_BITS == 0 => Ok(mode),
        _ => Err(invalid("a mode has permission bits alone", b"")),
    }
}

/// A path's directory and last component. The directory is empty for one without a slash.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let trimmed = match path.iter().rposition(|&byte| byte != b'/') {
        Some(last) => &path[..=last],
        None => return (path, b""), // Nothing but slashes: the root has no name.
    };
    match trimmed.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&trimmed[..=slash], &trimmed[slash + 1..]),
        None => (b"", trimmed),
    }
}
