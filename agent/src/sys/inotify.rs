//! Being told of changes in directories.

use super::fd::own;
use super::{check, Result};
use std::ffi::CStr;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// A descriptor from which events can be read, without blocking.
pub fn open() -> Result<OwnedFd> {
    // SAFETY: takes and returns integers only; the descriptor is fresh.
    check(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) }).map(own)
}

/// Watches a file or directory for what is in `mask`, and returns the watch's number: the one it has already if it is
/// watched.
pub fn watch(inotify: &OwnedFd, path: &CStr, mask: u32) -> Result<i32> {
    // SAFETY: a NUL-terminated path.
    check(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) })
}

/// Ends a watch, if it is still there.
pub fn forget(inotify: &OwnedFd, watch: i32) {
    // SAFETY: takes and returns integers only. A watch that is gone (EINVAL) is what we want.
    unsafe { libc::inotify_rm_watch(inotify.as_raw_fd(), watch) };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// -1 when events were lost.
    pub watch: i32,
    pub mask: u32,
    /// The same for both halves of a rename.
    pub cookie: u32,
    /// In the directory that is watched; empty for that itself.
    pub name: &'a [u8],
    /// Bytes it takes.
    pub length: usize,
}

/// The first event of what was read. None when there is none.
pub fn event(bytes: &[u8]) -> Option<Event<'_>> {
    // inotify_event: watch i32, mask u32, cookie u32, length u32, name with NULs up to `length`.
    const NAME: usize = 16;
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = NAME.checked_add(usize::try_from(word(12)?).ok()?)?;
    let name = bytes.get(NAME..length)?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Some(Event { watch: word(0)? as i32, mask: word(4)?, cookie: word(8)?, name: &name[..end], length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_long_as_they_say() {
        let words: Vec<u8> = [7u32, libc::IN_CREATE, 9, 8].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bytes = [&words[..], b"name\0\0\0\0", &words, b"whole-nm"].concat();
        let expected = Event { watch: 7, mask: libc::IN_CREATE, cookie: 9, name: b"name", length: 24 };
        assert_eq!(event(&bytes), Some(expected));
        assert_eq!(event(&bytes[24..]).map(|event| event.name), Some(&b"whole-nm"[..]));
        assert_eq!(event(&bytes[..23]), None);
        assert_eq!(event(&bytes[..15]), None);
        assert_eq!(event(&[0xff; 40]), None);
        assert_eq!(event(b""), None);
    }
}
