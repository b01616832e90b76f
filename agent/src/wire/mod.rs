//! The bytes of the guest protocol (docs/protocol.md): frames, and the protobuf messages inside them.
//!
//! Pure code: bytes in, values out. Whatever the bytes are, it ends with a value or a named error.

pub mod fields;
pub mod frame;
pub mod kept;
pub mod parser;
pub mod reply;
pub mod report;
pub mod request;
