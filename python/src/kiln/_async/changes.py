"""Tells tasks of one event loop of changes."""

from __future__ import annotations

from typing import Callable

import anyio


class Changes:
    """What threading.Condition is for threads, without a lock: between awaits nobody else runs."""

    def __init__(self) -> None:
        self._next = anyio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._next.set()
        self._next = anyio.Event()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._next.wait()
