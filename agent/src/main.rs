//! The guest agent's entry: PID 1 of a sandbox, or a process that serves one connection it was given.

use kiln_agent::agent::{Agent, Stop};
use kiln_agent::boot;
use kiln_agent::config::{self, Config};
use kiln_agent::console::say;
use kiln_agent::identity::Machine;
use kiln_agent::link::LinkKind;
use kiln_agent::sys::machine::{power, Power};
use kiln_agent::sys::{fd, process};
use kiln_agent::transport;
use kiln_agent::tsc;
use std::time::Duration;

/// How long the host's port may take to appear.
const SEARCH_MS: u64 = 30_000;
/// What programs have between SIGTERM and SIGKILL when the machine is switched off.
const GRACE: Duration = Duration::from_millis(1000);

const USAGE: &str = "usage: agent --connection FD   (serve the connection on that descriptor)
       agent --measure-tsc     (print the rate of this machine's time stamp counter in kHz)
The agent is made to be PID 1 of a Kiln sandbox; docs/protocol.md says what it speaks.
";

fn main() {
    if process::own_id() == 1 {
        let how = serve_machine();
        say(&["cannot switch the machine off: errno ", &power(how).0.to_string()]);
        // The end of PID 1 makes the kernel panic, which restarts or stops the machine as its command line says.
        return;
    }
    if std::env::args().nth(1).as_deref() == Some("--measure-tsc") {
        println!("{}", tsc::measure_khz());
        return;
    }
    std::process::exit(serve_connection());
}

/// For tests and for trying things out: no machine is touched, an identity is refused.
fn serve_connection() -> i32 {
    let mut arguments = std::env::args().skip(1);
    let descriptor = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("--connection"), Some(number), None) => {
            number.parse::<i32>().ok().filter(|number| !matches!(number, 1 | 2))
        }
        _ => None,
    };
    let connection = match descriptor.map(fd::inherited) {
        Some(Ok(connection)) => connection,
        _ => {
            eprint!("{}", USAGE);
            return 2;
        }
    };
    let served = Agent::new(Config::load(config::PATH), None).and_then(|mut agent| {
        agent.add_link(connection, LinkKind::Socket)?;
        Ok(agent.run())
    });
    match served {
        Ok(Stop::Alone | Stop::Signal(_)) => 0,
        Ok(Stop::Unreachable) => 1,
        Ok(Stop::Failed(errno)) | Err(errno) => {
            say(&["errno ", &errno.0.to_string()]);
            1
        }
    }
}

/// Runs the machine until it is to be switched off, and says how.
fn serve_machine() -> Power {
    if let Err(error) = boot::boot() {
        say(&["cannot mount ", error.target, ": errno ", &error.errno.to_string(), ": switching off"]);
        return Power::Off;
    }
    let machine = match Machine::prepare() {
        Ok(machine) => machine,
        Err(error) => {
            say(&["cannot prepare the machine's identity: ", &error.to_string(), ": switching off"]);
            return Power::Off;
        }
    };
    say(&["looking for the host"]);
    let mut agent = match Agent::new(Config::load(config::PATH), Some(machine)) {
        Ok(agent) => agent,
        Err(errno) => {
            say(&["cannot start: errno ", &errno.0.to_string(), ": switching off"]);
            return Power::Off;
        }
    };
    match transport::listen_vsock() {
        Ok(None) => {}
        Ok(Some(listener)) => {
            if let Err(errno) = agent.listen(listener) {
                say(&["no vsock: errno ", &errno.0.to_string()]);
            }
        }
        Err(errno) => say(&["no vsock: errno ", &errno.0.to_string()]),
    }
    agent.search_port(SEARCH_MS);
    match agent.run() {
        Stop::Signal(_) => {}
        Stop::Alone | Stop::Unreachable => say(&["no way to the host was found: switching off"]),
        Stop::Failed(errno) => say(&["cannot go on: errno ", &errno.0.to_string(), ": switching off"]),
    }
    // Firecracker ends at a restart and hangs when switched off; a machine with a port is QEMU's, which has a switch.
    let how = if agent.has_port() { Power::Off } else { Power::Restart };
    drop(agent);
    end_programs();
    how
}

/// Asks all programs to end, and ends them.
fn end_programs() {
    process::signal_everyone(libc::SIGTERM);
    let until = std::time::Instant::now() + GRACE;
    while std::time::Instant::now() < until && process::has_children() {
        std::thread::sleep(Duration::from_millis(10));
        while process::reap().is_some() {}
    }
    process::signal_everyone(libc::SIGKILL);
}
