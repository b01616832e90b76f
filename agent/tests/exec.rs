//! Programs, run for real by an agent that is an ordinary process.

mod support;

use kiln_agent::wire::frame::Kind;
use std::time::{Duration, Instant};
use support::{exited, hello, Exec, Host, Reply, WINDOW};

#[test]
fn outputs_come_on_their_channels_and_end_before_the_exit_code() {
    let mut host = Host::ready();
    let outcome = host.run(&Exec::sh("echo out; echo err >&2; exit 7").request());
    assert_eq!(outcome.output, b"out\n");
    assert_eq!(outcome.error, b"err\n");
    assert_eq!(outcome.reply, exited(7));
    let mut ended = outcome.ended;
    ended.sort_unstable();
    assert_eq!(ended, [1, 2]);
}

#[test]
fn a_program_gets_its_arguments_environment_and_directory() {
    let mut host = Host::ready();
    let script = "printf '%s|' \"$@\" \"$A\" \"$PWD\" \"$HOME\" \"$USER\" \"$PATH\"";
    let request = Exec::new(&["sh", "-c", script, "sh", "", "two words", "ü\n"])
        .env("A=first")
        .env("A=x=\"$y\"")
        .cwd("/usr/bin")
        .request();
    let output = String::from_utf8(host.run(&request).output).expect("UTF-8");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(output, format!("|two words|ü\n|x=\"$y\"|/usr/bin|/root|root|{}|", path));
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut host = Host::ready();
    let mut error = |exec: Exec| match host.run(&exec.request()).reply {
        Reply::Error { code, errno, message } => (code, errno, message),
        other => panic!("{:?}", other),
    };
    assert_eq!(error(Exec::new(&["no-such"])), (2, 2, "cannot run the program: no-such".into()));
    assert_eq!(error(Exec::new(&["/etc/passwd"])), (3, 13, "cannot run the program: /etc/passwd".into()));
    assert_eq!(error(Exec::new(&["/etc/passwd/x"])).0, 2);
    assert_eq!(
        error(Exec::new(&["true"]).cwd("/nowhere")),
        (2, 2, "cannot enter the working directory: /nowhere".into())
    );
    assert_eq!(error(Exec::new(&["true"]).user("nobody-here")).0, 2);
    assert_eq!(error(Exec::new(&["true"]).user("root:nogroup-here")).0, 2);
    assert_eq!(error(Exec::new(&[])).0, 1);
    assert_eq!(error(Exec::new(&[""])).0, 1);
    assert_eq!(error(Exec::new(&["tr\0ue"])).0, 1);
    assert_eq!(error(Exec::new(&["true"]).env("=x")).0, 1);
    assert_eq!(host.agent_descriptors(), Host::ready().agent_descriptors(), "a failed start leaves nothing open");
}

#[test]
fn a_program_can_be_another_users() {
    let mut host = Host::ready();
    let id = "id -u; id -g; id -G";
    assert_eq!(host.run(&Exec::sh(id).user("nobody").request()).output, b"65534\n65534\n65534\n");
    assert_eq!(host.run(&Exec::sh(id).user("1234:5678").request()).output, b"1234\n5678\n5678\n");
    assert_eq!(host.run(&Exec::sh(id).user("nobody:daemon").request()).output, b"65534\n1\n1\n");
    assert_eq!(host.run(&Exec::sh("kill -0 1").user("nobody").request()).reply, exited(1));
}

#[test]
fn a_program_starts_with_clean_signals_and_only_its_own_streams() {
    let mut host = Host::ready();
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd";
    let outcome = host.run(&Exec::sh(script).request());
    let output = String::from_utf8(outcome.output).expect("UTF-8");
    // Whoever runs the test may ignore signals and leave descriptors open. The agent, made to be the first process,
    // passes them on as any program would, and adds none.
    let plain = std::process::Command::new("sh").args(["-c", script]).output().expect("sh runs");
    let plain = String::from_utf8(plain.stdout).expect("UTF-8");
    let set = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a set of signals");
        u64::from_str_radix(line.trim(), 16).expect("hexadecimal digits")
    };
    assert_eq!(set(&output, "SigBlk:"), 0, "{}", output);
    assert_eq!(set(&output, "SigIgn:"), set(&plain, "SigIgn:"));
    assert_eq!(set(&output, "SigIgn:") & 1 << (libc::SIGPIPE - 1), 0, "what the agent ignores: {}", output);
    let descriptors = |text: &str| text.lines().skip(2).map(String::from).collect::<Vec<_>>();
    assert_eq!(descriptors(&output), descriptors(&plain));
    assert!(descriptors(&output).len() >= 4, "its three streams, and the directory ls reads: {}", output);
}

