//! What an event means for the host, and for what is watched from now on.

use super::queue::Change;
use super::tree::join;
use super::{Step, Watch, Watching};
use crate::sys::inotify;
use crate::wire::reply::Error;
use crate::wire::report::WatchKind;

/// How long the second half of a rename may take, in milliseconds: other events can come between the two.
const OTHER_HALF_MS: u64 = 10;

/// The first half of a rename: from where.
pub struct Moved {
    cookie: u32,
    path: Vec<u8>,
    is_directory: bool,
    /// From when on it counts as moved out of what is watched.
    until: u64,
}

impl Moved {
    pub fn until(&self) -> u64 {
        self.until
    }
}

impl Watch {
    pub(super) fn handle(&mut self, watching: &mut Watching, change: Change, now_ms: u64) -> Result<Step, Error> {
        let other_half = change.has(libc::IN_MOVED_TO)
            && watching.moved.as_ref().map_or(false, |moved| moved.cookie == change.cookie)
            && self.counts(&change.name);
        let from = if other_half { watching.moved.take() } else { None };
        // Whatever else comes: what was moved is gone, and must be told of before the next.
        self.gone(watching);
        if change.has(libc::IN_Q_OVERFLOW) {
            self.announcement = Some(WatchKind::Overflow);
            return Ok(Step::Again);
        }
        let is_root = change.watch == watching.root;
        if change.has(libc::IN_IGNORED) {
            watching.tree.remove(change.watch);
        }
        if is_root && change.has(libc::IN_IGNORED | libc::IN_MOVE_SELF) {
            self.end();
            return Ok(Step::Again);
        }
        let directory = match watching.tree.path(change.watch) {
            Some(directory) if self.counts(&change.name) => directory,
            _ => return Ok(Step::Again), // Let go of by now, or not asked for.
        };
        if change.name.is_empty() && !is_root {
            return Ok(Step::Again); // The directory above has told of it.
        }
        let path = join(directory, &change.name);
        let is_directory = change.has(libc::IN_ISDIR);
        if let Some(from) = from {
            self.tell(WatchKind::Renamed, &from.path, &path);
            watching.found.remove(&(change.watch, change.name));
            if is_directory && self.recursive {
                watching.tree.rename(&from.path, &path);
                self.enter(watching, path)?;
            }
        } else if change.has(libc::IN_CREATE | libc::IN_MOVED_TO) {
            if !watching.found.remove(&(change.watch, change.name)) {
                self.tell(WatchKind::Created, &path, b"");
            }
            if is_directory && self.recursive {
                self.enter(watching, path)?;
            }
        } else if change.has(libc::IN_MOVED_FROM) {
            let until = now_ms + OTHER_HALF_MS;
            watching.moved = Some(Moved { cookie: change.cookie, path, is_directory, until });
        } else if change.has(libc::IN_DELETE) {
            self.tell(WatchKind::Removed, &path, b"");
        } else if change.has(libc::IN_MODIFY | libc::IN_ATTRIB) {
            self.tell(WatchKind::Modified, &path, b"");
        }
        Ok(Step::Again)
    }

    /// Whether a name in the root, or the root itself, is what is watched.
    fn counts(&self, name: &[u8]) -> bool {
        self.only.as_ref().map_or(true, |only| only == name)
    }

    /// There are no more events: a rename's second half may come soon or never.
    pub(super) fn wait_for_other_half(&mut self, watching: &mut Watching, now_ms: u64) -> Step {
        match &watching.moved {
            Some(moved) if now_ms >= moved.until => {
                self.gone(watching);
                Step::Again
            }
            _ => Step::Waiting,
        }
    }

    /// What was moved went out of what is watched, and with it everything below.
    fn gone(&mut self, watching: &mut Watching) {
        if let Some(moved) = watching.moved.take() {
            self.tell(WatchKind::Removed, &moved.path, b"");
            if moved.is_directory {
                for watch in watching.tree.cut(&moved.path) {
                    inotify::forget(&watching.inotify, watch);
                }
            }
        }
    }
}
