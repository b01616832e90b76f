//! Starting a program: clone with shared memory, as vfork does. A fork would copy the page tables only to throw them
//! away, and each page written after it would be copied; here the parent stands still until the child has its program.

use super::process::Pid;
use super::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Enough for a few nested system call wrappers.
const STACK_BYTES: usize = 64 * 1024;

pub struct Command<'a> {
    /// Paths to try, in order.
    pub programs: &'a [CString],
    pub argv: &'a Strings,
    pub env: &'a Strings,
    pub cwd: &'a CStr,
    /// None to stay who we are.
    pub ids: Option<&'a Ids>,
    /// What becomes descriptor 0, 1 and 2.
    pub streams: [&'a OwnedFd; 3],
    /// Whether `streams[0]` is a terminal to be the session's own.
    pub terminal: bool,
}

pub struct Ids {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Where a start failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Clone,
    Session,
    User,
    Directory,
    Program,
}

/// Strings as execve wants them: NUL-terminated, in one block.
#[derive(Default)]
pub struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    pub fn with_capacity(strings: usize, bytes: usize) -> Strings {
        Strings { bytes: Vec::with_capacity(bytes), starts: Vec::with_capacity(strings) }
    }

    /// Adds a string made of `parts`; one with a NUL inside is refused.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<()> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(Errno(libc::EINVAL));
        }
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Pointers into `self`, with a null one behind the last.
    fn pointers(&self) -> Vec<*const libc::c_char> {
        let mut pointers = Vec::with_capacity(self.starts.len() + 1);
        pointers.extend(self.starts.iter().map(|&start| self.bytes[start..].as_ptr().cast()));
        pointers.push(std::ptr::null());
        pointers
    }
}

/// Starts programs. Owns the stack their first instructions run on.
pub struct Spawner {
    stack: Vec<u8>,
}

/// What the child needs, by pointers that are valid while the parent waits; and its answer.
struct Plan {
    programs: *const *const libc::c_char,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    cwd: *const libc::c_char,
    ids: Option<(u32, u32, *const u32, usize)>,
    streams: [libc::c_int; 3],
    terminal: bool,
    failed: Step,
    errno: libc::c_int,
}

impl Default for Spawner {
    fn default() -> Self {
        Spawner::new()
    }
}

impl Spawner {
    pub fn new() -> Spawner {
        Spawner { stack: vec![0; STACK_BYTES] }
    }

    /// Starts a program as the leader of a session and process group of its own, with no signal blocked or ignored.
    /// Returns when it runs, or with the step that failed.
    pub fn spawn(&mut self, command: &Command<'_>) -> std::result::Result<Pid, (Step, Errno)> {
        let mut programs: Vec<*const libc::c_char> = command.programs.iter().map(|path| path.as_ptr()).collect();
        programs.push(std::ptr::null());
        let argv = command.argv.pointers();
        let env = command.env.pointers();
        let mut plan = Plan {
            programs: programs.as_ptr(),
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            cwd: command.cwd.as_ptr(),
            ids: command.ids.map(|ids| (ids.uid, ids.gid, ids.groups.as_ptr(), ids.groups.len())),
            streams: [command.streams[0].as_raw_fd(), command.streams[1].as_raw_fd(), command.streams[2].as_raw_fd()],
            terminal: command.terminal,
            failed: Step::Clone,
            errno: 0,
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // The ABI wants the top of the stack aligned to 16 bytes.
        let top = (self.stack.as_mut_ptr() as usize + STACK_BYTES) & !15;
        // SAFETY: the child runs `child` on a stack of its own, which grows down from `top` inside `self.stack`; with
        // CLONE_VFORK this thread sleeps until the child has exec'd or ended, so `plan` and all it points to outlive
        // the child's use of them, and the agent has no other thread that could see what the child changes.
        let pid = unsafe {
            libc::clone(child, top as *mut libc::c_void, flags, (&mut plan as *mut Plan).cast::<libc::c_void>())
        };
        if pid < 0 {
            return Err((Step::Clone, Errno::last()));
        }
        // SAFETY: `plan` was changed behind the compiler's back; a volatile read looks at memory.
        let (failed, errno) = unsafe { (std::ptr::read_volatile(&plan.failed), std::ptr::read_volatile(&plan.errno)) };
        if errno == 0 {
            return Ok(pid);
        }
        // SAFETY: waits for the child that has just ended, so it does not block; a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        Err((failed, Errno(errno)))
    }
}

/// The child. Shares the parent's memory: no allocation, no lock, nothing but system calls.
extern "C" fn child(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the parent passes a Plan that lives until this process has exec'd or ended.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    // SAFETY: only system calls, with pointers the parent keeps alive. Raw ones where glibc's wrappers would
    // want to tell other threads (set*id).
    let failed = unsafe { become_program(plan) };
    plan.errno = Errno::last().0;
    plan.failed = failed;
    // SAFETY: ends this process only, without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

/// Returns the step that failed, with errno set; does not return otherwise.
unsafe fn become_program(plan: &Plan) -> Step {
    if libc::setsid() < 0 {
        return Step::Session;
    }
    for (target, &source) in plan.streams.iter().enumerate() {
        if libc::dup2(source, target as libc::c_int) < 0 {
            return Step::Session;
        }
    }
    if plan.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
        return Step::Session;
    }
    // Rust's start-up ignores SIGPIPE; everything else is as the kernel made it.
    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    let none: u64 = 0;
    if libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &none, 0usize, 8usize) < 0 {
        return Step::Session;
    }
    if let Some((uid, gid, groups, count)) = plan.ids {
        if libc::syscall(libc::SYS_setgroups, count, groups) < 0
            || libc::syscall(libc::SYS_setgid, gid) < 0
            || libc::syscall(libc::SYS_setuid, uid) < 0
        {
            return Step::User;
        }
    }
    if libc::chdir(plan.cwd) < 0 {
        return Step::Directory;
    }
    // As execvp: what is missing is looked for further on, what may not be run is remembered.
    let mut denied = false;
    let mut program = plan.programs;
    *libc::__errno_location() = libc::ENOENT;
    while !(*program).is_null() {
        libc::execve(*program, plan.argv, plan.env);
        match *libc::__errno_location() {
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ENOTDIR => {}
            _ => return Step::Program,
        }
        program = program.add(1);
    }
    if denied {
        *libc::__errno_location() = libc::EACCES;
    }
    Step::Program
}
