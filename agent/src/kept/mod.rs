//! Processes that outlive the stream, the generation and the host that started them: kept by an id, with the end of
//! their output, until they are forgotten.
//!
//! The agent itself reads what they write, into a `Ring` for each output. Streams are mere readers of the rings.

mod list;
mod output;
mod process;
mod reader;
mod registry;
mod ring;
mod stdin;

pub use list::List;
pub use reader::Reader;
pub use registry::{Registry, TOKEN};
pub use stdin::WriteStdin;

use crate::wire::reply::{Error, ErrorCode};
use process::Process;
use std::cell::RefCell;
use std::rc::Rc;

/// A process belongs to the registry and to the streams about it: nobody keeps it borrowed from one call to the next.
type Shared = Rc<RefCell<Process>>;

/// What streams about a process are told when it is forgotten.
fn forgotten() -> Error {
    Error::new(ErrorCode::Cancelled, "the process was forgotten")
}

fn cancelled() -> Error {
    Error::new(ErrorCode::Cancelled, "cancelled")
}
