//! Processes that outlive the stream that started them.

#[path = "kept/input.rs"]
mod input;
#[path = "kept/output.rs"]
mod output;
mod support;

use kiln_agent::sys::process;
use std::path::Path;
use support::kept::{
    attach, code, detach, group_of, info, is_running, next_note, of, start, wait_until, ATTACH, BUSY, CANCELLED,
    EXISTS, FORGET, INVALID, LIST, MIB, NOT_FOUND, PING, RESIZE, SIGNAL, SILENT, WAIT, WRITE_STDIN,
};
use support::{delimited, exited, fields, hello, request, Exec, Host, Note, Reply, WINDOW};

#[test]
fn its_stream_begins_with_the_process_and_its_output_stays() {
    let mut host = Host::ready();
    let exec = Exec::new(&["sh", "-c", "echo out; echo err >&2; exit 7", ""]).keep("p-1", 4096, WAIT);
    let outcome = host.run(&exec.request());
    assert_eq!((outcome.output.as_slice(), outcome.error.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(outcome.reply, exited(7));
    let mut ended = outcome.ended;
    ended.sort_unstable();
    assert_eq!(ended, [1, 2]);
    match outcome.notes.as_slice() {
        [Note::Process(bytes, numbers)] => {
            assert_eq!(bytes[&1], b"p-1");
            assert!(numbers[&3] > 1 && numbers[&4] > 1_600_000_000_000_000_000, "{:?}", numbers);
            assert_eq!((numbers[&11], numbers[&12]), (4096, WAIT));
            assert!(!bytes.contains_key(&6) && !numbers.contains_key(&10), "runs, and takes no input");
        }
        other => panic!("{:?}", other),
    }
    let again = host.run(&attach("p-1", 0, 2));
    assert_eq!((again.output.as_slice(), again.error.as_slice()), (&b"out\n"[..], &b"r\n"[..]));
    assert_eq!(again.reply, exited(7));
    let (bytes, number) = info(&mut host, "p-1");
    assert_eq!(fields(&bytes[&6]).1[&1], 7);
    assert_eq!((number(7), number(8)), (4, 4));
}

#[test]
fn what_cannot_be_kept_says_why() {
    let mut host = Host::ready();
    let mut refusal = |exec: Exec| code(host.run(&exec.request()).reply);
    let long = "a".repeat(65);
    for id in ["", "A", "a_b", "a/b", "ü", &long] {
        assert_eq!(refusal(Exec::new(&["true"]).keep(id, 4096, WAIT)), INVALID, "{}", id);
    }
    for bytes in [0, 1023, 16 * MIB + 1] {
        assert_eq!(refusal(Exec::new(&["true"]).keep("a", bytes, WAIT)), INVALID, "{} bytes", bytes);
    }
    assert_eq!(refusal(Exec::new(&["true"]).keep("a", 4096, 0)), INVALID, "no word on what when full");
    assert_eq!(refusal(Exec::new(&["no-such"]).keep("a", 4096, WAIT)), NOT_FOUND);
    assert_eq!(host.run(&Exec::new(&["true"]).keep("a", 1024, WAIT).request()).reply, exited(0));
    assert_eq!(code(host.run(&Exec::new(&["true"]).keep("a", 1024, WAIT).request()).reply), EXISTS, "though it ended");
    let requests = [(ATTACH, 4), (SIGNAL, 2), (WRITE_STDIN, 2), (RESIZE, 4), (FORGET, 4)];
    for (kind, field) in requests {
        assert_eq!(code(host.run(&of(kind, "b", &[(field, 1)])).reply), NOT_FOUND, "{}", kind);
    }
    assert_eq!(code(host.run(&attach("a", 1, 0)).reply), INVALID, "beyond what was written");
    assert_eq!(code(host.run(&attach("a", 0, 1)).reply), INVALID);
}

#[test]
fn it_outlives_its_stream_and_the_generation() {
    let mut host = Host::ready();
    let script = "echo one; while [ ! -e $0 ]; do sleep 0.02; done; echo two; exit 3";
    let flag = std::env::temp_dir().join(format!("kiln-kept-{}", host.agent_pid()));
    let name = flag.to_string_lossy();
    let (stream, _) = start(&mut host, Exec::new(&["sh", "-c", script, &name]).keep("a", 4096, WAIT));
    assert_eq!(host.next(stream).payload, b"one\n");
    detach(&mut host, stream);
    let group = group_of(&mut host, "a");
    assert!(is_running(group));
    let reader = host.open(&attach("a", 4, 0));
    next_note(&mut host, reader);
    host.greet(2, &hello(1, 1, WINDOW));
    assert!(is_running(group));
    std::fs::write(&flag, b"").expect("a file");
    let outcome = host.run(&attach("a", 0, 0));
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"one\ntwo\n"[..], exited(3)));
    std::fs::remove_file(&flag).expect("a file");
}

#[test]
fn who_is_forgotten_is_killed_with_its_group() {
    let mut host = Host::ready();
    let script = "sleep 100 & echo $!; read line; read line";
    let (stream, _) = start(&mut host, Exec::sh(script).stdin().keep("a", 4096, WAIT));
    let child: u64 = String::from_utf8_lossy(&host.next(stream).payload).trim().parse().expect("a number");
    let write = host.open(&of(WRITE_STDIN, "a", &[]));
    let silent = host.open(&of(ATTACH, "a", &[SILENT]));
    let group = group_of(&mut host, "a");
    assert_eq!(host.run(&of(FORGET, "a", &[])).reply, Reply::Done(0));
    for stream in [stream, write, silent] {
        assert_eq!(code(host.outcome(stream).reply), CANCELLED);
    }
    wait_until("both are gone", || !is_running(group) && !is_running(child));
    assert_eq!(code(host.run(&of(FORGET, "a", &[])).reply), NOT_FOUND);
    assert_eq!(host.run(&Exec::new(&["true"]).keep("a", 4096, WAIT).request()).reply, exited(0), "the id is free");
    assert_eq!(host.run(&of(FORGET, "a", &[])).reply, Reply::Done(0), "an ended one as well");
}