#[test]
fn input_reaches_the_program_and_ends() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::new(&["cat"]).stdin().request());
    host.input(stream, b"hello ", false);
    host.input(stream, b"there", true);
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"hello there"[..], exited(0)));
    let without = host.run(&Exec::new(&["cat"]).request());
    assert_eq!((without.output.as_slice(), without.reply), (&b""[..], exited(0)));
}

#[test]
fn input_is_credited_as_it_is_consumed_and_more_than_granted_is_refused() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::new(&["sleep", "100"]).stdin().request());
    for _ in 0..4 {
        host.input(stream, &[7; 65_536], false);
    }
    let credit = host.next(stream);
    assert_eq!(credit.header.kind, Kind::Credit, "what fits the pipe was consumed");
    let granted = u32::from_le_bytes(credit.payload.try_into().expect("4 bytes"));
    assert!((65_536..=131_072).contains(&granted), "{}", granted);
    host.input(stream, &vec![7; granted as usize / 2 + 1], false);
    host.input(stream, &vec![7; granted as usize / 2 + 1], false);
    assert!(matches!(host.outcome(stream).reply, Reply::Error { code: 1, .. }));

    let echo = host.open(&Exec::sh("exec cat | wc -c").stdin().request());
    let (mut left, mut sent, mut answer) = (256 * 1024u32, 0, Vec::new());
    while sent < 4 << 20 {
        while left >= 32_768 && sent < 4 << 20 {
            host.input(echo, &[1; 32_768], false);
            left -= 32_768;
            sent += 32_768;
        }
        let received = host.next(echo);
        assert_eq!(received.header.kind, Kind::Credit);
        left += u32::from_le_bytes(received.payload.try_into().expect("4 bytes"));
    }
    host.input(echo, b"", true);
    answer.extend(host.outcome(echo).output);
    assert_eq!(String::from_utf8_lossy(&answer).trim(), "4194304");
}

#[test]
fn input_nobody_reads_is_swallowed() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::sh("exec <&-; sleep 0.3; echo done").stdin().request());
    let mut left = 256 * 1024u32;
    for _ in 0..32 {
        while left < 65_536 {
            let received = host.next(stream);
            assert_eq!(received.header.kind, Kind::Credit);
            left += u32::from_le_bytes(received.payload.try_into().expect("4 bytes"));
        }
        host.input(stream, &[0; 65_536], false);
        left -= 65_536;
    }
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"done\n"[..], exited(0)));
}

#[test]
fn a_terminal_has_a_size_and_tells_of_a_new_one() {
    let mut host = Host::ready();
    let script = "tty -s && stty size; trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.05; done";
    let stream = host.open(&Exec::sh(script).terminal(24, 80).stdin().request());
    let mut output = Vec::new();
    while !output.ends_with(b"ready\r\n") {
        output.extend(host.next(stream).payload);
    }
    assert_eq!(output, b"24 80\r\nready\r\n");
    let mut size = Vec::new();
    kiln_agent::wire::fields::put_message(&mut size, 2, &[0x08, 50, 0x10, 100]);
    host.send(Kind::Control, 0, stream, &size);
    let outcome = host.outcome(stream);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"50 100\r\n"[..], exited(5)));
}

#[test]
fn a_terminals_output_comes_whole() {
    let mut host = Host::ready();
    let outcome = host.run(&Exec::sh("stty -opost; seq 1 300000").terminal(24, 80).request());
    let expected: String = (1..=300_000).map(|n| format!("{}\n", n)).collect();
    assert!(outcome.output == expected.as_bytes(), "{} of {} bytes", outcome.output.len(), expected.len());
    assert_eq!(outcome.reply, exited(0));
}

