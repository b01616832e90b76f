//! The bytes host and agent agreed on: proto/vectors.txt, which explains itself.

#[path = "support/says.rs"]
mod says;

use kiln_agent::session::{Action, Session};
use kiln_agent::wire::frame::{BrokenHeader, Header, Kind, HEADER_BYTES, SYNC};
use kiln_agent::wire::kept::WhenFull;
use kiln_agent::wire::parser::Parser;
use kiln_agent::wire::reply::{Error, ErrorCode, Exited, FileInfo, FileType, Ready, Reply, Status};
use kiln_agent::wire::report::{Note, ProcessInfo, UsageInfo, WatchEvent, WatchKind};
use kiln_agent::wire::request::{Control, Hello, Request};
use says::{say_bytes, say_control, say_hello, say_request, Says};

struct Vector {
    section: String,
    name: String,
    kind: String,
    says: String,
    bytes: Vec<u8>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn parse(text: &str) -> Vector {
    let lines: Vec<&str> = text.trim().lines().collect();
    assert_eq!(lines.len(), 3, "{}", text);
    let mut words = lines[0].split(' ').map(String::from);
    let mut bytes = Vec::new();
    for piece in lines[2].split(' ').filter(|&piece| piece != "-") {
        match piece.split_once('*') {
            Some((count, byte)) => {
                let count: usize = count.parse().expect("a count");
                bytes.resize(bytes.len() + count, unhex(byte)[0]);
            }
            None => bytes.extend(unhex(piece)),
        }
    }
    Vector {
        section: words.next().expect("a section"),
        name: words.next().expect("a name"),
        kind: words.next().unwrap_or_default(),
        says: lines[1].into(),
        bytes,
    }
}

fn vectors(section: &str) -> Vec<Vector> {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/vectors.txt")).expect("vectors");
    let chosen: Vec<Vector> =
        file.split("\n\n").skip(1).map(parse).filter(|vector| vector.section == section).collect();
    assert!(!chosen.is_empty(), "{}", section);
    chosen
}

/// What a message from the host says; None when it is refused.
fn read(kind: &str, bytes: &[u8]) -> Option<String> {
    let says = match kind {
        "Hello" => say_hello(&Hello::parse(bytes).ok()?),
        "Request" => Request::parse(bytes).ok()?.as_ref().map_or_else(Says::default, say_request),
        "Control" => Control::parse(bytes).ok()?.map_or_else(Says::default, say_control),
        other => panic!("{} does not come from a host", other),
    };
    Some(says.line())
}

fn from_host(vector: &Vector) -> bool {
    matches!(vector.kind.as_str(), "Hello" | "Request" | "Control")
}

#[test]
fn the_hosts_messages_read_as_what_they_say() {
    let all: Vec<Vector> = vectors("message").into_iter().chain(vectors("later")).filter(from_host).collect();
    assert!(all.len() > 20);
    for vector in all {
        assert_eq!(read(&vector.kind, &vector.bytes).as_ref(), Some(&vector.says), "{}", vector.name);
    }
}

#[test]
fn malformed_messages_are_refused() {
    let all: Vec<Vector> = vectors("malformed").into_iter().filter(from_host).collect();
    assert!(all.len() > 5);
    for vector in all {
        assert_eq!(read(&vector.kind, &vector.bytes), None, "{}: {}", vector.name, vector.says);
    }
}

fn file() -> FileInfo {
    FileInfo {
        name: b"file".to_vec(),
        file_type: FileType::Regular,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        size: 5_000_000_000,
        modified_ns: 1_700_000_000_000_000_001,
        target: Vec::new(),
    }
}

fn symlink() -> FileInfo {
    FileInfo {
        name: vec![0x80],
        file_type: FileType::Symlink,
        mode: 0o777,
        uid: 0,
        gid: 0,
        size: 6,
        modified_ns: -1,
        target: b"../a b".to_vec(),
    }
}

fn process() -> ProcessInfo {
    ProcessInfo {
        id: "p-1".into(),
        argv: vec!["sh".into(), "-c".into(), "".into()],
        pid: 4711,
        started_ns: 1_700_000_000_000_000_001,
        terminal: false,
        exited: None,
        written: [5_000_000_000, 0],
        stdin_bytes: 3,
        stdin_open: true,
        buffer_bytes: 1 << 20,
        when_full: WhenFull::Wait,
    }
}

fn ended_process() -> ProcessInfo {
    ProcessInfo {
        terminal: true,
        exited: Some(Exited { status: Status::Code(0), timed_out: false }),
        stdin_open: false,
        when_full: WhenFull::DropOldest,
        ..process()
    }
}

const USAGE: UsageInfo = UsageInfo {
    processes: 12,
    memory_total: 512 << 20,
    memory_available: 384 << 20,
    load_milli: 1250,
    disk_total: 5_000_000_000,
    disk_used: 1_000_000_000,
};

fn watch_event(kind: WatchKind, path: &[u8], to: &[u8]) -> Vec<u8> {
    WatchEvent { kind, path: path.to_vec(), to: to.to_vec() }.encode()
}

fn ready(version: u32, error: Option<&Error>, nonce: u32) -> Vec<u8> {
    Ready { version, window: 262_144, agent_version: "0.1.0", uptime_ns: 123_456_789, error, nonce }.encode()
}

fn exited(status: Status, timed_out: bool) -> Vec<u8> {
    Reply::Exited(Exited { status, timed_out }).encode()
}

#[test]
fn the_agents_messages_are_written_as_they_should_be() {
    let failed = |code, errno, message: &str| Reply::Error(Error { code, errno, message: message.into() }).encode();
    let refusal = Error::new(ErrorCode::Handshake, "the generation is not newer");
    let written = [
        ("ready", ready(1, None, 0)),
        ("ready-refused", ready(0, Some(&refusal), 0)),
        ("ready-nonce", ready(1, None, u32::MAX)),
        ("exited-0", exited(Status::Code(0), false)),
        ("exited-255", exited(Status::Code(255), false)),
        ("killed-in-time", exited(Status::Signal(9), true)),
        ("error-not-found", failed(ErrorCode::NotFound, 2, "cannot run the program: nö")),
        ("error-busy", failed(ErrorCode::Busy, 0, "")),
        ("done", Reply::Done(0).encode()),
        ("done-written", Reply::Done(300).encode()),
        ("info", Reply::Info(file()).encode()),
        ("info-before-1970", Reply::Info(symlink()).encode()),
        ("process", Reply::Process(process()).encode()),
        ("usage-info", Reply::Usage(USAGE).encode()),
        ("note-started", Note::Process(process()).encode()),
        ("note-skipped", Note::Skipped { channel: 2, offset: 5_000_000_000 }.encode()),
        ("note-connected", Note::Connected { ipv6: false }.encode()),
        ("note-connected-ipv6", Note::Connected { ipv6: true }.encode()),
        ("process-running", process().encode()),
        ("process-ended", ended_process().encode()),
        ("watch-ready", watch_event(WatchKind::Ready, b"", b"")),
        ("watch-renamed", watch_event(WatchKind::Renamed, b"/a", b"/b")),
        ("entry", file().encode()),
        ("entry-symlink", symlink().encode()),
    ];
    let vectors = vectors("message");
    let expected: Vec<(&str, Vec<u8>)> = vectors
        .iter()
        .filter(|vector| !from_host(vector))
        .map(|vector| (vector.name.as_str(), vector.bytes.clone()))
        .collect();
    assert_eq!(written.to_vec(), expected);
}

fn header(bytes: &[u8]) -> Result<Header, BrokenHeader> {
    Header::parse(bytes[..HEADER_BYTES].try_into().expect("a header"))
}

#[test]
fn frames_read_as_what_they_say_and_are_written_as_they_were() {
    for vector in vectors("frame") {
        let header = header(&vector.bytes).expect("a header");
        let payload = &vector.bytes[HEADER_BYTES..];
        assert_eq!(header.length as usize, payload.len());
        assert_eq!(header.bytes(), vector.bytes[..HEADER_BYTES]);
        assert_eq!(format!("{:?}", header.kind).to_lowercase(), vector.kind);
        let length = match payload.len() {
            0..=64 => say_bytes(payload),
            length => format!("{} bytes of {}", length, payload[0]),
        };
        let says = format!(
            "stream={} generation={} flags={} payload={}",
            header.stream, header.generation, header.flags, length
        );
        assert_eq!(says, vector.says, "{}", vector.name);
    }
}

#[test]
fn broken_headers_fail_by_their_field() {
    for vector in vectors("broken") {
        let field = header(&vector.bytes).expect_err("broken");
        assert_eq!(format!("{:?}", field).to_lowercase(), vector.kind, "{}: {}", vector.name, vector.says);
    }
}

/// The whole frames in `bytes`.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(1000) {
        parser.space()[..piece.len()].copy_from_slice(piece);
        parser.filled(piece.len());
        while let Some(frame) = parser.next_frame() {
            found.push([&frame.header.bytes(), frame.payload].concat());
        }
    }
    found
}

