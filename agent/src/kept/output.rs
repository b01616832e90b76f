//! One output of a kept process: read as it comes, as far as there is room for it.

use super::ring::Ring;
use crate::channel::Source;
use crate::sys::epoll::Event;
use crate::wire::kept::WhenFull;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// Reads in one go before others have their turn.
const TURN_READS: usize = 4;

pub struct Output {
    source: Source,
    ring: Ring,
    /// The greatest offset before which a reader, whichever, is done with everything.
    acknowledged: u64,
}

impl Output {
    pub fn new(fd: Rc<OwnedFd>, buffer_bytes: u32) -> Output {
        Output { source: Source::new(fd), ring: Ring::new(buffer_bytes as usize), acknowledged: 0 }
    }

    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    pub fn event(&mut self, event: Event) {
        self.source.event(event);
    }

    pub fn writer_ended(&mut self) {
        self.source.writer_ended();
    }

    /// Nothing will be added.
    pub fn is_closed(&self) -> bool {
        self.source.is_closed()
    }

    /// Everything was taken that the program itself can have written.
    pub fn is_drained(&self) -> bool {
        self.source.is_drained()
    }

    pub fn close(&mut self) {
        self.source.close();
        self.ring.shrink();
    }

    pub fn drop_bytes(&mut self) {
        self.ring.clear();
    }

    /// A reader is done with all before `offset`, which must have been written.
    pub fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(offset);
    }

    /// Bytes that may be taken now. What was acknowledged stays only until its place is needed.
    fn room(&self, when_full: WhenFull) -> usize {
        match when_full {
            WhenFull::Wait => {
                let owed = self.ring.end() - self.acknowledged.max(self.ring.start());
                self.ring.limit().saturating_sub(owed as usize)
            }
            WhenFull::DropOldest | WhenFull::Unspecified => self.ring.limit(),
        }
    }

    /// Takes what has come. Returns whether there is more to take at once.
    pub fn run(&mut self, when_full: WhenFull) -> bool {
        // Never more than is kept: a reader who keeps up then gets all of it.
        let mut left = self.ring.limit();
        for _ in 0..TURN_READS {
            if !self.source.is_ready() {
                return false;
            }
            let room = self.room(when_full);
            if room == 0 {
                return false; // Somebody has to acknowledge some.
            }
            if left == 0 {
                return true;
            }
            let (source, before) = (&mut self.source, self.ring.end());
            self.ring.fill(room.min(left), |bytes, most| source.read(bytes, most));
            left -= (self.ring.end() - before) as usize;
            if self.is_closed() {
                self.ring.shrink();
            }
        }
        self.source.is_ready() && self.room(when_full) > 0
    }
}
