//! Running a program for the host.

mod environment;
mod program;
mod start;

pub use program::Program;
pub use start::{launch, Launched, Starter};

use crate::channel::{Feed, Input, Output};
use crate::stream::{Port, Progress, Work};
use crate::sys::epoll::{Epoll, Event};
use crate::sys::process::{Ended, Pid};
use crate::wire::reply::{Error, ErrorCode, Exited, Reply};
use crate::wire::request::{self, Terminal};

/// A program that runs, or has ended with output still on its way. It ends with its stream.
pub struct Exec {
    program: Program,
    input: Input,
    outputs: Vec<Output>,
    cancelled: bool,
}

impl Exec {
    /// Starts the program. `token` gives the event token for a channel of the stream.
    pub fn start(
        starter: &mut Starter,
        request: &request::Exec<'_>,
        epoll: &Epoll,
        token: impl Fn(u8) -> u64,
    ) -> Result<Exec, Error> {
        let Launched { program, input, outputs } = launch(starter, request, epoll, token)?;
        let input = Input::new(input, Feed::default());
        let outputs = outputs.into_iter().map(|(channel, fd)| Output::new(channel, fd)).collect();
        Ok(Exec { program, input, outputs, cancelled: false })
    }

    pub fn pid(&self) -> Pid {
        self.program.pid()
    }

    /// The program was reaped.
    pub fn ended(&mut self, ended: Ended, now_ms: u64) {
        self.program.end(ended, now_ms);
        self.outputs.iter_mut().for_each(Output::writer_ended);
    }

    pub fn is_ended(&self) -> bool {
        self.program.is_ended()
    }

    pub fn signal(&self, signal: i32) {
        self.program.signal(signal);
    }

    pub fn resize(&self, size: Terminal) {
        self.program.resize(size);
    }

    fn reply(&self, exited: Exited) -> Reply {
        if self.cancelled {
            return Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled"));
        }
        Reply::Exited(exited)
    }
}

impl Work for Exec {
    fn event(&mut self, channel: u8, event: Event) {
        if event.writable {
            self.input.writable();
        }
        self.outputs.iter_mut().filter(|output| output.channel() == channel).for_each(|output| output.event(event));
    }

    fn input(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) -> Progress {
        self.input.take(bytes, end, port);
        Progress::Waiting
    }

    fn run(&mut self, port: &mut Port<'_>, now_ms: u64) -> Progress {
        self.program.check_time(now_ms);
        self.input.run(port);
        let exited = self.program.exited();
        if let (true, Some(exited)) = (self.cancelled, exited) {
            return Progress::Ended(self.reply(exited)); // Nobody wants the rest of its output.
        }
        let mut more = false;
        for output in &mut self.outputs {
            more |= output.run(port);
        }
        if self.program.has_terminal() && self.outputs.iter().all(Output::is_closed) {
            self.input.close();
        }
        if let Some(exited) = exited {
            let late = self.program.is_long_ended(now_ms);
            if self.outputs.iter().all(|output| output.is_closed() || (late && output.is_delivered())) {
                return Progress::Ended(self.reply(exited));
            }
        }
        if more {
            Progress::More
        } else {
            Progress::Waiting
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.program.deadline(self.outputs.iter().all(Output::is_delivered))
    }

    fn cancel(&mut self) -> Progress {
        self.signal(libc::SIGKILL);
        match self.program.exited() {
            Some(exited) => Progress::Ended(self.reply(exited)),
            None => {
                self.cancelled = true;
                Progress::Waiting
            }
        }
    }
}
