"""AsyncClient with the face of Client, so that one test tries both."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Callable, cast

from kiln import AsyncClient, AsyncSandbox, Client, Opening, Sandbox
from kiln._wire import answers
from tests.support import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

_SEEN_THROUGH = ("kiln._async", "anyio")


class Blocking:
    """Calls what it stands for in an event loop of another thread, and waits for it."""

    def __init__(self, portal: BlockingPortal, target: Any) -> None:
        self.__dict__.update(_portal=portal, _target=target)

    def __getattr__(self, name: str) -> Any:
        name = {"close": "aclose"}.get(name, name)
        value = self._portal.call(getattr, self._target, name)
        if not callable(value):
            return self._wrap(value)

        def call(*arguments: Any, **options: Any) -> Any:
            async def in_loop() -> Any:
                result = value(*arguments, **options)
                return await result if isinstance(result, Opening) or inspect.isawaitable(result) else result

            return self._wrap(self._portal.call(in_loop))

        return call

    def __iter__(self) -> Iterator[Any]:
        iterator = self._portal.call(self._target.__aiter__)
        try:
            while True:
                try:
                    item = self._portal.call(iterator.__anext__)
                except StopAsyncIteration:
                    return
                yield self._wrap(item)
        finally:
            if hasattr(iterator, "aclose"):
                self._portal.call(iterator.aclose)

    def __enter__(self) -> Any:
        self._portal.call(self._target.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._target.__aexit__, kind, error, traceback)

    def __repr__(self) -> str:
        return f"Blocking({self._target!r})"

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._wrap(item) for item in value]
        is_asynchronous = hasattr(value, "__aiter__") or type(value).__module__.startswith(_SEEN_THROUGH)
        return Blocking(self._portal, value) if is_asynchronous else value


def blocking_client(portal: BlockingPortal, **options: Any) -> Client:
    async def make() -> AsyncClient:
        return AsyncClient(**options)

    make_in_loop: Callable[[], Any] = make
    return cast("Client", Blocking(portal, portal.call(make_in_loop)))


def sandbox_of(client: Client, **fields: Any) -> Sandbox:
    """A sandbox nobody has asked the daemon for."""
    info = answers.sandbox_info(wire.sandbox(**fields))
    if not isinstance(client, Blocking):
        return Sandbox(client._transport, info, owned=False)
    portal, target = client.__dict__["_portal"], client.__dict__["_target"]
    return cast("Sandbox", Blocking(portal, AsyncSandbox(target._transport, info, owned=False)))
