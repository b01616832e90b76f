"""One output of a process, for whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .._wire.text_lines import TextLines
from ..types import OutputData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import OutputEvent


class OutputReader:
    """Iterate it for the bytes as they come. What was read once is not given again."""

    def __init__(self, events: Callable[[], Iterator[OutputEvent]]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[bytes]:
        for event in self._events():
            if isinstance(event, OutputData):
                yield event.data

    def read_all(self) -> bytes:
        """All to the end of the process."""
        return b"".join(self)

    def lines(self) -> Iterator[str]:
        """Lines of text as they come, without their ends."""
        lines = TextLines()
        for data in self:
            yield from lines.feed(data)
        yield from lines.finish()
