//! Generations, standing still, and finding one's place again, on a real connection.

mod support;

use kiln_agent::wire::fields::{put_message, put_number};
use kiln_agent::wire::frame::{Kind, SYNC};
use std::time::Duration;
use support::{exited, hello, request, Exec, Host, Reply, WINDOW};

const FREEZE: u8 = 9;
const PING: u8 = 10;
/// As many zero bytes as the longest frame has.
const LONGEST_FRAME_BYTES: usize = 65_552;

/// The code of READY's error.
fn refusal(host: &mut Host, generation: u32, hello: &[u8]) -> Option<u64> {
    let (bytes, numbers) = host.greet(generation, hello);
    assert_eq!(numbers.get(&1), None, "no version is agreed on");
    support::fields(bytes.get(&5)?).1.get(&1).copied()
}

#[test]
fn what_cannot_be_agreed_on_is_refused_and_leaves_the_generation_as_it_is() {
    let mut host = Host::start();
    assert_eq!(refusal(&mut host, 0, &hello(1, 1, WINDOW)), Some(8), "not newer than none");
    assert_eq!(refusal(&mut host, 5, &hello(3, 2, WINDOW)), Some(8), "no version in common");
    assert_eq!(refusal(&mut host, 5, &hello(1, 1, 0)), Some(1), "no window");
    assert_eq!(refusal(&mut host, 5, b"\x08"), Some(1), "not a message");
    assert_eq!(host.greet(5, &hello(2, 1, WINDOW)).1.get(&1), Some(&1), "the highest both know");
    assert_eq!(refusal(&mut host, 5, &hello(1, 1, WINDOW)), Some(8), "not newer");
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0), "and goes on in its own");
}

#[test]
fn only_a_machine_of_ones_own_gets_an_identity() {
    let mut host = Host::start();
    let mut identity = Vec::new();
    put_message(&mut identity, 1, &[7; 32]);
    put_message(&mut identity, 3, b"box");
    put_message(&mut identity, 4, b"0123456789abcdef0123456789abcdef");
    let mut message = hello(1, 1, WINDOW);
    put_message(&mut message, 4, &identity);
    assert_eq!(refusal(&mut host, 1, &message), Some(5), "this agent is not PID 1");
}

#[test]
fn the_answer_brings_back_the_nonce() {
    let mut host = Host::start();
    let mut message = hello(1, 1, WINDOW);
    put_number(&mut message, 5, 4711);
    assert_eq!(host.greet(1, &message).1.get(&6), Some(&4711));
    let (bytes, numbers) = host.greet(1, &message);
    assert!(bytes.contains_key(&5), "not newer");
    assert_eq!(numbers.get(&6), Some(&4711));
}

#[test]
fn a_request_right_behind_hello_is_heard() {
    let mut host = Host::start();
    host.generation = 3;
    host.raw(&SYNC);
    host.send(Kind::Hello, 0, 0, &hello(1, 1, WINDOW));
    let stream = host.open(&Exec::new(&["echo", "hi"]).request());
    assert_eq!(host.receive().header.kind, Kind::Ready);
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"hi\n"[..], exited(0)));
}

#[test]
fn who_stands_still_says_nothing_until_the_next_generation() {
    let mut host = Host::ready();
    let talks = host.open(&Exec::sh("while :; do echo still here; sleep 0.02; done").request());
    assert_eq!(host.next(talks).header.kind, Kind::Data);
    let freeze = host.open(&request(FREEZE, b""));
    assert_eq!(host.outcome(freeze).reply, Reply::Done(0));
    assert!(host.is_silent(Duration::from_millis(300)), "neither the program is heard");
    host.send(Kind::Cancel, 0, talks, b"");
    host.open(&request(PING, b""));
    assert!(host.is_silent(Duration::from_millis(300)), "nor a request answered");
    host.greet(2, &hello(1, 1, WINDOW));
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0));
}

#[test]
fn a_frame_cut_short_is_got_over_with_zeros_and_sync() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::new(&["cat"]).stdin().request());
    let frame = kiln_agent::wire::frame::Header { length: 60_000, stream, kind: Kind::Data, flags: 0, generation: 1 };
    host.raw(&frame.bytes());
    host.raw(b"the beginning, and then the host is gone");
    host.raw(&[0; LONGEST_FRAME_BYTES]);
    host.greet(2, &hello(1, 1, WINDOW));
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0));
    host.raw(b"\xffnoise that is no frame at all, with half a sync in it: \xffKILN-SYNC-");
    host.greet(3, &hello(1, 1, WINDOW));
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0));
}

#[test]
fn there_are_512_streams_and_no_more() {
    let mut host = Host::ready();
    let pipe = format!("/tmp/kiln-agent-test-{}", host.agent_pid());
    assert_eq!(host.run(&Exec::new(&["mkfifo", &pipe]).request()).reply, exited(0));
    let writer = host.open(&Exec::sh(&format!("exec 3<>{}; echo up; sleep 100", pipe)).request());
    assert_eq!(host.next(writer).payload, b"up\n");
    // Reading a pipe that nobody writes to waits, and holds up nobody else.
    let read = support::file_request(2, &[(1, pipe.as_bytes())], &[]);
    let readers: Vec<u32> = (0..511).map(|_| host.open(&read)).collect();
    let one_more = host.open(&read);
    assert!(matches!(host.outcome(one_more).reply, Reply::Error { code: 6, .. }), "BUSY");
    host.send(Kind::Cancel, 0, readers[0], b"");
    assert!(matches!(host.outcome(readers[0]).reply, Reply::Error { code: 7, .. }), "CANCELLED");
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0), "there is room again");
    host.greet(2, &hello(1, 1, WINDOW));
    assert_eq!(host.run(&Exec::new(&["rm", &pipe]).request()).reply, exited(0));
}
