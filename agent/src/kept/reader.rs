//! A stream that reads a kept process. Letting go of it leaves the process alone.

use super::output::Output;
use super::{cancelled, forgotten, Shared};
use crate::stream::{Port, Progress, Work};
use crate::wire::kept::{Acknowledge, Attach};
use crate::wire::reply::{Error, Reply};
use crate::wire::report::Note;
use crate::wire::request::Terminal;

/// Frames sent of one output in one go before others have their turn.
const TURN_FRAMES: usize = 4;

pub struct Reader {
    process: Shared,
    cursors: [Cursor; 2],
    follow: bool,
    silent: bool,
    /// The host was told what it reads.
    told: bool,
}

/// How far an output was sent.
struct Cursor {
    channel: u8,
    /// Of the next byte to send.
    offset: u64,
    /// Where to stop.
    until: u64,
    ended: bool,
}

impl Reader {
    /// The stream of a kept Exec: reads all from the beginning on.
    pub fn first(process: Shared) -> Reader {
        let cursor = |channel| Cursor { channel, offset: 0, until: u64::MAX, ended: false };
        Reader { process, cursors: [cursor(1), cursor(2)], follow: true, silent: false, told: false }
    }

    pub fn attach(process: &Shared, attach: &Attach<'_>) -> Result<Reader, Error> {
        process.borrow_mut().acknowledge(attach.offsets)?;
        let mut reader = Reader::first(Shared::clone(process));
        let written = process.borrow().written();
        for ((cursor, offset), written) in reader.cursors.iter_mut().zip(attach.offsets).zip(written) {
            cursor.offset = offset;
            if !attach.follow {
                cursor.until = written;
            }
        }
        Ok(Reader { follow: attach.follow, silent: attach.silent, ..reader })
    }

    pub fn acknowledge(&self, acknowledge: Acknowledge) -> Result<(), Error> {
        self.process.borrow_mut().acknowledge(acknowledge.offsets)
    }

    /// A signal that crosses the end of the process is lost, as on any exec.
    pub fn signal(&self, signal: i32) {
        let _ = self.process.borrow().signal(signal);
    }

    pub fn resize(&self, size: Terminal) {
        let _ = self.process.borrow().resize(size);
    }
}

impl Cursor {
    /// Sends what is kept and not sent yet, within credit and room. Returns whether there is more to send at once.
    fn run(&mut self, output: &Output, port: &mut Port<'_>) -> bool {
        let ring = output.ring();
        for _ in 0..TURN_FRAMES {
            let end = ring.end().min(self.until);
            if self.offset >= end {
                break;
            }
            let allowed = port.allowed();
            // What is gone is told right before what follows, so that however much goes it is told once.
            if allowed == 0 && ring.len() > 0 {
                return port.blocked() == Progress::More;
            }
            if self.offset < ring.start() {
                self.offset = ring.start();
                port.note(&Note::Skipped { channel: self.channel, offset: self.offset });
                continue;
            }
            let most = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(allowed);
            let bytes = ring.bytes(self.offset, most);
            port.send(self.channel, |out| out.extend_from_slice(bytes));
            self.offset += bytes.len() as u64;
        }
        if self.offset < ring.end().min(self.until) {
            return port.blocked() == Progress::More;
        }
        if output.is_closed() && self.offset >= ring.end() && !self.ended {
            self.ended = true;
            port.end(self.channel);
        }
        false
    }

    /// Everything it was to send is sent.
    fn is_done(&self, output: Option<&Output>) -> bool {
        output.map_or(true, |output| self.offset >= output.ring().end().min(self.until))
    }
}

impl Work for Reader {
    fn run(&mut self, port: &mut Port<'_>, _now_ms: u64) -> Progress {
        let process = self.process.borrow();
        if process.is_forgotten() {
            return Progress::Ended(Reply::Error(forgotten()));
        }
        if !self.told {
            self.told = true;
            port.note(&Note::Process(process.info()));
        }
        if self.silent {
            return match process.program().exited() {
                Some(exited) => Progress::Ended(Reply::Exited(exited)),
                None => Progress::Waiting,
            };
        }
        let outputs = process.outputs();
        let mut more = false;
        for (cursor, output) in self.cursors.iter_mut().zip(outputs) {
            more |= cursor.run(output, port);
        }
        if self.cursors.iter().enumerate().all(|(index, cursor)| cursor.is_done(outputs.get(index))) {
            match process.concluded() {
                _ if !self.follow => return Progress::Ended(Reply::Process(process.info())),
                Some(exited) => return Progress::Ended(Reply::Exited(exited)),
                None => {}
            }
        }
        if more {
            Progress::More
        } else {
            Progress::Waiting
        }
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(cancelled()))
    }
}
