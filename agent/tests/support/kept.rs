//! What tests of kept processes ask for and look at.

use super::{file_request, parse_note, Exec, Host, Note, Reply};
use kiln_agent::wire::fields::{put_message, put_number};
use kiln_agent::wire::frame::Kind;
use std::collections::HashMap;
use std::time::{Duration, Instant};

pub const FREEZE: u8 = 9;
pub const PING: u8 = 10;
pub const ATTACH: u8 = 11;
pub const LIST: u8 = 12;
pub const SIGNAL: u8 = 13;
pub const WRITE_STDIN: u8 = 14;
pub const RESIZE: u8 = 15;
pub const FORGET: u8 = 16;

pub const INVALID: u64 = 1;
pub const NOT_FOUND: u64 = 2;
pub const EXISTS: u64 = 4;
pub const BUSY: u64 = 6;
pub const CANCELLED: u64 = 7;

pub const WAIT: u64 = 1;
pub const DROP_OLDEST: u64 = 2;
pub const FOLLOW: (u8, u64) = (4, 1);
pub const SILENT: (u8, u64) = (5, 1);
pub const MIB: u64 = 1 << 20;

pub fn of(kind: u8, id: &str, numbers: &[(u8, u64)]) -> Vec<u8> {
    file_request(kind, &[(1, id.as_bytes())], numbers)
}

/// Attaches and follows, from these offsets on.
pub fn attach(id: &str, stdout: u64, stderr: u64) -> Vec<u8> {
    of(ATTACH, id, &[(2, stdout), (3, stderr), FOLLOW])
}

pub fn acknowledge(host: &mut Host, stream: u32, stdout: u64, stderr: u64) {
    let (mut message, mut control) = (Vec::new(), Vec::new());
    put_number(&mut message, 1, stdout);
    put_number(&mut message, 2, stderr);
    put_message(&mut control, 3, &message);
    host.send(Kind::Control, 0, stream, &control);
}

pub fn code(reply: Reply) -> u64 {
    match reply {
        Reply::Error { code, .. } => code,
        other => panic!("{:?}", other),
    }
}

/// Starts a kept process and returns its stream and what the first frame told of it.
pub fn start(host: &mut Host, exec: Exec) -> (u32, Note) {
    let stream = host.open(&exec.request());
    (stream, next_note(host, stream))
}

pub fn next_note(host: &mut Host, stream: u32) -> Note {
    let received = host.next(stream);
    assert_eq!(received.header.kind, Kind::Note, "{:?}", received);
    parse_note(&received.payload)
}

/// Numbers of ProcessInfo, without a stream that is left open.
pub fn info(host: &mut Host, id: &str) -> (HashMap<u32, Vec<u8>>, impl Fn(u32) -> u64) {
    match host.run(&of(ATTACH, id, &[])).reply {
        Reply::Process(bytes, numbers) => (bytes, move |field| numbers.get(&field).copied().unwrap_or(0)),
        other => panic!("{:?}", other),
    }
}

pub fn detach(host: &mut Host, stream: u32) {
    host.send(Kind::Cancel, 0, stream, b"");
    assert_eq!(code(host.outcome(stream).reply), CANCELLED);
}

pub fn group_of(host: &mut Host, id: &str) -> u64 {
    info(host, id).1(3)
}

pub fn is_running(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid)).unwrap_or_default();
    stat.rsplit(") ").next().map_or(false, |rest| !rest.is_empty() && !rest.starts_with('Z'))
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{}", what);
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn numbers_up_to(most: u32) -> Vec<u8> {
    (1..=most).map(|n| format!("{}\n", n)).collect::<String>().into_bytes()
}
