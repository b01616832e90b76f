//! What a stream's work sees of its connection.

use crate::outbox::Outbox;
use crate::session::Session;
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::wire::frame::{Kind, FLAG_END, MAX_PAYLOAD_BYTES};
use crate::wire::reply::Reply;
use crate::wire::report::Note;
use std::os::unix::io::OwnedFd;

/// Event tokens say what an event is about: `<kind> << 56 | <number> << 8 | <channel>`. This kind is a stream's.
pub const TOKEN: u64 = 2 << 56;

/// The token for a channel of a stream.
pub fn token(stream: u32, channel: u8) -> u64 {
    TOKEN | u64::from(stream) << 8 | u64::from(channel)
}

/// How a stream's work goes on.
#[derive(PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing to do until an event, credit or a deadline.
    Waiting,
    /// There is more to do at once; others come first.
    More,
    /// It is over.
    Ended(Reply),
}

/// A stream's way to the host: within its credit and the room there is.
pub struct Port<'a> {
    pub stream: u32,
    pub outbox: &'a mut Outbox,
    pub session: &'a mut Session,
    pub epoll: &'a Epoll,
}

impl Port<'_> {
    /// Bytes of DATA that may be sent now, in one frame.
    pub fn allowed(&self) -> usize {
        self.session.credit(self.stream).min(self.outbox.room()).min(MAX_PAYLOAD_BYTES)
    }

    /// What is to be waited for when nothing is `allowed`: credit, of which the stream is told, or else room, for which
    /// it asks to be run again.
    pub fn blocked(&self) -> Progress {
        if self.session.credit(self.stream) == 0 {
            Progress::Waiting
        } else {
            Progress::More
        }
    }

    /// Sends what `fill` appends (at most `allowed`) as one frame.
    pub fn send<T>(&mut self, channel: u8, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let (length, result) = self.outbox.data(self.stream, self.session.generation(), |bytes| (channel, fill(bytes)));
        self.session.sent(self.stream, length);
        result
    }

    /// Nothing more will come on this channel.
    pub fn end(&mut self, channel: u8) {
        self.outbox.frame(Kind::Data, channel | FLAG_END, self.stream, self.session.generation(), &[]);
    }

    /// Tells something about the stream. Whoever does needs no credit, and bounds how often it does.
    pub fn note(&mut self, note: &Note) {
        self.outbox.frame(Kind::Note, 0, self.stream, self.session.generation(), &note.encode());
    }

    /// Has the work told of events about `fd`, as those of `channel`.
    pub fn watch(&self, fd: &OwnedFd, channel: u8, interest: Interest) -> crate::sys::Result<()> {
        self.epoll.add(fd, token(self.stream, channel), interest)
    }

    /// `bytes` from the host were consumed: it may send more.
    pub fn consumed(&mut self, bytes: usize) {
        if let Some(credit) = self.session.consumed(self.stream, bytes) {
            let generation = self.session.generation();
            self.outbox.frame(Kind::Credit, 0, self.stream, generation, &credit.to_le_bytes());
        }
    }
}

/// What goes on in a stream, from its OPEN to its CLOSE. Dropping it releases everything.
pub trait Work {
    /// Something has changed about the descriptor that was registered for `channel`.
    fn event(&mut self, channel: u8, event: Event) {
        let _ = (channel, event);
    }

    /// Takes bytes of channel 0, none of them twice; `end` after the last ones.
    fn input(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) -> Progress {
        let _ = end;
        port.consumed(bytes.len());
        Progress::Waiting
    }

    /// Does a bounded piece of the work.
    fn run(&mut self, port: &mut Port<'_>, now_ms: u64) -> Progress;

    /// When it wants to be run though nothing happens, in `now_ms` terms.
    fn deadline(&self) -> Option<u64> {
        None
    }

    /// The host wants it to stop.
    fn cancel(&mut self) -> Progress;
}
