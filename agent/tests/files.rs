//! What the host does to files, done for real by an agent that is an ordinary process.

mod support;

use kiln_agent::wire::frame::Kind;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{fields, file_request, Host, Outcome, Reply};

const READ: u8 = 2;
const WRITE: u8 = 3;
const STAT: u8 = 4;
const LIST: u8 = 5;
const MAKE: u8 = 6;
const REMOVE: u8 = 7;
const RENAME: u8 = 8;

const INVALID: u64 = 1;
const NOT_FOUND: u64 = 2;
const EXISTS: u64 = 4;
const SYSTEM: u64 = 5;
const CANCELLED: u64 = 7;

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("kiln-files-{}-{}", name, std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }
    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a directory").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A request about one path.
fn about(kind: u8, path: &Path, numbers: &[(u8, u64)]) -> Vec<u8> {
    file_request(kind, &[(1, bytes(path))], numbers)
}

fn error(outcome: Outcome) -> (u64, u64) {
    match outcome.reply {
        Reply::Error { code, errno, .. } => (code, errno),
        other => panic!("{:?}", other),
    }
}

#[test]
fn a_file_is_read_whole_or_in_part() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("read"));
    let content: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(scratch.at("a"), &content).expect("written");
    let mut read = |offset: u64, length: u64| {
        let outcome = host.run(&about(READ, &scratch.at("a"), &[(2, offset), (3, length)]));
        assert_eq!((outcome.reply, outcome.ended.as_slice()), (Reply::Done(0), &[1][..]));
        outcome.output
    };
    assert!(read(0, 0) == content, "all of it");
    assert!(read(0, 70_000) == content[..70_000], "its beginning");
    assert!(read(100_001, 65_537) == content[100_001..165_538], "its middle");
    assert!(read(199_999, 5) == content[199_999..], "its last byte");
    assert!(read(200_000, 0).is_empty() && read(1 << 40, 9).is_empty(), "beyond its end");
}

#[test]
fn what_cannot_be_read_says_why() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("unread"));
    let mut read = |path: &[u8], offset| error(host.run(&file_request(READ, &[(1, path)], &[(2, offset)])));
    assert_eq!(read(bytes(&scratch.at("none")), 0), (NOT_FOUND, 2));
    assert_eq!(read(bytes(&scratch.0), 0), (SYSTEM, 21), "a directory");
    assert_eq!(read(b"", 0), (INVALID, 0));
    assert_eq!(read(b"/a\0b", 0), (INVALID, 0));
    assert_eq!(read(&[b'/'; 4096], 0), (INVALID, 0));
    assert_eq!(read(&[b'/'; 4095], 0), (SYSTEM, 21), "the longest path is the root");
    assert_eq!(read(bytes(&scratch.at("none")), u64::MAX), (NOT_FOUND, 2));
    assert_eq!(read(b"/etc/passwd", u64::MAX), (INVALID, 0), "an offset that is none");
}

#[test]
fn a_pipe_nobody_writes_to_holds_up_nothing() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("pipe"));
    let fifo = scratch.at("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
    assert!(made.success());
    // Held open for writing, so that a reader waits instead of being at the end.
    let _writer = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("a pipe");
    let stream = host.open(&about(READ, &fifo, &[]));
    assert_eq!(host.run(&support::request(10, b"")).reply, Reply::Done(0), "others go on");
    host.send(Kind::Cancel, 0, stream, b"");
    assert_eq!(error(host.outcome(stream)).0, CANCELLED);
    let status = host.run(&about(READ, Path::new("/proc/self/status"), &[]));
    assert!(status.output.starts_with(b"Name:\tagent\n"), "a file whose size is 0 and whose content is not");
}

#[test]
fn a_file_without_end_waits_for_credit_and_ends_at_its_length() {
    let mut host = Host::ready();
    let before = host.agent_memory_kib("VmRSS:");
    let outcome = host.run(&about(READ, Path::new("/dev/zero"), &[(3, 64 << 20)]));
    assert_eq!((outcome.output.len(), outcome.reply), (64 << 20, Reply::Done(0)));
    let endless = host.open(&about(READ, Path::new("/dev/zero"), &[]));
    let mut got = 0;
    while got < support::WINDOW as usize {
        got += host.next(endless).payload.len();
    }
    assert!(host.is_silent(Duration::from_millis(200)), "no credit, no data");
    host.send(Kind::Cancel, 0, endless, b"");
    assert_eq!(error(host.outcome(endless)).0, CANCELLED);
    let grown = host.agent_memory_kib("VmHWM:").saturating_sub(before);
    assert!(grown < 2048, "the agent grew by {} KiB", grown);
}

