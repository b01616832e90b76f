//! What a connection's frames mean: generations, streams that are open, credit. Pure: a frame in, an action out; the
//! agent carries it out. Nothing here can be brought to fail, whatever the host sends.

use crate::wire::frame::{Frame, Header, Kind};
use crate::wire::kept::Acknowledge;
use crate::wire::reply::{Error, ErrorCode};
use crate::wire::request::{Control, Hello, Identity, Request, Terminal};

/// The one version of the protocol this agent speaks.
pub const VERSION: u32 = 1;
/// Streams open at once.
pub const MAX_STREAMS: usize = 512;
/// Bytes the host may send on each stream before it is credited for more. Held in memory at worst.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// Smallest and largest window a host may give.
const HOST_WINDOW_BYTES: std::ops::RangeInclusive<u32> = 1..=16 * 1024 * 1024;
/// Credit is granted in steps, not for every frame.
const CREDIT_STEP_BYTES: u32 = WINDOW_BYTES / 4;
/// CREDIT may not raise what was granted above this.
const MAX_CREDIT_BYTES: u64 = 1 << 31;
const ENTROPY_BYTES: std::ops::RangeInclusive<usize> = 32..=512;
const MACHINE_ID_DIGITS: usize = 32;
/// Processes an identity may allow.
const PROCESSES: std::ops::RangeInclusive<u32> = 16..=1_000_000;
/// Highest signal number of Linux.
const MAX_SIGNAL: u32 = 64;

/// What the agent has to do about a frame.
#[derive(PartialEq, Eq, Debug)]
pub enum Action<'a> {
    Nothing,
    /// Apply the identity, end every stream, then `begin` and answer READY.
    Start {
        generation: u32,
        window: u32,
        identity: Option<Identity<'a>>,
        nonce: u32,
    },
    /// Answer READY with this error in the present generation.
    RefuseHello {
        nonce: u32,
        error: Error,
    },
    /// Start what is requested; the stream is open.
    Open {
        stream: u32,
        request: Request<'a>,
    },
    /// CLOSE with an error: the stream was never opened.
    Refuse {
        stream: u32,
        error: Error,
    },
    /// End the stream's work and CLOSE with an error: its host broke the rules.
    Abort {
        stream: u32,
        error: Error,
    },
    /// Bytes on channel 0; `end` after the last ones.
    Input {
        stream: u32,
        bytes: &'a [u8],
        end: bool,
    },
    /// The stream may send more.
    Credited {
        stream: u32,
    },
    Signal {
        stream: u32,
        signal: u32,
    },
    Resize {
        stream: u32,
        size: Terminal,
    },
    Acknowledge {
        stream: u32,
        acknowledge: Acknowledge,
    },
    Cancel {
        stream: u32,
    },
}

/// Both directions' credit of one open stream, in bytes.
struct Flow {
    stream: u32,
    /// The agent may still send.
    send: u64,
    /// The host may still send.
    receive: u64,
    /// Consumed here and not yet credited to the host.
    consumed: u32,
    /// The host has sent END.
    ended: bool,
}

#[derive(Default)]
pub struct Session {
    generation: u32,
    /// What a new stream may send, given by the host.
    window: u32,
    /// After Freeze nothing but HELLO is looked at.
    frozen: bool,
    flows: Vec<Flow>,
}

