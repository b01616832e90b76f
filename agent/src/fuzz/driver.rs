//! The agent without a machine: carries actions out as far as they are the session's matter, and holds the session to
//! what it promises. Keeps books of its own about every stream and compares.

use super::random::Random;
use kiln_agent::session::{Action, Session, MAX_STREAMS, WINDOW_BYTES};
use kiln_agent::wire::frame::{Frame, Header, Kind, HEADER_BYTES, MAX_PAYLOAD_BYTES, SYNC};
use kiln_agent::wire::parser::Parser;
use kiln_agent::wire::request::{Identity, Request};

/// What one frame can hold of a repeated field: a key and a length of 0 take two bytes.
const MAX_STRINGS: usize = MAX_PAYLOAD_BYTES / 2;
const MAX_CREDIT_BYTES: u64 = 1 << 31;

/// What became of frames.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    pub accepted: u64,
    pub refused: u64,
    /// Of another generation, for a stream that is over, while frozen.
    pub ignored: u64,
    /// Times a header was broken.
    pub lost: u64,
    pub most_streams: usize,
    /// Streams turned away because there were too many.
    pub busy: u64,
    /// HELLOs that began a generation after damage.
    pub recovered: u64,
}

/// Own books of a stream, in bytes.
struct Account {
    stream: u32,
    /// The agent may send.
    send: u64,
    /// The host may send.
    receive: u64,
    /// Received and not consumed yet.
    held: u64,
    /// Consumed and not credited yet.
    owed: u64,
}

pub struct Driver {
    parser: Parser,
    session: Session,
    window: u32,
    accounts: Vec<Account>,
    /// One stream in so many ends as soon as it is open, as those that take no time do.
    pub brief: usize,
    pub counts: Counts,
}

impl Driver {
    /// A new machine; `counts` go on.
    pub fn new(counts: Counts) -> Driver {
        Driver { parser: Parser::new(), session: Session::new(), window: 0, accounts: Vec::new(), brief: 2, counts }
    }

    pub fn generation(&self) -> u32 {
        self.session.generation()
    }

    /// Receives `bytes` in pieces of any size. Says which promise was broken, if one was.
    pub fn feed(&mut self, bytes: &[u8], random: &mut Random) -> Result<(), String> {
        let mut rest = bytes;
        let most_piece = [1, 7, 64, 4096, usize::MAX][random.below(5)].max(bytes.len() / 4096);
        while !rest.is_empty() {
            let piece = 1 + random.below(most_piece.min(rest.len()));
            let space = self.parser.space();
            if space.is_empty() || space.len() > 2 * (HEADER_BYTES + MAX_PAYLOAD_BYTES) {
                return Err(format!("the parser has room for {} bytes", space.len()));
            }
            let piece = piece.min(space.len());
            space[..piece].copy_from_slice(&rest[..piece]);
            self.parser.filled(piece);
            rest = &rest[piece..];
            self.take_frames(random)?;
        }
        Ok(())
    }

    fn take_frames(&mut self, random: &mut Random) -> Result<(), String> {
        loop {
            let was_synced = self.parser.is_synced();
            let next = self.parser.next_frame();
            let frame = match next {
                Some(frame) => frame,
                None => {
                    self.counts.lost += u64::from(was_synced && !self.parser.is_synced());
                    return Ok(());
                }
            };
            if frame.payload.len() != frame.header.length as usize || frame.payload.len() > MAX_PAYLOAD_BYTES {
                return Err(format!("a frame of {} bytes: {:?}", frame.payload.len(), frame.header));
            }
            let (before, was_frozen) = (self.session.generation(), self.session.is_frozen());
            let books = Books { session: &mut self.session, window: &mut self.window, accounts: &mut self.accounts };
            let outcome = books.settle(frame, random, self.brief)?;
            match outcome {
                Outcome::Accepted => self.counts.accepted += 1,
                Outcome::Refused => self.counts.refused += 1,
                Outcome::Busy => {
                    self.counts.refused += 1;
                    self.counts.busy += 1;
                }
                Outcome::Ignored => self.counts.ignored += 1,
            }
            let after = self.session.generation();
            if after < before || (after > before && outcome != Outcome::Accepted) {
                return Err(format!("generation {} after {}", after, before));
            }
            if was_frozen && after == before && !matches!(outcome, Outcome::Ignored | Outcome::Refused) {
                return Err(String::from("something was done while frozen"));
            }
            self.counts.most_streams = self.counts.most_streams.max(self.session.open_streams());
            if self.session.open_streams() > MAX_STREAMS || self.session.open_streams() != self.accounts.len() {
                return Err(format!("{} streams, not {}", self.session.open_streams(), self.accounts.len()));
            }
        }
    }

    /// Whatever came before: a host that comes back as docs/protocol.md says begins the next generation.
    pub fn recover(&mut self, random: &mut Random, hello: &[u8]) -> Result<(), String> {
        self.feed(&[0; HEADER_BYTES + MAX_PAYLOAD_BYTES], random)?;
        let generation = match self.session.generation().checked_add(1) {
            Some(generation) => generation,
            None => {
                // Damage has made the last generation there is: this machine would have had its time.
                self.session = Session::new();
                self.accounts.clear();
                1
            }
        };
        let header = Header { length: hello.len() as u32, stream: 0, kind: Kind::Hello, flags: 0, generation };
        self.feed(&[&SYNC[..], &header.bytes(), hello].concat(), random)?;
        if self.session.generation() != generation || !self.accounts.is_empty() || self.session.is_frozen() {
            return Err(format!("generation {} did not begin", generation));
        }
        self.counts.recovered += 1;
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Accepted,
    Refused,
    Busy,
    Ignored,
}

struct Books<'a> {
    session: &'a mut Session,
    window: &'a mut u32,
    accounts: &'a mut Vec<Account>,
}

