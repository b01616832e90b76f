"""Drives an OutputSession over connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import anyio

from ..errors import KilnError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .._wire.output_session import OutputSession, StreamEvent
    from .transport import AsyncTransport


async def follow(
    transport: AsyncTransport, session: OutputSession, handle: Callable[[StreamEvent], Awaitable[None]]
) -> None:
    """Returns when the session has ended. Raises KilnError."""
    while True:
        failure = None
        try:
            async with await transport.send(session.request()) as answer:
                session.begin()
                async for chunk in answer:
                    for event in session.feed(chunk):
                        await handle(event)
                    if session.ended is not None:
                        return
                session.finish()
        except KilnError as error:
            failure = error
        await anyio.sleep(session.cut(failure))