impl Session {
    pub fn new() -> Session {
        Session::default()
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Streams open now.
    pub fn open_streams(&self) -> usize {
        self.flows.len()
    }

    /// `hello` was accepted and applied: a new generation without streams.
    pub fn begin(&mut self, generation: u32, window: u32) {
        self.generation = generation;
        self.window = window;
        self.frozen = false;
        self.flows.clear();
    }

    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// The stream is over; later frames for it are ignored.
    pub fn close(&mut self, stream: u32) {
        if let Some(at) = self.position(stream) {
            self.flows.swap_remove(at);
        }
    }

    /// Bytes the stream may send.
    pub fn credit(&self, stream: u32) -> usize {
        self.position(stream).map_or(0, |at| usize::try_from(self.flows[at].send).unwrap_or(usize::MAX))
    }

    /// `bytes` were sent on the stream.
    pub fn sent(&mut self, stream: u32, bytes: usize) {
        if let Some(at) = self.position(stream) {
            let flow = &mut self.flows[at];
            flow.send = flow.send.saturating_sub(bytes as u64);
        }
    }

    /// `bytes` from the host were consumed. Returns the CREDIT to send, if it is time for one.
    pub fn consumed(&mut self, stream: u32, bytes: usize) -> Option<u32> {
        let at = self.position(stream)?;
        let flow = &mut self.flows[at];
        flow.consumed = flow.consumed.saturating_add(bytes as u32);
        if flow.consumed < CREDIT_STEP_BYTES || flow.ended {
            return None;
        }
        let credit = flow.consumed;
        flow.receive += u64::from(credit);
        flow.consumed = 0;
        Some(credit)
    }

    /// What is to be done about `frame`.
    pub fn accept<'a>(&mut self, frame: Frame<'a>) -> Action<'a> {
        let Frame { header, payload } = frame;
        if header.kind == Kind::Hello {
            return self.hello(header.generation, payload);
        }
        if header.generation != self.generation || self.frozen {
            return Action::Nothing; // From an earlier life, or sent to one who sleeps.
        }
        if header.kind == Kind::Open {
            return self.open(header.stream, payload);
        }
        let at = match self.position(header.stream) {
            Some(at) => at,
            None => return Action::Nothing, // It crossed the stream's end.
        };
        let stream = header.stream;
        match header.kind {
            Kind::Data => self.data(at, header, payload),
            Kind::Credit => self.credited(at, payload),
            Kind::Control => control(stream, payload),
            Kind::Cancel => Action::Cancel { stream },
            // Only a guest sends these; HELLO and OPEN were dealt with.
            Kind::Hello | Kind::Ready | Kind::Open | Kind::Close | Kind::Note => Action::Nothing,
        }
    }

    fn position(&self, stream: u32) -> Option<usize> {
        self.flows.iter().position(|flow| flow.stream == stream)
    }

    fn hello<'a>(&self, generation: u32, payload: &'a [u8]) -> Action<'a> {
        let hello = match Hello::parse(payload) {
            Ok(hello) => hello,
            Err(_) => return Action::RefuseHello { nonce: 0, error: invalid("HELLO does not parse") },
        };
        let nonce = hello.nonce;
        let refuse = |error| Action::RefuseHello { nonce, error };
        if generation <= self.generation {
            return refuse(Error::new(ErrorCode::Handshake, "the generation is not newer"));
        }
        if hello.min_version > VERSION || hello.version < VERSION {
            return refuse(Error::new(ErrorCode::Handshake, "no version in common: this agent speaks 1"));
        }
        if !HOST_WINDOW_BYTES.contains(&hello.window) {
            return refuse(invalid("window must be 1 byte to 16 MiB"));
        }
        if let Some(identity) = &hello.identity {
            if let Err(what) = check_identity(identity) {
                return refuse(invalid(what));
            }
        }
        Action::Start { generation, window: hello.window, identity: hello.identity, nonce }
    }

    fn open<'a>(&mut self, stream: u32, payload: &'a [u8]) -> Action<'a> {
        if stream == 0 {
            return Action::Nothing; // The connection itself: there is no stream a CLOSE could end.
        }
        if self.position(stream).is_some() {
            return Action::Abort { stream, error: invalid("the stream is open already") };
        }
        if self.flows.len() >= MAX_STREAMS {
            return Action::Refuse { stream, error: Error::new(ErrorCode::Busy, "512 streams are open") };
        }
        match Request::parse(payload) {
            Ok(Some(request)) => {
                self.flows.push(Flow {
                    stream,
                    send: u64::from(self.window),
                    receive: u64::from(WINDOW_BYTES),
                    consumed: 0,
                    ended: false,
                });
                Action::Open { stream, request }
            }
            Ok(None) => Action::Refuse { stream, error: invalid("a request this agent does not know") },
            Err(_) => Action::Refuse { stream, error: invalid("the request does not parse") },
        }
    }

    fn data<'a>(&mut self, at: usize, header: Header, payload: &'a [u8]) -> Action<'a> {
        let stream = header.stream;
        let flow = &mut self.flows[at];
        if header.channel() != 0 {
            return Action::Abort { stream, error: invalid("a host sends on channel 0 alone") };
        }
        if flow.ended {
            return Action::Abort { stream, error: invalid("data after its END") };
        }
        if payload.len() as u64 > flow.receive {
            return Action::Abort { stream, error: invalid("more data than was granted") };
        }
        flow.receive -= payload.len() as u64;
        flow.ended = header.is_end();
        Action::Input { stream, bytes: payload, end: flow.ended }
    }

    fn credited<'a>(&mut self, at: usize, payload: &[u8]) -> Action<'a> {
        let flow = &mut self.flows[at];
        let stream = flow.stream;
        let credit = match <[u8; 4]>::try_from(payload) {
            Ok(bytes) => u64::from(u32::from_le_bytes(bytes)),
            Err(_) => return Action::Abort { stream, error: invalid("CREDIT must have 4 bytes") },
        };
        if flow.send + credit > MAX_CREDIT_BYTES {
            return Action::Abort { stream, error: invalid("more credit than there can be") };
        }
        flow.send += credit;
        Action::Credited { stream }
    }
}

fn control<'a>(stream: u32, payload: &[u8]) -> Action<'a> {
    match Control::parse(payload) {
        Ok(Some(Control::Signal(signal))) if (1..=MAX_SIGNAL).contains(&signal) => Action::Signal { stream, signal },
        Ok(Some(Control::Signal(_))) => Action::Abort { stream, error: invalid("signals are 1 to 64") },
        Ok(Some(Control::Resize(size))) => Action::Resize { stream, size },
        Ok(Some(Control::Acknowledge(acknowledge))) => Action::Acknowledge { stream, acknowledge },
        Ok(None) => Action::Nothing, // From a later version; a CONTROL has no answer.
        Err(_) => Action::Abort { stream, error: invalid("CONTROL does not parse") },
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorCode::Invalid, message)
}

fn check_identity(identity: &Identity<'_>) -> Result<(), &'static str> {
    if !ENTROPY_BYTES.contains(&identity.entropy.len()) {
        return Err("entropy must have 32 to 512 bytes");
    }
    let name = identity.hostname.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if !(1..=63).contains(&name.len()) || !name.iter().all(inner) || name.starts_with(b"-") || name.ends_with(b"-") {
        return Err("hostname must be one label: a-z, 0-9, inner hyphens, 1 to 63 bytes");
    }
    let id = identity.machine_id.as_bytes();
    if id.len() != MACHINE_ID_DIGITS || !id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("machine_id must be 32 lower-case hexadecimal digits");
    }
    if identity.max_processes != 0 && !PROCESSES.contains(&identity.max_processes) {
        return Err("max_processes must be 16 to 1000000");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
