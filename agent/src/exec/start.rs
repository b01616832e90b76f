//! From an Exec request to a running program.

use super::environment::Environment;
use super::program::{window, Program};
use crate::channel::{End, Sink};
use crate::config::Config;
use crate::error::{about, failed, invalid};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::spawn::{Command, Ids, Spawner, Step, Strings};
use crate::sys::{c_string, fd, terminal, Errno};
use crate::users::{User, UserError, Users};
use crate::wire::reply::{Error, ErrorCode};
use crate::wire::request;
use std::os::unix::io::OwnedFd;
use std::rc::Rc;

/// What starting programs takes and every program shares.
pub struct Starter {
    pub config: Config,
    pub users: Users,
    pub spawner: Spawner,
    /// /dev/null, for programs without input.
    pub null: OwnedFd,
}

/// The group Debian gives terminals.
const TTY_GROUP: u32 = 5;

/// A program that runs, and our ends of its standard streams, which are watched for events.
pub struct Launched {
    pub program: Program,
    /// Closed when it was given none.
    pub input: Sink,
    /// With the channel each is for. A terminal is one.
    pub outputs: Vec<(u8, Rc<OwnedFd>)>,
}

/// The program's ends of its standard streams, and ours.
struct Streams {
    program: [Rc<OwnedFd>; 3],
    input: Sink,
    outputs: Vec<(u8, Rc<OwnedFd>)>,
    terminal: Option<Rc<OwnedFd>>,
}

impl Starter {
    pub fn find_user(&mut self, spec: &str) -> Result<User, Error> {
        let spec = if spec.is_empty() { self.config.user.as_str() } else { spec };
        self.users.find(spec).map_err(|error| {
            let what = match error {
                UserError::NoUser => "no such user",
                UserError::NoGroup => "no such group",
            };
            Error { code: ErrorCode::NotFound, errno: 0, message: about(what, spec.as_bytes()) }
        })
    }
}

/// Starts the program. `token` gives the event token for a channel.
pub fn launch(
    starter: &mut Starter,
    exec: &request::Exec<'_>,
    epoll: &Epoll,
    token: impl Fn(u8) -> u64,
) -> Result<Launched, Error> {
    let program = match exec.argv.first() {
        Some(program) if !program.is_empty() => *program,
        _ => return Err(invalid("argv names no program", b"")),
    };
    let user = starter.find_user(exec.user)?;
    let nul = |_: Errno| invalid("a NUL byte in argv, env or cwd", b"");
    let environment = Environment::build(&starter.config, &user, exec.terminal.is_some(), &exec.env)
        .map_err(|bad| invalid("not NAME=value, or too many variables", bad.0.as_bytes()))?;
    let candidates = environment.candidates(program).map_err(nul)?;
    let env = environment.strings().map_err(nul)?;
    let mut argv = Strings::with_capacity(exec.argv.len(), exec.argv.iter().map(|argument| argument.len() + 1).sum());
    for argument in &exec.argv {
        argv.push(&[argument.as_bytes()]).map_err(nul)?;
    }
    let cwd = if exec.cwd.is_empty() { starter.config.workdir.as_slice() } else { exec.cwd.as_bytes() };
    let ids = ids_to_take(&user);
    let streams = open_streams(&starter.null, exec, user.uid, epoll, token)
        .map_err(|errno| failed("cannot make the program's streams", b"", errno))?;
    let [stdin, stdout, stderr] = &streams.program;
    let pid = starter
        .spawner
        .spawn(&Command {
            programs: &candidates,
            argv: &argv,
            env: &env,
            cwd: &c_string(cwd).map_err(nul)?,
            ids: ids.as_ref(),
            streams: [stdin, stdout, stderr],
            terminal: exec.terminal.is_some(),
        })
        .map_err(|(step, errno)| match step {
            Step::Clone => failed("cannot start a process", b"", errno),
            Step::Session => failed("cannot set up the process", b"", errno),
            Step::User => failed("cannot become the user", exec.user.as_bytes(), errno),
            Step::Directory => failed("cannot enter the working directory", cwd, errno),
            Step::Program => failed("cannot run the program", program.as_bytes(), errno),
        })?;
    let program = Program::new(pid, streams.terminal, exec.timeout_ms);
    Ok(Launched { program, input: streams.input, outputs: streams.outputs })
}

/// None for root as the agent itself is: three system calls less.
fn ids_to_take(user: &User) -> Option<Ids> {
    let like_us = user.uid == 0 && user.gid == 0 && user.groups.is_empty();
    (!like_us).then(|| {
        let mut groups = user.groups.clone();
        if !groups.contains(&user.gid) {
            groups.insert(0, user.gid);
        }
        Ids { uid: user.uid, gid: user.gid, groups }
    })
}

fn open_streams(
    null: &OwnedFd,
    exec: &request::Exec<'_>,
    uid: u32,
    epoll: &Epoll,
    token: impl Fn(u8) -> u64,
) -> Result<Streams, Errno> {
    if let Some(size) = exec.terminal {
        let (rows, columns) = window(size);
        let (host, program) = terminal::open(rows, columns)?;
        if uid != 0 {
            terminal::give(&program, uid, TTY_GROUP)?;
        }
        let (host, program) = (Rc::new(host), Rc::new(program));
        epoll.add(&host, token(1), Interest::Both)?;
        return Ok(Streams {
            program: [Rc::clone(&program), Rc::clone(&program), program],
            input: if exec.stdin { Sink::new(Rc::clone(&host), End::Type) } else { Sink::default() },
            outputs: vec![(1, Rc::clone(&host))],
            terminal: Some(host),
        });
    }
    let (stdin, input) = if exec.stdin {
        let (theirs, ours) = fd::pipe()?;
        fd::set_nonblocking(&ours)?;
        epoll.add(&ours, token(0), Interest::Write)?;
        (theirs, Sink::new(Rc::new(ours), End::Close))
    } else {
        (null.try_clone()?, Sink::default())
    };
    let mut outputs = Vec::with_capacity(2);
    let mut output = |channel: u8| -> Result<Rc<OwnedFd>, Errno> {
        let (ours, theirs) = fd::pipe()?;
        fd::set_nonblocking(&ours)?;
        epoll.add(&ours, token(channel), Interest::Read)?;
        outputs.push((channel, Rc::new(ours)));
        Ok(Rc::new(theirs))
    };
    let program = [Rc::new(stdin), output(1)?, output(2)?];
    Ok(Streams { program, input, outputs, terminal: None })
}
