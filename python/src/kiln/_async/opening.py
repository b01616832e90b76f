"""Something that is being opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from types import TracebackType


class Closable(Protocol):
    """What an ``async with`` block closes at its end."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


T = TypeVar("T", bound=Closable)


class Opening(Generic[T]):
    """Await it to have what it opens, or enter it with ``async with``, which closes that at the end. It does nothing
    before that.

    async with client.sandbox(image="python") as sandbox: ...
    sandbox = await client.sandbox(image="python")
    """

    def __init__(self, open: Callable[[], Awaitable[T]]) -> None:  # noqa: A002 - what it is.
        self._open = open
        self._opened: T | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._open().__await__()

    async def __aenter__(self) -> T:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, traceback)
