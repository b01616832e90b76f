"""Connections on which an answer is seen while a body is still being sent; _sync/network.py says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpcore

from .unix_stream import UnixNetworkStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

PIECE_BYTES = 64 * 1024
SMALL_BYTES = 16 * 1024
"""What is taken at once by a connection on which all else has been taken."""


class AsyncStream(httpcore.AsyncNetworkStream):
    """Reads what comes while it writes, and keeps that for whoever reads.

    early_bytes: writing ends with an error, which has httpcore read the answer, when more than this has come meanwhile.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream, early_bytes: int) -> None:
        self._inner = inner
        self._early_bytes = early_bytes
        self._early = bytearray()
        self._written = 0  # Since it was last read from: what may still be on its way.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._written = 0
        if self._early:
            data = bytes(self._early[:max_bytes])
            del self._early[:max_bytes]
            return data
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._written += len(buffer)
        if self._written <= SMALL_BYTES and not self.get_extra_info("is_readable"):
            await self._inner.write(buffer, timeout)
            return
        failure: Exception | None = None
        answered = False

        async def read_meanwhile() -> None:
            nonlocal answered
            while not answered:
                try:
                    data = await self._inner.read(PIECE_BYTES)
                except httpcore.ReadError:
                    data = b""
                self._early += data
                answered = not data or len(self._early) > self._early_bytes
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(read_meanwhile)
            try:
                await self._inner.write(buffer, timeout)
            except (httpcore.WriteError, httpcore.WriteTimeout) as error:
                failure = error  # Outside of the group, which would wrap it.
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if answered:
            raise httpcore.WriteError("the answer came before all was sent")

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._early_bytes)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Makes connections, on asyncio and Trio.

    early_bytes: of their AsyncStream.
    """

    def __init__(self, early_bytes: int) -> None:
        self._early_bytes = early_bytes
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        inner = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return AsyncStream(inner, self._early_bytes)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - there are none to set.
    ) -> httpcore.AsyncNetworkStream:
        return AsyncStream(await UnixNetworkStream.connect(path, timeout), self._early_bytes)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
