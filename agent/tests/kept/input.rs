//! Standard input and terminals of kept processes.

use crate::support::kept::{attach, code, info, of, start, CANCELLED, EXISTS, MIB, RESIZE, WAIT, WRITE_STDIN};
use crate::support::{exited, file_request, Exec, Host, Note, Reply};
use kiln_agent::wire::fields::put_number;
use kiln_agent::wire::frame::Kind;
use std::time::Duration;

#[test]
fn those_who_write_take_turns() {
    let mut host = Host::ready();
    let (stream, _) = start(&mut host, Exec::new(&["cat"]).stdin().keep("a", MIB, WAIT));
    let first = host.open(&of(WRITE_STDIN, "a", &[]));
    let second = host.open(&of(WRITE_STDIN, "a", &[]));
    let given_up = host.open(&of(WRITE_STDIN, "a", &[]));
    let third = host.open(&of(WRITE_STDIN, "a", &[(2, 1)]));
    host.input(third, b"3", true);
    host.input(given_up, b"never", false);
    host.input(second, b"2", true);
    host.input(first, b"1", false);
    assert_eq!(host.next(stream).payload, b"1");
    host.send(Kind::Cancel, 0, given_up, b"");
    assert_eq!(code(host.outcome(given_up).reply), CANCELLED);
    host.input(first, b"11", true);
    assert_eq!(host.outcome(first).reply, Reply::Done(3));
    assert_eq!(host.outcome(second).reply, Reply::Done(1));
    assert_eq!(host.outcome(third).reply, Reply::Done(1));
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"1123"[..], exited(0)));
    let (_, number) = info(&mut host, "a");
    assert_eq!((number(9), number(10)), (5, 0));
}

#[test]
fn input_says_how_much_of_it_was_taken() {
    let mut host = Host::ready();
    start(&mut host, Exec::sh("read line; exec <&-; sleep 100").stdin().keep("a", 4096, WAIT));
    start(&mut host, Exec::new(&["sleep", "100"]).keep("none", 4096, WAIT));
    assert_eq!(code(host.run(&of(WRITE_STDIN, "none", &[])).reply), EXISTS, "it has none");
    assert_eq!(info(&mut host, "a").1(10), 1, "open");
    let line = host.open(&of(WRITE_STDIN, "a", &[]));
    host.input(line, b"line\n", true);
    assert_eq!(host.outcome(line).reply, Reply::Done(5));
    let behind = host.open(&of(WRITE_STDIN, "a", &[]));
    std::thread::sleep(Duration::from_millis(200));
    host.input(behind, b"nobody reads this", false);
    assert_eq!(host.outcome(behind).reply, Reply::Done(0), "without waiting for the rest");
    let (_, number) = info(&mut host, "a");
    assert_eq!((number(9), number(10)), (5, 0));
    assert_eq!(code(host.run(&of(WRITE_STDIN, "a", &[])).reply), EXISTS, "closed");

    // Ended by its process's end, with some of it in the pipe.
    let (_, note) = start(&mut host, Exec::new(&["sleep", "0.3"]).stdin().keep("b", 4096, WAIT));
    assert!(matches!(note, Note::Process(_, numbers) if numbers[&10] == 1));
    let write = host.open(&of(WRITE_STDIN, "b", &[]));
    for _ in 0..4 {
        host.input(write, &[0; 65_536], false);
    }
    let outcome = host.outcome(write);
    assert!(matches!(outcome.reply, Reply::Done(taken) if (4096..=65_536).contains(&taken)), "{:?}", outcome.reply);
}

#[test]
fn much_input_goes_through() {
    let mut host = Host::ready();
    start(&mut host, Exec::sh("wc -c").stdin().keep("a", 4096, WAIT));
    let write = host.open(&of(WRITE_STDIN, "a", &[(2, 1)]));
    let (mut left, mut sent) = (256 * 1024u32, 0);
    while sent < 4 << 20 {
        while left >= 32_768 && sent < 4 << 20 {
            host.input(write, &[1; 32_768], false);
            left -= 32_768;
            sent += 32_768;
        }
        if sent < 4 << 20 {
            let received = host.next(write);
            assert_eq!(received.header.kind, Kind::Credit);
            left += u32::from_le_bytes(received.payload.try_into().expect("4 bytes"));
        }
    }
    host.input(write, b"", true);
    assert_eq!(host.outcome(write).reply, Reply::Done(4 << 20));
    assert_eq!(host.run(&attach("a", 0, 0)).output, b"4194304\n");
}

#[test]
fn a_terminal_is_kept_as_well() {
    let mut host = Host::ready();
    let script = "stty size; read line; stty size; cat; exit 4";
    let exec = Exec::sh(script).terminal(24, 80).stdin().keep("a", 4096, WAIT);
    let (stream, note) = start(&mut host, exec);
    assert!(matches!(note, Note::Process(_, numbers) if numbers[&5] == 1));
    let mut size = Vec::new();
    put_number(&mut size, 1, 50);
    put_number(&mut size, 2, 100);
    let mut output = Vec::new();
    while !output.ends_with(b"24 80\r\n") {
        output.extend(host.next(stream).payload);
    }
    assert_eq!(host.run(&file_request(RESIZE, &[(1, b"a"), (2, &size)], &[])).reply, Reply::Done(0));
    let write = host.open(&of(WRITE_STDIN, "a", &[]));
    host.input(write, b"\n", true);
    assert_eq!(host.outcome(write).reply, Reply::Done(1));
    while !output.ends_with(b"50 100\r\n") {
        output.extend(host.next(stream).payload);
    }
    let end = host.open(&of(WRITE_STDIN, "a", &[(2, 1)]));
    host.input(end, b"typed\n", true);
    assert_eq!(host.outcome(end).reply, Reply::Done(6));
    let outcome = host.outcome(stream);
    assert_eq!(String::from_utf8_lossy(&outcome.output), "typed\r\ntyped\r\n");
    assert_eq!((outcome.ended, outcome.reply), (vec![1], exited(4)));
    start(&mut host, Exec::new(&["sleep", "100"]).keep("b", 4096, WAIT));
    assert_eq!(code(host.run(&file_request(RESIZE, &[(1, b"b"), (2, &size)], &[])).reply), EXISTS, "no terminal");
}
