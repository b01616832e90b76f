"""What can be sent as a body."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Protocol, Union

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 256 * 1024
"""Read of a file at once."""


class BinaryReader(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int = ..., /) -> bytes: ...


class BinaryWriter(Protocol):
    """A file that is open for writing bytes."""

    def write(self, data: bytes, /) -> object: ...


class AsyncBinaryReader(Protocol):
    """The same of an event loop, such as what ``anyio.open_file`` gives."""

    async def read(self, size: int = ..., /) -> bytes: ...


Content = Union[str, bytes, bytearray, memoryview, BinaryReader, Iterable[bytes]]
"""Whatever has bytes: text (sent as UTF-8), bytes, a file open for reading bytes, or an iterable of bytes."""

AsyncContent = Union[Content, AsyncBinaryReader, AsyncIterable[bytes]]
"""The same, and files and iterables of an event loop. Files that are not of one are read in a thread."""


def whole(content: object) -> bytes | None:
    """The bytes of what is there as a whole; None for what comes in pieces."""
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if isinstance(content, io.TextIOBase):
        raise UsageError("content must be a file that is open for reading bytes: this one is open for text")
    return None


def checked(piece: object) -> bytes:
    """A piece of a body. Raises UsageError for text and the like."""
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise UsageError(f"content must come as bytes: current value is {piece!r:.80}")
    return bytes(piece)


def in_pieces(content: object) -> Iterator[bytes]:
    """The pieces of a file or an iterable."""
    read = getattr(content, "read", None)
    if callable(read):
        while True:
            piece = checked(read(PIECE_BYTES))
            if not piece:
                return
            yield piece
    elif isinstance(content, Iterable):
        for item in content:
            yield checked(item)
    else:
        raise unusable(content)


def unusable(content: object) -> UsageError:
    return UsageError(f"content must be text, bytes, a file or an iterable of bytes: current value is {content!r:.80}")
