//! Channels of a stream: bytes of a descriptor on their way to the host, and the host's on their way into one.

mod feed;
mod input;
mod output;
mod sink;
mod source;

pub use feed::Feed;
pub use input::Input;
pub use output::Output;
pub use sink::{End, Sink};
pub use source::Source;
