//! What changes in directories, told by an agent that is an ordinary process.

mod support;

use kiln_agent::wire::frame::Kind;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use support::{delimited, fields, file_request, request, Host, Reply};

const PING: u8 = 10;
const WATCH: u8 = 18;

const NOT_FOUND: u64 = 2;
const CANCELLED: u64 = 7;

const KINDS: [&str; 7] = ["?", "ready", "created", "modified", "removed", "renamed", "overflow"];

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("kiln-watch-{}-{}", name, std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }
    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn write(&self, name: &str, content: &str) {
        fs::write(self.at(name), content).expect("a file");
    }
    fn make(&self, name: &str) {
        fs::create_dir_all(self.at(name)).expect("a directory");
    }
    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).expect("renamed");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A watch under way.
struct Watch {
    stream: u32,
    /// Of what is watched, which is left out of the events.
    base: String,
    /// Came and is not read yet.
    bytes: Vec<u8>,
}

impl Watch {
    fn start(host: &mut Host, base: &Path, path: &Path, recursive: bool) -> Watch {
        let request = file_request(WATCH, &[(1, path.as_os_str().as_bytes())], &[(2, recursive.into())]);
        let stream = host.open(&request);
        let mut watch = Watch { stream, base: format!("{}/", base.to_string_lossy()), bytes: Vec::new() };
        assert_eq!(watch.next(host), "ready");
        watch
    }

    fn next(&mut self, host: &mut Host) -> String {
        loop {
            if let Some(&length) = self.bytes.first() {
                assert!(length < 128, "short enough for one byte");
                if self.bytes.len() > usize::from(length) {
                    let rest = self.bytes.split_off(usize::from(length) + 1);
                    let message = std::mem::replace(&mut self.bytes, rest);
                    return self.say(&delimited(&message)[0]);
                }
            }
            let received = host.next(self.stream);
            assert_eq!(received.header.kind, Kind::Data, "{:?}", received);
            host.credit(self.stream, received.payload.len() as u32);
            self.bytes.extend(received.payload);
        }
    }

    fn say(&self, message: &[u8]) -> String {
        let (bytes, numbers) = fields(message);
        let path = |field: u32| bytes.get(&field).map(|path| String::from_utf8_lossy(path).replace(&self.base, ""));
        let words = [Some(KINDS[numbers[&1] as usize].to_string()), path(2), path(3)];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// All up to an event of this name, without those that repeat the one before.
    fn until(&mut self, host: &mut Host, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let event = self.next(host);
            let is_last = event == last;
            if all.last() != Some(&event) {
                all.push(event);
            }
            if is_last {
                return all;
            }
        }
    }
}

#[test]
fn what_changes_in_a_directory_is_told() {
    let mut host = Host::ready();
    let scratch = Scratch::new("plain");
    scratch.write("there", "1");
    scratch.make("below");
    let mut watch = Watch::start(&mut host, &scratch.0, &scratch.0, false);
    scratch.write("new", "");
    scratch.write("there", "2");
    fs::remove_file(scratch.at("new")).expect("removed");
    scratch.rename("there", "here");
    scratch.write("below/deep", "");
    let mut permissions = fs::metadata(scratch.at("here")).expect("a file").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(scratch.at("here"), permissions).expect("set");
    scratch.make("end");
    let expected =
        ["created new", "modified there", "removed new", "renamed there here", "modified here", "created end"];
    assert_eq!(watch.until(&mut host, "created end"), expected);
    host.send(Kind::Cancel, 0, watch.stream, b"");
    assert!(matches!(host.outcome(watch.stream).reply, Reply::Error { code: CANCELLED, .. }));
}

#[test]
fn what_is_not_there_cannot_be_watched() {
    let mut host = Host::ready();
    let missing = file_request(WATCH, &[(1, b"/no/such/thing")], &[]);
    match host.run(&missing).reply {
        Reply::Error { code, errno, message } => {
            assert_eq!((code, errno), (NOT_FOUND, 2));
            assert_eq!(message, "cannot watch: /no/such/thing");
        }
        other => panic!("{:?}", other),
    }
}

#[test]
fn directories_below_are_watched_and_new_ones_as_well() {
    let mut host = Host::ready();
    let scratch = Scratch::new("deep");
    let outside = Scratch::new("deep-outside");
    scratch.make("a/b/c");
    symlink(&outside.0, scratch.at("a/link")).expect("a link");
    let mut watch = Watch::start(&mut host, &scratch.0, &scratch.0, true);
    outside.write("unseen", "");
    scratch.write("a/b/c/file", "");
    scratch.make("x/y/z");
    scratch.write("x/y/z/file", "");
    scratch.write("end", "");
    let events = watch.until(&mut host, "created end");
    assert_eq!(events[0], "created a/b/c/file");
    for expected in ["created x", "created x/y", "created x/y/z", "created x/y/z/file"] {
        assert_eq!(events.iter().filter(|event| *event == expected).count(), 1, "{}: {:?}", expected, events);
    }
    assert!(!events.iter().any(|event| event.contains("unseen")), "{:?}", events);
    // All of them are watched by now.
    scratch.write("x/y/z/file", "2");
    assert!(watch.until(&mut host, "modified x/y/z/file").len() <= 2);
}

