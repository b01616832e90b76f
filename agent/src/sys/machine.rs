//! What only PID 1 does: mounts, names, clock, entropy, power.

use super::{c_string, check, Errno, Result};
use std::fs::File;
use std::os::unix::io::AsRawFd;

pub const NOSUID: u64 = libc::MS_NOSUID;
pub const NODEV: u64 = libc::MS_NODEV;
pub const NOEXEC: u64 = libc::MS_NOEXEC;
pub const BIND: u64 = libc::MS_BIND;
pub const REMOUNT: u64 = libc::MS_REMOUNT;

/// `_IOW('R', 0x03, int[2])` and `_IO('R', 0x07)` of linux/random.h.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
/// Most bytes of entropy given at once.
pub const MAX_ENTROPY_BYTES: usize = 512;

pub fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> Result<()> {
    let (source, target) = (c_string(source.as_bytes())?, c_string(target.as_bytes())?);
    let (kind, data) = (c_string(kind.as_bytes())?, c_string(data.as_bytes())?);
    // SAFETY: four NUL-terminated strings that outlive the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) })
        .map(drop)
}

pub fn set_hostname(name: &str) -> Result<()> {
    // SAFETY: the pointer and length are those of a slice.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Sets the time, in nanoseconds since 1970-01-01 UTC.
pub fn set_clock(wall_clock_ns: u64) -> Result<()> {
    let time = libc::timespec {
        tv_sec: (wall_clock_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (wall_clock_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: the kernel reads one timespec.
    check(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) }).map(drop)
}

/// Mixes `entropy` into the kernel's pool and has the generator start anew from it. `random` is /dev/random.
pub fn add_entropy(random: &File, entropy: &[u8]) -> Result<()> {
    #[repr(C)]
    struct PoolInfo {
        entropy_bits: libc::c_int,
        buffer_bytes: libc::c_int,
        buffer: [u8; MAX_ENTROPY_BYTES],
    }
    let mut info = PoolInfo {
        entropy_bits: entropy.len() as libc::c_int * 8,
        buffer_bytes: entropy.len() as libc::c_int,
        buffer: [0; MAX_ENTROPY_BYTES],
    };
    info.buffer.get_mut(..entropy.len()).ok_or(Errno(libc::EINVAL))?.copy_from_slice(entropy);
    // SAFETY: RNDADDENTROPY reads a rand_pool_info: two integers and as many bytes as the second says, all inside.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY, &info) })?;
    // SAFETY: RNDRESEEDCRNG has no argument.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG) }).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    Off,
    /// Ends a Firecracker VM, which has no other switch.
    Restart,
}

/// Writes everything to the disks and switches the machine off. Returns only when the kernel refuses.
pub fn power(how: Power) -> Errno {
    let command = match how {
        Power::Off => libc::RB_POWER_OFF,
        Power::Restart => libc::RB_AUTOBOOT,
    };
    // SAFETY: both take and return integers only.
    unsafe {
        libc::sync();
        libc::reboot(command);
    }
    Errno::last()
}

/// The processor's time stamp counter.
pub fn read_tsc() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; it reads a register and touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}
