//! One kept process, running or ended.

use super::output::Output;
use super::stdin::Stdin;
use crate::error::invalid;
use crate::exec::{Launched, Program};
use crate::sys::epoll::Event;
use crate::sys::memory;
use crate::sys::process::{self, Ended};
use crate::wire::kept::{Keep, WhenFull};
use crate::wire::reply::{Error, ErrorCode, Exited};
use crate::wire::report::ProcessInfo;
use crate::wire::request::Terminal;

/// Bytes of argv that the host is told of; each argument counts one more, as in memory.
const MAX_ARGV_BYTES: usize = 16 * 1024;

/// So much output is worth the work of giving its memory back.
const GIVE_BACK_BYTES: usize = 1024 * 1024;

pub struct Process {
    /// Tells its events from those of others.
    number: u32,
    id: String,
    argv: Vec<String>,
    started_ns: u64,
    buffer_bytes: u32,
    when_full: WhenFull,
    program: Program,
    stdin: Stdin,
    /// Channel 1 and, without a terminal, 2.
    outputs: Vec<Output>,
    forgotten: bool,
    /// There is more to do at once.
    more: bool,
}

impl Process {
    pub fn new(number: u32, keep: &Keep<'_>, argv: &[&str], launched: Launched) -> Process {
        let Launched { program, input, outputs } = launched;
        Process {
            number,
            id: String::from(keep.id),
            argv: cut(argv),
            started_ns: process::wall_clock_ns(),
            buffer_bytes: keep.buffer_bytes,
            when_full: keep.when_full,
            program,
            stdin: Stdin::new(input),
            outputs: outputs.into_iter().map(|(_, fd)| Output::new(fd, keep.buffer_bytes)).collect(),
            forgotten: false,
            more: false,
        }
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    pub fn stdin(&mut self) -> &mut Stdin {
        &mut self.stdin
    }

    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub fn info(&self) -> ProcessInfo {
        ProcessInfo {
            id: self.id.clone(),
            argv: self.argv.clone(),
            pid: self.program.pid() as u32,
            started_ns: self.started_ns,
            terminal: self.program.has_terminal(),
            exited: self.program.exited(),
            written: self.written(),
            stdin_bytes: self.stdin.taken(),
            stdin_open: self.stdin.is_open(),
            buffer_bytes: self.buffer_bytes,
            when_full: self.when_full,
        }
    }

    /// Bytes of both outputs there were so far.
    pub fn written(&self) -> [u64; 2] {
        let written = |index: usize| self.outputs.get(index).map_or(0, |output| output.ring().end());
        [written(0), written(1)]
    }

    /// How it ended, once it did and all its output that ever will be is kept.
    pub fn concluded(&self) -> Option<Exited> {
        self.program.exited().filter(|_| self.outputs.iter().all(Output::is_closed))
    }

    /// A reader is done with all before these offsets.
    pub fn acknowledge(&mut self, offsets: [u64; 2]) -> Result<(), Error> {
        if offsets.iter().zip(self.written()).any(|(&offset, written)| offset > written) {
            return Err(invalid("an offset beyond what was written", self.id.as_bytes()));
        }
        for (output, offset) in self.outputs.iter_mut().zip(offsets) {
            output.acknowledge(offset);
        }
        Ok(())
    }

    pub fn event(&mut self, channel: u8, event: Event) {
        if event.writable {
            self.stdin.writable();
        }
        if let Some(output) = usize::from(channel).checked_sub(1).and_then(|index| self.outputs.get_mut(index)) {
            output.event(event);
        }
    }

    /// It was reaped.
    pub fn end(&mut self, ended: Ended, now_ms: u64) {
        self.program.end(ended, now_ms);
        self.outputs.iter_mut().for_each(Output::writer_ended);
        self.stdin.close();
    }

    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.need_running()?;
        self.program.signal(signal);
        Ok(())
    }

    pub fn resize(&self, size: Terminal) -> Result<(), Error> {
        self.need_running()?;
        if !self.program.has_terminal() {
            return Err(Error::new(ErrorCode::Exists, "the process has no terminal"));
        }
        self.program.resize(size);
        Ok(())
    }

    /// The host calls it a conflict, which is what an id that exists is as well.
    fn need_running(&self) -> Result<(), Error> {
        match self.program.is_ended() {
            true => Err(Error::new(ErrorCode::Exists, "the process has ended")),
            false => Ok(()),
        }
    }

    pub fn need_stdin(&self) -> Result<(), Error> {
        self.need_running()?;
        match self.stdin.is_open() {
            true => Ok(()),
            false => Err(Error::new(ErrorCode::Exists, "the process takes no standard input")),
        }
    }

    /// Kills it if it runs, and drops its output. Streams about it end.
    pub fn forget(&mut self) {
        self.program.let_go();
        self.forgotten = true;
        self.drop_output();
    }

    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Lets go of its outputs and of what is kept of them.
    pub fn drop_output(&mut self) {
        let bytes = self.kept_bytes();
        for output in &mut self.outputs {
            output.close();
            output.drop_bytes();
        }
        if bytes >= GIVE_BACK_BYTES {
            memory::give_back();
        }
    }

    /// Bytes of output kept.
    pub fn kept_bytes(&self) -> usize {
        self.outputs.iter().map(|output| output.ring().len()).sum()
    }

    /// Streams have to be run once more.
    pub fn stir(&mut self) {
        self.more = true;
    }

    /// Takes what it has written, and sees to its end.
    pub fn run(&mut self, now_ms: u64) {
        self.program.check_time(now_ms);
        self.more = false;
        for output in &mut self.outputs {
            self.more |= output.run(self.when_full);
        }
        if self.program.has_terminal() && self.outputs.iter().all(Output::is_closed) {
            self.stdin.close();
        }
        if self.program.is_long_ended(now_ms) && self.outputs.iter().all(Output::is_drained) {
            self.outputs.iter_mut().for_each(Output::close);
        }
    }

    pub fn has_more(&self) -> bool {
        self.more
    }

    pub fn deadline(&self) -> Option<u64> {
        if self.concluded().is_some() {
            return None;
        }
        self.program.deadline(self.outputs.iter().all(Output::is_drained))
    }
}

/// As much of `argv` as the host is told.
fn cut(argv: &[&str]) -> Vec<String> {
    let mut left = MAX_ARGV_BYTES;
    let mut kept = Vec::with_capacity(argv.len().min(64));
    for argument in argv {
        if left == 0 {
            break;
        }
        let mut end = argument.len().min(left - 1);
        while !argument.is_char_boundary(end) {
            end -= 1;
        }
        kept.push(String::from(&argument[..end]));
        left = if end < argument.len() { 0 } else { left - end - 1 };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_arguments_are_cut_between_letters() {
        assert_eq!(cut(&["a", "", "b"]), ["a", "", "b"]);
        let long = "ü".repeat(MAX_ARGV_BYTES);
        assert_eq!(cut(&["a", &long, "b"]), [String::from("a"), "ü".repeat((MAX_ARGV_BYTES - 3) / 2)]);
        assert_eq!(cut(&vec![""; 100_000]).len(), MAX_ARGV_BYTES);
        let exact = "a".repeat(MAX_ARGV_BYTES - 1);
        assert_eq!(cut(&[&exact, "b"]), [exact]);
    }
}
