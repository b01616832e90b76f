//! What a host that keeps the rules sends, put together at random.

use super::mutate::damage;
use super::random::Random;
use kiln_agent::wire::fields::{put_bytes, put_message, put_number};
use kiln_agent::wire::frame::{Header, Kind, FLAG_END, MAX_PAYLOAD_BYTES, SYNC};

/// Frames of a usual transcript at most.
const MAX_FRAMES: usize = 60;
/// Streams of the transcripts that open more than there can be.
const MANY_STREAMS: usize = 600;

pub struct Transcript<'r> {
    random: &'r mut Random,
    pub bytes: Vec<u8>,
    pub frames: u64,
    /// The generation of the last HELLO.
    pub generation: u32,
    streams: u32,
    /// One payload in so many is damaged inside a whole frame.
    damaged: usize,
}

impl<'r> Transcript<'r> {
    /// Begins with the generation after `generation`.
    pub fn write(random: &'r mut Random, generation: u32) -> Transcript<'r> {
        let damaged = [usize::MAX, 20, 5, 2][random.below(4)];
        let mut transcript = Transcript { random, bytes: Vec::new(), frames: 0, generation, streams: 0, damaged };
        transcript.hello();
        if transcript.random.once_in(100) {
            for _ in 0..MANY_STREAMS {
                transcript.open();
            }
        }
        for _ in 0..transcript.random.below(MAX_FRAMES) {
            transcript.step();
        }
        transcript
    }

    fn step(&mut self) {
        match self.random.below(32) {
            0 => self.hello(),
            1 => self.freeze(),
            2..=13 => self.open(),
            14..=20 => self.data(),
            21..=24 => self.credit(),
            25..=27 => self.control(),
            28 => self.frame(Kind::Ready, 0, 0, Vec::new()),
            29 => self.bytes.extend_from_slice(&SYNC),
            _ => {
                let stream = self.stream();
                self.frame(Kind::Cancel, 0, stream, Vec::new());
            }
        }
    }

    fn frame(&mut self, kind: Kind, flags: u8, stream: u32, mut payload: Vec<u8>) {
        if self.random.once_in(self.damaged) {
            damage(self.random, &mut payload, &self.bytes);
            payload.truncate(MAX_PAYLOAD_BYTES);
        }
        let header = Header { length: payload.len() as u32, stream, kind, flags, generation: self.generation };
        self.bytes.extend_from_slice(&header.bytes());
        self.bytes.extend_from_slice(&payload);
        self.frames += 1;
    }

    /// A stream that was opened, mostly.
    fn stream(&mut self) -> u32 {
        1 + self.random.below(self.streams as usize + 1) as u32
    }

    fn hello(&mut self) {
        self.generation = self.generation.saturating_add(1 + self.random.below(3) as u32);
        self.streams = 0;
        self.bytes.extend_from_slice(&SYNC);
        let window = 1 + self.random.below(16 << 20) as u64;
        let identity = self.random.once_in(2).then(|| self.identity());
        let payload = hello(window, identity.as_deref());
        self.frame(Kind::Hello, 0, 0, payload);
    }

    fn identity(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let entropy = 32 + self.random.below(481);
        put_bytes(&mut out, 1, &self.random.bytes(entropy));
        put_number(&mut out, 2, self.random.next() >> 1);
        put_bytes(&mut out, 3, b"sandbox-1");
        put_bytes(&mut out, 4, b"0123456789abcdef0123456789abcdef");
        if self.random.once_in(2) {
            put_number(&mut out, 5, 16 + self.random.below(1_000_000) as u64);
        }
        out
    }

    fn freeze(&mut self) {
        // Now and then only: all that follows is ignored up to the next HELLO.
        if self.random.once_in(4) {
            self.streams += 1;
            self.frame(Kind::Open, 0, self.streams, request(9, &[]));
        }
    }

    fn open(&mut self) {
        self.streams += 1;
        let payload = match self.random.below(14) {
            0 | 1 => self.exec(),
            2 => self.file_request(2, &[1], &[2, 3], None),
            3 => self.file_request(3, &[1], &[2, 3], Some(4)),
            4 => self.file_request(4, &[1], &[2], None),
            5 => self.file_request(5, &[1], &[], None),
            6 => self.file_request(6, &[1], &[2, 3], Some(4)),
            7 if self.random.once_in(2) => self.file_request(7, &[1], &[2], None),
            7 => self.file_request(8, &[1, 2], &[], None),
            8 => self.process_request(11, &[2, 3, 4, 5]),
            9 => self.process_request(13, &[2]),
            10 => self.process_request(14, &[2]),
            11 if self.random.once_in(2) => self.process_request(16, &[]),
            11 => self.resize_process(),
            12 if self.random.once_in(2) => self.file_request(17, &[], &[1], None),
            12 => self.file_request(18, &[1], &[2], None),
            13 if self.random.once_in(2) => request(12, &[]),
            13 => request(19, &[]),
            _ => request(10, &[]),
        };
        self.frame(Kind::Open, 0, self.streams, payload);
    }

    fn exec(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // Now and then as many as there can be: two bytes are the least that one takes.
        let most = if self.random.once_in(500) { 32_000 } else { 8 };
        for _ in 0..self.random.below(most) {
            put_message(&mut out, 1, if most == 8 { b"argument" } else { b"" });
        }
        for _ in 0..self.random.below(4) {
            put_message(&mut out, 2, b"NAME=value");
        }
        put_bytes(&mut out, 3, b"/tmp");
        put_bytes(&mut out, 4, b"node:node");
        put_number(&mut out, 5, self.random.below(2) as u64);
        if self.random.once_in(2) {
            let size = self.size();
            put_message(&mut out, 6, &size);
        }
        put_number(&mut out, 7, self.random.magnitude());
        if self.random.once_in(2) {
            let mut keep = Vec::new();
            put_bytes(&mut keep, 1, self.process());
            put_number(&mut keep, 2, self.random.magnitude());
            put_number(&mut keep, 3, self.random.below(4) as u64);
            put_message(&mut out, 8, &keep);
        }
        request(1, &out)
    }

    fn process(&mut self) -> &'static [u8] {
        [&b"p-1"[..], b"", b"0123456789012345678901234567890123456789012345678901234567890123", b"\xff"]
            [self.random.below(4)]
    }

