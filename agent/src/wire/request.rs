//! Messages from the host, as proto/kiln/agent/v1/agent.proto defines them. Everything is borrowed from the frame.

use super::fields::{Fields, Malformed, Value};
use super::kept::{Acknowledge, Attach, Keep, OfProcess};

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    pub version: u32,
    pub min_version: u32,
    pub window: u32,
    pub identity: Option<Identity<'a>>,
    pub nonce: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Identity<'a> {
    pub entropy: &'a [u8],
    pub wall_clock_ns: u64,
    pub hostname: &'a str,
    pub machine_id: &'a str,
    pub max_processes: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    Exec(Exec<'a>),
    ReadFile(ReadFile<'a>),
    WriteFile(WriteFile<'a>),
    Stat(Stat<'a>),
    ListDirectory(&'a [u8]),
    MakeDirectory(MakeDirectory<'a>),
    Remove(Remove<'a>),
    Rename(Rename<'a>),
    Freeze,
    Ping,
    Attach(Attach<'a>),
    ListProcesses,
    /// With the signal's number.
    SignalProcess(OfProcess<'a, u32>),
    /// With whether its input ends.
    WriteStdin(OfProcess<'a, bool>),
    ResizeProcess(OfProcess<'a, Terminal>),
    /// With nothing.
    ForgetProcess(OfProcess<'a, ()>),
    /// To this port.
    Connect(u32),
    Watch(Watch<'a>),
    Usage,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Exec<'a> {
    pub argv: Vec<&'a str>,
    pub env: Vec<&'a str>,
    pub cwd: &'a str,
    pub user: &'a str,
    pub stdin: bool,
    pub terminal: Option<Terminal>,
    pub timeout_ms: u64,
    pub keep: Option<Keep<'a>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Terminal {
    pub rows: u32,
    pub columns: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ReadFile<'a> {
    pub path: &'a [u8],
    pub offset: u64,
    pub length: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct WriteFile<'a> {
    pub path: &'a [u8],
    pub mode: u32,
    pub parents: bool,
    pub user: &'a str,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stat<'a> {
    pub path: &'a [u8],
    pub follow: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct MakeDirectory<'a> {
    pub path: &'a [u8],
    pub mode: u32,
    pub parents: bool,
    pub user: &'a str,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Remove<'a> {
    pub path: &'a [u8],
    pub recursive: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Rename<'a> {
    pub from: &'a [u8],
    pub to: &'a [u8],
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Watch<'a> {
    pub path: &'a [u8],
    pub recursive: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Signal(u32),
    Resize(Terminal),
    Acknowledge(Acknowledge),
}

/// Feeds every field of `message` to `take`; unknown ones are for it to ignore.
pub(super) fn each<'a>(
    message: &'a [u8],
    mut take: impl FnMut(u32, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next_field()? {
        take(number, value)?;
    }
    Ok(())
}

impl<'a> Hello<'a> {
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut hello = Hello::default();
        each(message, |number, value| {
            match number {
                1 => hello.version = value.u32()?,
                2 => hello.min_version = value.u32()?,
                3 => hello.window = value.u32()?,
                4 => hello.identity = Some(Identity::parse(value.bytes()?)?),
                5 => hello.nonce = value.u32()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(hello)
    }
}

impl<'a> Identity<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut identity = Identity::default();
        each(message, |number, value| {
            match number {
                1 => identity.entropy = value.bytes()?,
                2 => identity.wall_clock_ns = value.u64()?,
                3 => identity.hostname = value.str()?,
                4 => identity.machine_id = value.str()?,
                5 => identity.max_processes = value.u32()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(identity)
    }
}

impl<'a> Request<'a> {
    /// None for a kind of request this version does not know.
    pub fn parse(message: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut request = None;
        each(message, |number, value| {
            request = match number {
                1 => Some(Request::Exec(Exec::parse(value.bytes()?)?)),
                2 => Some(Request::ReadFile(ReadFile::parse(value.bytes()?)?)),
                3 => Some(Request::WriteFile(WriteFile::parse(value.bytes()?)?)),
                4 => Some(Request::Stat(Stat::parse(value.bytes()?)?)),
                5 => Some(Request::ListDirectory(parse_list_directory(value.bytes()?)?)),
                6 => Some(Request::MakeDirectory(MakeDirectory::parse(value.bytes()?)?)),
                7 => Some(Request::Remove(Remove::parse(value.bytes()?)?)),
                8 => Some(Request::Rename(Rename::parse(value.bytes()?)?)),
                9 => Some(empty(value, Request::Freeze)?),
                10 => Some(empty(value, Request::Ping)?),
                11 => Some(Request::Attach(Attach::parse(value.bytes()?)?)),
                12 => Some(empty(value, Request::ListProcesses)?),
                13 => Some(Request::SignalProcess(OfProcess::parse(value.bytes()?, Value::u32)?)),
                14 => Some(Request::WriteStdin(OfProcess::parse(value.bytes()?, Value::bool)?)),
                15 => {
                    let size = |value: Value<'a>| Terminal::parse(value.bytes()?);
                    Some(Request::ResizeProcess(OfProcess::parse(value.bytes()?, size)?))
                }
                16 => Some(Request::ForgetProcess(OfProcess::parse(value.bytes()?, |_| Ok(()))?)),
                17 => Some(Request::Connect(parse_connect(value.bytes()?)?)),
                18 => Some(Request::Watch(Watch::parse(value.bytes()?)?)),
                19 => Some(empty(value, Request::Usage)?),
                _ => request.take(),
            };
            Ok(())
        })?;
        Ok(request)
    }
}

impl<'a> Exec<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut exec = Exec::default();
        each(message, |number, value| {
            match number {
                1 => exec.argv.push(value.str()?),
                2 => exec.env.push(value.str()?),
                3 => exec.cwd = value.str()?,
                4 => exec.user = value.str()?,
                5 => exec.stdin = value.bool()?,
                6 => exec.terminal = Some(Terminal::parse(value.bytes()?)?),
                7 => exec.timeout_ms = value.u64()?,
                8 => exec.keep = Some(Keep::parse(value.bytes()?)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(exec)
    }
}

impl Terminal {
    fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut terminal = Terminal::default();
        each(message, |number, value| {
            match number {
                1 => terminal.rows = value.u32()?,
                2 => terminal.columns = value.u32()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(terminal)
    }
}

impl<'a> ReadFile<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut read = ReadFile::default();
        each(message, |number, value| {
            match number {
                1 => read.path = value.bytes()?,
                2 => read.offset = value.u64()?,
                3 => read.length = value.u64()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(read)
    }
}

impl<'a> WriteFile<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut write = WriteFile::default();
        each(message, |number, value| {
            match number {
                1 => write.path = value.bytes()?,
                2 => write.mode = value.u32()?,
                3 => write.parents = value.bool()?,
                4 => write.user = value.str()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(write)
    }
}

impl<'a> Stat<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut stat = Stat::default();
        each(message, |number, value| {
            match number {
                1 => stat.path = value.bytes()?,
                2 => stat.follow = value.bool()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(stat)
    }
}

/// A message without fields, of a kind: later ones are for a later version.
fn empty<'a>(value: Value<'a>, kind: Request<'a>) -> Result<Request<'a>, Malformed> {
    each(value.bytes()?, |_, _| Ok(())).map(|()| kind)
}

fn parse_list_directory(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut path: &[u8] = &[];
    each(message, |number, value| {
        if number == 1 {
            path = value.bytes()?;
        }
        Ok(())
    })?;
    Ok(path)
}

impl<'a> MakeDirectory<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut make = MakeDirectory::default();
        each(message, |number, value| {
            match number {
                1 => make.path = value.bytes()?,
                2 => make.mode = value.u32()?,
                3 => make.parents = value.bool()?,
                4 => make.user = value.str()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(make)
    }
}

impl<'a> Remove<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut remove = Remove::default();
        each(message, |number, value| {
            match number {
                1 => remove.path = value.bytes()?,
                2 => remove.recursive = value.bool()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(remove)
    }
}

impl<'a> Rename<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut rename = Rename::default();
        each(message, |number, value| {
            match number {
                1 => rename.from = value.bytes()?,
                2 => rename.to = value.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(rename)
    }
}

impl<'a> Watch<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut watch = Watch::default();
        each(message, |number, value| {
            match number {
                1 => watch.path = value.bytes()?,
                2 => watch.recursive = value.bool()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(watch)
    }
}

fn parse_connect(message: &[u8]) -> Result<u32, Malformed> {
    let mut port = 0;
    each(message, |number, value| {
        if number == 1 {
            port = value.u32()?;
        }
        Ok(())
    })?;
    Ok(port)
}

impl Control {
    /// None for a kind of control this version does not know.
    pub fn parse(message: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut control = None;
        each(message, |number, value| {
            control = match number {
                1 => Some(Control::Signal(value.u32()?)),
                2 => Some(Control::Resize(Terminal::parse(value.bytes()?)?)),
                3 => Some(Control::Acknowledge(Acknowledge::parse(value.bytes()?)?)),
                _ => control.take(),
            };
            Ok(())
        })?;
        Ok(control)
    }
}