#[test]
fn signals_reach_the_group_by_its_stream_as_well() {
    let mut host = Host::ready();
    let script = "trap 'echo hit; exit 3' USR1; echo up; while :; do sleep 0.05; done";
    let (stream, _) = start(&mut host, Exec::sh(script).keep("a", 4096, WAIT));
    assert_eq!(host.next(stream).payload, b"up\n");
    host.signal(stream, 10);
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"hit\n"[..], exited(3)));
}

#[test]
fn time_runs_out_without_a_reader() {
    let mut host = Host::ready();
    let (stream, _) = start(&mut host, Exec::sh("sleep 100 & sleep 100").timeout(300).keep("a", 4096, WAIT));
    detach(&mut host, stream);
    let killed = Reply::Exited { code: None, signal: Some(9), timed_out: true };
    assert_eq!(host.run(&of(ATTACH, "a", &[SILENT])).reply, killed);
}

#[test]
fn all_are_listed_and_the_last_that_ended_stay() {
    let mut host = Host::ready();
    start(&mut host, Exec::new(&["sleep", "100"]).keep("runs", 4096, WAIT));
    let long = "x".repeat(20_000);
    assert_eq!(host.run(&Exec::new(&["true", &long]).keep("e-0", 4096, WAIT).request()).reply, exited(0));
    let reader = host.open(&Exec::sh("head -c 1000000 /dev/zero").keep("read", 4 * MIB, WAIT).request());
    assert_eq!(host.run(&of(ATTACH, "read", &[SILENT])).reply, exited(0));
    let listed = |host: &mut Host| -> Vec<String> {
        let outcome = host.run(&request(LIST, b""));
        assert_eq!((outcome.reply, outcome.ended), (Reply::Done(0), vec![1]));
        let ids = delimited(&outcome.output).into_iter().map(|message| fields(&message).0[&1].clone());
        ids.map(|id| String::from_utf8(id).expect("UTF-8")).collect()
    };
    assert_eq!(listed(&mut host), ["runs", "e-0", "read"]);
    let messages = delimited(&host.run(&request(LIST, b"")).output);
    assert!(messages[1].len() < 17_000, "arguments are cut: {} bytes", messages[1].len());
    for n in 1..=70 {
        let exec = Exec::new(&["true"]).keep(&format!("e-{}", n), 4096, WAIT);
        assert_eq!(host.run(&exec.request()).reply, exited(0));
    }
    let last = (8..=70).map(|n| format!("e-{}", n));
    let expected: Vec<String> = ["runs".to_string(), "read".to_string()].into_iter().chain(last).collect();
    assert_eq!(listed(&mut host), expected, "64 that ended, with the one that is being read");
    assert_eq!(host.outcome(reader).output.len(), 1_000_000);
}

#[test]
fn what_ended_ones_keep_is_bounded() {
    let mut host = Host::ready();
    for n in 0..5 {
        let exec = Exec::sh("head -c 16777216 /dev/zero; exit 5").keep(&format!("p-{}", n), 16 * MIB, WAIT);
        let stream = host.open(&exec.request());
        assert_eq!(host.run(&of(ATTACH, &format!("p-{}", n), &[SILENT])).reply, exited(5));
        detach(&mut host, stream);
    }
    host.run(&Exec::new(&["true"]).keep("last", 4096, WAIT).request());
    let first = host.run(&attach("p-0", 0, 0));
    assert_eq!((first.output.len(), first.reply), (0, exited(5)), "its end is known still");
    assert_eq!(first.notes[1..], [Note::Skipped { channel: 1, offset: 16 * MIB }]);
    assert_eq!(host.run(&attach("p-1", 0, 0)).output.len(), 16 << 20);
    let kib = host.agent_memory_kib("VmRSS:");
    assert!(kib < 80 * 1024, "{} KiB", kib);
    for n in 0..5 {
        host.run(&of(FORGET, &format!("p-{}", n), &[]));
    }
    let kib = host.agent_memory_kib("VmRSS:");
    assert!(kib < 16 * 1024, "given back but for {} KiB", kib);
}

#[test]
fn there_are_512_at_once_and_no_more() {
    // Each has two pipes; as PID 1 the agent sees to it itself.
    if process::allow_open_files(4096, 4096).is_err() {
        println!("skipped: an agent started here may not open enough files");
        return;
    }
    let mut host = Host::ready();
    for n in 0..512 {
        let stream = host.open(&Exec::new(&["sleep", "100"]).keep(&format!("p-{}", n), 1024, WAIT).request());
        next_note(&mut host, stream);
        detach(&mut host, stream);
    }
    let one_more = Exec::new(&["sleep", "100"]).keep("more", 1024, WAIT).request();
    assert_eq!(code(host.run(&one_more).reply), BUSY);
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0));
    host.run(&of(FORGET, "p-0", &[]));
    let stream = host.open(&one_more);
    next_note(&mut host, stream);
    assert!(Path::new("/proc").join(group_of(&mut host, "more").to_string()).exists());
}