    fn process_request(&mut self, kind: u8, numbers: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, self.process());
        for &field in numbers {
            put_number(&mut out, field, self.random.magnitude());
        }
        request(kind, &out)
    }

    fn resize_process(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, self.process());
        let size = self.size();
        put_message(&mut out, 2, &size);
        request(15, &out)
    }

    fn size(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 1, self.random.magnitude());
        put_number(&mut out, 2, self.random.magnitude());
        out
    }

    fn file_request(&mut self, kind: u8, paths: &[u8], numbers: &[u8], user: Option<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        for &field in paths {
            let count = if self.random.once_in(50) { 5000 } else { self.random.below(40) };
            put_bytes(&mut out, field, &self.random.bytes(count));
        }
        for &field in numbers {
            put_number(&mut out, field, self.random.magnitude());
        }
        if let Some(field) = user {
            put_bytes(&mut out, field, b"1000:1000");
        }
        request(kind, &out)
    }

    fn data(&mut self) {
        let count = match self.random.below(50) {
            0 => MAX_PAYLOAD_BYTES,
            1 => self.random.below(MAX_PAYLOAD_BYTES),
            _ => self.random.below(200),
        };
        let flags = if self.random.once_in(8) { FLAG_END } else { 0 };
        let stream = self.stream();
        self.frame(Kind::Data, flags, stream, vec![0x5a; count]);
    }

    fn credit(&mut self) {
        let credit = if self.random.once_in(8) { self.random.magnitude() as u32 } else { 65_536 };
        let stream = self.stream();
        self.frame(Kind::Credit, 0, stream, credit.to_le_bytes().to_vec());
    }

    fn control(&mut self) {
        let mut payload = Vec::new();
        match self.random.below(3) {
            0 => put_number(&mut payload, 1, 1 + self.random.below(66) as u64),
            // A size and two offsets look the same.
            kind => {
                let numbers = self.size();
                put_message(&mut payload, 1 + kind as u8, &numbers);
            }
        }
        let stream = self.stream();
        self.frame(Kind::Control, 0, stream, payload);
    }
}

/// A HELLO's payload that is accepted when its window and identity are right.
pub fn hello(window: u64, identity: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, 1);
    put_number(&mut out, 2, 1);
    put_number(&mut out, 3, window);
    put_number(&mut out, 5, window);
    if let Some(identity) = identity {
        put_message(&mut out, 4, identity);
    }
    out
}

fn request(kind: u8, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 4);
    put_message(&mut out, kind, message);
    out
}
