//! Carrying out what the session decided.

use super::{Agent, Running};
use crate::error::failed;
use crate::link::LinkKind;
use crate::session::{Action, VERSION, WINDOW_BYTES};
use crate::sys::process;
use crate::wire::frame::Kind;
use crate::wire::reply::{Error, ErrorCode, Ready, Reply};
use crate::wire::request::Identity;

impl Agent {
    /// `token` is the link the frame came by.
    pub(super) fn carry_out(&mut self, action: Action<'_>, token: u64) {
        match action {
            Action::Nothing => {}
            Action::Start { generation, window, identity, nonce } => match self.apply(identity.as_ref()) {
                Ok(()) => self.begin(generation, window, nonce, token),
                Err(error) => self.refuse_hello(&error, nonce, token),
            },
            Action::RefuseHello { nonce, error } => self.refuse_hello(&error, nonce, token),
            Action::Open { stream, request } => self.open(stream, &request),
            Action::Refuse { stream, error } => self.close(stream, &Reply::Error(error)),
            Action::Abort { stream, error } => self.abort(stream, error),
            Action::Input { stream, bytes, end } => {
                if let Some(index) = self.position(stream) {
                    let progress = self.with_port(index, |work, port| work.input(bytes, end, port));
                    self.settle(index, progress);
                }
            }
            Action::Credited { .. } => {} // The stream is run in this turn anyway.
            Action::Signal { stream, signal } => match self.running(stream) {
                Some(Running::Exec(exec)) => exec.signal(signal as i32),
                Some(Running::Reader(reader)) => reader.signal(signal as i32),
                Some(Running::Other(_)) | None => {}
            },
            Action::Resize { stream, size } => match self.running(stream) {
                Some(Running::Exec(exec)) => exec.resize(size),
                Some(Running::Reader(reader)) => reader.resize(size),
                Some(Running::Other(_)) | None => {}
            },
            Action::Acknowledge { stream, acknowledge } => {
                if let Some(Running::Reader(reader)) = self.running(stream) {
                    if let Err(error) = reader.acknowledge(acknowledge) {
                        self.abort(stream, error);
                    }
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

    fn running(&self, stream: u32) -> Option<&Running> {
        Some(&self.streams.get(self.position(stream)?)?.work)
    }

    /// Ends a stream whose host broke the rules.
    fn abort(&mut self, stream: u32, error: Error) {
        self.streams.retain(|open| open.id != stream);
        self.close(stream, &Reply::Error(error));
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

    /// A new generation, on this link: all before it is over, but for processes that are kept.
    fn begin(&mut self, generation: u32, window: u32, nonce: u32, token: u64) {
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
            nonce,
        };
        if let Some(link) = self.link(token) {
            link.outbox.clear();
            link.outbox.sync();
            link.outbox.frame(Kind::Ready, 0, 0, generation, &ready.encode());
        }
    }

    fn refuse_hello(&mut self, error: &Error, nonce: u32, token: u64) {
        let generation = self.session.generation();
        let ready = Ready {
            version: 0,
            window: WINDOW_BYTES,
            agent_version: env!("CARGO_PKG_VERSION"),
            uptime_ns: process::uptime_ns(),
            error: Some(error),
            nonce,
        };
        if let Some(link) = self.link(token) {
            link.outbox.sync();
            link.outbox.frame(Kind::Ready, 0, 0, generation, &ready.encode());
        }
    }
}
