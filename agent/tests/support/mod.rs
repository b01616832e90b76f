//! A host for tests: runs the agent as an ordinary process and speaks to it over a socket.

#![allow(dead_code)] // Each test file uses its own part.

pub mod kept;

use kiln_agent::wire::fields::{put_bytes, put_message, put_number, Fields, Value};
use kiln_agent::wire::frame::{Header, Kind, FLAG_END, SYNC};
use kiln_agent::wire::parser::Parser;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::io::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than anything here takes: a test that waits for ever fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Host {
    socket: UnixStream,
    parser: Parser,
    agent: Child,
    pub generation: u32,
    next_stream: u32,
    /// Frames that came while another stream was waited for.
    early: Vec<Received>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    pub header: Header,
    pub payload: Vec<u8>,
}

/// How a stream ended and what came before.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    pub ended: Vec<u8>,
    pub notes: Vec<Note>,
    pub reply: Reply,
}

/// What was told about a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    Process(HashMap<u32, Vec<u8>>, HashMap<u32, u64>),
    Skipped { channel: u64, offset: u64 },
    Connected { ipv6: bool },
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Reply {
    #[default]
    None,
    Error {
        code: u64,
        errno: u64,
        message: String,
    },
    Exited {
        code: Option<u64>,
        signal: Option<u64>,
        timed_out: bool,
    },
    Info(HashMap<u32, Vec<u8>>, HashMap<u32, u64>),
    Done(u64),
    Process(HashMap<u32, Vec<u8>>, HashMap<u32, u64>),
    Usage(HashMap<u32, u64>),
}

pub fn exited(code: u64) -> Reply {
    Reply::Exited { code: Some(code), signal: None, timed_out: false }
}

/// Fields of a message by number: the bytes and the numbers.
pub fn fields(message: &[u8]) -> (HashMap<u32, Vec<u8>>, HashMap<u32, u64>) {
    let (mut bytes, mut numbers) = (HashMap::new(), HashMap::new());
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next_field().expect("a message that parses") {
        match value {
            Value::Bytes(value) => drop(bytes.insert(number, value.to_vec())),
            Value::Varint(value) => drop(numbers.insert(number, value)),
            Value::Other => {}
        }
    }
    (bytes, numbers)
}

fn parse_reply(payload: &[u8]) -> Reply {
    let (outer, _) = fields(payload);
    assert_eq!(outer.len(), 1, "a reply has one kind");
    let (kind, message) = outer.into_iter().next().expect("a reply has one kind");
    let (bytes, numbers) = fields(&message);
    let number = |field: u32| numbers.get(&field).copied();
    match kind {
        1 => Reply::Error {
            code: number(1).unwrap_or(0),
            errno: number(2).unwrap_or(0),
            message: String::from_utf8(bytes.get(&3).cloned().unwrap_or_default()).expect("UTF-8"),
        },
        2 => Reply::Exited { code: number(1), signal: number(2), timed_out: number(3) == Some(1) },
        3 => Reply::Info(bytes, numbers),
        4 => Reply::Done(number(1).unwrap_or(0)),
        5 => Reply::Process(bytes, numbers),
        6 => Reply::Usage(numbers),
        other => panic!("reply of kind {}", other),
    }
}

pub fn parse_note(payload: &[u8]) -> Note {
    let (outer, _) = fields(payload);
    let (kind, message) = outer.into_iter().next().expect("a note has one kind");
    let (bytes, numbers) = fields(&message);
    let number = |field: u32| numbers.get(&field).copied().unwrap_or(0);
    match kind {
        1 => Note::Process(bytes, numbers),
        2 => Note::Skipped { channel: number(1), offset: number(2) },
        3 => Note::Connected { ipv6: number(1) == 1 },
        other => panic!("note of kind {}", other),
    }
}

/// Messages that came each behind its length.
pub fn delimited(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).expect("the end of a length");
        let length = bytes[..=end].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        messages.push(bytes[end + 1..end + 1 + length].to_vec());
        bytes = &bytes[end + 1 + length..];
    }
    messages
}

/// An Exec request under construction.
#[derive(Default)]
pub struct Exec {
    message: Vec<u8>,
}

impl Exec {
    pub fn new(argv: &[&str]) -> Exec {
        let mut message = Vec::new();
        for argument in argv {
            put_message(&mut message, 1, argument.as_bytes());
        }
        Exec { message }
    }
    pub fn sh(script: &str) -> Exec {
        Exec::new(&["sh", "-c", script])
    }
    pub fn env(mut self, variable: &str) -> Exec {
        put_message(&mut self.message, 2, variable.as_bytes());
        self
    }
    pub fn cwd(mut self, cwd: &str) -> Exec {
        put_message(&mut self.message, 3, cwd.as_bytes());
        self
    }
    pub fn user(mut self, user: &str) -> Exec {
        put_message(&mut self.message, 4, user.as_bytes());
        self
    }
    pub fn stdin(mut self) -> Exec {
        put_number(&mut self.message, 5, 1);
        self
    }
    pub fn terminal(mut self, rows: u64, columns: u64) -> Exec {
        let mut size = Vec::new();
        put_number(&mut size, 1, rows);
        put_number(&mut size, 2, columns);
        put_message(&mut self.message, 6, &size);
        self
    }
    pub fn timeout(mut self, milliseconds: u64) -> Exec {
        put_number(&mut self.message, 7, milliseconds);
        self
    }
    /// `when_full`: 1 to wait, 2 to drop the oldest.
    pub fn keep(mut self, id: &str, buffer_bytes: u64, when_full: u64) -> Exec {
        let mut keep = Vec::new();
        put_bytes(&mut keep, 1, id.as_bytes());
        put_number(&mut keep, 2, buffer_bytes);
        put_number(&mut keep, 3, when_full);
        put_message(&mut self.message, 8, &keep);
        self
    }
    pub fn request(&self) -> Vec<u8> {
        request(1, &self.message)
    }
}

