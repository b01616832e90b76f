//! Telling the host what changes in a directory, or about one file.
//!
//! A file is watched by its name in its directory, so that one that is put in its place is seen. A directory is first
//! watched and then gone through: what appears in between is seen twice, not never. When the host takes no events they
//! stay with the kernel, whose queue is bounded; when that runs over everything is watched anew.

mod changes;
mod queue;
mod tree;

use crate::error::{failed, invalid};
use crate::files::{self, Entries};
use crate::messages::Messages;
use crate::stream::{Port, Progress, Work};
use crate::sys::epoll::{Event, Interest};
use crate::sys::{c_string, files as sys_files, inotify, Errno};
use crate::wire::reply::{Error, ErrorCode, Reply};
use crate::wire::report::{WatchEvent, WatchKind};
use crate::wire::request;
use changes::Moved;
use queue::Queue;
use std::collections::BTreeSet;
use std::os::unix::io::OwnedFd;
use tree::{join, Tree};

/// Directories one stream watches.
const MAX_DIRECTORIES: usize = 65_536;
/// Events and entries handled in one go before others have their turn.
const TURN_STEPS: usize = 256;
const BUFFER_BYTES: usize = 8 * 1024;
const CHANNEL: u8 = 1;
const MASK: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MODIFY
    | libc::IN_ATTRIB
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_EXCL_UNLINK
    | libc::IN_ONLYDIR;

pub struct Watch {
    /// The directory, absolute.
    root: Vec<u8>,
    /// The one name in it that counts.
    only: Option<Vec<u8>>,
    recursive: bool,
    /// Others are not entered.
    device: u64,
    /// What is watched; None when that is still to be begun.
    watching: Option<Watching>,
    /// What to tell the host once every directory is watched.
    announcement: Option<WatchKind>,
    /// What was watched is gone.
    over: bool,
    messages: Messages,
    /// The message pushed last.
    last: Vec<u8>,
}

struct Watching {
    inotify: OwnedFd,
    root: i32,
    tree: Tree,
    queue: Queue,
    /// Directories that are still to be gone through, and the one that is.
    unseen: Vec<i32>,
    scan: Option<(i32, Entries)>,
    /// Names, with their directory's watch, that were told of as they were found: the event of their making may still
    /// be in the queue.
    found: BTreeSet<(i32, Vec<u8>)>,
    moved: Option<Moved>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Again,
    /// There is nothing to do until there is news.
    Waiting,
}

impl Watch {
    pub fn open(request: &request::Watch<'_>, workdir: &[u8]) -> Result<Watch, Error> {
        let at = files::path(request.path, workdir)?;
        let fail = |errno| failed("cannot watch", request.path, errno);
        let status = sys_files::status(None, &at, true).map_err(fail)?;
        let (root, only) = match (trimmed(at.as_bytes()), status.is_directory()) {
            (path, true) => (path.to_vec(), None),
            (path, false) => {
                let slash = path.iter().rposition(|&byte| byte == b'/');
                let slash = slash.ok_or_else(|| invalid("a path to watch must be absolute", request.path))?;
                (trimmed(&path[..=slash]).to_vec(), Some(path[slash + 1..].to_vec()))
            }
        };
        Ok(Watch {
            root,
            recursive: request.recursive && only.is_none(),
            only,
            device: status.device,
            watching: None,
            announcement: Some(WatchKind::Ready),
            over: false,
            messages: Messages::default(),
            last: Vec::new(),
        })
    }

    /// Watches the root; what is below comes in later steps.
    fn begin(&mut self, port: &mut Port<'_>) -> Result<Watching, Errno> {
        let inotify = inotify::open()?;
        port.watch(&inotify, CHANNEL, Interest::Read)?;
        let root = inotify::watch(&inotify, &c_string(&self.root)?, MASK | libc::IN_MOVE_SELF)?;
        let mut tree = Tree::default();
        tree.insert(root, self.root.clone());
        let unseen = if self.recursive { vec![root] } else { Vec::new() };
        let (queue, found) = (Queue::new(), BTreeSet::new());
        Ok(Watching { inotify, root, tree, queue, unseen, scan: None, found, moved: None })
    }

    fn tell(&mut self, kind: WatchKind, path: &[u8], to: &[u8]) {
        let message = WatchEvent { kind, path: path.to_vec(), to: to.to_vec() }.encode();
        // Who writes a file piece by piece is told of once, as long as nobody has heard of it.
        if kind != WatchKind::Modified || self.messages.is_empty() || message != self.last {
            self.messages.push(&message);
            self.last = message;
        }
    }

    /// Looks at one entry or one event.
    fn step(&mut self, port: &mut Port<'_>, now_ms: u64) -> Result<Step, Error> {
        let mut watching = match self.watching.take() {
            Some(watching) => watching,
            None => match self.begin(port) {
                Ok(watching) => watching,
                // Its end was seen too late.
                Err(Errno(libc::ENOENT | libc::ENOTDIR)) if self.announcement == Some(WatchKind::Overflow) => {
                    self.end();
                    return Ok(Step::Waiting);
                }
                Err(errno) => return Err(refused(&self.root, errno)),
            },
        };
        let step = self.step_with(&mut watching, now_ms);
        // It begins anew when events were lost.
        if !watching.queue.has_lost() {
            self.watching = Some(watching);
        }
        step
    }

