//! The loop: events in, frames handled, streams run, bytes out.

mod actions;
mod links;
mod requests;

use crate::config::Config;
use crate::exec::{Exec, Starter};
use crate::identity::Machine;
use crate::kept::{self, Reader, Registry};
use crate::link::Link;
use crate::outbox::Outbox;
use crate::session::Session;
use crate::stream::{self, Port, Progress, Work};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::spawn::Spawner;
use crate::sys::{process, Errno};
use crate::users::Users;
use crate::wire::frame::Kind;
use crate::wire::reply::Reply;
use std::os::unix::io::OwnedFd;

const SIGNALS: u64 = 0;
const LISTENER: u64 = 1;
const LINK: u64 = 1 << 56;
const KIND_MASK: u64 = 0xff << 56;
/// How often the virtio-serial port is looked for while it is not there, in milliseconds.
const SEARCH_MS: u64 = 5;

/// Why the loop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A signal asked for it.
    Signal(i32),
    /// The last connection is gone and no other can come.
    Alone,
    /// No way to the host was found in time.
    Unreachable,
    /// The kernel refused what cannot be done without.
    Failed(Errno),
}

/// A stream that is open, and what goes on in it.
struct Stream {
    id: u32,
    work: Running,
    /// It said it has more to do at once.
    more: bool,
}

enum Running {
    Exec(Box<Exec>),
    /// Of a kept process.
    Reader(Box<Reader>),
    Other(Box<dyn Work>),
}

impl Running {
    fn work(&mut self) -> &mut dyn Work {
        match self {
            Running::Exec(exec) => exec.as_mut(),
            Running::Reader(reader) => reader.as_mut(),
            Running::Other(work) => work.as_mut(),
        }
    }

    fn deadline(&self) -> Option<u64> {
        match self {
            Running::Exec(exec) => exec.deadline(),
            Running::Reader(reader) => reader.deadline(),
            Running::Other(work) => work.deadline(),
        }
    }
}

pub struct Agent {
    epoll: Epoll,
    signals: OwnedFd,
    listener: Option<OwnedFd>,
    links: Vec<Link>,
    next_link: u64,
    /// Token of the link the present generation came by.
    active: Option<u64>,
    /// Where streams write while there is no such link.
    nowhere: Outbox,
    session: Session,
    streams: Vec<Stream>,
    /// Processes that outlive them.
    kept: Registry,
    starter: Starter,
    /// None when the machine's identity is not ours to set.
    machine: Option<Machine>,
    /// Until when the virtio-serial port is looked for.
    search_until: Option<u64>,
    /// Whether a link that ends may be followed by another.
    stays: bool,
}

impl Agent {
    pub fn new(config: Config, machine: Option<Machine>) -> Result<Agent, Errno> {
        let signals = process::watch_signals(&[
            libc::SIGCHLD,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGPWR,
            libc::SIGUSR1,
            libc::SIGUSR2,
        ])?;
        let epoll = Epoll::new()?;
        epoll.add(&signals, SIGNALS, Interest::Read)?;
        let null = std::fs::OpenOptions::new().read(true).open("/dev/null")?;
        Ok(Agent {
            epoll,
            signals,
            listener: None,
            links: Vec::new(),
            next_link: LINK,
            active: None,
            nowhere: Outbox::closed(),
            session: Session::new(),
            streams: Vec::new(),
            kept: Registry::default(),
            starter: Starter { config, users: Users::new("/etc"), spawner: Spawner::new(), null: OwnedFd::from(null) },
            machine,
            search_until: None,
            stays: false,
        })
    }

