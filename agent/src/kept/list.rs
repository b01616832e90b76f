//! Telling the host of all kept processes.

use super::{cancelled, Shared};
use crate::messages::Messages;
use crate::stream::{Port, Progress, Work};
use crate::wire::reply::Reply;

pub struct List {
    /// Those that are still to be told of, the next one last.
    processes: Vec<Shared>,
    messages: Messages,
}

impl List {
    pub fn of(processes: &[Shared]) -> List {
        List { processes: processes.iter().rev().cloned().collect(), messages: Messages::default() }
    }
}

impl Work for List {
    fn run(&mut self, port: &mut Port<'_>, _now_ms: u64) -> Progress {
        loop {
            if let Some(blocked) = self.messages.send(port) {
                return blocked;
            }
            match self.processes.pop() {
                Some(process) if process.borrow().is_forgotten() => {}
                Some(process) => self.messages.push(&process.borrow().info().encode()),
                None => {
                    self.messages.end(port);
                    return Progress::Ended(Reply::Done(0));
                }
            }
        }
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(cancelled()))
    }
}
