//! Where the host may be met: a virtio-serial port by its name, or vsock.

use crate::sys::{vsock, Errno};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::io::OwnedFd;

/// The virtio-serial port's name, given by whoever made the machine.
const PORT_NAME: &str = "kiln.agent";
const PORTS: &str = "/sys/class/virtio-ports";
/// The vsock port the agent listens on.
pub const VSOCK_PORT: u32 = 1024;

/// Opens the port, if the kernel has found it by now: its name comes some time after the driver.
pub fn open_port() -> Option<OwnedFd> {
    for entry in std::fs::read_dir(PORTS).ok()?.flatten() {
        let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default(); // Not named yet.
        if name.trim_end() != PORT_NAME {
            continue;
        }
        let device = std::path::Path::new("/dev").join(entry.file_name());
        let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(device);
        if let Ok(file) = opened {
            return Some(OwnedFd::from(file));
        }
    }
    None
}

/// Listens on vsock; None on a machine that has none.
pub fn listen_vsock() -> Result<Option<OwnedFd>, Errno> {
    if !std::path::Path::new("/dev/vsock").exists() {
        return Ok(None);
    }
    vsock::listen(VSOCK_PORT).map(Some)
}
