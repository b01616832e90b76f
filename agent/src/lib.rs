//! Kiln's guest agent: PID 1 of a sandbox. docs/protocol.md says what it speaks.
//!
//! One thread, one epoll. `wire` and `session` are pure and decide; everything else carries out.

#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod agent;
pub mod boot;
pub mod channel;
pub mod config;
pub mod connect;
pub mod console;
pub mod error;
pub mod exec;
pub mod files;
pub mod identity;
pub mod kept;
pub mod link;
pub mod messages;
pub mod network;
pub mod outbox;
pub mod session;
pub mod stream;
#[allow(unsafe_code)]
pub mod sys;
pub mod transport;
pub mod tsc;
pub mod usage;
pub mod users;
pub mod watch;
pub mod wire;
