//! Running a program for the host.

mod environment;
mod input;
mod output;
mod start;

pub use start::{start, Starter};

use crate::console::say;
use crate::stream::{Port, Progress, Work};
use crate::sys::epoll::Event;
use crate::sys::process::{self, Ended, Pid};
use crate::sys::terminal;
use crate::wire::reply::{Error, ErrorCode, Exited, Reply, Status};
use crate::wire::request::Terminal;
use input::Input;
use output::Output;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// How long after the program's end its output may be kept open by a background process, in milliseconds.
const LINGER_MS: u64 = 1000;

/// A program that runs, or has ended with output still on its way.
pub struct Exec {
    /// Also its process group and session.
    pid: Pid,
    input: Input,
    outputs: Vec<Output>,
    /// The host's side of its terminal.
    terminal: Option<Rc<OwnedFd>>,
    /// When to kill it.
    timeout_at: Option<u64>,
    timed_out: bool,
    cancelled: bool,
    ended: Option<Ended>,
    /// From when on open outputs are no longer waited for.
    linger_until: u64,
}

impl Exec {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The program was reaped.
    pub fn ended(&mut self, ended: Ended, now_ms: u64) {
        self.ended = Some(ended);
        self.linger_until = now_ms + LINGER_MS;
        self.outputs.iter_mut().for_each(Output::writer_ended);
    }

    pub fn is_ended(&self) -> bool {
        self.ended.is_some()
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

    fn reply(&self, ended: Ended) -> Reply {
        if self.cancelled {
            return Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled"));
        }
        let status = match ended {
            Ended::Code(code) => Status::Code(code),
            Ended::Signal(signal) => Status::Signal(signal),
        };
        Reply::Exited(Exited { status, timed_out: self.timed_out })
    }
}

/// The kernel counts rows and columns in 16 bits.
fn window(size: Terminal) -> (u16, u16) {
    let cut = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    (cut(size.rows), cut(size.columns))
}

impl Work for Exec {
    fn event(&mut self, channel: u8, event: Event) {
        if event.writable {
            self.input.writable();
        }
        if event.readable {
            self.outputs.iter_mut().filter(|output| output.channel() == channel).for_each(Output::readable);
        }
    }

    fn input(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) -> Progress {
        self.input.take(bytes, end, port);
        Progress::Waiting
    }

    fn run(&mut self, port: &mut Port<'_>, now_ms: u64) -> Progress {
        if self.ended.is_none() && !self.timed_out && self.timeout_at.map_or(false, |at| now_ms >= at) {
            self.timed_out = true;
            self.signal(libc::SIGKILL);
        }
        self.input.run(port);
        if let (true, Some(ended)) = (self.cancelled, self.ended) {
            return Progress::Ended(self.reply(ended)); // Nobody wants the rest of its output.
        }
        let mut more = false;
        for output in &mut self.outputs {
            more |= output.run(port);
        }
        if self.terminal.is_some() && self.outputs.iter().all(Output::is_closed) {
            self.input.close();
        }
        if let Some(ended) = self.ended {
            let late = now_ms >= self.linger_until;
            if self.outputs.iter().all(|output| output.is_closed() || (late && output.is_delivered())) {
                return Progress::Ended(self.reply(ended));
            }
        }
        if more {
            Progress::More
        } else {
            Progress::Waiting
        }
    }

    fn deadline(&self) -> Option<u64> {
        match self.ended {
            // What is owed waits for credit, not for time.
            Some(_) => self.outputs.iter().all(Output::is_delivered).then_some(self.linger_until),
            None if self.timed_out => None,
            None => self.timeout_at,
        }
    }

    fn cancel(&mut self) -> Progress {
        self.signal(libc::SIGKILL);
        match self.ended {
            Some(ended) => Progress::Ended(self.reply(ended)),
            None => {
                self.cancelled = true;
                Progress::Waiting
            }
        }
    }
}

impl Drop for Exec {
    /// Whoever drops a running program ends it: its stream is over. PID 1 reaps it like any orphan.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.signal(libc::SIGKILL);
        }
    }
}
