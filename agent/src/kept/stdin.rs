//! Standard input of a kept process, and the streams that write to it, one after the other.

use super::{cancelled, forgotten, Shared};
use crate::channel::{Feed, Sink};
use crate::stream::{Port, Progress, Work};
use crate::wire::reply::{Error, Reply};
use std::collections::VecDeque;

pub struct Stdin {
    sink: Sink,
    /// Bytes it took.
    taken: u64,
    /// Tickets of those who write, the first of whom has its turn.
    queue: VecDeque<u64>,
    next_ticket: u64,
}

impl Stdin {
    pub fn new(sink: Sink) -> Stdin {
        Stdin { sink, taken: 0, queue: VecDeque::new(), next_ticket: 0 }
    }

    /// Bytes it took so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    pub fn is_open(&self) -> bool {
        self.sink.is_open()
    }

    pub fn writable(&mut self) {
        self.sink.writable();
    }

    pub fn close(&mut self) {
        self.sink.close();
    }

    fn join(&mut self) -> u64 {
        self.next_ticket += 1;
        self.queue.push_back(self.next_ticket);
        self.next_ticket
    }

    fn has_turn(&self, ticket: u64) -> bool {
        self.queue.front() == Some(&ticket)
    }
}

/// One stream that writes.
pub struct WriteStdin {
    process: Shared,
    ticket: u64,
    feed: Feed,
    /// Whether standard input ends with what it writes.
    ends: bool,
    /// Bytes of it the process's pipe took.
    size: u64,
}

impl WriteStdin {
    /// Waits for its turn behind those who write already.
    pub fn open(process: &Shared, ends: bool) -> Result<WriteStdin, Error> {
        let mut borrowed = process.borrow_mut();
        borrowed.need_stdin()?;
        let ticket = borrowed.stdin().join();
        Ok(WriteStdin { process: Shared::clone(process), ticket, feed: Feed::default(), ends, size: 0 })
    }

    fn write(&mut self, port: &mut Port<'_>) -> Progress {
        let mut process = self.process.borrow_mut();
        if process.is_forgotten() {
            return Progress::Ended(Reply::Error(forgotten()));
        }
        let stdin = process.stdin();
        if stdin.is_open() && !stdin.has_turn(self.ticket) {
            return Progress::Waiting;
        }
        let count = self.feed.run(&mut stdin.sink, port) as u64;
        stdin.taken += count;
        self.size += count;
        if self.feed.is_over() && self.ends {
            stdin.sink.end();
        }
        // Nobody reads what is left, or all was taken, and the end as well if there is one.
        if !stdin.is_open() || (self.feed.is_over() && !self.ends) {
            return Progress::Ended(Reply::Done(self.size));
        }
        Progress::Waiting
    }
}

impl Work for WriteStdin {
    fn input(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) -> Progress {
        self.feed.push(bytes, end);
        self.write(port)
    }

    fn run(&mut self, port: &mut Port<'_>, _now_ms: u64) -> Progress {
        self.write(port)
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(cancelled()))
    }
}

impl Drop for WriteStdin {
    /// Makes way for the next.
    fn drop(&mut self) {
        let mut process = self.process.borrow_mut();
        process.stdin().queue.retain(|&ticket| ticket != self.ticket);
        process.stir();
    }
}
