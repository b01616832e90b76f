"""Changes of files as they happen."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .._wire.watching import Watching
from ..errors import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from ..types import WatchEvent
    from .answer import Answer


class Watch:
    """Iterate it for changes as they happen. Leaving its ``with`` block, or ``close()`` in another thread, ends it.

    with sandbox.files.watch("src", recursive=True) as changes:
        for change in changes:
            print(change.type, change.path)
    """

    def __init__(self, answer: Answer, path: str) -> None:
        """Returns when the daemon watches. For the SDK's own use."""
        self._answer = answer
        self._chunks = iter(answer)
        self._watching = Watching(path)
        self._first: deque[WatchEvent] = deque()
        self._closed = False
        try:
            while not self._watching.ready:
                self._first.extend(self._watching.feed(self._next_chunk()))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[WatchEvent]:
        """Raises ConnectionLostError when the connection breaks: changes may have been missed then."""
        while self._first:
            yield self._first.popleft()
        try:
            for chunk in self._chunks:
                yield from self._watching.feed(chunk)
        except ConnectionLostError:
            if not self._closed:
                raise

    def close(self) -> None:
        """Ends it."""
        self._closed = True
        self._answer.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self._answer.close()

    def _next_chunk(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise ConnectionLostError("the connection was lost before the daemon said that it watches")
