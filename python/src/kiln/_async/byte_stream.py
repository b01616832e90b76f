"""Bytes from a sandbox as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from .._wire.http import MAX_WHOLE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from .._wire.bodies import BinaryWriter
    from .answer import AsyncAnswer


class AsyncByteStream:
    """Bytes as they come, with flat memory. Iterate it or write it to a file, once; leaving its ``async with`` block
    closes it.

    async with sandbox.files.stream("big.bin") as stream:
        with open("big.bin", "wb") as file:
            await stream.write_to(file)
    """

    def __init__(self, answer: AsyncAnswer) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises ConnectionLostError when it breaks off: what came is not all of it."""
        return self._answer.__aiter__()

    async def read_all(self, *, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """All of it. Raises TooLargeError when it is longer than ``limit`` bytes."""
        return await self._answer.read(limit)

    async def write_to(self, file: BinaryWriter) -> int:
        """Writes all of it to a file, in a thread; returns how many bytes that were."""
        size = 0
        async for chunk in self:
            await to_thread.run_sync(file.write, chunk)
            size += len(chunk)
        return size

    async def aclose(self) -> None:
        """Ends it; what has not come is not sent."""
        await self._answer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