    /// Serves until there is a reason to stop.
    pub fn run(&mut self) -> Stop {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(stop)) => return stop,
                Err(errno) => return Stop::Failed(errno),
            }
        }
    }

    fn turn(&mut self) -> Result<Option<Stop>, Errno> {
        let count = self.epoll.wait(self.patience())?;
        for index in 0..count {
            let event = self.epoll.event(index);
            match event.token & KIND_MASK {
                LINK => {
                    if let Some(link) = self.links.iter_mut().find(|link| link.token == event.token) {
                        link.readable |= event.readable;
                    }
                }
                stream::TOKEN => {
                    let (id, channel) = ((event.token >> 8) as u32, event.token as u8);
                    if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
                        stream.work.work().event(channel, event);
                    }
                }
                kept::TOKEN => self.kept.event((event.token >> 8) as u32, event.token as u8, event),
                _ if event.token == SIGNALS => {
                    if let Some(signal) = self.take_signals() {
                        return Ok(Some(Stop::Signal(signal)));
                    }
                }
                _ => self.accept_links()?,
            }
        }
        if self.search_until.is_some() {
            if let Some(stop) = self.look_for_port()? {
                return Ok(Some(stop));
            }
        }
        self.receive();
        let idle = self.streams.is_empty() && self.kept.is_empty();
        if !self.session.is_frozen() && !idle {
            let now = process::now_ms();
            self.kept.run(now);
            self.run_streams(now);
        }
        self.flush();
        Ok((self.links.is_empty() && !self.stays).then_some(Stop::Alone))
    }

    /// How long to wait for events, in milliseconds: not at all while there is work, for ever when there is none.
    fn patience(&self) -> i32 {
        if self.links.iter().any(Link::wants_input) {
            return 0;
        }
        let mut deadline = self.search_until.map(|_| process::now_ms() + SEARCH_MS);
        if !self.session.is_frozen() {
            if self.kept.has_more() {
                return 0;
            }
            deadline = [deadline, self.kept.deadline()].into_iter().flatten().min();
            let room = self.room() > 0;
            for stream in &self.streams {
                if room && stream.more {
                    return 0;
                }
                if let Some(at) = stream.work.deadline() {
                    deadline = Some(deadline.map_or(at, |other| other.min(at)));
                }
            }
        }
        match deadline {
            None => -1,
            Some(at) => i32::try_from(at.saturating_sub(process::now_ms())).unwrap_or(i32::MAX),
        }
    }

    /// Collects dead children. Returns a signal that asks us to stop, if one came.
    fn take_signals(&mut self) -> Option<i32> {
        let mut stop = None;
        while let Some(signal) = process::next_signal(&self.signals) {
            if signal != libc::SIGCHLD {
                stop = Some(signal);
            }
        }
        let mut now = None;
        while let Some((pid, ended)) = process::reap() {
            let now = *now.get_or_insert_with(process::now_ms);
            let exec = self.streams.iter_mut().find_map(|stream| match &mut stream.work {
                Running::Exec(exec) if exec.pid() == pid && !exec.is_ended() => Some(exec),
                _ => None,
            });
            match exec {
                Some(exec) => exec.ended(ended, now),
                None => self.kept.reaped(pid, ended, now),
            }
        }
        stop
    }

    /// Bytes of DATA the host's link has room for.
    fn room(&self) -> usize {
        self.links.iter().find(|link| Some(link.token) == self.active).map_or(0, |link| link.outbox.room())
    }

    fn run_streams(&mut self, now: u64) {
        let mut index = 0;
        while index < self.streams.len() {
            let progress = self.with_port(index, |work, port| work.run(port, now));
            if self.settle(index, progress) {
                index += 1;
            }
        }
        if self.streams.len() > 1 && self.room() == 0 {
            self.streams.rotate_left(1); // Who was first has filled it: next time another.
        }
    }

    /// Lets stream `index` work with its port.
    fn with_port(&mut self, index: usize, act: impl FnOnce(&mut dyn Work, &mut Port<'_>) -> Progress) -> Progress {
        let active = self.active;
        let link = self.links.iter_mut().find(|link| Some(link.token) == active);
        let outbox = link.map_or(&mut self.nowhere, |link| &mut link.outbox);
        let stream = &mut self.streams[index];
        act(stream.work.work(), &mut Port { stream: stream.id, outbox, session: &mut self.session, epoll: &self.epoll })
    }

    /// Notes how stream `index` goes on. Returns whether it does.
    fn settle(&mut self, index: usize, progress: Progress) -> bool {
        match progress {
            Progress::Waiting => self.streams[index].more = false,
            Progress::More => self.streams[index].more = true,
            Progress::Ended(reply) => {
                let stream = self.streams.remove(index);
                self.close(stream.id, &reply);
                return false;
            }
        }
        true
    }

    /// Ends a stream for both sides.
    fn close(&mut self, stream: u32, reply: &Reply) {
        self.session.close(stream);
        let (active, generation) = (self.active, self.session.generation());
        if let Some(link) = self.links.iter_mut().find(|link| Some(link.token) == active) {
            link.outbox.frame(Kind::Close, 0, stream, generation, &reply.encode());
        }
    }
}
