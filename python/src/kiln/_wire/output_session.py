"""One process's output, over as many connections as it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from ..errors import ConnectionLostError, InternalError, KilnError
from ..types import Channel, OutputData, OutputDropped, OutputEvent, ProcessInfo
from . import answers, patience
from .calls import processes
from .error_body import to_error
from .fields import Fields
from .frames import Frame, FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .request import Request

_CUT = {"CONNECTION_LOST", "UNREACHABLE", "SHUTTING_DOWN"}
_CHANNELS: tuple[Channel, ...] = ("stdout", "stderr")


@dataclass(frozen=True)
class Started:
    """First of all, once: the process."""

    process: ProcessInfo


StreamEvent = Union[Started, OutputEvent]


class OutputSession:
    """Follows the output of a process to its end: after a cut it goes on from where it was, so that nothing is given
    twice and nothing is missing that the guest still has.

    It does no input or output itself. Whoever drives it repeats: send ``request()``; ``begin()``; ``feed`` what comes;
    ``finish()`` when the answer ends, and ``cut`` unless ``ended`` is set then.

    first: the request that starts the process, or attaches to it.
    """

    def __init__(
        self, sandbox_id: str, first: Request, *, stdout: int = 0, stderr: int = 0, follow: bool = True
    ) -> None:
        self._sandbox_id = sandbox_id
        self._first = first
        self._offsets: dict[Channel, int] = {"stdout": stdout, "stderr": stderr}
        self._follow = follow
        self._frames = FrameDecoder()
        self._patience = patience.Patience()
        self.process_id: str | None = None
        self.ended: ProcessInfo | None = None
        """The process as it is at the end of its output."""

    def request(self) -> Request:
        """What to send next."""
        if self.process_id is None:
            return self._first
        stdout, stderr = self._offsets["stdout"], self._offsets["stderr"]
        return processes.output(self._sandbox_id, self.process_id, stdout=stdout, stderr=stderr, follow=self._follow)

    def begin(self) -> None:
        """A new connection is there."""
        self._frames = FrameDecoder()

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """What these bytes tell. Raises the error a daemon tells of; InternalError for what is no output stream."""
        for frame in self._frames.feed(data):
            self._patience.renew()
            event = self._read(frame)
            if event is not None:
                yield event
            if self.ended is not None:
                return

    def finish(self) -> None:
        """The connection has ended. Raises ConnectionLostError when it did so within a frame."""
        self._frames.finish()

    def cut(self, failure: KilnError | None) -> float:
        """What to do after a connection that ended without the process's end: the seconds to wait before the next one.

        Raises the failure when it is none that another connection helps with.
        """
        if failure is not None and (self.process_id is None or failure.code not in _CUT):
            raise failure
        if self.process_id is None or not self._patience.lasts():
            raise ConnectionLostError(
                "the connection to the process was lost",
                request=self.request().name,
                hint=(
                    "it may have been started" if self.process_id is None else "it may go on: attach to it again later"
                ),
            ) from failure
        return patience.PAUSE_S

    def _read(self, frame: Frame) -> StreamEvent | None:
        if frame.channel == 0:
            return self._read_event(frame.payload)
        if frame.channel > len(_CHANNELS):
            raise InternalError(f"an output frame of channel {frame.channel}")
        channel = _CHANNELS[frame.channel - 1]
        self._offsets[channel] += len(frame.payload)
        return OutputData(channel, frame.payload)

    def _read_event(self, payload: bytes) -> StreamEvent | None:
        try:
            value = json.loads(payload)
        except ValueError:
            raise InternalError(f"not an event of an output stream: {payload[:100]!r}") from None
        fields = Fields(value, "event")
        kind = fields.text("type")
        if kind == "started":
            return self._started(fields.of("process", answers.process_info))
        if kind == "dropped":
            channel = fields.choice("channel", _CHANNELS)
            count = fields.whole("bytes")
            self._offsets[channel] += count
            return OutputDropped(channel, count)
        if kind == "exit":
            self.ended = fields.of("process", answers.process_info)
        elif kind == "error":
            raise fields.of("error", to_error)
        return None  # A ping, or what a later daemon may tell.

    def _started(self, process: ProcessInfo) -> Started | None:
        is_first = self.process_id is None
        self.process_id = process.id
        return Started(process) if is_first else None
