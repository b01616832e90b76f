//! Connections to this machine itself.

use super::fd::own;
use super::{check, Errno, Result};
use std::mem::size_of;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Begins to connect to `port` of 127.0.0.1, or of ::1. Whether it worked is to be asked when the socket is writable.
pub fn connect_loopback(ipv6: bool, port: u16) -> Result<OwnedFd> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes and returns integers only; the descriptor is fresh.
    let socket = own(check(unsafe { libc::socket(family, kind, 0) })?);
    send_at_once(&socket)?;
    let returned = if ipv6 {
        let address = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: port.to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: std::net::Ipv6Addr::LOCALHOST.octets() },
            sin6_scope_id: 0,
        };
        let length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        // SAFETY: connect reads an address of the length given.
        unsafe { libc::connect(socket.as_raw_fd(), (&address as *const libc::sockaddr_in6).cast(), length) }
    } else {
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(std::net::Ipv4Addr::LOCALHOST).to_be() },
            sin_zero: [0; 8],
        };
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        // SAFETY: connect reads an address of the length given.
        unsafe { libc::connect(socket.as_raw_fd(), (&address as *const libc::sockaddr_in).cast(), length) }
    };
    match check(returned) {
        Ok(_) | Err(Errno(libc::EINPROGRESS)) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// How an attempt to connect ended, once the socket is writable.
pub fn connected(socket: &OwnedFd) -> Result<()> {
    let mut error: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, one integer.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&mut error as *mut libc::c_int).cast(),
            &mut length,
        )
    })?;
    match error {
        0 => Ok(()),
        error => Err(Errno(error)),
    }
}

/// Tells the other side that nothing more comes.
pub fn end_writing(socket: &OwnedFd) -> Result<()> {
    // SAFETY: takes and returns integers only.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// Small writes do not wait for the answer to earlier ones.
fn send_at_once(socket: &OwnedFd) -> Result<()> {
    let yes: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, one integer.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&yes as *const libc::c_int).cast(),
            length,
        )
    })
    .map(drop)
}
