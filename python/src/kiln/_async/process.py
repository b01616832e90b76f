"""A process in a sandbox, and its output as it comes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from .._wire.calls import processes
from .._wire.deadline import Deadline
from .._wire.exec_output import CLEANUP_S
from .._wire.process_state import ProcessState
from ..errors import KilnError, ProcessNotFoundError, SandboxNotFoundError, SandboxStateError
from .changes import Changes
from .follow import follow
from .output import AsyncOutputReader
from .within import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from .._wire.output_queue import OutputQueue
    from .._wire.output_session import OutputSession, StreamEvent
    from ..types import Channel, ExitStatus, OutputEvent, ProcessInfo
    from .transport import AsyncTransport


class AsyncProcess:
    """A process in a sandbox: what ``AsyncSandbox.start`` and ``AsyncSandbox.attach`` give.

    Its output is taken as it comes, whether somebody reads it or not. A connection that is cut, be it that the daemon
    is restarted, is made again by itself, from where the output was. Leaving its ``async with`` block kills it, unless
    it is a background process.

        async with sandbox.start(["python3", "-u", "-m", "http.server"]) as server:
            async for line in server.stderr.lines():
                print(line)
    """

    id: str

    def __init__(self, transport: AsyncTransport, sandbox_id: str, session: OutputSession) -> None:
        self._transport = transport
        self._sandbox_id = sandbox_id
        self._session = session
        self._writing = anyio.Lock()
        self._state = ProcessState()
        self._changed = Changes()
        self.stdout = AsyncOutputReader(lambda: self._read(self._state.stdout))
        """Standard output; of a terminal, all output. Of what came before anybody read, the last 1 MiB."""
        self.stderr = AsyncOutputReader(lambda: self._read(self._state.stderr))
        """Standard error, likewise."""
        self._background = transport.background(self._pump, "kiln-output")

    async def begin(self, deadline: Deadline) -> None:
        """Returns when the process is there. For the SDK's own use."""
        state = self._state
        try:
            with within(deadline, self._session.request().name):
                await self._changed.wait_for(lambda: state.began or state.over)
            self.id = self.info.id
        except BaseException:
            self.detach()
            raise

    @property
    def info(self) -> ProcessInfo:
        """What was last heard of it."""
        return self._state.info

    @property
    def dropped(self) -> Mapping[Channel, int]:
        """Bytes of each output that were no longer there when they were asked for."""
        return self._state.dropped

    @property
    def output(self) -> AsyncIterator[OutputEvent]:
        """Both outputs in the order they came. Of what came before anybody read, the last 1 MiB."""
        return self._read(self._state.both)

    async def wait(self, timeout: float | None = None) -> ExitStatus:
        """Returns when it has ended and its output is through.

        timeout: seconds; it goes on after that.

        Raises KilnTimeoutError; KilnError when its end cannot be found out.
        """
        with within(Deadline(timeout), f"process {self.id}"):
            await self._changed.wait_for(lambda: self._state.over)
        return self._state.exit_status()

    async def write(self, data: str | bytes, *, request_timeout: float | None = None) -> None:
        """Writes to its standard input, text as UTF-8; returns when the guest has it. Writes keep their order."""
        await self._stdin(data, False, Deadline(request_timeout))

    async def close_stdin(self, data: str | bytes = b"", *, request_timeout: float | None = None) -> None:
        """Closes its standard input, after ``data``."""
        await self._stdin(data, True, Deadline(request_timeout))

    async def signal(self, name: str, *, request_timeout: float | None = None) -> None:
        """Sends a signal, such as ``SIGTERM``, to it and all it started."""
        call = processes.signal(self._sandbox_id, self.id, name)
        await self._transport.call(call, deadline=Deadline(request_timeout))

    async def resize(self, rows: int, columns: int, *, request_timeout: float | None = None) -> None:
        """Changes the size of its terminal."""
        call = processes.resize(self._sandbox_id, self.id, rows, columns)
        await self._transport.call(call, deadline=Deadline(request_timeout))

    async def refresh(self, *, request_timeout: float | None = None) -> ProcessInfo:
        """Asks for its present state."""
        call = processes.get(self._sandbox_id, self.id)
        self._state.refreshed(await self._transport.call(call, deadline=Deadline(request_timeout)))
        return self.info

    async def kill(self, *, request_timeout: float | None = None) -> None:
        """Kills it with all it started, and forgets its output. One that is gone already is no error."""
        try:
            await self._transport.call(processes.kill(self._sandbox_id, self.id), deadline=Deadline(request_timeout))
        except (ProcessNotFoundError, SandboxNotFoundError, SandboxStateError):
            pass
        finally:
            self.detach()  # Its stream would tell that it is not there any more.

    def detach(self) -> None:
        """Leaves it alone: a background process, or one that was attached to, goes on. Any other is killed by the
        daemon.
        """
        self._background.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.info.state == "exited" or self.info.background:
            self.detach()
            return
        if error is None:
            await self.kill()
            return
        # The task may be cancelled; and what went wrong first is what matters.
        with anyio.move_on_after(CLEANUP_S, shield=True), suppress(KilnError):
            await self.kill()

    def __repr__(self) -> str:
        return f"<AsyncProcess {self.id} {self.info.state} {' '.join(self.info.argv)!r:.80}>"

    async def _stdin(self, data: str | bytes, end: bool, deadline: Deadline) -> None:
        call = processes.write_stdin(self._sandbox_id, self.id, end=end)
        with within(deadline, call.request.name):
            async with self._writing:
                await self._transport.call(call, data)

    async def _pump(self) -> None:
        """Takes the output, in a task of its own."""
        failure: Exception | None = None
        try:
            await follow(self._transport, self._session, self._take)
        except Exception as error:  # noqa: BLE001 - whoever waits or reads is told.
            failure = error
        finally:
            self._state.end(self._session.ended, failure)
            self._changed.tell()

    async def _take(self, event: StreamEvent) -> None:
        self._state.take(event)
        self._changed.tell()
        await self._changed.wait_for(lambda: not self._state.full)

    async def _read(self, queue: OutputQueue) -> AsyncIterator[OutputEvent]:
        queue.begin_reading()
        try:
            while True:
                await self._changed.wait_for(lambda: not queue.empty or self._state.over)
                event = self._state.next(queue)
                self._changed.tell()
                if event is None:
                    return
                yield event
        finally:
            queue.end_reading()
            self._changed.tell()
