//! What no two sandboxes may share, applied at HELLO: entropy, clock, hostname, machine-id; and how many processes one
//! may have.

use crate::console::say;
use crate::sys::{machine, Errno};
use crate::wire::request::Identity;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// On a tmpfs: the files that are bound over the image's.
const OWN_DIRECTORY: &str = "/run/kiln";
const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
/// A control group that everything but the kernel's own threads is in: its limit holds for root as well, and none of
/// the others would (RLIMIT_NPROC spares root, threads-max counts the kernel's and holds it up).
const GROUPS: &str = "/sys/fs/cgroup";
const GROUP: &str = "/sys/fs/cgroup/kiln";
/// As much of the image's /etc/hosts as is kept.
const MAX_HOSTS_BYTES: usize = 64 * 1024;

/// A machine whose identity is ours to set. Its files stay open: a resume opens nothing.
pub struct Machine {
    random: File,
    machine_id: File,
    hostname: File,
    hosts: File,
    /// None on a kernel that cannot limit them.
    max_processes: Option<File>,
    /// /etc/hosts without our own name's line.
    hosts_start: Vec<u8>,
}

/// Which part could not be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdentityError {
    pub what: &'static str,
    pub errno: Errno,
}

impl Machine {
    /// Binds our files over the image's /etc/machine-id, hostname and hosts, and makes the group all processes are in.
    /// Needs /run to be a tmpfs.
    pub fn prepare() -> std::io::Result<Machine> {
        let mut hosts_start = std::fs::read("/etc/hosts").unwrap_or_default(); // No file: start from ours.
        hosts_start.truncate(MAX_HOSTS_BYTES);
        if !hosts_start.windows(9).any(|name| name == b"localhost") {
            hosts_start.splice(..0, LOCALHOST.bytes());
        }
        if !hosts_start.ends_with(b"\n") {
            hosts_start.push(b'\n');
        }
        let max_processes = enter_group().map_err(|error| say(&["no limit of processes: ", &error.to_string()])).ok();
        let machine = Machine {
            random: OpenOptions::new().write(true).open("/dev/random")?,
            machine_id: own_file("machine-id", b"")?,
            hostname: own_file("hostname", b"localhost\n")?,
            hosts: own_file("hosts", &hosts_start)?,
            max_processes,
            hosts_start,
        };
        Ok(machine)
    }

    /// Applies all, in the order the protocol promises.
    pub fn apply(&self, identity: &Identity<'_>) -> Result<(), IdentityError> {
        let at = |what| move |errno| IdentityError { what, errno };
        machine::add_entropy(&self.random, identity.entropy).map_err(at("entropy"))?;
        machine::set_clock(identity.wall_clock_ns).map_err(at("clock"))?;
        machine::set_hostname(identity.hostname).map_err(at("hostname"))?;
        let name = identity.hostname;
        let hosts = [&self.hosts_start, "127.0.1.1\t".as_bytes(), name.as_bytes(), b"\n"].concat();
        replace(&self.hostname, &[name, "\n"].concat().into_bytes()).map_err(at("/etc/hostname"))?;
        replace(&self.hosts, &hosts).map_err(at("/etc/hosts"))?;
        replace(&self.machine_id, &[identity.machine_id, "\n"].concat().into_bytes()).map_err(at("/etc/machine-id"))?;
        self.limit_processes(identity.max_processes).map_err(at("max_processes"))
    }

    /// 0 leaves the limit as it is.
    fn limit_processes(&self, most: u32) -> Result<(), Errno> {
        match &self.max_processes {
            _ if most == 0 => Ok(()),
            Some(file) => Ok(file.write_all_at(most.to_string().as_bytes(), 0)?),
            None => Err(Errno(libc::ENOSYS)),
        }
    }
}

/// Moves this process to a group of its own, in which all others will begin, and returns the file of the group's limit.
fn enter_group() -> std::io::Result<File> {
    let write = |path: String, content: &[u8]| OpenOptions::new().write(true).open(path)?.write_all_at(content, 0);
    write([GROUPS, "/cgroup.subtree_control"].concat(), b"+pids")?;
    match std::fs::create_dir(GROUP) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    write([GROUP, "/cgroup.procs"].concat(), b"0")?;
    OpenOptions::new().write(true).open([GROUP, "/pids.max"].concat())
}

fn replace(file: &File, content: &[u8]) -> Result<(), Errno> {
    file.write_all_at(content, 0)?;
    file.set_len(content.len() as u64)?;
    Ok(())
}

/// Makes our file and binds it over /etc/`name`. An image whose own cannot be bound over is told on the console: its
/// programs then see the image's file. Needs /run to be a tmpfs.
pub fn own_file(name: &str, content: &[u8]) -> std::io::Result<File> {
    std::fs::create_dir_all(OWN_DIRECTORY)?;
    let ours = [OWN_DIRECTORY, "/", name].concat();
    let theirs = ["/etc/", name].concat();
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&ours)?;
    file.write_all_at(content, 0)?;
    if std::fs::metadata(&theirs).is_err() {
        // A mount needs something to be mounted on.
        let _ = OpenOptions::new().write(true).create(true).truncate(false).open(&theirs);
    }
    if let Err(errno) = machine::mount(&ours, &theirs, "", machine::BIND, "") {
        say(&["cannot bind over ", &theirs, ": errno ", &errno.0.to_string()]);
    }
    Ok(file)
}
