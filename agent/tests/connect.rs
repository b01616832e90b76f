//! Connections to ports of the guest's own, and what the guest uses.

mod support;

use kiln_agent::wire::frame::{Kind, FLAG_END};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;
use support::{file_request, parse_note, request, Host, Note, Reply};

const CONNECT: u8 = 17;
const USAGE: u8 = 19;

const INVALID: u64 = 1;
const SYSTEM: u64 = 5;
const CANCELLED: u64 = 7;

fn connect(port: u64) -> Vec<u8> {
    file_request(CONNECT, &[], &[(1, port)])
}

fn listen(address: &str) -> (TcpListener, u64) {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port.into())
}

/// A connection that stands: its stream, and the other end.
fn connected(host: &mut Host, listener: &TcpListener, port: u64, ipv6: bool) -> (u32, TcpStream) {
    let stream = host.open(&connect(port));
    let note = host.next(stream);
    assert_eq!(note.header.kind, Kind::Note);
    assert_eq!(parse_note(&note.payload), Note::Connected { ipv6 });
    let (peer, _) = listener.accept().expect("a connection");
    peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    (stream, peer)
}

fn read(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).expect("bytes");
    bytes
}

fn code(reply: Reply) -> u64 {
    match reply {
        Reply::Error { code, .. } => code,
        other => panic!("{:?}", other),
    }
}

#[test]
fn bytes_go_both_ways_and_each_ends_for_itself() {
    let mut host = Host::ready();
    let (listener, port) = listen("127.0.0.1");
    let (stream, mut peer) = connected(&mut host, &listener, port, false);
    host.input(stream, b"hello", false);
    assert_eq!(read(&mut peer, 5), b"hello");
    peer.write_all(b"and back").expect("sent");
    assert_eq!(host.next(stream).payload, b"and back");
    host.input(stream, b"last", true);
    assert_eq!(read(&mut peer, 4), b"last");
    assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
    peer.write_all(b"still here").expect("sent");
    assert_eq!(host.next(stream).payload, b"still here");
    drop(peer);
    let outcome = host.outcome(stream);
    assert_eq!((outcome.ended, outcome.reply), (vec![1], Reply::Done(0)));

    let (stream, mut peer) = connected(&mut host, &listener, port, false);
    peer.write_all(b"all there is").expect("sent");
    peer.shutdown(Shutdown::Write).expect("ended");
    let data = host.next(stream);
    assert_eq!((data.payload.as_slice(), data.header.flags), (&b"all there is"[..], 1));
    assert_eq!(host.next(stream).header.flags, 1 | FLAG_END);
    assert!(host.is_silent(Duration::from_millis(200)), "the other direction is open");
    host.input(stream, b"thanks", true);
    assert_eq!(read(&mut peer, 6), b"thanks");
    assert_eq!(host.outcome(stream).reply, Reply::Done(0));
}

#[test]
fn what_is_sent_at_once_waits_for_the_connection() {
    let mut host = Host::ready();
    let (listener, port) = listen("127.0.0.1");
    let stream = host.open(&connect(port));
    host.input(stream, b"early", true);
    let (mut peer, _) = listener.accept().expect("a connection");
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("all");
    assert_eq!(all, b"early");
    peer.write_all(b"late").expect("sent");
    drop(peer);
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"late"[..], Reply::Done(0)));
}

#[test]
fn the_other_loopback_is_tried_when_the_first_refuses() {
    let mut host = Host::ready();
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no ::1");
        return;
    }
    let (listener, port) = listen("::1");
    let (stream, mut peer) = connected(&mut host, &listener, port, true);
    host.input(stream, b"six", true);
    assert_eq!(read(&mut peer, 3), b"six");
    drop(peer);
    assert_eq!(host.outcome(stream).reply, Reply::Done(0));
}

