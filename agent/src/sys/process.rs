//! Signals, children, time.

use super::fd::own;
use super::{check, Errno, Result};
use std::mem::MaybeUninit;
use std::os::unix::io::OwnedFd;

/// A process id, also of the group it leads.
pub type Pid = libc::pid_t;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Code(u32),
    Signal(u32),
}

/// Blocks `signals` and returns a descriptor from which `next_signal` takes them.
pub fn watch_signals(signals: &[i32]) -> Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, the other calls read it; signalfd returns a fresh descriptor.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
        check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)).map(own)
    }
}

/// The next signal that came, if one did.
pub fn next_signal(fd: &OwnedFd) -> Option<i32> {
    let mut info = [0u8; std::mem::size_of::<libc::signalfd_siginfo>()];
    match super::fd::read(fd, &mut info) {
        // The first field of signalfd_siginfo is the signal's number, a u32.
        Ok(count) if count == info.len() => {
            i32::try_from(u32::from_ne_bytes([info[0], info[1], info[2], info[3]])).ok()
        }
        _ => None,
    }
}

/// Collects one dead child; None when there is none.
pub fn reap() -> Option<(Pid, Ended)> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let ended = if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status) as u32)
    } else {
        Ended::Code(libc::WEXITSTATUS(status) as u32)
    };
    Some((pid, ended))
}

/// Whether any child is left, dead or alive.
pub fn has_children() -> bool {
    // SAFETY: the kernel writes nothing to a null siginfo; with WNOWAIT nothing is collected.
    let returned =
        unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) };
    returned == 0
}

/// Sends a signal to the group that `leader` leads.
pub fn signal_group(leader: Pid, signal: i32) -> Result<()> {
    if leader <= 1 {
        return Err(Errno(libc::ESRCH)); // kill(-1) would be everybody, kill(0) ourselves.
    }
    // SAFETY: takes and returns integers only.
    check(unsafe { libc::kill(-leader, signal) }).map(drop)
}

/// Sends a signal to every process but ourselves.
pub fn signal_everyone(signal: i32) {
    // SAFETY: takes and returns integers only. Nobody left (ESRCH) is what we want.
    unsafe { libc::kill(-1, signal) };
}

pub fn own_id() -> u32 {
    std::process::id()
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec. These clocks always exist.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Milliseconds of a clock that only runs while the machine does.
pub fn now_ms() -> u64 {
    clock(libc::CLOCK_MONOTONIC) / 1_000_000
}

/// Nanoseconds since 1970-01-01 UTC.
pub fn wall_clock_ns() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

/// Nanoseconds since the kernel started.
pub fn uptime_ns() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// Permission bits new files never get, here and in children.
pub fn set_umask(mask: u32) {
    // SAFETY: takes and returns integers only.
    unsafe { libc::umask(mask) };
}

/// Lets this process and its children have many files open: `soft` by default, `hard` for who asks for it.
pub fn allow_open_files(soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }).map(drop)
}