#[test]
fn a_file_appears_whole_with_its_mode_and_owner() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("write"));
    let path = scratch.at("a");
    fs::write(&path, "old").expect("written");
    let inode = fs::metadata(&path).expect("there").ino();
    let request = file_request(WRITE, &[(1, bytes(&path)), (4, b"1234:5678")], &[(2, 0o4750)]);
    let stream = host.open(&request);
    let content: Vec<u8> = (0..300_000u32).map(|n| (n % 253) as u8).collect();
    let (first, last) = content.split_at(200_000);
    first.chunks(65_536).for_each(|piece| host.input(stream, piece, false));
    assert_eq!(host.next(stream).header.kind, Kind::Credit, "it has taken them");
    assert_eq!(fs::read(&path).expect("there"), b"old", "untouched up to the end");
    last.chunks(50_000).enumerate().for_each(|(index, piece)| host.input(stream, piece, index == 1));
    assert_eq!(host.outcome(stream).reply, Reply::Done(300_000));
    assert!(fs::read(&path).expect("there") == content);
    let status = fs::metadata(&path).expect("there");
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o4750, 1234, 5678));
    assert_ne!(status.ino(), inode, "a new file in its place");
    assert_eq!(scratch.names(), ["a"], "nothing else is left");
}

#[test]
fn a_write_that_does_not_end_leaves_nothing() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("unwritten"));
    fs::write(scratch.at("old"), "old").expect("written");
    for name in ["old", "new"] {
        let stream = host.open(&about(WRITE, &scratch.at(name), &[]));
        host.input(stream, &[1; 1000], false);
        assert_eq!(host.run(&support::request(10, b"")).reply, Reply::Done(0));
        assert_eq!(scratch.names().len(), 2, "the new file lies beside");
        host.send(Kind::Cancel, 0, stream, b"");
        assert_eq!(error(host.outcome(stream)).0, CANCELLED);
        assert_eq!(scratch.names(), ["old"]);
    }
    assert_eq!(fs::read(scratch.at("old")).expect("there"), b"old");
    let begun = host.open(&about(WRITE, &scratch.at("new"), &[]));
    host.input(begun, &[1; 1000], false);
    host.greet(2, &support::hello(1, 1, support::WINDOW));
    assert_eq!(scratch.names(), ["old"], "so does one of an earlier generation");
    let last = host.open(&about(WRITE, &scratch.at("new"), &[]));
    host.input(last, b"x", false);
    host.run(&support::request(10, b""));
    drop(host);
    assert_eq!(scratch.names(), ["old"], "and one whose host is gone");
}

#[test]
fn a_write_can_make_its_directories_and_says_what_is_wrong() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("parents"));
    let deep = scratch.at("x/y/z");
    assert_eq!(error(host.run(&about(WRITE, &deep, &[]))), (NOT_FOUND, 2));
    let stream = host.open(&about(WRITE, &deep, &[(3, 1)]));
    host.input(stream, b"deep", true);
    assert_eq!(host.outcome(stream).reply, Reply::Done(4));
    assert_eq!(fs::read(&deep).expect("there"), b"deep");
    assert_eq!(fs::metadata(&deep).expect("there").mode() & 0o7777, 0o644);
    assert_eq!(error(host.run(&about(WRITE, &scratch.at("x"), &[]))), (SYSTEM, 21), "a directory is there");
    assert_eq!(error(host.run(&about(WRITE, Path::new("/"), &[]))).0, INVALID);
    assert_eq!(error(host.run(&about(WRITE, &scratch.at("x/.."), &[]))).0, INVALID);
    assert_eq!(error(host.run(&about(WRITE, &scratch.at("m"), &[(2, 0o10000)]))).0, INVALID);
    let nobody = file_request(WRITE, &[(1, bytes(&scratch.at("n"))), (4, b"nobody-here")], &[]);
    assert_eq!(error(host.run(&nobody)).0, NOT_FOUND);
    assert_eq!(scratch.names(), ["x"]);
}

