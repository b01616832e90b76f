//! What the image said about its programs: /etc/kiln/guest.conf, written when the image became a rootfs.
//!
//! ```text
//! workdir /workspace
//! user node
//! env GREETING=two\nlines
//! ```
//!
//! In a value `\\`, `\n`, `\r` and `\xHH` stand for the bytes that would break the line.

use crate::console::say;

pub const PATH: &str = "/etc/kiln/guest.conf";
/// More than any image's environment; a file beyond it is cut.
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Working directory of programs that are given none.
    pub workdir: Vec<u8>,
    /// User of programs that are given none; empty for root.
    pub user: String,
    /// Names and values in the image's order.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Config {
    fn default() -> Self {
        Config { workdir: b"/".to_vec(), user: String::new(), env: Vec::new() }
    }
}

impl Config {
    /// Reads the file; without one, the defaults. Lines that make no sense are reported and skipped.
    pub fn load(path: &str) -> Config {
        match std::fs::read(path) {
            Ok(bytes) => Config::parse(&bytes[..bytes.len().min(MAX_BYTES)], |line| {
                say(&[path, ": skipped line ", &line.to_string(), ": not understood"]);
            }),
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    say(&[path, ": ", &error.to_string()]);
                }
                Config::default()
            }
        }
    }

    /// `report` is told the number of every line that is skipped.
    pub fn parse(bytes: &[u8], mut report: impl FnMut(usize)) -> Config {
        let mut config = Config::default();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if !line.is_empty() && config.apply(line).is_none() {
                report(index + 1);
            }
        }
        config
    }

    fn apply(&mut self, line: &[u8]) -> Option<()> {
        let space = line.iter().position(|&byte| byte == b' ')?;
        let value = unescape(&line[space + 1..])?;
        match &line[..space] {
            b"workdir" if value.starts_with(b"/") => self.workdir = value,
            b"user" => self.user = String::from_utf8(value).ok()?,
            b"env" => {
                let equals = value.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
                self.env.push((value[..equals].to_vec(), value[equals + 1..].to_vec()));
            }
            _ => return None,
        }
        Some(())
    }
}

/// None for an escape there is none of, or a NUL, which no string of a program can hold.
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                b'x' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
                _ => return None,
            },
            other => other,
        };
        if byte == 0 {
            return None;
        }
        out.push(byte);
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> (Config, Vec<usize>) {
        let mut skipped = Vec::new();
        let config = Config::parse(text, |line| skipped.push(line));
        (config, skipped)
    }

    #[test]
    fn lines_say_what_programs_begin_with() {
        let (config, skipped) = parse(b"workdir /work space\nuser node:node\nenv A=x=y\n\nenv EMPTY=\n");
        assert_eq!(config.workdir, b"/work space");
        assert_eq!(config.user, "node:node");
        assert_eq!(config.env, [(b"A".to_vec(), b"x=y".to_vec()), (b"EMPTY".to_vec(), vec![])]);
        assert!(skipped.is_empty());
        assert_eq!(parse(b""), (Config::default(), vec![]));
    }

    #[test]
    fn escapes_stand_for_what_would_break_the_line() {
        let (config, skipped) = parse(br"env A=\\n\n\r\x41\xff\x0a");
        assert_eq!(config.env, [(b"A".to_vec(), b"\\n\n\rA\xff\n".to_vec())]);
        assert!(skipped.is_empty());
    }

    #[test]
    fn lines_that_make_no_sense_are_counted_and_skipped() {
        let text = br"workdir relative
user
nothing known
env =value
env NAME
env A=\q
env A=\x4
env A=\xg0
env A=\
env A=\x00
user \xff
env GOOD=1";
        let (config, skipped) = parse(text);
        assert_eq!(skipped, (1..=11).collect::<Vec<_>>());
        assert_eq!(config, Config { env: vec![(b"GOOD".to_vec(), b"1".to_vec())], ..Config::default() });
        assert_eq!(parse(b"env A=\0").1, [1], "a NUL as it is");
    }
}
