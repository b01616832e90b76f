//! Protobuf's encoding (<https://protobuf.dev/programming-guides/encoding/>), as much of it as the messages need.
//!
//! Written by hand: what generators emit for a toolchain of 2022 either pulls in dozens of packages, or has a reader
//! that a length of 2⁶⁴−n sends backwards for ever. Strict where it matters: nothing is read outside the message.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number: no message of ours has one, but later versions may.
    Other,
}

/// Reads one message's fields in their order.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field's number and value, None at the end of the message.
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        if number == 0 || number >= 1 << 29 {
            return Err(Malformed);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(Malformed),
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        if count > self.rest.len() {
            return Err(Malformed);
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

impl<'a> Value<'a> {
    pub fn u64(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(value) => Ok(value),
            _ => Err(Malformed),
        }
    }

    /// As protobuf has it: a longer number is cut to its low 32 bits.
    pub fn u32(self) -> Result<u32, Malformed> {
        self.u64().map(|value| value as u32)
    }

    pub fn bool(self) -> Result<bool, Malformed> {
        self.u64().map(|value| value != 0)
    }

    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    pub fn str(self) -> Result<&'a str, Malformed> {
        core::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number's field, unless it is 0: that is its default.
pub fn put_number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, value);
    }
}

/// Appends a field of bytes, unless there are none.
pub fn put_bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    if !value.is_empty() {
        put_message(out, field, value);
    }
}

/// Appends a field of bytes even when there are none: a message that is present.
pub fn put_message(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(bytes: &[u8]) -> Result<Option<(u32, Value<'_>)>, Malformed> {
        Fields::of(bytes).next_field()
    }

    #[test]
    fn numbers_of_every_length_come_back() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                put_number(&mut bytes, 15, value);
                let expected = (value != 0).then_some((15, Value::Varint(value)));
                assert_eq!(only(&bytes), Ok(expected));
            }
        }
    }

    #[test]
    fn nothing_is_read_outside_the_message() {
        assert_eq!(only(&[]), Ok(None));
        assert_eq!(only(&[0x0a, 3, 1, 2]), Err(Malformed), "bytes");
        assert_eq!(only(&[0x08]), Err(Malformed), "a number that is not there");
        assert_eq!(only(&[0x08, 0x80]), Err(Malformed), "a number that goes on");
        assert_eq!(only(&[0x09, 1, 2, 3, 4, 5, 6, 7]), Err(Malformed), "64 bits");
        assert_eq!(only(&[0x0d, 1, 2, 3]), Err(Malformed), "32 bits");
        let mut length = vec![0x0a];
        put_varint(&mut length, u64::MAX - 5);
        assert_eq!(only(&length), Err(Malformed), "a length that would lead backwards");
    }

    #[test]
    fn what_no_encoder_makes_is_refused() {
        assert_eq!(only(&[0x00, 1]), Err(Malformed), "field 0");
        for wire_type in [3, 4, 6, 7] {
            assert_eq!(only(&[0x08 | wire_type, 0]), Err(Malformed), "type {}", wire_type);
        }
        assert_eq!(only(&[&[0x08][..], &[0xff; 10], &[1]].concat()), Err(Malformed), "11 bytes of number");
        let mut far = Vec::new();
        put_varint(&mut far, 1 << 32);
        far.push(0);
        assert_eq!(only(&far), Err(Malformed), "field 2²⁹");
    }

    #[test]
    fn a_value_is_of_one_type() {
        assert_eq!(Value::Varint(1).bytes(), Err(Malformed));
        assert_eq!(Value::Bytes(b"1").u64(), Err(Malformed));
        assert_eq!(Value::Other.bool(), Err(Malformed));
        assert_eq!(Value::Bytes(&[0xff]).str(), Err(Malformed));
        assert_eq!(Value::Varint(1 << 32 | 7).u32(), Ok(7));
    }
}
