//! The frame around every message.
//!
//! ```text
//! 0       4       8   9   10      12      16
//! +-------+-------+---+---+-------+-------+----------------+
//! |length |stream |kind|flg| magic | gen.  | payload …      |
//! | u32   | u32   | u8 | u8|  u16  | u32   | `length` bytes |
//! +-------+-------+---+---+-------+-------+----------------+
//! ```

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of payload at most.
pub const MAX_PAYLOAD_BYTES: usize = 65_536;
const MAGIC: u16 = 0x4B4E;
/// Precedes HELLO and READY, so that a reader who lost its place finds it again.
pub const SYNC: [u8; 16] = *b"\xffKILN-SYNC-v1\r\n\0";
/// On DATA: nothing more on this channel.
pub const FLAG_END: u8 = 0x80;
const CHANNEL_MASK: u8 = 0x03;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    Hello = 1,
    Ready = 2,
    Open = 3,
    Data = 4,
    Credit = 5,
    Control = 6,
    Cancel = 7,
    Close = 8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of payload.
    pub length: u32,
    pub stream: u32,
    pub kind: Kind,
    pub flags: u8,
    pub generation: u32,
}

/// A header that cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokenHeader {
    Magic,
    Kind,
    Length,
    Flags,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    pub header: Header,
    pub payload: &'a [u8],
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Header {
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header, BrokenHeader> {
        if u16::from_le_bytes([bytes[10], bytes[11]]) != MAGIC {
            return Err(BrokenHeader::Magic);
        }
        let kind = match bytes[8] {
            1 => Kind::Hello,
            2 => Kind::Ready,
            3 => Kind::Open,
            4 => Kind::Data,
            5 => Kind::Credit,
            6 => Kind::Control,
            7 => Kind::Cancel,
            8 => Kind::Close,
            _ => return Err(BrokenHeader::Kind),
        };
        let length = u32_at(bytes, 0);
        if length as usize > MAX_PAYLOAD_BYTES {
            return Err(BrokenHeader::Length);
        }
        let flags = bytes[9];
        if flags & !(CHANNEL_MASK | FLAG_END) != 0 || (kind != Kind::Data && flags != 0) {
            return Err(BrokenHeader::Flags);
        }
        Ok(Header { length, stream: u32_at(bytes, 4), kind, flags, generation: u32_at(bytes, 12) })
    }

    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_le_bytes());
        bytes[8] = self.kind as u8;
        bytes[9] = self.flags;
        bytes[10..12].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    /// The channel a DATA frame is for.
    pub fn channel(&self) -> u8 {
        self.flags & CHANNEL_MASK
    }

    pub fn is_end(&self) -> bool {
        self.flags & FLAG_END != 0
    }
}
