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
    Note = 9,
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
            9 => Kind::Note,
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

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Header = Header { length: 5, stream: 0x0102_0304, kind: Kind::Data, flags: 0x81, generation: 9 };

    fn spoilt(at: usize, byte: u8) -> Result<Header, BrokenHeader> {
        let mut bytes = DATA.bytes();
        bytes[at] = byte;
        Header::parse(&bytes)
    }

    #[test]
    fn a_header_is_little_endian() {
        let bytes = [5, 0, 0, 0, 4, 3, 2, 1, 4, 0x81, 0x4e, 0x4b, 9, 0, 0, 0];
        assert_eq!(DATA.bytes(), bytes);
        assert_eq!(Header::parse(&bytes), Ok(DATA));
        assert_eq!((DATA.channel(), DATA.is_end()), (1, true));
    }

    #[test]
    fn every_field_has_its_limits() {
        assert_eq!(spoilt(10, 0x4f), Err(BrokenHeader::Magic));
        assert_eq!(spoilt(11, 0), Err(BrokenHeader::Magic));
        assert_eq!(spoilt(8, 0), Err(BrokenHeader::Kind));
        assert_eq!(spoilt(8, 10), Err(BrokenHeader::Kind));
        assert_eq!(spoilt(3, 1), Err(BrokenHeader::Length));
        for flag in [0x04, 0x08, 0x10, 0x20, 0x40] {
            assert_eq!(spoilt(9, flag), Err(BrokenHeader::Flags));
        }
        for kind in [1, 2, 3, 5, 6, 7, 8, 9] {
            assert_eq!(spoilt(8, kind), Err(BrokenHeader::Flags), "only DATA has flags: {}", kind);
        }
    }

    #[test]
    fn the_longest_payload_is_the_limit_itself() {
        let most = Header { length: MAX_PAYLOAD_BYTES as u32, ..DATA };
        assert_eq!(Header::parse(&most.bytes()), Ok(most));
        let over = Header { length: MAX_PAYLOAD_BYTES as u32 + 1, ..DATA };
        assert_eq!(Header::parse(&over.bytes()), Err(BrokenHeader::Length));
    }

    #[test]
    fn a_sync_is_no_header() {
        assert!(Header::parse(&SYNC).is_err());
    }
}
