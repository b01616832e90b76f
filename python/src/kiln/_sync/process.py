"""A process in a sandbox, and its output as it comes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .._wire.calls import processes
from .._wire.deadline import Deadline
from .._wire.process_state import ProcessState
from ..errors import KilnError, ProcessNotFoundError, SandboxNotFoundError, SandboxStateError
from .follow import follow
from .let_go import LetGo
from .output import OutputReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from .._wire.output_queue import OutputQueue
    from .._wire.output_session import OutputSession, StreamEvent
    from ..types import Channel, ExitStatus, OutputEvent, ProcessInfo
    from .transport import Transport


class Process:
    """A process in a sandbox: what ``Sandbox.start`` and ``Sandbox.attach`` give.

    Its output is taken as it comes, whether somebody reads it or not. A connection that is cut, be it that the daemon
    is restarted, is made again by itself, from where the output was. Leaving its ``with`` block kills it, unless it is
    a background process.

        with sandbox.start(["python3", "-u", "-m", "http.server"]) as server:
            for line in server.stderr.lines():
                print(line)
    """

    def __init__(self, transport: Transport, sandbox_id: str, session: OutputSession, deadline: Deadline) -> None:
        """Sends the session's first request and returns when the process is there. For the SDK's own use."""
        self._transport = transport
        self._sandbox_id = sandbox_id
        self._session = session
        self._let_go = LetGo()
        self._writing = threading.Lock()
        self._state = ProcessState()
        self._changed = threading.Condition()  # Guards the state, and tells of its changes.
        self.stdout = OutputReader(lambda: self._read(self._state.stdout))
        """Standard output; of a terminal, all output. Of what came before anybody read, the last 1 MiB."""
        self.stderr = OutputReader(lambda: self._read(self._state.stderr))
        """Standard error, likewise."""
        transport.lasting.keep(self.detach)
        threading.Thread(target=self._pump, args=(deadline,), name="kiln-output", daemon=True).start()
        try:
            self._await_start(deadline)
        except BaseException:
            self.detach()
            raise
        self.id: str = self.info.id

    @property
    def info(self) -> ProcessInfo:
        """What was last heard of it."""
        return self._state.info

    @property
    def dropped(self) -> Mapping[Channel, int]:
        """Bytes of each output that were no longer there when they were asked for."""
        return self._state.dropped

    @property
    def output(self) -> Iterator[OutputEvent]:
        """Both outputs in the order they came. Of what came before anybody read, the last 1 MiB."""
        return self._read(self._state.both)

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Returns when it has ended and its output is through.

        timeout: seconds; it goes on after that.

        Raises KilnTimeoutError; KilnError when its end cannot be found out.
        """
        deadline = Deadline(timeout)
        with self._changed:
            if not self._changed.wait_for(lambda: self._state.over, deadline.remaining):
                raise deadline.error(f"process {self.id}")
            return self._state.exit_status()

    def write(self, data: str | bytes, *, request_timeout: float | None = None) -> None:
        """Writes to its standard input, text as UTF-8; returns when the guest has it. Writes keep their order."""
        self._stdin(data, False, Deadline(request_timeout))

    def close_stdin(self, data: str | bytes = b"", *, request_timeout: float | None = None) -> None:
        """Closes its standard input, after ``data``."""
        self._stdin(data, True, Deadline(request_timeout))

    def signal(self, name: str, *, request_timeout: float | None = None) -> None:
        """Sends a signal, such as ``SIGTERM``, to it and all it started."""
        self._transport.call(processes.signal(self._sandbox_id, self.id, name), deadline=Deadline(request_timeout))

    def resize(self, rows: int, columns: int, *, request_timeout: float | None = None) -> None:
        """Changes the size of its terminal."""
        call = processes.resize(self._sandbox_id, self.id, rows, columns)
        self._transport.call(call, deadline=Deadline(request_timeout))

    def refresh(self, *, request_timeout: float | None = None) -> ProcessInfo:
        """Asks for its present state."""
        call = processes.get(self._sandbox_id, self.id)
        self._state.refreshed(self._transport.call(call, deadline=Deadline(request_timeout)))
        return self.info

    def kill(self, *, request_timeout: float | None = None) -> None:
        """Kills it with all it started, and forgets its output. One that is gone already is no error."""
        try:
            self._transport.call(processes.kill(self._sandbox_id, self.id), deadline=Deadline(request_timeout))
        except (ProcessNotFoundError, SandboxNotFoundError, SandboxStateError):
            pass
        finally:
            self.detach()  # Its stream would tell that it is not there any more.

    def detach(self) -> None:
        """Leaves it alone: a background process, or one that was attached to, goes on. Any other is killed by the
        daemon.
        """
        self._let_go.set()
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.info.state == "exited" or self.info.background:
            self.detach()
            return
        try:
            self.kill()
        except KilnError:
            if error is None:  # What went wrong first is what matters.
                raise

    def __repr__(self) -> str:
        return f"<Process {self.id} {self.info.state} {' '.join(self.info.argv)!r:.80}>"

    def _stdin(self, data: str | bytes, end: bool, deadline: Deadline) -> None:
        with self._writing:
            self._transport.call(processes.write_stdin(self._sandbox_id, self.id, end=end), data, deadline)

    def _await_start(self, deadline: Deadline) -> None:
        state = self._state
        with self._changed:
            if not self._changed.wait_for(lambda: state.began or state.over, deadline.remaining):
                raise deadline.error(self._session.request().name)
            state.check_begun()

    def _pump(self, start: Deadline) -> None:
        """Takes the output, in a thread of its own."""
        failure: BaseException | None = None
        try:
            follow(self._transport, self._session, self._take, self._let_go, start=start)
        except BaseException as error:  # noqa: BLE001 - whoever waits or reads is told.
            failure = error
        self._transport.lasting.forget(self.detach)
        with self._changed:
            self._state.end(self._session.ended, failure)
            self._changed.notify_all()

    def _take(self, event: StreamEvent) -> None:
        with self._changed:
            self._state.take(event)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._state.full or self._let_go.is_set)

    def _read(self, queue: OutputQueue) -> Iterator[OutputEvent]:
        with self._changed:
            queue.begin_reading()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: not queue.empty or self._state.over)
                    event = self._state.next(queue)
                    self._changed.notify_all()
                if event is None:
                    return
                yield event
        finally:
            with self._changed:
                queue.end_reading()
                self._changed.notify_all()
