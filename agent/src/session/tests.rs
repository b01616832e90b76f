use super::*;
use crate::wire::fields::{put_bytes, put_message, put_number};
use crate::wire::frame::FLAG_END;

const WINDOW: u32 = 1000;

/// Shows one frame to the session and gives `check` what is to be done.
fn show(session: &mut Session, kind: Kind, flags: u8, stream: u32, payload: &[u8], check: impl FnOnce(Action<'_>)) {
    let generation = session.generation();
    let header = Header { length: payload.len() as u32, stream, kind, flags, generation };
    check(session.accept(Frame { header, payload }));
}

fn greet(session: &mut Session, generation: u32, payload: &[u8], check: impl FnOnce(Action<'_>)) {
    let header = Header { length: payload.len() as u32, stream: 0, kind: Kind::Hello, flags: 0, generation };
    check(session.accept(Frame { header, payload }));
}

fn hello(version: u64, min_version: u64, window: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, version);
    put_number(&mut out, 2, min_version);
    put_number(&mut out, 3, window);
    out
}

fn identity(entropy: usize, hostname: &str, machine_id: &str) -> Vec<u8> {
    let (mut out, mut message) = (hello(1, 1, 1), Vec::new());
    put_bytes(&mut message, 1, &vec![1; entropy]);
    put_bytes(&mut message, 3, hostname.as_bytes());
    put_bytes(&mut message, 4, machine_id.as_bytes());
    put_message(&mut out, 4, &message);
    out
}

/// With a limit of processes.
fn limited(machine_id: &str, most: u64) -> Vec<u8> {
    let (mut out, mut message) = (hello(1, 1, 1), Vec::new());
    put_bytes(&mut message, 1, &[1; 32]);
    put_bytes(&mut message, 3, b"a");
    put_bytes(&mut message, 4, machine_id.as_bytes());
    put_number(&mut message, 5, most);
    put_message(&mut out, 4, &message);
    out
}

fn started() -> Session {
    let mut session = Session::new();
    session.begin(5, WINDOW);
    session
}

/// A Ping, which opens a stream as everything does.
const PING: [u8; 2] = [0x52, 0];

fn open(session: &mut Session, stream: u32) {
    show(session, Kind::Open, 0, stream, &PING, |action| {
        assert_eq!(action, Action::Open { stream, request: Request::Ping });
    });
}

fn code(action: &Action<'_>) -> (&'static str, Option<ErrorCode>) {
    match action {
        Action::RefuseHello { error, .. } => ("refuse hello", Some(error.code)),
        Action::Refuse { error, .. } => ("refuse", Some(error.code)),
        Action::Abort { error, .. } => ("abort", Some(error.code)),
        Action::Nothing => ("nothing", None),
        _ => ("do it", None),
    }
}

#[test]
fn a_newer_generation_begins_and_an_older_or_equal_one_is_refused() {
    let mut session = Session::new();
    greet(&mut session, 0, &hello(1, 1, 1), |action| {
        assert_eq!(code(&action), ("refuse hello", Some(ErrorCode::Handshake)), "0 is where it begins");
    });
    greet(&mut session, 7, &hello(1, 1, 9), |action| {
        assert_eq!(action, Action::Start { generation: 7, window: 9, identity: None, nonce: 0 });
    });
    session.begin(7, 9);
    for stale in [0, 6, 7] {
        greet(&mut session, stale, &hello(1, 1, 9), |action| {
            assert_eq!(code(&action), ("refuse hello", Some(ErrorCode::Handshake)), "generation {}", stale);
        });
    }
    assert_eq!(session.generation(), 7);
    greet(&mut session, u32::MAX, &hello(9, 1, 9), |action| assert_eq!(code(&action).0, "do it"));
}

#[test]
fn a_refused_hello_leaves_streams_alone() {
    let mut session = started();
    open(&mut session, 1);
    greet(&mut session, 5, &hello(1, 1, 9), |action| assert_eq!(code(&action).0, "refuse hello"));
    assert_eq!((session.open_streams(), session.credit(1)), (1, WINDOW as usize));
    session.begin(6, 9);
    assert_eq!(session.open_streams(), 0);
}

#[test]
fn hello_has_limits() {
    let mut session = Session::new();
    let mut refused = |payload: &[u8]| {
        let mut result = None;
        greet(&mut session, 1, payload, |action| result = code(&action).1);
        result
    };
    assert_eq!(refused(&hello(1, 2, 1)), Some(ErrorCode::Handshake), "a host of the future");
    assert_eq!(refused(&hello(0, 0, 1)), Some(ErrorCode::Handshake), "no version");
    assert_eq!(refused(&hello(1, 1, 0)), Some(ErrorCode::Invalid), "no window");
    assert_eq!(refused(&hello(1, 1, 16 << 20)), None);
    assert_eq!(refused(&hello(1, 1, (16 << 20) + 1)), Some(ErrorCode::Invalid));
    assert_eq!(refused(b"\x08"), Some(ErrorCode::Invalid), "malformed");
    let id = "0123456789abcdef0123456789abcdef";
    let longest = "a".repeat(63);
    for (entropy, name, id) in [(32, "a", id), (512, "a-0", id), (32, longest.as_str(), id)] {
        assert_eq!(refused(&identity(entropy, name, id)), None, "{} {} {}", entropy, name, id);
    }
    let too_long = "a".repeat(64);
    for name in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", "a\n", too_long.as_str()] {
        assert_eq!(refused(&identity(32, name, id)), Some(ErrorCode::Invalid), "{:?}", name);
    }
    for entropy in [0, 31, 513] {
        assert_eq!(refused(&identity(entropy, "a", id)), Some(ErrorCode::Invalid), "{}", entropy);
    }
    for id in ["", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0", &id.to_uppercase()] {
        assert_eq!(refused(&identity(32, "a", id)), Some(ErrorCode::Invalid), "{:?}", id);
    }
    for (most, expected) in [(0, None), (15, Some(ErrorCode::Invalid)), (16, None), (1_000_000, None)] {
        assert_eq!(refused(&limited(id, most)), expected, "{} processes", most);
    }
    assert_eq!(refused(&limited(id, 1_000_001)), Some(ErrorCode::Invalid));
}

