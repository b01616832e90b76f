"""A task that goes on beside its maker, on asyncio and Trio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Callable

import anyio

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

# The event loop itself keeps a task only as long as something else does.
_tasks: set[asyncio.Task[None]] = set()


class Background:
    """Begins at once. The work has to deal with its own failures: there is nobody to tell.

    It is no task of a task group, since that would make its maker a block, and wrap what fails in there into groups.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            import trio

            trio.lowlevel.spawn_system_task(self._run, name=name)
        else:
            task = loop.create_task(self._run(), name=name)
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def cancel(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        """Returns when it has ended."""
        await self._ended.wait()

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._work()
        finally:
            self._ended.set()