impl Books<'_> {
    fn settle(mut self, frame: Frame<'_>, random: &mut Random, brief: usize) -> Result<Outcome, String> {
        match self.session.accept(frame) {
            Action::Nothing => return Ok(Outcome::Ignored),
            Action::RefuseHello { .. } => return Ok(Outcome::Refused),
            Action::Start { generation, window, identity, .. } => {
                let fits = |i: Identity<'_>| i.entropy.len() <= 512 && matches!(i.max_processes, 0 | 16..=1_000_000);
                if !(1..=16 << 20).contains(&window) || !identity.map_or(true, fits) {
                    return Err(format!("HELLO with window {} and {:?}", window, identity));
                }
                self.session.begin(generation, window);
                *self.window = window;
                self.accounts.clear();
            }
            Action::Open { stream, request } => self.open(stream, &request, random.once_in(brief))?,
            Action::Refuse { stream, .. } => {
                if self.accounts.iter().any(|account| account.stream == stream) {
                    return Err(format!("stream {} refused while it is open", stream));
                }
                let busy = self.session.open_streams() == MAX_STREAMS;
                self.session.close(stream);
                return Ok(if busy { Outcome::Busy } else { Outcome::Refused });
            }
            Action::Abort { stream, .. } => {
                self.account(stream)?;
                self.close(stream);
                return Ok(Outcome::Refused);
            }
            Action::Input { stream, bytes, .. } => self.input(stream, bytes.len() as u64, random)?,
            Action::Credited { stream } => {
                let credit = <[u8; 4]>::try_from(frame.payload).map_err(|_| String::from("CREDIT without 4 bytes"))?;
                self.credited(stream, u64::from(u32::from_le_bytes(credit)), random)?;
            }
            Action::Signal { stream, signal } => {
                self.account(stream)?;
                if !(1..=64).contains(&signal) {
                    return Err(format!("signal {}", signal));
                }
            }
            Action::Resize { stream, .. } | Action::Acknowledge { stream, .. } => drop(self.account(stream)?),
            Action::Cancel { stream } => {
                self.account(stream)?;
                self.close(stream);
            }
        }
        Ok(Outcome::Accepted)
    }

    fn account(&mut self, stream: u32) -> Result<&mut Account, String> {
        let found = self.accounts.iter_mut().find(|account| account.stream == stream);
        found.ok_or_else(|| format!("stream {} is not open", stream))
    }

    fn close(&mut self, stream: u32) {
        self.session.close(stream);
        self.accounts.retain(|account| account.stream != stream);
    }

    fn open(&mut self, stream: u32, request: &Request<'_>, brief: bool) -> Result<(), String> {
        if stream == 0 || self.account(stream).is_ok() {
            return Err(format!("stream {} opened again", stream));
        }
        if let Request::Exec(exec) = request {
            if exec.argv.len() + exec.env.len() > MAX_STRINGS {
                return Err(format!("{} strings in one frame", exec.argv.len() + exec.env.len()));
            }
        }
        let send = u64::from(*self.window);
        if self.session.credit(stream) as u64 != send {
            return Err(format!("stream {} begins with credit {}", stream, self.session.credit(stream)));
        }
        self.accounts.push(Account { stream, send, receive: u64::from(WINDOW_BYTES), held: 0, owed: 0 });
        if brief || matches!(request, Request::Freeze) {
            self.close(stream);
        }
        if matches!(request, Request::Freeze) {
            self.session.freeze();
        }
        Ok(())
    }

    fn input(&mut self, stream: u32, count: u64, random: &mut Random) -> Result<(), String> {
        let account = self.account(stream)?;
        account.receive = account.receive.checked_sub(count).ok_or("more input than was granted")?;
        account.held += count;
        if account.receive + account.held + account.owed != u64::from(WINDOW_BYTES) {
            return Err(format!("stream {} does not come to a window", stream));
        }
        // A program that reads all, or some, or nothing.
        let consumed = match random.below(3) {
            0 => account.held,
            1 => random.below(account.held as usize + 1) as u64,
            _ => 0,
        };
        account.held -= consumed;
        account.owed += consumed;
        let credit = self.session.consumed(stream, consumed as usize).map_or(0, u64::from);
        let account = self.account(stream)?;
        account.owed = account.owed.checked_sub(credit).ok_or("more credit given than consumed")?;
        account.receive += credit;
        Ok(())
    }

    fn credited(&mut self, stream: u32, credit: u64, random: &mut Random) -> Result<(), String> {
        let account = self.account(stream)?;
        account.send += credit;
        let send = account.send;
        if send > MAX_CREDIT_BYTES || self.session.credit(stream) as u64 != send {
            return Err(format!("stream {} has credit {}, not {}", stream, self.session.credit(stream), send));
        }
        let sent = random.below(send as usize + 1);
        self.session.sent(stream, sent);
        self.account(stream)?.send -= sent as u64;
        Ok(())
    }
}
