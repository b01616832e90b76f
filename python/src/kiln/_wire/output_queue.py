"""One reader's view of a process's output: a queue between the connection and whoever iterates."""

from __future__ import annotations

from collections import deque
from typing import Literal

from ..types import Channel, OutputData, OutputDropped, OutputEvent

MAX_KEPT_BYTES = 1024 * 1024
"""Kept of what is not read yet, in bytes of each reader."""

_CHANNELS: tuple[Channel, ...] = ("stdout", "stderr")


class OutputQueue:
    """Before anybody iterates the oldest output gives way, so that a process never waits for a reader that does not
    come; while somebody does, the connection has to wait as long as ``full`` says.

    wants: the outputs that are of interest.
    """

    def __init__(self, wants: Literal["stdout", "stderr", "both"]) -> None:
        self._wants = wants
        self._events: deque[OutputEvent] = deque()
        self._bytes = 0
        self._readers = 0

    @property
    def full(self) -> bool:
        """Whether somebody reads, and has enough to do."""
        return self._readers > 0 and self._bytes > MAX_KEPT_BYTES

    def begin_reading(self) -> None:
        self._readers += 1

    def end_reading(self) -> None:
        self._readers -= 1
        if self._readers == 0:
            self._give_way()

    def push(self, event: OutputEvent) -> None:
        if self._wants not in ("both", event.channel):
            return
        self._events.append(event)
        self._bytes += _size(event)
        if self._readers == 0:
            self._give_way()

    @property
    def empty(self) -> bool:
        return not self._events

    def pop(self) -> OutputEvent | None:
        """The next event, or None when there is none yet."""
        if not self._events:
            return None
        event = self._events.popleft()
        self._bytes -= _size(event)
        return event

    def _give_way(self) -> None:
        lost: dict[Channel, int] = {"stdout": 0, "stderr": 0}
        while self._bytes > MAX_KEPT_BYTES:
            event = self._events.popleft()
            self._bytes -= _size(event)
            lost[event.channel] += event.bytes if isinstance(event, OutputDropped) else len(event.data)
        # A notice stands first, so that it is taken in here when more has to go: there is never more than one a
        # channel.
        for channel in _CHANNELS:
            if lost[channel] > 0:
                self._events.appendleft(OutputDropped(channel, lost[channel]))


def _size(event: OutputEvent) -> int:
    return len(event.data) if isinstance(event, OutputData) else 0