#[test]
fn the_end_of_input_reaches_a_terminal_and_so_does_ctrl_c() {
    let mut host = Host::ready();
    let cat = host.open(&Exec::new(&["cat"]).terminal(24, 80).stdin().request());
    host.input(cat, b"line\n", true);
    let outcome = host.outcome(cat);
    assert_eq!((outcome.output.as_slice(), outcome.reply), (&b"line\r\nline\r\n"[..], exited(0)));
    let sleep = host.open(&Exec::new(&["sleep", "100"]).terminal(24, 80).stdin().request());
    std::thread::sleep(Duration::from_millis(100));
    host.input(sleep, &[3], false);
    assert_eq!(host.outcome(sleep).reply, Reply::Exited { code: None, signal: Some(2), timed_out: false });
}

#[test]
fn a_signal_reaches_the_whole_group() {
    let mut host = Host::ready();
    let script =
        "(trap 'echo child; exit' USR1; sleep 100 & wait) & trap 'wait; echo parent; exit 3' USR1; echo up; wait";
    let stream = host.open(&Exec::sh(script).request());
    assert_eq!(host.next(stream).payload, b"up\n");
    std::thread::sleep(Duration::from_millis(100));
    host.signal(stream, 10);
    let outcome = host.outcome(stream);
    assert_eq!(outcome.reply, exited(3));
    assert_eq!(outcome.output, b"child\nparent\n");
    let refused = host.open(&Exec::new(&["sleep", "100"]).request());
    host.signal(refused, 65);
    assert!(matches!(host.outcome(refused).reply, Reply::Error { code: 1, .. }));
}

#[test]
fn time_runs_out_for_stopped_programs_as_well() {
    let mut host = Host::ready();
    let begun = Instant::now();
    let outcome = host.run(&Exec::sh("sleep 100 & kill -STOP $$").timeout(300).request());
    assert_eq!(outcome.reply, Reply::Exited { code: None, signal: Some(9), timed_out: true });
    assert!((300..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[test]
fn cancel_kills_the_group_and_is_answered() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::sh("echo $$; sleep 100 & wait").request());
    let group: i32 = String::from_utf8_lossy(&host.next(stream).payload).trim().parse().expect("a number");
    host.send(Kind::Cancel, 0, stream, b"");
    assert!(matches!(host.outcome(stream).reply, Reply::Error { code: 7, .. }));
    assert!(group_is_gone(group));
    host.send(Kind::Cancel, 0, stream, b"");
    assert_eq!(host.run(&support::request(10, b"")).reply, Reply::Done(0), "a late cancel is ignored");
}

fn group_is_gone(group: i32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let alive = std::fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            let (state, pgrp) = (fields.next(), fields.nth(1));
            pgrp.and_then(|pgrp| pgrp.parse().ok()) == Some(group) && state != Some("Z")
        });
        if !alive {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn a_background_process_keeps_the_stream_for_a_second_at_most() {
    let mut host = Host::ready();
    let begun = Instant::now();
    let outcome = host.run(&Exec::sh("(sleep 30; echo late) & echo $!; exit 4").request());
    let took = begun.elapsed().as_millis();
    assert_eq!(outcome.reply, exited(4));
    assert!((900..3000).contains(&took), "{} ms", took);
    let pid = String::from_utf8_lossy(&outcome.output).trim().to_string();
    assert!(std::path::Path::new("/proc").join(&pid).exists(), "it lives on");
    host.run(&Exec::sh(&format!("kill {}", pid)).request());

    let begun = Instant::now();
    let outcome = host.run(&Exec::sh("yes & exit 4").request());
    assert_eq!(outcome.reply, exited(4));
    assert!((900..5000).contains(&begun.elapsed().as_millis()), "one that writes on and on as well");
}

#[test]
fn outputs_end_when_the_program_closes_them() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::sh("echo last; exec >&- 2>&-; sleep 100").request());
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let received = host.next(stream);
        assert_eq!(received.header.kind, Kind::Data);
        if received.header.is_end() {
            ended.push(received.header.channel());
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 2]);
    host.signal(stream, 9);
    assert_eq!(host.outcome(stream).reply, Reply::Exited { code: None, signal: Some(9), timed_out: false });
}

