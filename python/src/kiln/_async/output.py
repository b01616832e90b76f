"""One output of a process, for whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .._wire.text_lines import TextLines
from ..types import OutputData

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..types import OutputEvent


class AsyncOutputReader:
    """Iterate it for the bytes as they come. What was read once is not given again."""

    def __init__(self, events: Callable[[], AsyncIterator[OutputEvent]]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for event in self._events():
            if isinstance(event, OutputData):
                yield event.data

    async def read_all(self) -> bytes:
        """All to the end of the process."""
        return b"".join([data async for data in self])

    async def lines(self) -> AsyncIterator[str]:
        """Lines of text as they come, without their ends."""
        lines = TextLines()
        async for data in self:
            for line in lines.feed(data):
                yield line
        for line in lines.finish():
            yield line
