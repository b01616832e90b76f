//! Messages from the host in the words of the vectors (proto/vectors.txt).

use kiln_agent::wire::kept::Keep;
use kiln_agent::wire::request::{Control, Hello, Request, Terminal};

/// A message's fields in the words of the vectors: those that are not their default.
#[derive(Default)]
pub struct Says(Vec<String>);

impl Says {
    fn number(mut self, name: &str, value: u64) -> Says {
        if value != 0 {
            self.0.push(format!("{}={}", name, value));
        }
        self
    }
    fn flag(mut self, name: &str, value: bool) -> Says {
        if value {
            self.0.push(format!("{}=true", name));
        }
        self
    }
    fn text(self, name: &str, value: &str) -> Says {
        if value.is_empty() {
            return self;
        }
        self.texts(name, &[value])
    }
    fn texts(mut self, name: &str, values: &[&str]) -> Says {
        self.0.extend(values.iter().map(|value| format!("{}={}", name, quote(value))));
        self
    }
    fn bytes(mut self, name: &str, value: &[u8]) -> Says {
        if !value.is_empty() {
            self.0.push(format!("{}={}", name, say_bytes(value)));
        }
        self
    }
    fn message(mut self, name: &str, value: Option<Says>) -> Says {
        self.0.extend(value.map(|value| format!("{}{{{}}}", name, value.0.join(" "))));
        self
    }
    fn offsets(self, [stdout, stderr]: [u64; 2]) -> Says {
        self.number("stdout_offset", stdout).number("stderr_offset", stderr)
    }
    pub fn line(self) -> String {
        if self.0.is_empty() {
            return "nothing".into();
        }
        self.0.join(" ")
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

pub fn say_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(|byte| (0x20..=0x7e).contains(byte)) => quote(text),
        _ => bytes.iter().fold(String::from("0x"), |text, byte| format!("{}{:02x}", text, byte)),
    }
}

pub fn say_hello(hello: &Hello<'_>) -> Says {
    let identity = hello.identity.map(|identity| {
        Says::default()
            .bytes("entropy", identity.entropy)
            .number("wall_clock_ns", identity.wall_clock_ns)
            .text("hostname", identity.hostname)
            .text("machine_id", identity.machine_id)
            .number("max_processes", identity.max_processes.into())
    });
    Says::default()
        .number("version", hello.version.into())
        .number("min_version", hello.min_version.into())
        .number("window", hello.window.into())
        .message("identity", identity)
        .number("nonce", hello.nonce.into())
}

fn say_terminal(size: Terminal) -> Says {
    Says::default().number("rows", size.rows.into()).number("columns", size.columns.into())
}

fn say_keep(keep: Keep<'_>) -> Says {
    Says::default()
        .text("id", keep.id)
        .number("buffer_bytes", keep.buffer_bytes.into())
        .number("when_full", keep.when_full as u64)
}

pub fn say_request(request: &Request<'_>) -> Says {
    let says = Says::default();
    let (name, fields) = match request {
        Request::Exec(exec) => (
            "exec",
            says.texts("argv", &exec.argv)
                .texts("env", &exec.env)
                .text("cwd", exec.cwd)
                .text("user", exec.user)
                .flag("stdin", exec.stdin)
                .message("terminal", exec.terminal.map(say_terminal))
                .number("timeout_ms", exec.timeout_ms)
                .message("keep", exec.keep.map(say_keep)),
        ),
        Request::ReadFile(read) => {
            ("read_file", says.bytes("path", read.path).number("offset", read.offset).number("length", read.length))
        }
        Request::WriteFile(write) => (
            "write_file",
            says.bytes("path", write.path)
                .number("mode", write.mode.into())
                .flag("parents", write.parents)
                .text("user", write.user),
        ),
        Request::Stat(stat) => ("stat", says.bytes("path", stat.path).flag("follow", stat.follow)),
        Request::ListDirectory(path) => ("list_directory", says.bytes("path", path)),
        Request::MakeDirectory(make) => (
            "make_directory",
            says.bytes("path", make.path)
                .number("mode", make.mode.into())
                .flag("parents", make.parents)
                .text("user", make.user),
        ),
        Request::Remove(remove) => ("remove", says.bytes("path", remove.path).flag("recursive", remove.recursive)),
        Request::Rename(rename) => ("rename", says.bytes("from", rename.from).bytes("to", rename.to)),
        Request::Freeze => ("freeze", says),
        Request::Ping => ("ping", says),
        Request::Attach(attach) => (
            "attach",
            says.text("id", attach.id)
                .offsets(attach.offsets)
                .flag("follow", attach.follow)
                .flag("silent", attach.silent),
        ),
        Request::ListProcesses => ("list_processes", says),
        Request::SignalProcess(of) => ("signal_process", says.text("id", of.id).number("signal", of.what.into())),
        Request::WriteStdin(of) => ("write_stdin", says.text("id", of.id).flag("end", of.what)),
        Request::ResizeProcess(of) => {
            ("resize_process", says.text("id", of.id).message("size", Some(say_terminal(of.what))))
        }
        Request::ForgetProcess(of) => ("forget_process", says.text("id", of.id)),
        Request::Connect(port) => ("connect", says.number("port", (*port).into())),
        Request::Watch(watch) => ("watch", says.bytes("path", watch.path).flag("recursive", watch.recursive)),
        Request::Usage => ("usage", says),
    };
    Says::default().message(name, Some(fields))
}

pub fn say_control(control: Control) -> Says {
    match control {
        Control::Signal(signal) => Says(vec![format!("signal={}", signal)]),
        Control::Resize(size) => Says::default().message("resize", Some(say_terminal(size))),
        Control::Acknowledge(acknowledge) => {
            Says::default().message("acknowledge", Some(Says::default().offsets(acknowledge.offsets)))
        }
    }
}
