//! Messages from the host about processes that are kept.

use super::fields::{Malformed, Value};
use super::request::each;

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Keep<'a> {
    pub id: &'a str,
    pub buffer_bytes: u32,
    pub when_full: WhenFull,
}

/// What becomes of output when as much is kept as may be.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum WhenFull {
    #[default]
    Unspecified = 0,
    Wait = 1,
    DropOldest = 2,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Attach<'a> {
    pub id: &'a str,
    /// Of standard output and error output.
    pub offsets: [u64; 2],
    pub follow: bool,
    pub silent: bool,
}

/// A process's id and what is to be done to it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct OfProcess<'a, T> {
    pub id: &'a str,
    pub what: T,
}

/// Offsets of standard output and error output.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Acknowledge {
    pub offsets: [u64; 2],
}

impl<'a> Keep<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut keep = Keep::default();
        each(message, |number, value| {
            match number {
                1 => keep.id = value.str()?,
                2 => keep.buffer_bytes = value.u32()?,
                3 => {
                    keep.when_full = match value.u32()? {
                        1 => WhenFull::Wait,
                        2 => WhenFull::DropOldest,
                        _ => WhenFull::Unspecified,
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(keep)
    }
}

impl<'a> Attach<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut attach = Attach::default();
        each(message, |number, value| {
            match number {
                1 => attach.id = value.str()?,
                2 => attach.offsets[0] = value.u64()?,
                3 => attach.offsets[1] = value.u64()?,
                4 => attach.follow = value.bool()?,
                5 => attach.silent = value.bool()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(attach)
    }
}

impl<'a, T: Default> OfProcess<'a, T> {
    /// The id in field 1; `read` has what is in field 2.
    pub(super) fn parse(
        message: &'a [u8],
        read: impl Fn(Value<'a>) -> Result<T, Malformed>,
    ) -> Result<Self, Malformed> {
        let mut of = OfProcess::default();
        each(message, |number, value| {
            match number {
                1 => of.id = value.str()?,
                2 => of.what = read(value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(of)
    }
}

impl Acknowledge {
    pub(super) fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut acknowledge = Acknowledge::default();
        each(message, |number, value| {
            match number {
                1 => acknowledge.offsets[0] = value.u64()?,
                2 => acknowledge.offsets[1] = value.u64()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(acknowledge)
    }
}