#[test]
fn what_is_made_while_a_directory_is_new_is_told_once() {
    let mut host = Host::ready();
    let scratch = Scratch::new("race");
    let mut watch = Watch::start(&mut host, &scratch.0, &scratch.0, true);
    for round in 0..50 {
        scratch.make(&format!("{}/a/b", round));
        for name in ["1", "a/2", "a/b/3"] {
            scratch.write(&format!("{}/{}", round, name), "");
        }
    }
    scratch.write("end", "");
    let mut events = watch.until(&mut host, "created end");
    // What is deeper may come later than "end", which its own directory tells of.
    scratch.write("49/a/b/end", "");
    events.extend(watch.until(&mut host, "created 49/a/b/end"));
    for round in 0..50 {
        for name in ["", "/1", "/a", "/a/2", "/a/b", "/a/b/3"] {
            let expected = format!("created {}{}", round, name);
            assert_eq!(events.iter().filter(|event| **event == expected).count(), 1, "{}: {:?}", expected, events);
        }
    }
}

#[test]
fn renames_are_told_with_both_names_inside_and_with_one_at_the_edge() {
    let mut host = Host::ready();
    let (scratch, outside) = (Scratch::new("rename"), Scratch::new("rename-outside"));
    scratch.make("a/sub/deep");
    scratch.make("b");
    scratch.write("a/sub/deep/file", "");
    outside.make("in/deep");
    outside.write("in/deep/file", "");
    let mut watch = Watch::start(&mut host, &scratch.0, &scratch.0, true);
    scratch.rename("a/sub", "b/moved");
    assert_eq!(watch.next(&mut host), "renamed a/sub b/moved");
    scratch.write("b/moved/deep/file", "2");
    assert_eq!(watch.next(&mut host), "modified b/moved/deep/file", "under its new name");
    fs::rename(outside.at("in"), scratch.at("in")).expect("renamed");
    let events = watch.until(&mut host, "created in/deep/file");
    let created: Vec<&String> = events.iter().filter(|event| event.starts_with("created")).collect();
    assert_eq!(created, ["created in", "created in/deep", "created in/deep/file"]);
    scratch.write("in/deep/other", "");
    assert_eq!(watch.next(&mut host), "created in/deep/other");
    fs::rename(scratch.at("b/moved"), outside.at("gone")).expect("renamed");
    assert_eq!(watch.until(&mut host, "removed b/moved"), ["removed b/moved"]);
    outside.write("gone/deep/file", "3");
    scratch.write("end", "");
    assert_eq!(watch.next(&mut host), "created end", "what went is not watched any more");
}

#[test]
fn a_file_is_watched_by_its_name() {
    let mut host = Host::ready();
    let scratch = Scratch::new("file");
    scratch.write("file", "1");
    scratch.write("other", "1");
    let mut watch = Watch::start(&mut host, &scratch.0, &scratch.at("file"), true);
    scratch.write("other", "2");
    scratch.write("file", "2");
    scratch.write("new", "3");
    assert_eq!(watch.until(&mut host, "modified file"), ["modified file"]);
    scratch.rename("new", "file");
    assert_eq!(watch.until(&mut host, "created file").last().map(String::as_str), Some("created file"));
    scratch.rename("file", "away");
    assert_eq!(watch.next(&mut host), "removed file");
    scratch.write("file", "");
    assert_eq!(watch.next(&mut host), "created file");
    fs::remove_file(scratch.at("file")).expect("removed");
    assert_eq!(watch.next(&mut host), "removed file");
}

#[test]
fn it_is_over_when_what_is_watched_is_gone() {
    let mut host = Host::ready();
    let scratch = Scratch::new("over");
    scratch.make("removed");
    scratch.make("moved");
    for name in ["removed", "moved"] {
        let mut watch = Watch::start(&mut host, &scratch.0, &scratch.at(name), true);
        match name {
            "removed" => fs::remove_dir(scratch.at(name)).expect("removed"),
            _ => scratch.rename(name, "elsewhere"),
        }
        assert_eq!(watch.next(&mut host), format!("removed {}", name));
        let outcome = host.outcome(watch.stream);
        assert_eq!((outcome.ended, outcome.reply), (vec![1], Reply::Done(0)));
    }
}

#[test]
fn events_that_nobody_takes_are_lost_and_that_is_told() {
    let mut host = Host::ready();
    let scratch = Scratch::new("lost");
    let mut watch = Watch::start(&mut host, &scratch.0, &scratch.0, true);
    let memory = host.agent_memory_kib("VmRSS:");
    // More than a window of bytes and the kernel's queue hold together.
    for _ in 0..20_000 {
        scratch.write("file", "");
        fs::remove_file(scratch.at("file")).expect("removed");
    }
    scratch.make("quiet/time");
    assert_eq!(host.run(&request(PING, b"")).reply, Reply::Done(0));
    assert!(host.agent_memory_kib("VmRSS:") - memory < 4096, "what waits is bounded");
    watch.until(&mut host, "overflow");
    scratch.write("quiet/time/end", "");
    assert_eq!(watch.until(&mut host, "created quiet/time/end"), ["created quiet/time/end"], "all is watched again");
}
