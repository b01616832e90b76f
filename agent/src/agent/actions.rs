//! Carrying out what the session decided.

use super::{Agent, Running, Stream, STREAM};
use crate::error::{about, failed};
use crate::exec;
use crate::link::LinkKind;
use crate::session::{Action, VERSION, WINDOW_BYTES};
use crate::sys::process;
use crate::wire::frame::Kind;
use crate::wire::reply::{Error, ErrorCode, Ready, Reply};
use crate::wire::request::{Identity, Request};

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
            Request::Ping => Ok(None),
            Request::Freeze => {
                self.close(stream, &Reply::Done(0));
                self.session.freeze();
                return;
            }
            Request::Exec(request) => {
                let token = |channel: u8| STREAM | u64::from(stream) << 8 | u64::from(channel);
                exec::start(&mut self.starter, request, &self.epoll, token)
                    .map(|exec| Some(Running::Exec(Box::new(exec))))
            }
            _ => Err(Error { code: ErrorCode::Invalid, errno: 0, message: about("not yet known", b"") }),
        };
        match started {
            Ok(Some(work)) => self.streams.push(Stream { id: stream, work, more: false }),
            Ok(None) => self.close(stream, &Reply::Done(0)),
            Err(error) => self.close(stream, &Reply::Error(error)),
        }
    }
}

