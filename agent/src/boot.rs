//! From the kernel's hand-over to a machine programs can live in.

use crate::console::say;
use crate::network;
use crate::sys::machine::{self, mount, NODEV, NOEXEC, NOSUID};
use crate::sys::{fd, process};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Files a program may have open: as many as select() can handle and a little more, and what a server may ask for.
const OPEN_FILES: (u64, u64) = (8192, 1_048_576);

struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: u64,
    data: &'static str,
    /// Whether nothing works without it.
    needed: bool,
}

/// In this order: later ones lie inside earlier ones.
const MOUNTS: [Mount; 8] = [
    Mount { kind: "proc", target: "/proc", flags: NOSUID | NODEV | NOEXEC, data: "", needed: true },
    Mount { kind: "sysfs", target: "/sys", flags: NOSUID | NODEV | NOEXEC, data: "", needed: true },
    Mount { kind: "devtmpfs", target: "/dev", flags: NOSUID | NOEXEC, data: "mode=755", needed: true },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: NOSUID | NOEXEC,
        data: "mode=620,gid=5,ptmxmode=666",
        needed: true,
    },
    Mount { kind: "tmpfs", target: "/dev/shm", flags: NOSUID | NODEV, data: "mode=1777", needed: false },
    Mount { kind: "mqueue", target: "/dev/mqueue", flags: NOSUID | NODEV | NOEXEC, data: "", needed: false },
    Mount { kind: "tmpfs", target: "/run", flags: NOSUID | NODEV, data: "mode=755", needed: true },
    Mount { kind: "cgroup2", target: "/sys/fs/cgroup", flags: NOSUID | NODEV | NOEXEC, data: "", needed: false },
];

const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// What could not be mounted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootError {
    pub target: &'static str,
    pub errno: i32,
}

/// Makes everything a program expects to find. What is there already, from an initramfs, stays as it is.
pub fn boot() -> Result<(), BootError> {
    fd::occupy_standard_streams();
    process::set_umask(0o022);
    // The kernel may have mounted the disk read-only, as init scripts of old expect.
    let _ = mount("", "/", "", machine::REMOUNT, "");
    for wanted in &MOUNTS {
        make_mount(wanted)?;
    }
    // A standard stream that is missing can now be made, should /dev have been empty.
    fd::occupy_standard_streams();
    for (target, link) in LINKS {
        let _ = symlink(target, link); // There already: from the kernel or an initramfs.
    }
    let _ = std::fs::create_dir("/run/lock");
    network::configure();
    let (soft, hard) = OPEN_FILES;
    if let Err(errno) = process::allow_open_files(soft, hard) {
        say(&["cannot raise the limit of open files: errno ", &errno.0.to_string()]);
    }
    Ok(())
}

fn make_mount(wanted: &Mount) -> Result<(), BootError> {
    if !Path::new(wanted.target).is_dir() && std::fs::create_dir_all(wanted.target).is_err() && !wanted.needed {
        return Ok(());
    }
    match mount(wanted.kind, wanted.target, wanted.kind, wanted.flags, wanted.data) {
        Ok(()) => Ok(()),
        Err(errno) if errno.0 == libc::EBUSY => Ok(()), // Mounted already.
        Err(errno) if wanted.needed => Err(BootError { target: wanted.target, errno: errno.0 }),
        Err(_) => Ok(()), // The kernel has no such thing.
    }
}
