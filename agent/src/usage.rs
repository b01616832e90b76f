//! What the guest uses: processes, memory, processor, disk.

use crate::error::failed;
use crate::files::Entries;
use crate::stream::{Port, Progress, Work};
use crate::sys::{c_string, files, Errno};
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::report::UsageInfo;
use std::io::Read;
use std::path::Path;

const BUFFER_BYTES: usize = 8 * 1024;
/// Processes looked at in one go before others have their turn.
const TURN_PROCESSES: usize = 64;
/// More than any of the files read here has.
const MAX_FILE_BYTES: u64 = 16 * 1024;
/// In a process's flags: it is a thread of the kernel (linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;

/// Counts the processes, and then looks at the rest.
pub struct Usage {
    processes: Entries,
    count: u32,
}

impl Usage {
    pub fn open() -> Result<Usage, Error> {
        let proc = c_string(b"/proc").and_then(|path| files::open(None, &path, libc::O_RDONLY | libc::O_DIRECTORY, 0));
        let proc = proc.map_err(|errno| failed("cannot list", b"/proc", errno))?;
        Ok(Usage { processes: Entries::of(proc, BUFFER_BYTES), count: 0 })
    }

    /// Counts some. Returns whether these were the last.
    fn count(&mut self) -> Result<bool, Errno> {
        for _ in 0..TURN_PROCESSES {
            match self.processes.next_entry()? {
                Some(entry) if entry.name.to_bytes().iter().all(u8::is_ascii_digit) => {
                    let stat = Path::new("/proc").join(entry.name.to_string_lossy().as_ref()).join("stat");
                    // One that is gone by now is none.
                    self.count += u32::from(read(&stat).map_or(false, |stat| !is_kernel_thread(&stat)));
                }
                Some(_) => {}
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}

impl Work for Usage {
    fn run(&mut self, _port: &mut Port<'_>, _now_ms: u64) -> Progress {
        match self.count().and_then(|all| if all { usage(self.count).map(Some) } else { Ok(None) }) {
            Ok(Some(usage)) => Progress::Ended(Reply::Usage(usage)),
            Ok(None) => Progress::More,
            Err(errno) => Progress::Ended(Reply::Error(failed("cannot find out what is used", b"", errno))),
        }
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}

fn usage(processes: u32) -> Result<UsageInfo, Errno> {
    let memory = read(Path::new("/proc/meminfo"))?;
    let (disk_total, disk_used) = files::space(&c_string(b"/")?)?;
    Ok(UsageInfo {
        processes,
        memory_total: memory_bytes(&memory, "MemTotal:"),
        memory_available: memory_bytes(&memory, "MemAvailable:"),
        load_milli: load_milli(&read(Path::new("/proc/loadavg"))?),
        disk_total,
        disk_used,
    })
}

fn read(path: &Path) -> Result<String, Errno> {
    let mut bytes = Vec::with_capacity(1024);
    std::fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned()) // A process is called what it likes.
}

/// `PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS …`: a name may hold anything, blanks and brackets as well.
fn is_kernel_thread(stat: &str) -> bool {
    let flags = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(6));
    flags.and_then(|flags| flags.parse::<u64>().ok()).map_or(false, |flags| flags & PF_KTHREAD != 0)
}

/// A line of /proc/meminfo: `NAME:   COUNT kB`.
fn memory_bytes(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|count| count.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// The first number of /proc/loadavg, which has two digits behind its point, in thousandths.
fn load_milli(loadavg: &str) -> u32 {
    let first = loadavg.split_whitespace().next().and_then(|load| load.split_once('.'));
    let parts = first.and_then(|(whole, part)| Some((whole.parse::<u32>().ok()?, part.get(..2)?.parse::<u32>().ok()?)));
    parts.map_or(0, |(whole, hundredths)| whole.saturating_mul(1000).saturating_add(hundredths * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_are_told_by_their_flags() {
        assert!(is_kernel_thread("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0"));
        assert!(!is_kernel_thread("71 (sh) S 1 71 71 0 -1 4194560 12 0"));
        assert!(!is_kernel_thread("71 (a) S 0 0 0 0 -1 2129984 0) R 1 71 71 0 -1 4194560 12 0"), "by its name alone");
        assert!(!is_kernel_thread("71 (sh"));
    }

    #[test]
    fn memory_and_load_are_read() {
        let meminfo = "MemTotal:         499284 kB\nMemFree:   1 kB\nMemAvailable:     421120 kB\n";
        assert_eq!(memory_bytes(meminfo, "MemTotal:"), 499_284 * 1024);
        assert_eq!(memory_bytes(meminfo, "MemAvailable:"), 421_120 * 1024);
        assert_eq!(memory_bytes(meminfo, "SwapTotal:"), 0);
        assert_eq!(load_milli("1.25 0.50 0.00 1/93 4711\n"), 1250);
        assert_eq!(load_milli("12.07 0 0"), 12_070);
        assert_eq!(load_milli("load"), 0);
    }
}