#[test]
fn where_nobody_listens_is_said() {
    let mut host = Host::ready();
    let (listener, port) = listen("127.0.0.1");
    drop(listener);
    match host.run(&connect(port)).reply {
        Reply::Error { code, errno, message } => {
            assert_eq!((code, errno), (SYSTEM, libc::ECONNREFUSED as u64));
            assert_eq!(message, format!("cannot connect to port: {}", port));
        }
        other => panic!("{:?}", other),
    }
    for port in [0, 65_536, 1 << 20] {
        assert_eq!(code(host.run(&connect(port)).reply), INVALID, "{}", port);
    }
    let descriptors = host.agent_descriptors();
    assert_eq!(descriptors, Host::ready().agent_descriptors(), "a failure leaves nothing open");
}

#[test]
fn a_cancelled_one_is_closed() {
    let mut host = Host::ready();
    let (listener, port) = listen("127.0.0.1");
    let (stream, mut peer) = connected(&mut host, &listener, port, false);
    host.send(Kind::Cancel, 0, stream, b"");
    assert_eq!(code(host.outcome(stream).reply), CANCELLED);
    assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn one_that_breaks_says_so() {
    let mut host = Host::ready();
    let (listener, port) = listen("127.0.0.1");
    let (stream, mut peer) = connected(&mut host, &listener, port, false);
    host.input(stream, b"never read", false);
    assert_eq!(peer.peek(&mut [0; 10]).expect("bytes"), 10);
    peer.write_all(b"x").expect("sent");
    assert_eq!(host.next(stream).payload, b"x");
    drop(peer); // With bytes unread: a reset.
    match host.outcome(stream).reply {
        Reply::Error { code, errno, .. } => assert_eq!((code, errno), (SYSTEM, libc::ECONNRESET as u64)),
        other => panic!("{:?}", other),
    }
}

#[test]
fn both_directions_are_held_to_their_credit() {
    let mut host = Host::ready();
    let (listener, port) = listen("127.0.0.1");
    let (stream, mut peer) = connected(&mut host, &listener, port, false);
    let mut sender = peer.try_clone().expect("a second handle");
    let thread = std::thread::spawn(move || {
        sender.write_all(&vec![1; 8 << 20]).expect("all is taken");
        sender.shutdown(Shutdown::Write).expect("ended");
    });
    let mut got = 0;
    while got < 256 * 1024 {
        got += host.next(stream).payload.len();
    }
    assert_eq!(got, 256 * 1024);
    assert!(host.is_silent(Duration::from_millis(300)), "no credit, no data");
    let (mut sent, mut left, mut ended) = (0, 256 * 1024u32, false);
    host.credit(stream, got as u32);
    let echo = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("all");
        all.len()
    });
    while sent < 4 << 20 || !ended {
        if sent < 4 << 20 && left >= 32_768 {
            host.input(stream, &[2; 32_768], sent + 32_768 == 4 << 20);
            left -= 32_768;
            sent += 32_768;
            continue;
        }
        let received = host.next(stream);
        match received.header.kind {
            Kind::Credit => left += u32::from_le_bytes(received.payload.try_into().expect("4 bytes")),
            Kind::Data => {
                got += received.payload.len();
                ended |= received.header.is_end();
                host.credit(stream, received.payload.len() as u32);
            }
            other => panic!("{:?}", other),
        }
    }
    assert_eq!(host.outcome(stream).reply, Reply::Done(0));
    assert_eq!((got, echo.join().expect("no panic")), (8 << 20, 4 << 20));
    thread.join().expect("no panic");
}

#[test]
fn a_guest_tells_what_it_uses() {
    let mut host = Host::ready();
    match host.run(&request(USAGE, b"")).reply {
        Reply::Usage(numbers) => {
            let number = |field: u32| numbers.get(&field).copied().unwrap_or(0);
            assert!(number(1) >= 2, "this test and its agent: {}", number(1));
            assert!(number(2) > number(3) && number(3) > 1 << 20, "{:?}", numbers);
            assert!(number(5) >= number(6) && number(6) > 0, "{:?}", numbers);
        }
        other => panic!("{:?}", other),
    }
}
