//! What is kept of the output of kept processes, and who reads it.

use crate::support::kept::{
    acknowledge, attach, code, detach, info, is_running, next_note, numbers_up_to, of, start, ATTACH, DROP_OLDEST,
    EXISTS, FOLLOW, FREEZE, INVALID, MIB, RESIZE, SIGNAL, SILENT, WAIT, WRITE_STDIN,
};
use crate::support::{exited, hello, request, Exec, Host, Note, Reply, WINDOW};
use kiln_agent::wire::frame::Kind;
use std::time::{Duration, Instant};

#[test]
fn who_waits_loses_nothing_and_goes_on_when_a_reader_has_done() {
    let mut host = Host::ready();
    let script = "seq 1 20000; seq 1 3000 >&2";
    let (stream, _) = start(&mut host, Exec::sh(script).keep("a", 1024, WAIT));
    let mut got = [Vec::new(), Vec::new()];
    while got[0].len() < 1024 {
        got[0].extend(host.next(stream).payload);
    }
    assert_eq!(got[0].len(), 1024, "what is kept, and no more");
    assert!(host.is_silent(Duration::from_millis(200)), "though there is credit");
    assert_eq!(info(&mut host, "a").1(7), 1024);
    acknowledge(&mut host, stream, 1024, 0);
    let reply = loop {
        let received = host.next(stream);
        match received.header.kind {
            Kind::Data => {
                let channel = usize::from(received.header.channel()) - 1;
                got[channel].extend(&received.payload);
                host.credit(stream, received.payload.len().max(1) as u32);
                acknowledge(&mut host, stream, got[0].len() as u64, got[1].len() as u64);
            }
            Kind::Close => break received.payload,
            other => panic!("{:?}", other),
        }
    };
    assert!(got[0] == numbers_up_to(20_000) && got[1] == numbers_up_to(3000), "{} {}", got[0].len(), got[1].len());
    assert_eq!(reply, [0x12, 2, 8, 0], "exited 0");
}

#[test]
fn what_is_done_with_stays_while_there_is_room() {
    let mut host = Host::ready();
    let script = "seq 1 500; read line; seq 1 500; read line";
    let (stream, _) = start(&mut host, Exec::sh(script).stdin().keep("a", 2048, WAIT));
    let half = numbers_up_to(500);
    let mut got = 0;
    while got < half.len() {
        got += host.next(stream).payload.len();
    }
    acknowledge(&mut host, stream, got as u64, 0);
    let other = host.run(&of(ATTACH, "a", &[]));
    assert_eq!(other.output, half, "another reader still gets it");
    let next_line = |host: &mut Host| {
        let write = host.open(&of(WRITE_STDIN, "a", &[]));
        host.input(write, b"\n", true);
        assert_eq!(host.outcome(write).reply, Reply::Done(1));
    };
    next_line(&mut host);
    while got < 2 * half.len() {
        got += host.next(stream).payload.len();
    }
    let late = host.run(&of(ATTACH, "a", &[]));
    let whole = [half.clone(), half].concat();
    let gone = whole.len() - 2048;
    assert_eq!(late.notes[1..], [Note::Skipped { channel: 1, offset: gone as u64 }], "its place was needed");
    assert_eq!(late.output, whole[gone..]);
    acknowledge(&mut host, stream, got as u64 + 1, 0);
    assert_eq!(code(host.outcome(stream).reply), INVALID, "done with what was not written");
    next_line(&mut host);
    assert_eq!(host.run(&attach("a", got as u64, 0)).reply, exited(0), "the process is none the worse for it");
}

#[test]
fn who_drops_the_oldest_never_waits() {
    let mut host = Host::ready();
    let (stream, _) = start(&mut host, Exec::sh("seq 1 200000").keep("a", 65_536, DROP_OLDEST));
    let all = numbers_up_to(200_000);
    let ended = host.run(&of(ATTACH, "a", &[SILENT]));
    assert_eq!(ended.reply, exited(0), "nobody gave credit for so much");
    assert!(ended.output.is_empty() && ended.notes.len() == 1);
    let late = host.run(&attach("a", 10, 0));
    let start = all.len() - 65_536;
    assert_eq!(late.notes[1..], [Note::Skipped { channel: 1, offset: start as u64 }]);
    assert!(late.output == all[start..], "the last bytes");
    // The first reader had its window full, and then misses some.
    let first = host.outcome(stream);
    let known = first.output.len() - 65_536;
    assert_eq!(first.notes, [Note::Skipped { channel: 1, offset: start as u64 }]);
    assert!(first.output[..known] == all[..known] && first.output[known..] == all[start..]);
    assert_eq!(first.reply, exited(0));
}

#[test]
fn who_keeps_up_misses_nothing_however_little_is_kept() {
    let mut host = Host::ready();
    let outcome = host.run(&Exec::sh("for n in 1 2 3 4; do seq 1 10000; done").keep("a", 1024, DROP_OLDEST).request());
    let all = numbers_up_to(10_000).repeat(4);
    assert_eq!(outcome.notes.len(), 1, "nothing was skipped");
    assert!(outcome.output == all, "{} of {} bytes", outcome.output.len(), all.len());
}

