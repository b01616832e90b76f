"""Changes of files as they happen."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .._wire.watching import Watching
from ..errors import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from ..types import WatchEvent
    from .answer import AsyncAnswer


class AsyncWatch:
    """Iterate it for changes as they happen. Leaving its ``async with`` block, or ``aclose()`` in another task, ends
    it.

    async with sandbox.files.watch("src", recursive=True) as changes:
        async for change in changes:
            print(change.type, change.path)
    """

    def __init__(self, answer: AsyncAnswer, path: str) -> None:
        self._answer = answer
        self._chunks = answer.__aiter__()
        self._watching = Watching(path)
        self._first: deque[WatchEvent] = deque()
        self._closed = False

    async def begin(self) -> None:
        """Returns when the daemon watches. For the SDK's own use."""
        try:
            while not self._watching.ready:
                self._first.extend(self._watching.feed(await self._next_chunk()))
        except BaseException:
            await self.aclose()
            raise

    async def __aiter__(self) -> AsyncIterator[WatchEvent]:
        """Raises ConnectionLostError when the connection breaks: changes may have been missed then."""
        while self._first:
            yield self._first.popleft()
        try:
            async for chunk in self._chunks:
                for event in self._watching.feed(chunk):
                    yield event
        except ConnectionLostError:
            if not self._closed:
                raise

    async def aclose(self) -> None:
        """Ends it."""
        self._closed = True
        await self._answer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next_chunk(self) -> bytes:
        async for chunk in self._chunks:
            return chunk
        raise ConnectionLostError("the connection was lost before the daemon said that it watches")
