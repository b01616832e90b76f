//! Network interfaces: up, an address, a way out. By ioctl, which for one address takes less code than netlink.

use super::{check, fd, Errno, Result};
use std::net::Ipv4Addr;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// A socket for requests about interfaces; nothing is sent by it.
pub struct Interfaces(OwnedFd);

/// The kernel's `ifreq`: a name and a union, of which only what begins it is used here.
#[repr(C)]
struct Request<T: Union> {
    name: [u8; libc::IFNAMSIZ],
    value: T,
}

/// A value that is padded to the 24 bytes of `ifreq`'s union.
trait Union: Copy {}
impl Union for Address {}
impl Union for Flags {}

#[repr(C)]
#[derive(Clone, Copy)]
struct Address {
    address: libc::sockaddr_in,
    rest: [u8; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Flags {
    flags: libc::c_short,
    rest: [u8; 22],
}

impl Interfaces {
    pub fn open() -> Result<Interfaces> {
        // SAFETY: takes and returns integers only.
        let socket = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
        Ok(Interfaces(fd::own(socket)))
    }

    /// Brings an interface up. Loopback is given 127.0.0.1 and ::1 by the kernel.
    pub fn up(&self, name: &str) -> Result<()> {
        let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        self.set(libc::SIOCSIFFLAGS, name, Flags { flags, rest: [0; 22] })
    }

    pub fn set_address(&self, name: &str, address: Ipv4Addr, netmask: Ipv4Addr) -> Result<()> {
        self.set(libc::SIOCSIFADDR, name, Address { address: socket_address(address), rest: [0; 8] })?;
        self.set(libc::SIOCSIFNETMASK, name, Address { address: socket_address(netmask), rest: [0; 8] })
    }

    /// Sends by `gateway` what has no nearer way. The interface the gateway is on must be up.
    pub fn set_default_gateway(&self, gateway: Ipv4Addr) -> Result<()> {
        // SAFETY: a rtentry is integers, addresses and a pointer, all of which may be zero.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = generic(socket_address(Ipv4Addr::UNSPECIFIED));
        route.rt_genmask = generic(socket_address(Ipv4Addr::UNSPECIFIED));
        route.rt_gateway = generic(socket_address(gateway));
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        // SAFETY: SIOCADDRT reads a rtentry; its device name is null, which means "find it".
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCADDRT, &route) }).map(drop)
    }

    fn set<T: Union>(&self, what: libc::c_ulong, name: &str, value: T) -> Result<()> {
        let mut request = Request { name: [0; libc::IFNAMSIZ], value };
        // One byte less: a name ends with a NUL.
        let room = request.name.get_mut(..name.len()).filter(|room| room.len() < libc::IFNAMSIZ);
        room.ok_or(Errno(libc::EINVAL))?.copy_from_slice(name.as_bytes());
        // SAFETY: all requests of this module read an ifreq, 40 bytes of which `Request` has as many.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), what, &request) }).map(drop)
    }
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    }
}

fn generic(address: libc::sockaddr_in) -> libc::sockaddr {
    // SAFETY: both are 16 bytes of integers that begin with the family.
    unsafe { std::mem::transmute(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_long_as_the_kernel_reads() {
        assert_eq!(std::mem::size_of::<Request<Address>>(), 40);
        assert_eq!(std::mem::size_of::<Request<Flags>>(), 40);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let up = |name| Interfaces::open().and_then(|interfaces| interfaces.up(name));
        assert_eq!(up("a-name-of-seventeen"), Err(Errno(libc::EINVAL)));
        assert_eq!(up("sixteen-letters0"), Err(Errno(libc::EINVAL)));
        // It is asked whether we may change one first, and whether there is one then.
        let longest = up("fifteen-letters");
        assert!(matches!(longest, Err(Errno(libc::ENODEV | libc::EPERM))), "{:?}", longest);
    }
}
