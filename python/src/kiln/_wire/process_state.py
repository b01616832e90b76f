"""What is known of a process, and of its output what is not read yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InternalError, UsageError
from ..types import Channel, ExitStatus, OutputDropped
from .output_queue import OutputQueue
from .output_session import Started

if TYPE_CHECKING:
    from ..types import OutputEvent, ProcessInfo
    from .output_session import StreamEvent


class ProcessState:
    """Takes what the stream of a process tells, and gives it to its readers. It waits for nothing: whoever uses it
    does, until ``full``, ``over``, or a queue has changed.
    """

    def __init__(self) -> None:
        self.dropped: dict[Channel, int] = {"stdout": 0, "stderr": 0}
        self.both = OutputQueue("both")
        self.stdout = OutputQueue("stdout")
        self.stderr = OutputQueue("stderr")
        self.over = False
        """Whether nothing more comes."""
        self._info: ProcessInfo | None = None
        self._ended: ProcessInfo | None = None
        self._failure: BaseException | None = None

    @property
    def queues(self) -> tuple[OutputQueue, ...]:
        return (self.both, self.stdout, self.stderr)

    @property
    def full(self) -> bool:
        """Whether a reader is to catch up before more is taken."""
        return any(queue.full for queue in self.queues)

    @property
    def began(self) -> bool:
        return self._info is not None

    @property
    def info(self) -> ProcessInfo:
        self.check_begun()
        assert self._info is not None  # noqa: S101 - it has begun.
        return self._info

    def check_begun(self) -> None:
        """Raises what kept it from beginning."""
        if self._info is None:
            self.check()
            raise InternalError("an output stream did not begin with its process")

    def refreshed(self, info: ProcessInfo) -> None:
        self._info = info

    def take(self, event: StreamEvent) -> None:
        if isinstance(event, Started):
            self._info = event.process
            return
        if isinstance(event, OutputDropped):
            self.dropped[event.channel] += event.bytes
        for queue in self.queues:
            queue.push(event)

    def end(self, ended: ProcessInfo | None, failure: BaseException | None) -> None:
        """Nothing more comes: the process has ended, or it was let go of, or the stream failed."""
        self._ended = ended
        if ended is not None:
            self._info = ended
        self._failure = failure
        self.over = True

    def check(self) -> None:
        """Raises what the stream failed with."""
        if self._failure is not None:
            raise self._failure

    def next(self, queue: OutputQueue) -> OutputEvent | None:
        """The next event, or None: when it is over, there is none any more. Raises what the stream failed with."""
        event = queue.pop()
        if event is None:
            self.check()
        return event

    def exit_status(self) -> ExitStatus:
        """How it ended, when it is over."""
        self.check()
        if self._ended is None:
            raise UsageError(
                "the process was let go of: its end is not known", hint="wait() before kill() and detach()"
            )
        if self._ended.state == "running":
            raise UsageError("it was attached to without following it, and it still runs", hint="follow=True")
        return ExitStatus(self._ended.exit_code or 0, self._ended.signal, self._ended.timed_out)