pub fn request(kind: u8, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, kind, message);
    out
}

/// A request whose message has these fields.
pub fn file_request(kind: u8, bytes: &[(u8, &[u8])], numbers: &[(u8, u64)]) -> Vec<u8> {
    let mut message = Vec::new();
    bytes.iter().for_each(|(field, value)| put_bytes(&mut message, *field, value));
    numbers.iter().for_each(|(field, value)| put_number(&mut message, *field, *value));
    request(kind, &message)
}

pub fn hello(version: u64, min_version: u64, window: u64) -> Vec<u8> {
    let mut message = Vec::new();
    put_number(&mut message, 1, version);
    put_number(&mut message, 2, min_version);
    put_number(&mut message, 3, window);
    message
}

pub const WINDOW: u64 = 256 * 1024;

impl Host {
    /// An agent that has answered HELLO.
    pub fn ready() -> Host {
        let mut host = Host::start();
        let (bytes, numbers) = host.greet(1, &hello(1, 1, WINDOW));
        assert_eq!(numbers.get(&1), Some(&1), "version");
        assert!(!bytes.contains_key(&5), "no error");
        host
    }

    pub fn start() -> Host {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        ours.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let agent = Command::new(env!("CARGO_BIN_EXE_agent"))
            .args(["--connection", "0"])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("an agent");
        Host { socket: ours, parser: Parser::new(), agent, generation: 0, next_stream: 1, early: Vec::new() }
    }

    pub fn agent_pid(&self) -> u32 {
        self.agent.id()
    }

    /// Sends HELLO and returns READY's fields.
    pub fn greet(&mut self, generation: u32, hello: &[u8]) -> (HashMap<u32, Vec<u8>>, HashMap<u32, u64>) {
        self.generation = generation;
        self.raw(&SYNC);
        self.send(Kind::Hello, 0, 0, hello);
        loop {
            let received = self.receive();
            if received.header.kind == Kind::Ready {
                return fields(&received.payload);
            }
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the agent reads");
    }

    pub fn send(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        let header = Header { length: payload.len() as u32, stream, kind, flags, generation: self.generation };
        let bytes = [&header.bytes()[..], payload].concat();
        self.raw(&bytes);
    }

    pub fn open(&mut self, request: &[u8]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.send(Kind::Open, 0, stream, request);
        stream
    }

    pub fn input(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.send(Kind::Data, if end { FLAG_END } else { 0 }, stream, bytes);
    }

    pub fn credit(&mut self, stream: u32, bytes: u32) {
        self.send(Kind::Credit, 0, stream, &bytes.to_le_bytes());
    }

    pub fn signal(&mut self, stream: u32, signal: u64) {
        let mut message = Vec::new();
        put_number(&mut message, 1, signal);
        self.send(Kind::Control, 0, stream, &message);
    }

    pub fn receive(&mut self) -> Received {
        loop {
            if let Some(frame) = self.parser.next_frame() {
                return Received { header: frame.header, payload: frame.payload.to_vec() };
            }
            let count = self.socket.read(self.parser.space()).expect("the agent answers in time");
            assert!(count > 0, "the agent is still there");
            self.parser.filled(count);
        }
    }

    /// The next frame of `stream`.
    pub fn next(&mut self, stream: u32) -> Received {
        if let Some(at) = self.early.iter().position(|received| received.header.stream == stream) {
            return self.early.remove(at);
        }
        loop {
            let received = self.receive();
            if received.header.stream == stream {
                return received;
            }
            self.early.push(received);
        }
    }

    /// Whether nothing comes for so long.
    pub fn is_silent(&mut self, patience: Duration) -> bool {
        self.socket.set_read_timeout(Some(patience)).expect("a timeout");
        let mut byte = [0];
        let silent =
            matches!(self.socket.read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        silent
    }

    /// Collects a stream up to its end, crediting what comes.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let received = self.next(stream);
            match received.header.kind {
                Kind::Data => {
                    let channel = received.header.channel();
                    let kept = if channel == 1 { &mut outcome.output } else { &mut outcome.error };
                    kept.extend_from_slice(&received.payload);
                    if received.header.is_end() {
                        outcome.ended.push(channel);
                    }
                    if !received.payload.is_empty() {
                        self.credit(stream, received.payload.len() as u32);
                    }
                }
                Kind::Close => {
                    outcome.reply = parse_reply(&received.payload);
                    return outcome;
                }
                Kind::Note => outcome.notes.push(parse_note(&received.payload)),
                _ => {}
            }
        }
    }

    pub fn run(&mut self, request: &[u8]) -> Outcome {
        let stream = self.open(request);
        self.outcome(stream)
    }

    /// A line of the agent's /proc/PID/status, in kB.
    pub fn agent_memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.agent_pid())).expect("an agent that runs");
        let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Descriptors the agent has open.
    pub fn agent_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.agent_pid())).expect("an agent that runs").count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.agent.wait();
    }
}
