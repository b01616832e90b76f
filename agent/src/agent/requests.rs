//! Starting what a stream was opened for.

use super::{Agent, Running, Stream};
use crate::connect::Connection;
use crate::exec::Exec;
use crate::files;
use crate::stream::{self, Work};
use crate::usage::Usage;
use crate::watch::Watch;
use crate::wire::reply::{Error, Reply};
use crate::wire::request::{self, Request};

/// What a request came to at once.
enum Started {
    Running(Running),
    Over(Reply),
}

impl Started {
    fn other(work: impl Work + 'static) -> Started {
        Started::Running(Running::Other(Box::new(work)))
    }
}

impl Agent {
    pub(super) fn open(&mut self, stream: u32, request: &Request<'_>) {
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
        let workdir = self.starter.config.workdir.as_slice();
        match request {
            Request::Exec(request) => self.execute(stream, request),
            Request::ReadFile(request) => {
                files::Read::open(request, workdir, &self.epoll, stream::token(stream, 1)).map(Started::other)
            }
            Request::WriteFile(request) => {
                let owner = self.starter.find_user(request.user)?;
                let unique = u64::from(self.session.generation()) << 32 | u64::from(stream);
                files::Write::open(request, &self.starter.config.workdir, &owner, unique).map(Started::other)
            }
            Request::ListDirectory(path) => files::List::open(path, workdir).map(Started::other),
            Request::Remove(request) => Ok(match files::remove(request, workdir)? {
                Some(removal) => Started::other(removal),
                None => Started::Over(Reply::Done(0)),
            }),
            Request::Stat(request) => files::stat(request, workdir).map(Started::Over),
            Request::MakeDirectory(request) => {
                let owner = self.starter.find_user(request.user)?;
                files::make_directory(request, &self.starter.config.workdir, &owner).map(Started::Over)
            }
            Request::Rename(request) => files::rename(request, workdir).map(Started::Over),
            Request::Attach(request) => Ok(Started::Running(Running::Reader(Box::new(self.kept.attach(request)?)))),
            Request::ListProcesses => Ok(Started::other(self.kept.list())),
            Request::SignalProcess(request) => self.kept.signal(request).map(Started::Over),
            Request::WriteStdin(request) => self.kept.write_stdin(request).map(Started::other),
            Request::ResizeProcess(request) => self.kept.resize(request).map(Started::Over),
            Request::ForgetProcess(request) => self.kept.forget(request).map(Started::Over),
            Request::Connect(port) => Connection::open(*port).map(Started::other),
            Request::Watch(request) => Watch::open(request, workdir).map(Started::other),
            Request::Usage => Usage::open().map(Started::other),
            Request::Ping | Request::Freeze => Ok(Started::Over(Reply::Done(0))),
        }
    }

    fn execute(&mut self, stream: u32, request: &request::Exec<'_>) -> Result<Started, Error> {
        let starter = &mut self.starter;
        Ok(Started::Running(match &request.keep {
            Some(keep) => Running::Reader(Box::new(self.kept.start(starter, request, keep, &self.epoll)?)),
            None => {
                let token = |channel| stream::token(stream, channel);
                Running::Exec(Box::new(Exec::start(starter, request, &self.epoll, token)?))
            }
        }))
    }
}