#[test]
fn output_waits_for_credit_and_loses_nothing() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::sh("head -c 1000000 /dev/zero; echo end").request());
    let mut got = 0;
    while got < WINDOW as usize {
        got += host.next(stream).payload.len();
    }
    assert_eq!(got, WINDOW as usize);
    assert!(host.is_silent(Duration::from_millis(1500)), "no credit, no data, though its time to linger is over");
    host.credit(stream, u32::MAX / 4);
    let outcome = host.outcome(stream);
    assert_eq!(got + outcome.output.len(), 1_000_004);
    assert!(outcome.output.ends_with(b"end\n"));
    assert_eq!(outcome.reply, exited(0));
}

#[test]
fn a_gibibyte_into_a_slow_reader_leaves_memory_flat() {
    let mut host = Host::ready();
    host.run(&Exec::sh("head -c 4000000 /dev/zero").request());
    let before = host.agent_memory_kib("VmHWM:");
    let stream = host.open(&Exec::sh("head -c 1073741824 /dev/zero").request());
    let (mut got, mut owed, mut pauses) = (0u64, 0u32, 0);
    loop {
        let received = host.next(stream);
        if received.header.kind == Kind::Close {
            break;
        }
        got += received.payload.len() as u64;
        owed += received.payload.len() as u32;
        if got >> 26 > pauses {
            pauses += 1;
            std::thread::sleep(Duration::from_millis(50)); // Everything on the way fills up meanwhile.
        }
        if owed > WINDOW as u32 / 4 {
            host.credit(stream, owed);
            owed = 0;
        }
    }
    assert_eq!(got, 1 << 30);
    let grown = host.agent_memory_kib("VmHWM:") - before;
    assert!(grown < 1024, "the agent grew by {} KiB", grown);
}

#[test]
fn fifty_at_once_and_two_hundred_in_a_row() {
    let mut host = Host::ready();
    let streams: Vec<u32> =
        (0..50).map(|n| host.open(&Exec::sh(&format!("sleep 0.1; echo {}; exit {}", n, n)).request())).collect();
    for (n, stream) in streams.into_iter().enumerate().rev() {
        let outcome = host.outcome(stream);
        assert_eq!((outcome.output, outcome.reply), (format!("{}\n", n).into_bytes(), exited(n as u64)));
    }
    let descriptors = host.agent_descriptors();
    for n in 0..200 {
        let outcome = host.run(&Exec::new(&["echo", &n.to_string()]).request());
        assert_eq!((outcome.output, outcome.reply), (format!("{}\n", n).into_bytes(), exited(0)));
    }
    assert_eq!(host.agent_descriptors(), descriptors);
}

#[test]
fn streams_share_the_way_to_the_host() {
    let mut host = Host::ready();
    let streams: Vec<u32> = (0..20).map(|_| host.open(&Exec::sh("head -c 200000 /dev/zero").request())).collect();
    for stream in streams {
        assert_eq!(host.outcome(stream).output.len(), 200_000);
    }
}

#[test]
fn a_new_generation_ends_what_was_before() {
    let mut host = Host::ready();
    let stream = host.open(&Exec::sh("echo $$; sleep 100 & wait").request());
    let group: i32 = String::from_utf8_lossy(&host.next(stream).payload).trim().parse().expect("a number");
    let descriptors = host.agent_descriptors();
    host.greet(2, &hello(1, 1, WINDOW));
    assert!(group_is_gone(group));
    assert!(host.agent_descriptors() < descriptors);
    host.generation = 1;
    host.open(&support::request(10, b""));
    host.generation = 2;
    let now = host.open(&support::request(10, b""));
    let received = host.receive();
    assert_eq!((received.header.kind, received.header.stream), (Kind::Close, now), "the old generation is not heard");
}