#[test]
fn the_nonce_comes_back_whatever_becomes_of_hello() {
    let mut session = started();
    let mut payload = hello(1, 1, 1);
    put_number(&mut payload, 5, u64::from(u32::MAX));
    greet(&mut session, 6, &payload, |action| assert!(matches!(action, Action::Start { nonce: u32::MAX, .. })));
    greet(&mut session, 5, &payload, |action| assert!(matches!(action, Action::RefuseHello { nonce: u32::MAX, .. })));
    greet(&mut session, 6, b"\x08", |action| assert!(matches!(action, Action::RefuseHello { nonce: 0, .. })));
}

#[test]
fn the_513th_stream_is_busy_until_one_ends() {
    let mut session = started();
    for stream in 1..=512 {
        open(&mut session, stream);
    }
    show(&mut session, Kind::Open, 0, 513, &PING, |action| {
        assert_eq!(code(&action), ("refuse", Some(ErrorCode::Busy)));
    });
    assert_eq!(session.open_streams(), 512);
    session.close(100);
    open(&mut session, 513);
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let mut session = started();
    open(&mut session, 1);
    let cases: [(u32, &[u8], &str, Option<ErrorCode>); 5] = [
        (2, b"", "refuse", Some(ErrorCode::Invalid)),
        (2, b"\xe2\x06\x00", "refuse", Some(ErrorCode::Invalid)),
        (2, b"\x0a\x05", "refuse", Some(ErrorCode::Invalid)),
        (1, &PING, "abort", Some(ErrorCode::Invalid)),
        (0, &PING, "nothing", None),
    ];
    for (stream, payload, what, error) in cases {
        show(&mut session, Kind::Open, 0, stream, payload, |action| assert_eq!(code(&action), (what, error)));
    }
    assert_eq!(session.open_streams(), 1);
}

#[test]
fn credit_is_spent_and_never_above_its_limit() {
    let mut session = started();
    open(&mut session, 1);
    session.sent(1, 400);
    assert_eq!(session.credit(1), 600);
    session.sent(1, 5000);
    assert_eq!(session.credit(1), 0, "it does not wrap");
    let most = (1u32 << 31).to_le_bytes();
    show(&mut session, Kind::Credit, 0, 1, &most, |action| assert_eq!(action, Action::Credited { stream: 1 }));
    assert_eq!(session.credit(1), 1 << 31);
    show(&mut session, Kind::Credit, 0, 1, &[1, 0, 0, 0], |action| {
        assert_eq!(code(&action), ("abort", Some(ErrorCode::Invalid)));
    });
    assert_eq!(session.credit(1), 1 << 31);
    for payload in [&[][..], &[1, 0, 0], &[1, 0, 0, 0, 0]] {
        show(&mut session, Kind::Credit, 0, 1, payload, |action| assert_eq!(code(&action).0, "abort"));
    }
}

