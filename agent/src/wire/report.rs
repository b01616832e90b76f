//! Messages to the host about processes that are kept, connections, what changes, and what is used.

use super::fields::{put_bytes, put_message, put_number};
use super::kept::WhenFull;
use super::reply::Exited;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessInfo {
    pub id: String,
    pub argv: Vec<String>,
    pub pid: u32,
    pub started_ns: u64,
    pub terminal: bool,
    /// None while it runs.
    pub exited: Option<Exited>,
    /// Bytes of standard output and error output there were.
    pub written: [u64; 2],
    /// Bytes of input its pipe took.
    pub stdin_bytes: u64,
    pub stdin_open: bool,
    pub buffer_bytes: u32,
    pub when_full: WhenFull,
}

impl ProcessInfo {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_bytes(&mut out, 1, self.id.as_bytes());
        for argument in &self.argv {
            put_message(&mut out, 2, argument.as_bytes());
        }
        put_number(&mut out, 3, u64::from(self.pid));
        put_number(&mut out, 4, self.started_ns);
        put_number(&mut out, 5, u64::from(self.terminal));
        if let Some(exited) = &self.exited {
            put_message(&mut out, 6, &exited.encode());
        }
        put_number(&mut out, 7, self.written[0]);
        put_number(&mut out, 8, self.written[1]);
        put_number(&mut out, 9, self.stdin_bytes);
        put_number(&mut out, 10, u64::from(self.stdin_open));
        put_number(&mut out, 11, u64::from(self.buffer_bytes));
        put_number(&mut out, 12, self.when_full as u64);
        out
    }
}

/// The payload of NOTE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    Process(ProcessInfo),
    /// What follows on the channel begins at this offset.
    Skipped {
        channel: u8,
        offset: u64,
    },
    Connected {
        ipv6: bool,
    },
}

impl Note {
    pub fn encode(&self) -> Vec<u8> {
        let (mut out, mut message) = (Vec::with_capacity(32), Vec::new());
        match self {
            Note::Process(info) => put_message(&mut out, 1, &info.encode()),
            Note::Skipped { channel, offset } => {
                put_number(&mut message, 1, u64::from(*channel));
                put_number(&mut message, 2, *offset);
                put_message(&mut out, 2, &message);
            }
            Note::Connected { ipv6 } => {
                put_number(&mut message, 1, u64::from(*ipv6));
                put_message(&mut out, 3, &message);
            }
        }
        out
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UsageInfo {
    pub processes: u32,
    pub memory_total: u64,
    pub memory_available: u64,
    pub load_milli: u32,
    pub disk_total: u64,
    pub disk_used: u64,
}

impl UsageInfo {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        put_number(&mut out, 1, u64::from(self.processes));
        put_number(&mut out, 2, self.memory_total);
        put_number(&mut out, 3, self.memory_available);
        put_number(&mut out, 4, u64::from(self.load_milli));
        put_number(&mut out, 5, self.disk_total);
        put_number(&mut out, 6, self.disk_used);
        out
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum WatchKind {
    Ready = 1,
    Created = 2,
    Modified = 3,
    Removed = 4,
    Renamed = 5,
    Overflow = 6,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchEvent {
    pub kind: WatchKind,
    pub path: Vec<u8>,
    /// Of a file that was renamed.
    pub to: Vec<u8>,
}

impl WatchEvent {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.path.len() + self.to.len());
        put_number(&mut out, 1, self.kind as u64);
        put_bytes(&mut out, 2, &self.path);
        put_bytes(&mut out, 3, &self.to);
        out
    }
}
