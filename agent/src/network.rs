//! The network of a sandbox: loopback, and a link to the host's network server if the machine has one.
//!
//! Every sandbox has a link of its own, so all have the same addresses, and nothing is to be done at a resume.

use crate::console::say;
use crate::identity::own_file;
use crate::sys::interface::Interfaces;
use crate::sys::Result;
use std::net::Ipv4Addr;
use std::path::Path;

const LINK: &str = "eth0";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The host answers in the same moment or never: a program is told early, and not after twice five seconds.
const RESOLV_CONF: &[u8] = b"nameserver 10.0.2.3\noptions timeout:10 attempts:1\n";

/// Set before the link is up. There is no IPv6 behind it, and a link that is down is no way to anywhere: programs
/// are told at once.
const SETTINGS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1"),
    ("/proc/sys/net/ipv4/conf/eth0/ignore_routes_with_linkdown", "1"),
];

/// Brings up what there is. What fails is told on the console: a machine without a network is still of use.
/// Needs /proc, and a tmpfs at /run.
pub fn configure() {
    if let Err(errno) = bring_up() {
        say(&["no network: errno ", &errno.0.to_string()]);
    }
}

fn bring_up() -> Result<()> {
    let interfaces = Interfaces::open()?;
    interfaces.up("lo")?;
    if !Path::new("/sys/class/net").join(LINK).exists() {
        return Ok(());
    }
    for (path, value) in SETTINGS {
        let _ = std::fs::write(path, value); // A kernel without IPv6 has no such file.
    }
    interfaces.set_address(LINK, ADDRESS, NETMASK)?;
    interfaces.up(LINK)?;
    interfaces.set_default_gateway(GATEWAY)?;
    make_target("/etc/resolv.conf");
    own_file("resolv.conf", RESOLV_CONF)?;
    Ok(())
}

/// Makes the folder a link leads to whose target is made at boot by a service no sandbox has.
fn make_target(link: &str) {
    let (path, target) = (Path::new(link), std::fs::read_link(link));
    if let (Some(folder), Ok(target)) = (path.parent(), target) {
        if let Some(parent) = folder.join(target).parent() {
            let _ = std::fs::create_dir_all(parent); // Without it the file cannot be bound, which is told there.
        }
    }
}
