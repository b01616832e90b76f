//! Lines for whoever looks at the machine's console.

use std::io::Write;

/// Writes one line. A console that is gone cannot be complained to.
pub fn say(parts: &[&str]) {
    let mut line = String::from("kiln-agent: ");
    for part in parts {
        line.push_str(part);
    }
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}
