//! All kept processes, in the order they were started.

use super::process::Process;
use super::{List, Reader, Shared, WriteStdin};
use crate::error::invalid;
use crate::exec::{launch, Starter};
use crate::sys::epoll::{Epoll, Event};
use crate::sys::process::{Ended, Pid};
use crate::wire::kept::{Attach, Keep, OfProcess, WhenFull};
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::request::{Exec, Terminal};
use std::cell::RefCell;
use std::rc::Rc;

/// The kind of the event tokens of kept processes; the number is a process's.
pub const TOKEN: u64 = 3 << 56;

/// Processes that run at once.
const MAX_RUNNING: usize = 512;
/// Ended ones that are remembered; of more the one that ended first is forgotten, unless somebody reads it.
const MAX_ENDED: usize = 64;
/// Bytes of output all ended ones keep together; of more the output of the one that ended first is dropped, likewise.
const MAX_ENDED_BYTES: usize = 64 * 1024 * 1024;
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = 1024..=16 * 1024 * 1024;
const MAX_ID_BYTES: usize = 64;
/// Highest signal number of Linux.
const MAX_SIGNAL: u32 = 64;

#[derive(Default)]
pub struct Registry {
    processes: Vec<Shared>,
    last_number: u32,
    /// Ended ones may be more than there may be.
    crowded: bool,
}

impl Registry {
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Starts a process that is kept, and returns its first reader.
    pub fn start(
        &mut self,
        starter: &mut Starter,
        request: &Exec<'_>,
        keep: &Keep<'_>,
        epoll: &Epoll,
    ) -> Result<Reader, Error> {
        check(keep)?;
        if self.find(keep.id).is_ok() {
            return Err(about(ErrorCode::Exists, "there is a process of this id", keep.id));
        }
        if self.processes.iter().filter(|process| !process.borrow().program().is_ended()).count() >= MAX_RUNNING {
            return Err(Error::new(ErrorCode::Busy, "512 kept processes run"));
        }
        let number = self.last_number.wrapping_add(1);
        let token = |channel: u8| TOKEN | u64::from(number) << 8 | u64::from(channel);
        let launched = launch(starter, request, epoll, token)?;
        self.last_number = number;
        let process = Rc::new(RefCell::new(Process::new(number, keep, &request.argv, launched)));
        self.processes.push(Rc::clone(&process));
        Ok(Reader::first(process))
    }

    pub fn attach(&self, request: &Attach<'_>) -> Result<Reader, Error> {
        Reader::attach(self.find(request.id)?, request)
    }

    pub fn list(&self) -> List {
        List::of(&self.processes)
    }

    pub fn write_stdin(&self, request: &OfProcess<'_, bool>) -> Result<WriteStdin, Error> {
        WriteStdin::open(self.find(request.id)?, request.what)
    }

    pub fn signal(&self, request: &OfProcess<'_, u32>) -> Result<Reply, Error> {
        let process = self.find(request.id)?;
        if !(1..=MAX_SIGNAL).contains(&request.what) {
            return Err(invalid("signals are 1 to 64", b""));
        }
        process.borrow().signal(request.what as i32).map(|()| Reply::Done(0))
    }

    pub fn resize(&self, request: &OfProcess<'_, Terminal>) -> Result<Reply, Error> {
        self.find(request.id)?.borrow().resize(request.what).map(|()| Reply::Done(0))
    }

    /// Kills it if it runs, and drops it. Streams about it end.
    pub fn forget(&mut self, request: &OfProcess<'_, ()>) -> Result<Reply, Error> {
        self.find(request.id)?.borrow_mut().forget();
        self.processes.retain(|process| !process.borrow().is_forgotten());
        Ok(Reply::Done(0))
    }

    fn find(&self, id: &str) -> Result<&Shared, Error> {
        let found = self.processes.iter().find(|process| process.borrow().id() == id);
        found.ok_or_else(|| about(ErrorCode::NotFound, "no such process", id))
    }

    /// Something has changed about a descriptor of process `number`.
    pub fn event(&mut self, number: u32, channel: u8, event: Event) {
        if let Some(process) = self.processes.iter().find(|process| process.borrow().number() == number) {
            process.borrow_mut().event(channel, event);
        }
    }

    /// A child was reaped: one of these, or an orphan that became ours.
    pub fn reaped(&mut self, pid: Pid, ended: Ended, now_ms: u64) {
        let is_it = |process: &Process| process.program().pid() == pid && !process.program().is_ended();
        if let Some(process) = self.processes.iter().find(|process| is_it(&process.borrow())) {
            process.borrow_mut().end(ended, now_ms);
            self.crowded = true;
        }
    }

    /// Takes what the processes have written.
    pub fn run(&mut self, now_ms: u64) {
        for process in &self.processes {
            process.borrow_mut().run(now_ms);
        }
        while self.crowded && self.make_room() {}
    }

    /// Drops one of the things that ended processes leave beyond their limits. Returns whether there was one to drop.
    fn make_room(&mut self) -> bool {
        let too_many = self.ended().count() > MAX_ENDED;
        let kept_bytes: usize = self.ended().map(|process| process.borrow().kept_bytes()).sum();
        self.crowded = too_many || kept_bytes > MAX_ENDED_BYTES;
        if !self.crowded {
            return false;
        }
        let number = match self.first_ended(|process| too_many || process.kept_bytes() > 0) {
            Some(process) => {
                process.borrow_mut().drop_output();
                process.borrow().number()
            }
            None => return false, // All are being read: another time.
        };
        if too_many {
            self.processes.retain(|process| process.borrow().number() != number);
        }
        true
    }

    fn ended(&self) -> impl Iterator<Item = &Shared> {
        self.processes.iter().filter(|process| process.borrow().program().is_ended())
    }

    /// The one that ended first of those that nobody reads and that are `wanted`.
    fn first_ended(&self, wanted: impl Fn(&Process) -> bool) -> Option<&Shared> {
        self.ended()
            .filter(|process| Rc::strong_count(process) == 1 && wanted(&process.borrow()))
            .min_by_key(|process| process.borrow().program().ended_order())
    }

    /// Whether there is more to do at once.
    pub fn has_more(&self) -> bool {
        self.processes.iter().any(|process| process.borrow().has_more())
    }

    /// When there is something to do though nothing happens.
    pub fn deadline(&self) -> Option<u64> {
        self.processes.iter().filter_map(|process| process.borrow().deadline()).min()
    }
}

fn check(keep: &Keep<'_>) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_ID_BYTES).contains(&keep.id.len()) || !keep.id.bytes().all(fits) {
        return Err(invalid("an id is 1 to 64 of a-z, 0-9 and hyphens", keep.id.as_bytes()));
    }
    if !BUFFER_BYTES.contains(&keep.buffer_bytes) {
        return Err(invalid("buffer_bytes must be 1 KiB to 16 MiB", b""));
    }
    if keep.when_full == WhenFull::Unspecified {
        return Err(invalid("when_full must be to wait or to drop the oldest", b""));
    }
    Ok(())
}

fn about(code: ErrorCode, what: &str, id: &str) -> Error {
    Error { code, errno: 0, message: crate::error::about(what, id.as_bytes()) }
}
