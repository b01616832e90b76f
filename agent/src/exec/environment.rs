//! The environment a program gets, and where its name is looked for.

use crate::config::Config;
use crate::sys::spawn::Strings;
use crate::sys::{c_string, Result};
use crate::users::User;
use std::ffi::CString;

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_TERM: &[u8] = b"xterm-256color";
const DEFAULT_SHELL: &[u8] = b"/bin/sh";
/// Variables of one program.
const MAX_VARIABLES: usize = 4096;

/// Names and values; the later of two with the same name wins.
pub struct Environment<'a> {
    variables: Vec<(&'a [u8], &'a [u8])>,
}

/// The host named too many variables, or something that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadVariable<'a>(pub &'a str);

impl<'a> Environment<'a> {
    /// What every program of this user gets, then the image's, then the exec's own.
    pub fn build(
        config: &'a Config,
        user: &'a User,
        terminal: bool,
        own: &[&'a str],
    ) -> std::result::Result<Environment<'a>, BadVariable<'a>> {
        let mut environment = Environment { variables: Vec::with_capacity(8 + config.env.len() + own.len()) };
        let home: &[u8] = if user.home.is_empty() { b"/" } else { &user.home };
        let shell = if user.shell.is_empty() { DEFAULT_SHELL } else { &user.shell };
        environment.variables.push((b"PATH", DEFAULT_PATH));
        environment.variables.push((b"HOME", home));
        environment.variables.push((b"SHELL", shell));
        if !user.name.is_empty() {
            environment.variables.push((b"USER", &user.name));
            environment.variables.push((b"LOGNAME", &user.name));
        }
        if terminal {
            environment.variables.push((b"TERM", DEFAULT_TERM));
        }
        for (name, value) in &config.env {
            environment.set(name, value);
        }
        for &variable in own {
            match variable.split_once('=') {
                Some((name, value)) if !name.is_empty() && environment.variables.len() < MAX_VARIABLES => {
                    environment.set(name.as_bytes(), value.as_bytes());
                }
                _ => return Err(BadVariable(variable)),
            }
        }
        Ok(environment)
    }

    fn set(&mut self, name: &'a [u8], value: &'a [u8]) {
        match self.variables.iter_mut().find(|variable| variable.0 == name) {
            Some(variable) => variable.1 = value,
            None => self.variables.push((name, value)),
        }
    }

    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1)
    }

    /// As execve wants it.
    pub fn strings(&self) -> Result<Strings> {
        let bytes = self.variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let mut strings = Strings::with_capacity(self.variables.len(), bytes);
        for (name, value) in &self.variables {
            strings.push(&[name, b"=", value])?;
        }
        Ok(strings)
    }

    /// The paths at which `program` may be: itself when it has a slash, else in the directories of PATH.
    pub fn candidates(&self, program: &str) -> Result<Vec<CString>> {
        if program.contains('/') {
            return Ok(vec![c_string(program.as_bytes())?]);
        }
        let path = self.get(b"PATH").unwrap_or(DEFAULT_PATH);
        let mut candidates = Vec::with_capacity(8);
        for directory in path.split(|&byte| byte == b':') {
            // As POSIX has it: an empty one is the current directory.
            let directory = if directory.is_empty() { b"." } else { directory };
            candidates.push(c_string(&[directory, b"/", program.as_bytes()].concat())?);
        }
        Ok(candidates)
    }
}
