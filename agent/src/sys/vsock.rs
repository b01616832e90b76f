//! Sockets between a VM and its host.

use super::fd::own;
use super::{check, Result};
use std::mem::{size_of, zeroed};
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Connections not yet accepted.
const BACKLOG: libc::c_int = 4;
const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// Listens on `port`, without blocking.
pub fn listen(port: u32) -> Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes and returns integers only; the descriptor is fresh.
    let socket = own(check(unsafe { libc::socket(libc::AF_VSOCK, kind, 0) })?);
    // SAFETY: sockaddr_vm is plain integers, for which zero is a value.
    let mut address: libc::sockaddr_vm = unsafe { zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_port = port;
    address.svm_cid = libc::VMADDR_CID_ANY;
    // SAFETY: bind reads an address of the length given.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&address as *const libc::sockaddr_vm).cast(), ADDRESS_BYTES) })?;
    // SAFETY: takes and returns integers only.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(socket)
}

/// The next connection and whether it comes from the host: a program in the guest could connect as well.
pub fn accept(listener: &OwnedFd) -> Result<(OwnedFd, bool)> {
    // SAFETY: sockaddr_vm is plain integers, for which zero is a value.
    let mut peer: libc::sockaddr_vm = unsafe { zeroed() };
    let mut length = ADDRESS_BYTES;
    // SAFETY: the kernel writes at most `length` bytes of address; the descriptor is fresh.
    let socket = own(check(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&mut peer as *mut libc::sockaddr_vm).cast(),
            &mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    })?);
    Ok((socket, peer.svm_cid == libc::VMADDR_CID_HOST))
}
