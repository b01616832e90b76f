"""A sandbox."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Callable, Literal, overload

from .._wire.addressing import port_url
from .._wire.calls import processes, sandboxes
from .._wire.deadline import Deadline
from .._wire.exec_output import ExecOutput
from .._wire.output_session import OutputSession
from .._wire.unset import UNSET, Unset
from ..errors import KilnError, SandboxNotFoundError
from .connection import connect
from .exec import run_to_end
from .files import Files
from .forward import PortForward
from .hold import Hold
from .port_response import PortResponse
from .process import Process

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from .._wire.bodies import Content
    from ..types import ExecResult, OnTimeout, ProcessInfo, PushedSandbox, SandboxInfo, Stats, Template, Terminal
    from .transport import Transport


class Sandbox:
    """A sandbox: what ``Client.sandbox``, ``Client.get``, ``Client.list`` and ``fork`` give.

    Leaving the ``with`` block of one that this client created (``Client.sandbox``, ``fork``) kills it; of one that was
    looked up it does nothing. Every call takes ``request_timeout``: seconds after which it is given up with
    KilnTimeoutError; None for never.

        with client.sandbox(image="python") as sandbox:
            print(sandbox.exec(["python3", "-c", "print(6 * 7)"]).stdout)
    """

    id: str
    files: Files

    def __init__(self, transport: Transport, info: SandboxInfo, *, owned: bool) -> None:
        """owned: whether this client created it. For the SDK's own use."""
        self.id = info.id
        self.files = Files(transport, info.id)
        self._transport = transport
        self._info = info
        self._owned = owned
        self._hold: Hold | None = None
        if owned and info.held:
            self._hold = Hold(
                transport.endpoint,
                info.id,
                self._changed,
                lambda hold: transport.lasting.forget(hold.let_go),
                autostart=transport.autostart,
                command=transport.command,
            )
            transport.lasting.keep(self._hold.let_go)

    @property
    def info(self) -> SandboxInfo:
        """What was last heard of it."""
        return self._info

    def refresh(self, *, request_timeout: float | None = None) -> SandboxInfo:
        """Asks for its present state. Raises SandboxNotFoundError."""
        return self._changed(self._transport.call(sandboxes.get(self.id), deadline=Deadline(request_timeout)))

    @overload
    def exec(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        timeout: float | None = None,
        max_output_bytes: int | None = None,
        text: Literal[True] = True,
        request_timeout: float | None = None,
    ) -> ExecResult[str]: ...
    @overload
    def exec(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        timeout: float | None = None,
        max_output_bytes: int | None = None,
        text: Literal[False],
        request_timeout: float | None = None,
    ) -> ExecResult[bytes]: ...
    def exec(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,  # noqa: A002 - as in subprocess.run.
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        timeout: float | None = None,
        max_output_bytes: int | None = None,
        text: bool = True,
        request_timeout: float | None = None,
    ) -> ExecResult[str] | ExecResult[bytes]:
        """Runs a program to its end; no shell is involved. An exit code that is not 0 is a result, not an error.

        It goes on over a restart of the daemon, and is killed when the call is given up, by an exception or
        ``request_timeout``.

        argv: program and arguments.
        input: its standard input, text as UTF-8.
        cwd: working directory; the template's when None.
        user: name, name:group, uid or uid:gid; the template's when None.
        timeout: seconds after which the program is killed; the result says ``timed_out`` then.
        max_output_bytes: most that is kept of each output, 16 MiB when None; what is more is dropped, and ``truncated``
            says so.
        text: whether the outputs are text in UTF-8, or bytes.
        """
        program = processes.program(argv, env=env, cwd=cwd, user=user, timeout=timeout)
        output = ExecOutput(max_output_bytes)
        process = run_to_end(
            self._transport,
            self.id,
            program,
            input=input.encode() if isinstance(input, str) else bytes(input or b""),
            output=output,
            deadline=Deadline(request_timeout),
        )
        return output.as_text(process) if text else output.as_bytes(process)

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bool = False,
        terminal: Terminal | None = None,
        timeout: float | None = None,
        background: bool = False,
        buffer_bytes: int | None = None,
        request_timeout: float | None = None,
    ) -> Process:
        """Starts a program and gives it with its output attached, once it runs.

        stdin: whether it gets a standard input to write to.
        terminal: the size of its terminal; without one it has none.
        timeout: seconds after which the program is killed.
        background: whether it goes on when this client goes away, and never waits for a reader.
        buffer_bytes: output kept in the guest, of each; 1 MiB when None.
        The other options are those of ``exec``.
        """
        program = processes.program(
            argv,
            env=env,
            cwd=cwd,
            user=user,
            timeout=timeout,
            stdin=stdin,
            terminal=terminal,
            background=background,
            buffer_bytes=buffer_bytes,
        )
        session = OutputSession(self.id, processes.start_attached(self.id, program))
        return Process(self._transport, self.id, session, Deadline(request_timeout))

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bool = False,
        terminal: Terminal | None = None,
        timeout: float | None = None,
        buffer_bytes: int | None = None,
        request_timeout: float | None = None,
    ) -> ProcessInfo:
        """Starts a background process without attaching to it; ``attach`` does that at any time. The options are those
        of ``start``.
        """
        program = processes.program(
            argv,
            env=env,
            cwd=cwd,
            user=user,
            timeout=timeout,
            stdin=stdin,
            terminal=terminal,
            background=True,
            buffer_bytes=buffer_bytes,
        )
        return self._transport.call(processes.start(self.id, program), deadline=Deadline(request_timeout))

    def attach(
        self,
        process_id: str,
        *,
        stdout: int = 0,
        stderr: int = 0,
        follow: bool = True,
        request_timeout: float | None = None,
    ) -> Process:
        """Attaches to a process: what is kept of its output, then what it writes.

        stdout, stderr: bytes of output that are known already.
        follow: whether to go on until the process ends.

        Raises ProcessNotFoundError.
        """
        first = processes.output(self.id, process_id, stdout=stdout, stderr=stderr, follow=follow)
        session = OutputSession(self.id, first, stdout=stdout, stderr=stderr, follow=follow)
        return Process(self._transport, self.id, session, Deadline(request_timeout))

    def processes(self, *, request_timeout: float | None = None) -> list[ProcessInfo]:
        """Processes that run, and the last that ended."""
        return self._transport.call(processes.list_all(self.id), deadline=Deadline(request_timeout))

    def pause(self, *, request_timeout: float | None = None) -> SandboxInfo:
        """Memory and disk to files, the VM gone."""
        return self._changed(self._transport.call(sandboxes.pause(self.id), deadline=Deadline(request_timeout)))

    def resume(self, *, timeout: float | Unset | None = UNSET, request_timeout: float | None = None) -> SandboxInfo:
        """Goes on from where it was paused. timeout: seconds it lives from now; None for ever; as it was when not
        given.
        """
        call = sandboxes.resume(self.id, timeout)
        return self._changed(self._transport.call(call, deadline=Deadline(request_timeout)))

    def push(self, *, request_timeout: float | None = None) -> PushedSandbox:
        """Hands it over, which is paused, to the store: this daemon forgets it, and any node takes it up
        (``client.pull_sandbox``). What fails leaves it paused.
        """
        return self._transport.call(sandboxes.push(self.id), deadline=Deadline(request_timeout))

    def fork(self, count: int = 1, *, request_timeout: float | None = None) -> list[Sandbox]:
        """Running copies of it as it is now; it goes on itself. count: 1 to 100."""
        deadline = Deadline(request_timeout)
        infos = self._transport.call(sandboxes.fork(self.id, count), deadline=deadline)
        forks = [Sandbox(self._transport, info, owned=True) for info in infos]
        for fork in forks:
            fork.wait_until_held(deadline)
        return forks

    def snapshot(self, name: str, *, request_timeout: float | None = None) -> Template:
        """Makes a template of it as it is now: sandboxes of the template go on from here."""
        return self._transport.call(sandboxes.snapshot(self.id, name), deadline=Deadline(request_timeout))

    def update(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        on_timeout: OnTimeout | Unset = UNSET,
        metadata: Mapping[str, str] | Unset = UNSET,
        request_timeout: float | None = None,
    ) -> SandboxInfo:
        """Changes when it ends, or its metadata; what is not given stays.

        timeout: seconds it lives from now; None for ever.
        metadata: takes the place of all there was.
        """
        call = sandboxes.update(self.id, timeout, on_timeout, metadata)
        return self._changed(self._transport.call(call, deadline=Deadline(request_timeout)))

    def extend_timeout(self, timeout: float | None, *, request_timeout: float | None = None) -> SandboxInfo:
        """Lets it live so many seconds from now; None for ever."""
        return self.update(timeout=timeout, request_timeout=request_timeout)

    def stats(self, *, request_timeout: float | None = None) -> Stats:
        """What it uses now."""
        return self._transport.call(sandboxes.stats(self.id), deadline=Deadline(request_timeout))

    def request(
        self,
        port: int,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
        request_timeout: float | None = None,
    ) -> PortResponse:
        """HTTP to a server in the sandbox, whichever way the daemon is reached. The time limit is for the answer's
        beginning.

        path: with a query, or without.
        content: as for ``Files.write``.

        An answer of whatever status is a result; PORT_UNREACHABLE is one of status 502 with the daemon's error as its
        body.
        """
        request = sandboxes.port(self.id, port, path, method, headers)
        return PortResponse(self._transport.send(request, content, Deadline(request_timeout)))

    def url(self, port: int) -> str:
        """Address of a server in the sandbox, for other programs. Requests there need the daemon's token.

        Raises UsageError when the daemon is reached by its socket: use ``forward``.
        """
        return port_url(self._transport.endpoint, self.id, port)

    def connect(self, port: int, *, request_timeout: float | None = None) -> socket.socket:
        """One TCP connection to a port of the sandbox, as a blocking socket. Raises PortUnreachableError."""
        deadline = Deadline(request_timeout)
        self._transport.ensure_running(deadline)
        return connect(self._transport, sandboxes.connect(self.id, port), deadline)

    def forward(
        self,
        port: int,
        *,
        local_port: int = 0,
        host: str = "127.0.0.1",
        on_error: Callable[[Exception], None] | None = None,
    ) -> PortForward:
        """Makes a port of the sandbox one of this machine, until it is closed.

        local_port: port of this machine; one that is free when 0.
        host: address of this machine.
        on_error: told of connections that the sandbox did not take, in a thread of their own.

            with sandbox.forward(8000) as forward:
                urllib.request.urlopen(f"http://127.0.0.1:{forward.port}/")
        """
        return PortForward(lambda: self.connect(port), host=host, local_port=local_port, on_error=on_error)

    def kill(self, *, request_timeout: float | None = None) -> None:
        """Kills it. One that is gone already is no error."""
        try:
            with suppress(SandboxNotFoundError):
                self._transport.call(sandboxes.kill(self.id), deadline=Deadline(request_timeout))
        finally:
            if self._hold is not None:
                self._hold.let_go()

    def wait_until_held(self, deadline: Deadline) -> None:
        """Returns when the connection it lives by is there, at once when it is not held. For the SDK's own use."""
        if self._hold is None:
            return
        try:
            self._hold.wait_until_held(deadline)
        except BaseException:
            with suppress(KilnError):
                self.kill()  # It would be killed for want of a holder.
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._owned:
            return
        try:
            self.kill()
        except KilnError:
            if error is None:  # What went wrong first is what matters.
                raise

    def __repr__(self) -> str:
        return f"<Sandbox {self.id} {self._info.template} {self._info.state}>"

    def _changed(self, info: SandboxInfo) -> SandboxInfo:
        self._info = info
        return info