#[test]
fn input_has_a_window_an_order_and_an_end() {
    let mut session = started();
    open(&mut session, 1);
    let piece = vec![0; 65_536];
    for _ in 0..4 {
        show(&mut session, Kind::Data, 0, 1, &piece, |action| assert_eq!(code(&action).0, "do it"));
    }
    show(&mut session, Kind::Data, 0, 1, b"x", |action| {
        assert_eq!(code(&action), ("abort", Some(ErrorCode::Invalid)), "more than was granted");
    });
    assert_eq!(session.consumed(1, 65_535), None, "credit comes in steps");
    assert_eq!(session.consumed(1, 1), Some(65_536));
    show(&mut session, Kind::Data, 1, 1, b"x", |action| assert_eq!(code(&action).0, "abort", "channel 1"));
    show(&mut session, Kind::Data, FLAG_END, 1, b"x", |action| {
        assert_eq!(action, Action::Input { stream: 1, bytes: b"x", end: true });
    });
    show(&mut session, Kind::Data, 0, 1, b"", |action| assert_eq!(code(&action).0, "abort", "after its end"));
    assert_eq!(session.consumed(1, 65_536), None, "nothing more is to come");
    assert_eq!(session.consumed(2, 65_536), None, "no such stream");
}

#[test]
fn control_is_checked() {
    let mut session = started();
    open(&mut session, 1);
    let mut sent = |payload: &[u8]| {
        let mut result = String::new();
        show(&mut session, Kind::Control, 0, 1, payload, |action| result = format!("{:?}", action));
        result
    };
    assert_eq!(sent(&[0x08, 64]), "Signal { stream: 1, signal: 64 }");
    assert!(sent(&[0x08, 0]).starts_with("Abort"));
    assert!(sent(&[0x08, 65]).starts_with("Abort"));
    assert!(sent(&[0x08]).starts_with("Abort"));
    assert_eq!(sent(&[0x12, 4, 8, 2, 16, 3]), "Resize { stream: 1, size: Terminal { rows: 2, columns: 3 } }");
    assert_eq!(
        sent(&[0x1a, 4, 8, 2, 16, 3]),
        "Acknowledge { stream: 1, acknowledge: Acknowledge { offsets: [2, 3] } }"
    );
    assert_eq!(sent(&[0xe2, 6, 0]), "Nothing");
    assert_eq!(sent(&[]), "Nothing");
}

#[test]
fn other_generations_ended_streams_and_the_guests_kinds_are_not_heard() {
    let mut session = started();
    open(&mut session, 1);
    for generation in [0, 4, 6] {
        let header = Header { length: 0, stream: 1, kind: Kind::Cancel, flags: 0, generation };
        assert_eq!(session.accept(Frame { header, payload: &[] }), Action::Nothing, "generation {}", generation);
    }
    for kind in [Kind::Ready, Kind::Close] {
        show(&mut session, kind, 0, 1, &[], |action| assert_eq!(action, Action::Nothing));
    }
    show(&mut session, Kind::Cancel, 0, 1, &[], |action| assert_eq!(action, Action::Cancel { stream: 1 }));
    session.close(1);
    for kind in [Kind::Data, Kind::Credit, Kind::Control, Kind::Cancel] {
        show(&mut session, kind, 0, 1, &[], |action| assert_eq!(action, Action::Nothing, "{:?}", kind));
    }
}

#[test]
fn who_is_frozen_hears_nothing_but_hello() {
    let mut session = started();
    open(&mut session, 1);
    session.freeze();
    for kind in [Kind::Open, Kind::Data, Kind::Credit, Kind::Control, Kind::Cancel] {
        show(&mut session, kind, 0, 1, &PING, |action| assert_eq!(action, Action::Nothing, "{:?}", kind));
    }
    greet(&mut session, 5, &hello(1, 1, 1), |action| assert_eq!(code(&action).0, "refuse hello"));
    assert!(session.is_frozen());
    greet(&mut session, 6, &hello(1, 1, 1), |action| assert_eq!(code(&action).0, "do it"));
    session.begin(6, 1);
    assert!(!session.is_frozen());
}