    fn step_with(&mut self, watching: &mut Watching, now_ms: u64) -> Result<Step, Error> {
        if self.scan(watching)? {
            return Ok(Step::Again);
        }
        if let Some(kind) = self.announcement.take() {
            self.tell(kind, b"", b"");
            return Ok(Step::Again);
        }
        if let Some(change) = watching.queue.next_change() {
            return self.handle(watching, change, now_ms);
        }
        if watching.queue.fill(&watching.inotify).map_err(|errno| failed("cannot watch", &self.root, errno))? {
            return Ok(Step::Again);
        }
        watching.found.clear();
        Ok(self.wait_for_other_half(watching, now_ms))
    }

    /// Goes on with going through directories. Returns whether there was one.
    fn scan(&mut self, watching: &mut Watching) -> Result<bool, Error> {
        let (watch, mut entries) = match (watching.scan.take(), watching.unseen.pop()) {
            (Some(scan), unseen) => {
                watching.unseen.extend(unseen);
                scan
            }
            (None, Some(watch)) => match watching.tree.path(watch).and_then(open_directory) {
                Some(entries) => (watch, entries),
                None => return Ok(true), // Gone by now, or something else is there: there will be an event.
            },
            (None, None) => return Ok(false),
        };
        if let (Some(directory), Ok(Some(entry))) = (watching.tree.path(watch), entries.next_entry()) {
            let (tells, may_enter) = (self.announcement.is_none(), entry.is_directory != Some(false));
            if tells || may_enter {
                let name = entry.name.to_bytes().to_vec();
                let path = join(directory, &name);
                if tells {
                    self.tell(WatchKind::Created, &path, b"");
                    watching.found.insert((watch, name));
                }
                if may_enter {
                    self.enter(watching, path)?;
                }
            }
            watching.scan = Some((watch, entries));
        }
        Ok(true)
    }

    /// Watches a directory below the root, and has it gone through, unless it is watched already.
    fn enter(&self, watching: &mut Watching, path: Vec<u8>) -> Result<(), Error> {
        let at = c_string(&path).map_err(|errno| refused(&path, errno))?;
        match sys_files::status(None, &at, false) {
            Ok(status) if status.is_directory() && status.device == self.device => {}
            _ => return Ok(()), // Gone by now, or not to be entered.
        }
        match inotify::watch(&watching.inotify, &at, MASK | libc::IN_DONT_FOLLOW) {
            Ok(watch) if watch == watching.root => {} // A directory inside itself, by a mount.
            Ok(watch) => match watching.tree.path(watch).map(<[u8]>::to_vec) {
                Some(known) if known == path => {}
                Some(known) => watching.tree.rename(&known, &path), // The event of it is still to come.
                None if watching.tree.len() >= MAX_DIRECTORIES => {
                    return Err(Error::new(ErrorCode::Busy, "more than 65536 directories to watch"));
                }
                None => {
                    watching.tree.insert(watch, path);
                    watching.unseen.push(watch);
                }
            },
            Err(Errno(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EACCES | libc::ENAMETOOLONG)) => {}
            Err(errno) => return Err(refused(&path, errno)),
        }
        Ok(())
    }

    /// What was watched is gone, and there is nothing left to see.
    fn end(&mut self) {
        let target = join(&self.root, self.only.as_deref().unwrap_or(b""));
        self.tell(WatchKind::Removed, &target, b"");
        self.over = true;
    }
}

impl Work for Watch {
    fn event(&mut self, _channel: u8, event: Event) {
        if let Some(watching) = &mut self.watching {
            watching.queue.news(event);
        }
    }

    fn run(&mut self, port: &mut Port<'_>, now_ms: u64) -> Progress {
        if let Some(blocked) = self.messages.send(port) {
            return blocked;
        }
        let mut step = Step::Again;
        for _ in 0..TURN_STEPS {
            if self.over || step == Step::Waiting {
                break;
            }
            step = match self.step(port, now_ms) {
                Ok(step) => step,
                Err(error) => return Progress::Ended(Reply::Error(error)),
            };
        }
        match self.messages.send(port) {
            Some(blocked) => blocked,
            None if self.over => {
                self.messages.end(port);
                Progress::Ended(Reply::Done(0))
            }
            None if step == Step::Waiting => Progress::Waiting,
            None => Progress::More,
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.watching.as_ref().and_then(|watching| watching.moved.as_ref()).map(Moved::until)
    }

    fn cancel(&mut self) -> Progress {
        Progress::Ended(Reply::Error(Error::new(ErrorCode::Cancelled, "cancelled")))
    }
}

fn open_directory(path: &[u8]) -> Option<Entries> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK;
    let directory = sys_files::open(None, &c_string(path).ok()?, flags, 0).ok()?;
    Some(Entries::of(directory, BUFFER_BYTES))
}

/// Without slashes at its end, unless it is the root.
fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
    &path[..end.min(path.len())]
}

fn refused(path: &[u8], errno: Errno) -> Error {
    match errno.0 {
        libc::ENOSPC => Error { code: ErrorCode::Busy, ..failed("no more directories can be watched", path, errno) },
        _ => failed("cannot watch", path, errno),
    }
}