#[test]
fn a_symbolic_link_is_replaced_not_written_through() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("link"));
    fs::write(scratch.at("target"), "target").expect("written");
    symlink(scratch.at("target"), scratch.at("link")).expect("a link");
    let stream = host.open(&about(WRITE, &scratch.at("link"), &[]));
    host.input(stream, b"", true);
    assert_eq!(host.outcome(stream).reply, Reply::Done(0));
    assert!(fs::symlink_metadata(scratch.at("link")).expect("there").is_file());
    assert_eq!(fs::read(scratch.at("target")).expect("there"), b"target");
}

/// The name, type and target of each entry of a list.
fn entries(list: &[u8]) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
    let mut rest = list;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| byte & 0x80 == 0).expect("the end of a length");
        let length = rest[..=end].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        let (bytes, numbers) = fields(&rest[end + 1..end + 1 + length]);
        rest = &rest[end + 1 + length..];
        found.push((bytes[&1].clone(), numbers[&2], bytes.get(&8).cloned().unwrap_or_default()));
    }
    found.sort_unstable();
    found
}

#[test]
fn a_directory_is_listed_whatever_its_names_and_size() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("list"));
    fs::create_dir(scratch.at("dir")).expect("made");
    fs::write(scratch.at("dir/inside"), "").expect("written");
    fs::write(scratch.0.join(std::ffi::OsStr::from_bytes(b"\xff\n")), "").expect("written");
    symlink("no where", scratch.at("link")).expect("a link");
    let outcome = host.run(&about(LIST, &scratch.0, &[]));
    assert_eq!((&outcome.reply, outcome.ended.as_slice()), (&Reply::Done(0), &[1][..]));
    let entry = |name: &[u8], kind, target: &[u8]| (name.to_vec(), kind, target.to_vec());
    let expected = [entry(b"dir", 2, b""), entry(b"link", 3, b"no where"), entry(b"\xff\n", 1, b"")];
    assert_eq!(entries(&outcome.output), expected);

    let expected: Vec<String> = (10_000..15_000).map(|n| format!("a file with a longer name {}", n)).collect();
    expected.iter().for_each(|name| fs::write(scratch.at("dir").join(name), "").expect("written"));
    fs::remove_file(scratch.at("dir/inside")).expect("removed");
    let many = entries(&host.run(&about(LIST, &scratch.at("dir"), &[])).output);
    let names: Vec<String> = many.iter().map(|entry| String::from_utf8_lossy(&entry.0).into_owned()).collect();
    assert_eq!(names, expected);
    assert_eq!(error(host.run(&about(LIST, &scratch.at("link"), &[]))).0, NOT_FOUND);
    assert_eq!(error(host.run(&about(LIST, Path::new("/etc/passwd"), &[]))), (NOT_FOUND, 20));
}

#[test]
fn a_file_is_described_and_a_link_followed_when_asked() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("stat"));
    fs::write(scratch.at("a"), "12345").expect("written");
    fs::set_permissions(scratch.at("a"), fs::Permissions::from_mode(0o2640)).expect("a mode");
    symlink("a", scratch.at("link")).expect("a link");
    let modified = fs::metadata(scratch.at("a")).expect("there");
    let modified = (modified.mtime() * 1_000_000_000 + modified.mtime_nsec()) as u64;
    let mut stat = |name: &str, follow| match host.run(&about(STAT, &scratch.at(name), &[(2, follow)])).reply {
        Reply::Info(bytes, numbers) => (bytes, numbers),
        other => panic!("{:?}", other),
    };
    let (bytes, numbers) = stat("a", 0);
    assert_eq!(bytes[&1], b"a");
    assert_eq!([numbers[&2], numbers[&3], numbers[&6], numbers[&7]], [1, 0o2640, 5, modified]);
    let (bytes, numbers) = stat("link", 0);
    assert_eq!((numbers[&2], bytes[&8].as_slice()), (3, &b"a"[..]));
    let (bytes, numbers) = stat("link", 1);
    assert_eq!((numbers[&2], numbers[&6], bytes.get(&8)), (1, 5, None));
    assert_eq!(error(host.run(&about(STAT, &scratch.at("none"), &[]))), (NOT_FOUND, 2));
}

