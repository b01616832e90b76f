"""A port of this machine that leads to one of a sandbox."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Callable

import anyio
from anyio.abc import SocketAttribute

from .._wire.listening import cannot_listen
from .background import Background

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from anyio.abc import ByteStream, Listener, SocketStream
    from typing_extensions import Self


class AsyncPortForward:
    """Takes connections until it is closed; leaving its ``async with`` block closes it.

    connect: opens a connection to the sandbox.
    on_error: told of connections that the sandbox did not take.
    """

    def __init__(
        self,
        listener: Listener[SocketStream],
        connect: Callable[[], Awaitable[ByteStream]],
        on_error: Callable[[Exception], None] | None,
    ) -> None:
        self.host: str = listener.extra(SocketAttribute.local_address)[0]
        self.port: int = listener.extra(SocketAttribute.local_port)
        """Port of this machine."""
        self._listener = listener
        self._connect = connect
        self._on_error = on_error
        self._background = Background(self._listen, "kiln-forward")

    @classmethod
    async def open(
        cls,
        connect: Callable[[], Awaitable[ByteStream]],
        *,
        host: str,
        local_port: int,
        on_error: Callable[[Exception], None] | None,
    ) -> Self:
        """Listens, and returns when connections are taken."""
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=local_port)
        except OSError as error:
            raise cannot_listen(host, local_port, error) from error
        return cls(listener, connect, on_error)

    async def aclose(self) -> None:
        """Stops listening and ends the connections."""
        self._background.cancel()
        with anyio.CancelScope(shield=True):
            await self._background.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _listen(self) -> None:
        async with self._listener:
            await self._listener.serve(self._serve)

    async def _serve(self, local: SocketStream) -> None:
        async with local:
            try:
                remote = await self._connect()
            except Exception as error:  # noqa: BLE001 - one connection that fails does not end the others.
                if self._on_error is not None:
                    self._on_error(error)
                return
            async with remote:
                await _join(local, remote)


async def _join(one: ByteStream, other: ByteStream) -> None:
    """Passes bytes both ways, ends of one way included, until both are done or one breaks."""
    async with anyio.create_task_group() as group:

        async def pass_on(source: ByteStream, target: ByteStream) -> None:
            try:
                async for data in source:
                    await target.send(data)
                with suppress(NotImplementedError):  # TLS cannot end one way only.
                    await target.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                group.cancel_scope.cancel()

        group.start_soon(pass_on, one, other)
        group.start_soon(pass_on, other, one)