#[test]
fn readers_see_the_same_each_at_its_own_pace() {
    let mut host = Host::ready();
    let script = "read line; seq 1 50000";
    let (first, _) = start(&mut host, Exec::sh(script).stdin().keep("a", MIB, WAIT));
    let readers: Vec<u32> = (0..5).map(|_| host.open(&attach("a", 0, 0))).collect();
    let write = host.open(&of(WRITE_STDIN, "a", &[(2, 1)]));
    host.input(write, b"go\n", true);
    assert_eq!(host.outcome(write).reply, Reply::Done(3));
    for stream in readers.into_iter().chain([first]) {
        let outcome = host.outcome(stream);
        assert!(outcome.output == numbers_up_to(50_000), "{} bytes", outcome.output.len());
        assert_eq!(outcome.reply, exited(0));
    }
}

#[test]
fn who_does_not_follow_gets_what_is_there() {
    let mut host = Host::ready();
    let (stream, _) = start(&mut host, Exec::sh("echo one; echo two >&2; sleep 100").keep("a", 4096, WAIT));
    let mut got = 0;
    while got < 8 {
        got += host.next(stream).payload.len();
    }
    let outcome = host.run(&of(ATTACH, "a", &[(2, 1)]));
    assert_eq!((outcome.output.as_slice(), outcome.error.as_slice()), (&b"ne\n"[..], &b"two\n"[..]));
    match outcome.reply {
        Reply::Process(bytes, numbers) => {
            assert_eq!((numbers[&7], numbers[&8]), (4, 4));
            assert!(!bytes.contains_key(&6), "it runs");
        }
        other => panic!("{:?}", other),
    }
    let silent = host.open(&of(ATTACH, "a", &[FOLLOW, SILENT]));
    next_note(&mut host, silent);
    assert!(host.is_silent(Duration::from_millis(200)));
    assert_eq!(host.run(&of(SIGNAL, "a", &[(2, 15)])).reply, Reply::Done(0));
    let killed = Reply::Exited { code: None, signal: Some(15), timed_out: false };
    assert_eq!(host.outcome(silent).reply, killed);
    assert_eq!(host.outcome(stream).reply, killed);
    assert_eq!(code(host.run(&of(SIGNAL, "a", &[(2, 15)])).reply), EXISTS, "it has ended");
    assert_eq!(code(host.run(&of(WRITE_STDIN, "a", &[])).reply), EXISTS);
    assert_eq!(code(host.run(&of(RESIZE, "a", &[])).reply), EXISTS);
    assert_eq!(code(host.run(&of(SIGNAL, "a", &[(2, 65)])).reply), INVALID);
}

#[test]
fn a_background_process_keeps_the_outputs_for_a_second_at_most() {
    let mut host = Host::ready();
    let begun = Instant::now();
    let outcome = host.run(&Exec::sh("(sleep 30; echo late) & echo $!; exit 4").keep("a", 4096, WAIT).request());
    assert_eq!(outcome.reply, exited(4));
    let took = begun.elapsed().as_millis();
    assert!((900..5000).contains(&took), "{} ms", took);
    let child: u64 = String::from_utf8_lossy(&outcome.output).trim().parse().expect("a number");
    assert!(is_running(child));
    host.run(&Exec::sh(&format!("kill {}", child)).request());

    // What its own program wrote is not lost, however late it is asked for.
    let (stream, _) = start(&mut host, Exec::sh("seq 1 1000; sleep 30 & echo $!").keep("b", 1024, WAIT));
    detach(&mut host, stream);
    std::thread::sleep(Duration::from_millis(1500));
    let reader = host.open(&attach("b", 0, 0));
    next_note(&mut host, reader);
    let mut output = Vec::new();
    loop {
        let received = host.next(reader);
        if received.header.kind == Kind::Close {
            break;
        }
        output.extend(received.payload);
        acknowledge(&mut host, reader, output.len() as u64, 0);
    }
    let written = numbers_up_to(1000);
    assert!(output.starts_with(&written) && output.len() > written.len());
    host.run(&Exec::sh(&format!("kill {}", String::from_utf8_lossy(&output[written.len()..]).trim())).request());
}

#[test]
fn who_stands_still_reads_nothing_until_the_next_generation() {
    let mut host = Host::ready();
    let mark = std::env::temp_dir().join(format!("kiln-still-{}", host.agent_pid()));
    let script = "head -c 300000 /dev/zero; touch $0";
    let name = mark.to_string_lossy();
    let exec = Exec::new(&["sh", "-c", &format!("sleep 0.3; {}", script), &name]).keep("a", MIB, WAIT);
    start(&mut host, exec);
    let freeze = host.open(&request(FREEZE, b""));
    assert_eq!(host.outcome(freeze).reply, Reply::Done(0));
    assert!(host.is_silent(Duration::from_millis(800)));
    assert!(!mark.exists(), "the pipe is full");
    host.greet(2, &hello(1, 1, WINDOW));
    let outcome = host.run(&attach("a", 0, 0));
    assert_eq!((outcome.output.len(), outcome.reply), (300_000, exited(0)));
    assert!(mark.exists());
    std::fs::remove_file(&mark).expect("a file");
}
