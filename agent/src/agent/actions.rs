//! Carrying out what the session decided.

use super::{Agent, Running, Stream, STREAM};
use crate::error::failed;
use crate::exec;
use crate::files;
use crate::link::LinkKind;
use crate::session::{Action, VERSION, WINDOW_BYTES};
use crate::stream::Work;
use crate::sys::process;
use crate::wire::frame::Kind;
use crate::wire::reply::{Error, ErrorCode, Ready, Reply};
use crate::wire::request::{Identity, Request};

/// What a request came to at once.
enum Started {
    Running(Running),
    Over(Reply),
}

impl Agent {
    /// `token` is the link the frame came by.
    pub(super) fn carry_out(&mut self, action: Action<'_>, token: u64) {
        match action {
            Action::Nothing => {}
            Action::Start { generation, window, identity } => match self.apply(identity.as_ref()) {
                Ok(()) => self.begin(generation, window, token),
                Err(error) => self.refuse_hello(&error, token),
            },
            Action::RefuseHello(error) => self.refuse_hello(&error, token),
            Action::Open { stream, request } => self.open(stream, &request),
            Action::Refuse { stream, error } => self.close(stream, &Reply::Error(error)),
            Action::Abort { stream, error } => {
                self.streams.retain(|open| open.id != stream);
                self.close(stream, &Reply::Error(error));
            }
            Action::Input { stream, bytes, end } => {
                if let Some(index) = self.position(stream) {
                    let progress = self.with_port(index, |work, port| work.input(bytes, end, port));
                    self.settle(index, progress);
                }
            }
            Action::Credited { .. } => {} // The stream is run in this turn anyway.
            Action::Signal { stream, signal } => {
                if let Some(exec) = self.exec(stream) {
                    exec.signal(signal as i32);
                }
            }
            Action::Resize { stream, size } => {
                if let Some(exec) = self.exec(stream) {
                    exec.resize(size);
                }
            }
            Action::Cancel { stream } => {
                if let Some(index) = self.position(stream) {
                    let progress = self.streams[index].work.work().cancel();
                    self.settle(index, progress);
                }
            }
        }
    }

    fn position(&self, stream: u32) -> Option<usize> {
        self.streams.iter().position(|open| open.id == stream)
    }

    fn exec(&self, stream: u32) -> Option<&exec::Exec> {
        match &self.streams.get(self.position(stream)?)?.work {
            Running::Exec(exec) => Some(exec),
            Running::Other(_) => None,
        }
    }

    fn apply(&self, identity: Option<&Identity<'_>>) -> Result<(), Error> {
        match (identity, &self.machine) {
            (None, _) => Ok(()),
            (Some(identity), Some(machine)) => {
                machine.apply(identity).map_err(|error| failed("cannot set", error.what.as_bytes(), error.errno))
            }
            (Some(_), None) => Err(Error::new(ErrorCode::System, "this agent is not PID 1: no identity to set")),
        }
    }

    /// A new generation, on this link: all before it is over.
    fn begin(&mut self, generation: u32, window: u32, token: u64) {
        self.streams.clear();
        self.session.begin(generation, window);
        let before = self.active.replace(token).filter(|&before| before != token);
        if let Some(link) = before.and_then(|before| self.link(before)) {
            link.outbox.clear();
            if link.kind == LinkKind::Socket {
                self.links.retain(|link| Some(link.token) != before);
            }
        }
        let ready = Ready {
            version: VERSION,
            window: WINDOW_BYTES,
            agent_version: env!("CARGO_PKG_VERSION"),
            uptime_ns: process::uptime_ns(),
            error: None,
        };
        if let Some(link) = self.link(token) {
            link.outbox.clear();
            link.outbox.sync();
            link.outbox.frame(Kind::Ready, 0, 0, generation, &ready.encode());
        }
    }

    fn refuse_hello(&mut self, error: &Error, token: u64) {
        let generation = self.session.generation();
        let ready = Ready {
            version: 0,
            window: WINDOW_BYTES,
            agent_version: env!("CARGO_PKG_VERSION"),
            uptime_ns: process::uptime_ns(),
            error: Some(error),
        };
        if let Some(link) = self.link(token) {
            link.outbox.sync();
            link.outbox.frame(Kind::Ready, 0, 0, generation, &ready.encode());
        }
    }

    fn open(&mut self, stream: u32, request: &Request<'_>) {
        let started = match request {
            Request::Freeze => {
                self.close(stream, &Reply::Done(0));
                self.session.freeze();
                return;
            }
            request => self.start(stream, request),
        };
        match started {
            Ok(Started::Running(work)) => self.streams.push(Stream { id: stream, work, more: false }),
            Ok(Started::Over(reply)) => self.close(stream, &reply),
            Err(error) => self.close(stream, &Reply::Error(error)),
        }
    }

    fn start(&mut self, stream: u32, request: &Request<'_>) -> Result<Started, Error> {
        let token = |channel: u8| STREAM | u64::from(stream) << 8 | u64::from(channel);
        let starter = &mut self.starter;
        if let Request::Exec(request) = request {
            let exec = exec::start(starter, request, &self.epoll, token)?;
            return Ok(Started::Running(Running::Exec(Box::new(exec))));
        }
        let owner = match request {
            Request::WriteFile(request) => Some(starter.find_user(request.user)?),
            Request::MakeDirectory(request) => Some(starter.find_user(request.user)?),
            _ => None,
        };
        let workdir = &starter.config.workdir;
        let unique = u64::from(self.session.generation()) << 32 | u64::from(stream);
        let work: Box<dyn Work> = match (request, &owner) {
            (Request::ReadFile(request), _) => Box::new(files::Read::open(request, workdir, &self.epoll, token(1))?),
            (Request::WriteFile(request), Some(owner)) => {
                Box::new(files::Write::open(request, workdir, owner, unique)?)
            }
            (Request::ListDirectory(path), _) => Box::new(files::List::open(path, workdir)?),
            (Request::Remove(request), _) => match files::remove(request, workdir)? {
                Some(removal) => Box::new(removal),
                None => return Ok(Started::Over(Reply::Done(0))),
            },
            (Request::Stat(request), _) => return files::stat(request, workdir).map(Started::Over),
            (Request::MakeDirectory(request), Some(owner)) => {
                return files::make_directory(request, workdir, owner).map(Started::Over);
            }
            (Request::Rename(request), _) => return files::rename(request, workdir).map(Started::Over),
            _ => return Ok(Started::Over(Reply::Done(0))), // Ping.
        };
        Ok(Started::Running(Running::Other(work)))
    }
}
