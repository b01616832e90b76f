"""A sandbox."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Callable, Literal, overload

import anyio
from anyio import to_thread

from .._sync.hold import Hold
from .._wire.addressing import port_url
from .._wire.calls import processes, sandboxes
from .._wire.deadline import NEVER, Deadline
from .._wire.exec_output import CLEANUP_S, ExecOutput
from .._wire.output_session import OutputSession
from .._wire.unset import UNSET, Unset
from ..errors import KilnError, SandboxNotFoundError
from .connection import connect
from .exec import run_to_end
from .files import AsyncFiles
from .forward import AsyncPortForward
from .opening import Opening
from .port_response import AsyncPortResponse
from .process import AsyncProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence
    from types import TracebackType

    from anyio.abc import ByteStream
    from typing_extensions import Self

    from .._wire.bodies import AsyncContent
    from ..types import ExecResult, OnTimeout, ProcessInfo, PushedSandbox, SandboxInfo, Stats, Template, Terminal
    from .transport import AsyncTransport


class AsyncSandbox:
    """A sandbox: what ``AsyncClient.sandbox``, ``AsyncClient.get``, ``AsyncClient.list`` and ``fork`` give.

    Leaving the ``async with`` block of one that this client created (``AsyncClient.sandbox``, ``fork``) kills it; of
    one that was looked up it does nothing. Every call takes ``request_timeout``: seconds after which it is given up
    with KilnTimeoutError; None for never.

        async with client.sandbox(image="python") as sandbox:
            result = await sandbox.exec(["python3", "-c", "print(6 * 7)"])
    """

    id: str
    files: AsyncFiles

    def __init__(self, transport: AsyncTransport, info: SandboxInfo, *, owned: bool) -> None:
        """owned: whether this client created it. For the SDK's own use."""
        self.id = info.id
        self.files = AsyncFiles(transport, info.id)
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

    async def refresh(self, *, request_timeout: float | None = None) -> SandboxInfo:
        """Asks for its present state. Raises SandboxNotFoundError."""
        return self._changed(await self._transport.call(sandboxes.get(self.id), deadline=Deadline(request_timeout)))

    @overload
    async def exec(
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
    async def exec(
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
    async def exec(
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

        It goes on over a restart of the daemon, and is killed when the call is given up, by cancellation or
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
        process = await run_to_end(
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
    ) -> Opening[AsyncProcess]:
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
        first = processes.start_attached(self.id, program)
        return Opening(lambda: self._open_process(OutputSession(self.id, first), request_timeout))

    async def spawn(
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
        return await self._transport.call(processes.start(self.id, program), deadline=Deadline(request_timeout))

    def attach(
        self,
        process_id: str,
        *,
        stdout: int = 0,
        stderr: int = 0,
        follow: bool = True,
        request_timeout: float | None = None,
    ) -> Opening[AsyncProcess]:
        """Attaches to a process: what is kept of its output, then what it writes.

        stdout, stderr: bytes of output that are known already.
        follow: whether to go on until the process ends.

        Raises ProcessNotFoundError.
        """
        first = processes.output(self.id, process_id, stdout=stdout, stderr=stderr, follow=follow)
        return Opening(
            lambda: self._open_process(
                OutputSession(self.id, first, stdout=stdout, stderr=stderr, follow=follow), request_timeout
            )
        )

    async def processes(self, *, request_timeout: float | None = None) -> list[ProcessInfo]:
        """Processes that run, and the last that ended."""
        return await self._transport.call(processes.list_all(self.id), deadline=Deadline(request_timeout))

    async def pause(self, *, request_timeout: float | None = None) -> SandboxInfo:
        """Memory and disk to files, the VM gone."""
        return self._changed(await self._transport.call(sandboxes.pause(self.id), deadline=Deadline(request_timeout)))

    async def resume(
        self, *, timeout: float | Unset | None = UNSET, request_timeout: float | None = None
    ) -> SandboxInfo:
        """Goes on from where it was paused. timeout: seconds it lives from now; None for ever; as it was when not
        given.
        """
        call = sandboxes.resume(self.id, timeout)
        return self._changed(await self._transport.call(call, deadline=Deadline(request_timeout)))

    async def push(self, *, request_timeout: float | None = None) -> PushedSandbox:
        """Hands it over, which is paused, to the store: this daemon forgets it, and any node takes it up
        (``client.pull_sandbox``). What fails leaves it paused.
        """
        return await self._transport.call(sandboxes.push(self.id), deadline=Deadline(request_timeout))

    async def fork(self, count: int = 1, *, request_timeout: float | None = None) -> list[AsyncSandbox]:
        """Running copies of it as it is now; it goes on itself. count: 1 to 100."""
        deadline = Deadline(request_timeout)
        infos = await self._transport.call(sandboxes.fork(self.id, count), deadline=deadline)
        forks = [AsyncSandbox(self._transport, info, owned=True) for info in infos]
        for fork in forks:
            await fork.wait_until_held(deadline)
        return forks

    async def snapshot(self, name: str, *, request_timeout: float | None = None) -> Template:
        """Makes a template of it as it is now: sandboxes of the template go on from here."""
        return await self._transport.call(sandboxes.snapshot(self.id, name), deadline=Deadline(request_timeout))

    async def update(
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
        return self._changed(await self._transport.call(call, deadline=Deadline(request_timeout)))

    async def extend_timeout(self, timeout: float | None, *, request_timeout: float | None = None) -> SandboxInfo:
        """Lets it live so many seconds from now; None for ever."""
        return await self.update(timeout=timeout, request_timeout=request_timeout)

    async def stats(self, *, request_timeout: float | None = None) -> Stats:
        """What it uses now."""
        return await self._transport.call(sandboxes.stats(self.id), deadline=Deadline(request_timeout))

    def request(
        self,
        port: int,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: AsyncContent | None = None,
        request_timeout: float | None = None,
    ) -> Opening[AsyncPortResponse]:
        """HTTP to a server in the sandbox, whichever way the daemon is reached. The time limit is for the answer's
        beginning.

        path: with a query, or without.
        content: as for ``Files.write``.

        An answer of whatever status is a result; PORT_UNREACHABLE is one of status 502 with the daemon's error as its
        body.
        """
        request = sandboxes.port(self.id, port, path, method, headers)

        async def ask() -> AsyncPortResponse:
            return AsyncPortResponse(await self._transport.send(request, content, Deadline(request_timeout)))

        return Opening(ask)

    def url(self, port: int) -> str:
        """Address of a server in the sandbox, for other programs. Requests there need the daemon's token.

        Raises UsageError when the daemon is reached by its socket: use ``forward``.
        """
        return port_url(self._transport.endpoint, self.id, port)

    def connect(self, port: int, *, request_timeout: float | None = None) -> Opening[ByteStream]:
        """One TCP connection to a port of the sandbox, as a stream of AnyIO. Raises PortUnreachableError."""
        return Opening(lambda: self._connect(port, Deadline(request_timeout)))

    def forward(
        self,
        port: int,
        *,
        local_port: int = 0,
        host: str = "127.0.0.1",
        on_error: Callable[[Exception], None] | None = None,
    ) -> Opening[AsyncPortForward]:
        """Makes a port of the sandbox one of this machine, until it is closed.

        local_port: port of this machine; one that is free when 0.
        host: address of this machine.
        on_error: told of connections that the sandbox did not take.

            async with sandbox.forward(8000) as forward:
                await httpx.AsyncClient().get(f"http://127.0.0.1:{forward.port}/")
        """

        def connect_once() -> Awaitable[ByteStream]:
            return self._connect(port, NEVER)

        return Opening(lambda: AsyncPortForward.open(connect_once, host=host, local_port=local_port, on_error=on_error))

    async def kill(self, *, request_timeout: float | None = None) -> None:
        """Kills it. One that is gone already is no error."""
        try:
            with suppress(SandboxNotFoundError):
                await self._transport.call(sandboxes.kill(self.id), deadline=Deadline(request_timeout))
        finally:
            if self._hold is not None:
                self._hold.let_go()

    async def wait_until_held(self, deadline: Deadline) -> None:
        """Returns when the connection it lives by is there, at once when it is not held. For the SDK's own use."""
        if self._hold is None:
            return
        try:
            await to_thread.run_sync(self._hold.wait_until_held, deadline, abandon_on_cancel=True)
        except BaseException:
            # It would be killed for want of a holder. The task may be cancelled.
            with anyio.move_on_after(CLEANUP_S, shield=True), suppress(KilnError):
                await self.kill()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._owned:
            return
        if error is None:
            await self.kill()
            return
        # The task may be cancelled; and what went wrong first is what matters.
        with anyio.move_on_after(CLEANUP_S, shield=True), suppress(KilnError):
            await self.kill()

    def __repr__(self) -> str:
        return f"<AsyncSandbox {self.id} {self._info.template} {self._info.state}>"

    def _changed(self, info: SandboxInfo) -> SandboxInfo:
        self._info = info
        return info

    async def _open_process(self, session: OutputSession, request_timeout: float | None) -> AsyncProcess:
        process = AsyncProcess(self._transport, self.id, session)
        await process.begin(Deadline(request_timeout))
        return process

    async def _connect(self, port: int, deadline: Deadline) -> ByteStream:
        await self._transport.ensure_running(deadline)
        return await connect(self._transport, sandboxes.connect(self.id, port), deadline)