#[test]
fn directories_are_made_with_mode_owner_and_parents() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("make"));
    let path = scratch.at("a/b");
    let owned = file_request(MAKE, &[(1, bytes(&path)), (4, b"7:8")], &[(2, 0o2770), (3, 1)]);
    assert_eq!(error(host.run(&about(MAKE, &path, &[]))), (NOT_FOUND, 2));
    assert_eq!(host.run(&owned).reply, Reply::Done(0));
    let status = fs::metadata(&path).expect("there");
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o2770, 7, 8));
    let parent = fs::metadata(scratch.at("a")).expect("there");
    assert_eq!((parent.mode() & 0o7777, parent.uid()), (0o755, 7));
    assert_eq!(host.run(&about(MAKE, &path, &[(3, 1)])).reply, Reply::Done(0), "it is there: fine");
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o2770, "and stays as it is");
    assert_eq!(error(host.run(&about(MAKE, &path, &[]))), (EXISTS, 17));
    fs::write(scratch.at("file"), "").expect("written");
    assert_eq!(error(host.run(&about(MAKE, &scratch.at("file"), &[(3, 1)]))), (EXISTS, 17));
}

#[test]
fn a_tree_is_removed_and_links_out_of_it_are_not_followed() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("remove"));
    fs::create_dir_all(scratch.at("kept/inner")).expect("made");
    fs::write(scratch.at("kept/inner/precious"), "precious").expect("written");
    fs::create_dir_all(scratch.at("tree/a/b/c")).expect("made");
    symlink(scratch.at("kept"), scratch.at("tree/a/out")).expect("a link");
    symlink("..", scratch.at("tree/a/b/up")).expect("a link");
    for n in 0..1000 {
        fs::write(scratch.at("tree/a/b").join(format!("file {}", n)), "").expect("written");
    }
    assert_eq!(error(host.run(&about(REMOVE, &scratch.at("tree"), &[]))), (EXISTS, 39), "not empty");
    assert_eq!(host.run(&about(REMOVE, &scratch.at("tree"), &[(2, 1)])).reply, Reply::Done(0));
    assert_eq!(scratch.names(), ["kept"]);
    assert_eq!(fs::read(scratch.at("kept/inner/precious")).expect("there"), b"precious");

    symlink("kept", scratch.at("link")).expect("a link");
    assert_eq!(host.run(&about(REMOVE, &scratch.at("link"), &[(2, 1)])).reply, Reply::Done(0));
    assert_eq!(scratch.names(), ["kept"], "the link alone");
    assert!(scratch.at("kept/inner/precious").exists());
    assert_eq!(host.run(&about(REMOVE, &scratch.at("none"), &[(2, 1)])).reply, Reply::Done(0), "gone already");
    assert_eq!(error(host.run(&about(REMOVE, &scratch.at("none"), &[]))), (NOT_FOUND, 2));
    assert_eq!(error(host.run(&about(REMOVE, Path::new("/"), &[(2, 1)]))).0, INVALID);
    assert_eq!(host.run(&about(REMOVE, &scratch.at("kept/inner/precious"), &[])).reply, Reply::Done(0));
    assert_eq!(host.run(&about(REMOVE, &scratch.at("kept/inner"), &[])).reply, Reply::Done(0), "empty");
    assert_eq!(host.agent_descriptors(), Host::ready().agent_descriptors());
}

#[test]
fn a_file_is_renamed_over_another() {
    let (mut host, scratch) = (Host::ready(), Scratch::new("rename"));
    fs::write(scratch.at("a"), "a").expect("written");
    fs::write(scratch.at("b"), "b").expect("written");
    let mut rename = |from: &str, to: &str| {
        host.run(&file_request(RENAME, &[(1, bytes(&scratch.at(from))), (2, bytes(&scratch.at(to)))], &[]))
    };
    assert_eq!(rename("a", "b").reply, Reply::Done(0));
    assert_eq!(fs::read(scratch.at("b")).expect("there"), b"a");
    assert_eq!(error(rename("a", "c")), (NOT_FOUND, 2));
    assert_eq!(error(rename("b", "none/c")), (NOT_FOUND, 2));
    assert_eq!(scratch.names(), ["b"]);
}
