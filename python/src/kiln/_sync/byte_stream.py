"""Bytes from a sandbox as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.deadline import NEVER
from .._wire.http import MAX_WHOLE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from .._wire.bodies import BinaryWriter
    from .answer import Answer


class ByteStream:
    """Bytes as they come, with flat memory. Iterate it or write it to a file, once; leaving its ``with`` block closes
    it.

    with sandbox.files.stream("big.bin") as stream, open("big.bin", "wb") as file:
        stream.write_to(file)
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        """Raises ConnectionLostError when it breaks off: what came is not all of it."""
        return iter(self._answer)

    def read_all(self, *, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """All of it. Raises TooLargeError when it is longer than ``limit`` bytes."""
        return self._answer.read(limit, NEVER)

    def write_to(self, file: BinaryWriter) -> int:
        """Writes all of it to a file; returns how many bytes that were."""
        size = 0
        for chunk in self:
            file.write(chunk)
            size += len(chunk)
        return size

    def close(self) -> None:
        """Ends it; what has not come is not sent."""
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