#[test]
fn frames_are_found_in_what_may_come_before_them() {
    let whole = vectors("frame");
    for vector in vectors("stream") {
        let find = |name| whole.iter().find(|frame| frame.name == name).expect("a frame").bytes.clone();
        let expected: Vec<Vec<u8>> = vector.says.split(' ').map(find).collect();
        assert_eq!(frames(&vector.bytes), expected, "{}", vector.name);
    }
}

#[test]
fn a_handshake_and_an_exec_go_as_written_down() {
    let mut session = Session::new();
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    for line in vectors("transcript") {
        if line.kind == "guest" {
            said.push(line.bytes);
            continue;
        }
        for bytes in frames(&line.bytes) {
            let frame = kiln_agent::wire::frame::Frame { header: header(&bytes).expect("one"), payload: &bytes[16..] };
            match session.accept(frame) {
                Action::Start { generation, window, identity, .. } => {
                    assert_eq!(identity.expect("an identity").hostname, "sandbox-1");
                    session.begin(generation, window);
                    heard.push(format!("begin {} {}", generation, window));
                }
                Action::Open { stream, request: Request::Exec(exec) } => {
                    heard.push(format!("exec {} {:?}", stream, exec.argv));
                    session.close(stream); // It took no time.
                }
                other => heard.push(format!("{:?}", other)),
            }
        }
    }
    assert_eq!(heard, ["begin 41 262144", "exec 1 [\"echo\", \"hi\"]", "Nothing"]);
    let frame = |kind, flags, stream, payload: &[u8]| {
        let header = Header { length: payload.len() as u32, stream, kind, flags, generation: session.generation() };
        [&header.bytes(), payload].concat()
    };
    let expected = [
        [&SYNC[..], &frame(Kind::Ready, 0, 0, &ready(1, None, 0))].concat(),
        frame(Kind::Data, 1, 1, b"hi\n"),
        frame(Kind::Data, 0x81, 1, b""),
        frame(Kind::Data, 0x82, 1, b""),
        frame(Kind::Close, 0, 1, &exited(Status::Code(0), false)),
    ];
    assert_eq!(said, expected);
}
