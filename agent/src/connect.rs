//! A connection to a port of the guest's own, for the host.

use crate::channel::{End, Feed, Input, Output, Sink};
use crate::error::{failed, invalid};
use crate::stream::{Port, Progress, Work};
use crate::sys::epoll::{Event, Interest};
use crate::sys::{process, tcp, Errno};
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::report::Note;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// How long connecting may take, in milliseconds.
const PATIENCE_MS: u64 = 10_000;
const CHANNEL: u8 = 1;

pub struct Connection {
    port: u16,
    /// Until when it must stand.
    until: u64,
    attempt: Option<Attempt>,
    /// Input that came before it stood.
    early: Feed,
    /// Both directions, once it stands.
    channels: Option<(Input, Output)>,
}

/// A try to connect: to 127.0.0.1, and when that is refused to ::1.
struct Attempt {
    socket: Rc<OwnedFd>,
    /// Why the one to 127.0.0.1 failed, when this is the other.
    refusal: Option<Errno>,
    /// What was told of the socket.
    news: Option<Event>,
}

impl Connection {
    pub fn open(port: u32) -> Result<Connection, Error> {
        let port = u16::try_from(port).ok().filter(|&port| port > 0);
        Ok(Connection {
            port: port.ok_or_else(|| invalid("a port is 1 to 65535", b""))?,
            until: process::now_ms() + PATIENCE_MS,
            attempt: None,
            early: Feed::default(),
            channels: None,
        })
    }

    /// Goes on with connecting. Returns whether it stands.
    fn connect(&mut self, port: &mut Port<'_>, now_ms: u64) -> Result<bool, Errno> {
        let outcome = match &self.attempt {
            None => self.begin(None, port),
            Some(Attempt { socket, news: Some(_), .. }) => tcp::connected(socket).map(|()| true),
            Some(_) if now_ms >= self.until => return Err(Errno(libc::ETIMEDOUT)),
            Some(_) => return Ok(false),
        };
        match (outcome, self.attempt.as_ref().and_then(|attempt| attempt.refusal)) {
            (Ok(stands), _) => Ok(stands),
            // A guest without IPv6, or nobody there either: what matters is the first answer.
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(errno), None) => self.begin(Some(errno), port).map_err(|_| errno),
        }
    }

    /// Begins an attempt: the first, or the one after a refusal.
    fn begin(&mut self, refusal: Option<Errno>, port: &mut Port<'_>) -> Result<bool, Errno> {
        let socket = tcp::connect_loopback(refusal.is_some(), self.port)?;
        port.watch(&socket, CHANNEL, Interest::Both)?;
        self.attempt = Some(Attempt { socket: Rc::new(socket), refusal, news: None });
        Ok(false)
    }

    /// The attempt has come to a connection.
    fn stand(&mut self, port: &mut Port<'_>) {
        if let Some(Attempt { socket, refusal, news }) = self.attempt.take() {
            port.note(&Note::Connected { ipv6: refusal.is_some() });
            let mut output = Output::new(CHANNEL, Rc::clone(&socket));
            if let Some(event) = news {
                output.event(event); // Bytes may have come with it.
            }
            let input = Input::new(Sink::new(socket, End::Shutdown), std::mem::take(&mut self.early));
            self.channels = Some((input, output));
        }
    }

    fn failed(&self, what: &str, errno: Errno) -> Progress {
        Progress::Ended(Reply::Error(failed(what, self.port.to_string().as_bytes(), errno)))
    }
}

impl Work for Connection {
    fn event(&mut self, _channel: u8, event: Event) {
        match (&mut self.channels, &mut self.attempt) {
            (Some((input, output)), _) => {
                if event.writable {
                    input.writable();
                }
                output.event(event);
            }
            (None, Some(attempt)) => attempt.news = Some(event),
            (None, None) => {}
        }
    }

    fn input(&mut self, bytes: &[u8], end: bool, port: &mut Port<'_>) -> Progress {
        match &mut self.channels {
            Some((input, _)) => input.take(bytes, end, port),
            None => self.early.push(bytes, end),
        }
        Progress::Waiting
    }

    fn run(&mut self, port: &mut Port<'_>, now_ms: u64) -> Progress {
        if self.channels.is_none() {
            match self.connect(port, now_ms) {
                Ok(true) => self.stand(port),
                Ok(false) => return Progress::Waiting,
                Err(errno) => return self.failed("cannot connect to port", errno),
            }
        }
        let (input, output) = match &mut self.channels {
            Some(channels) => channels,
            None => return Progress::Waiting,
        };
        let more = output.run(port);
        input.run(port);
        match output.failure() {
            Some(errno) => self.failed("the connection broke to port", errno),
            None if output.is_closed() && input.is_closed() => Progress::Ended(Reply::Done(0)),
            None if more => Progress::More,
            None => Progress::Waiting,
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.attempt.as_ref().map(|_| self.until)
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}
