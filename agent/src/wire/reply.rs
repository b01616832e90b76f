//! Messages to the host, as proto/kiln/agent/v1/agent.proto defines them.

use super::fields::{put_bytes, put_message, put_number};
use super::report::{ProcessInfo, UsageInfo};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ErrorCode {
    Invalid = 1,
    NotFound = 2,
    Permission = 3,
    Exists = 4,
    System = 5,
    Busy = 6,
    Cancelled = 7,
    Handshake = 8,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub code: ErrorCode,
    /// 0 when no system call failed.
    pub errno: u32,
    pub message: String,
}

impl Error {
    pub fn new(code: ErrorCode, message: &str) -> Error {
        Error { code, errno: 0, message: String::from(message) }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.message.len());
        put_number(&mut out, 1, self.code as u64);
        put_number(&mut out, 2, u64::from(self.errno));
        put_bytes(&mut out, 3, self.message.as_bytes());
        out
    }
}

pub struct Ready<'a> {
    pub version: u32,
    pub window: u32,
    pub agent_version: &'a str,
    pub uptime_ns: u64,
    pub error: Option<&'a Error>,
    /// That of the HELLO.
    pub nonce: u32,
}

impl Ready<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_number(&mut out, 1, u64::from(self.version));
        put_number(&mut out, 2, u64::from(self.window));
        put_bytes(&mut out, 3, self.agent_version.as_bytes());
        put_number(&mut out, 4, self.uptime_ns);
        if let Some(error) = self.error {
            put_message(&mut out, 5, &error.encode());
        }
        put_number(&mut out, 6, u64::from(self.nonce));
        out
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Code(u32),
    Signal(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exited {
    pub status: Status,
    pub timed_out: bool,
}

impl Exited {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        // A oneof is present even when it is 0.
        match self.status {
            Status::Code(0) => out.extend_from_slice(&[0x08, 0]),
            Status::Code(code) => put_number(&mut out, 1, u64::from(code)),
            Status::Signal(signal) => put_number(&mut out, 2, u64::from(signal)),
        }
        put_number(&mut out, 3, u64::from(self.timed_out));
        out
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FileType {
    Regular = 1,
    Directory = 2,
    Symlink = 3,
    Other = 4,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileInfo {
    pub name: Vec<u8>,
    pub file_type: FileType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub modified_ns: i64,
    pub target: Vec<u8>,
}

impl FileInfo {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.len() + self.target.len());
        put_bytes(&mut out, 1, &self.name);
        put_number(&mut out, 2, self.file_type as u64);
        put_number(&mut out, 3, u64::from(self.mode));
        put_number(&mut out, 4, u64::from(self.uid));
        put_number(&mut out, 5, u64::from(self.gid));
        put_number(&mut out, 6, self.size);
        put_number(&mut out, 7, self.modified_ns as u64);
        put_bytes(&mut out, 8, &self.target);
        out
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Error(Error),
    Exited(Exited),
    Info(FileInfo),
    /// Bytes written.
    Done(u64),
    Process(ProcessInfo),
    Usage(UsageInfo),
}

impl Reply {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        match self {
            Reply::Error(error) => put_message(&mut out, 1, &error.encode()),
            Reply::Exited(exited) => put_message(&mut out, 2, &exited.encode()),
            Reply::Info(info) => put_message(&mut out, 3, &info.encode()),
            Reply::Done(size) => {
                let mut message = Vec::with_capacity(12);
                put_number(&mut message, 1, *size);
                put_message(&mut out, 4, &message);
            }
            Reply::Process(info) => put_message(&mut out, 5, &info.encode()),
            Reply::Usage(usage) => put_message(&mut out, 6, &usage.encode()),
        }
        out
    }
}
