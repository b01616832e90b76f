"""Bodies that come in pieces, for event loops."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Callable

from anyio import to_thread

from .._wire.bodies import PIECE_BYTES, checked, unusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def in_pieces(content: object) -> AsyncIterator[bytes]:
    """The pieces of a file or an iterable, of an event loop or not."""
    read = getattr(content, "read", None)
    if callable(read):
        while True:
            piece = checked(await _read(read))
            if not piece:
                return
            yield piece
    elif isinstance(content, AsyncIterable):
        async for item in content:
            yield checked(item)
    elif isinstance(content, Iterable):
        for item in content:
            yield checked(item)
    else:
        raise unusable(content)


async def _read(read: Callable[[int], Any]) -> object:
    if inspect.iscoroutinefunction(read):
        return await read(PIECE_BYTES)
    piece = await to_thread.run_sync(read, PIECE_BYTES)
    return await piece if inspect.isawaitable(piece) else piece
