//! A program and its process group, from its start to its end.

use crate::console::say;
use crate::sys::process::{self, Ended, Pid};
use crate::sys::terminal;
use crate::wire::reply::{Exited, Status};
use crate::wire::request::Terminal;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// How long after the program's end its output may be kept open by a background process, in milliseconds.
const LINGER_MS: u64 = 1000;

pub struct Program {
    /// Also its process group and session.
    pid: Pid,
    /// The host's side of its terminal.
    terminal: Option<Rc<OwnedFd>>,
    /// When to kill it.
    timeout_at: Option<u64>,
    timed_out: bool,
    ended: Option<Ended>,
    /// It was killed for good: its number may be another's by now.
    let_go: bool,
    /// From when on open outputs are no longer waited for.
    linger_until: u64,
}

impl Program {
    /// A program that has just been started; `timeout_ms` of 0 is none.
    pub fn new(pid: Pid, terminal: Option<Rc<OwnedFd>>, timeout_ms: u64) -> Program {
        let timeout_at = (timeout_ms > 0).then(|| process::now_ms().saturating_add(timeout_ms));
        Program { pid, terminal, timeout_at, timed_out: false, ended: None, let_go: false, linger_until: 0 }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// It was reaped.
    pub fn end(&mut self, ended: Ended, now_ms: u64) {
        self.ended = Some(ended);
        self.linger_until = now_ms + LINGER_MS;
    }

    pub fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// How it ended, if it did.
    pub fn exited(&self) -> Option<Exited> {
        let status = match self.ended? {
            Ended::Code(code) => Status::Code(code),
            Ended::Signal(signal) => Status::Signal(signal),
        };
        Some(Exited { status, timed_out: self.timed_out })
    }

    /// Whether it ended so long ago that nobody else's output is waited for.
    pub fn is_long_ended(&self, now_ms: u64) -> bool {
        self.is_ended() && now_ms >= self.linger_until
    }

    /// When it ended, as far as one compares: of two the greater ended later.
    pub fn ended_order(&self) -> u64 {
        self.linger_until
    }

    pub fn signal(&self, signal: i32) {
        // Nobody left in the group: the signal crossed their end. The group outlives its reaped leader for at most the
        // linger time, in which the kernel does not come round to its number again.
        let _ = process::signal_group(self.pid, signal);
    }

    pub fn resize(&self, size: Terminal) {
        if let Some(host) = &self.terminal {
            let (rows, columns) = window(size);
            if let Err(errno) = terminal::resize(host, rows, columns) {
                say(&["cannot resize a terminal: errno ", &errno.0.to_string()]);
            }
        }
    }

    /// Kills it when its time is over.
    pub fn check_time(&mut self, now_ms: u64) {
        if self.ended.is_none() && !self.timed_out && self.timeout_at.map_or(false, |at| now_ms >= at) {
            self.timed_out = true;
            self.signal(libc::SIGKILL);
        }
    }

    /// When there is something to do about it though nothing happens. `drained`: all of its own output was taken, and
    /// what is open is open for others; until then it is not time that is waited for.
    pub fn deadline(&self, drained: bool) -> Option<u64> {
        match self.ended {
            Some(_) => drained.then_some(self.linger_until),
            None if self.timed_out => None,
            None => self.timeout_at,
        }
    }

    /// Ends it if it runs. Nobody need wait for that: PID 1 reaps it like any orphan.
    pub fn let_go(&mut self) {
        if self.ended.is_none() && !self.let_go {
            self.signal(libc::SIGKILL);
        }
        self.let_go = true;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The kernel counts rows and columns in 16 bits.
pub(super) fn window(size: Terminal) -> (u16, u16) {
    let cut = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    (cut(size.rows), cut(size.columns))
}
