"""Connections over a Unix socket that can be let go of at any moment.

anyio's own have asyncio's event loop complain on stderr when a wait is cancelled just as the socket becomes ready: the
loop then gives its result to what was cancelled.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

FULL_QUEUE_S = 0.005
"""Before one more try when too many wait to be accepted, the end of which nothing tells."""


class UnixStream(ByteStream):
    """A connected Unix socket. One task may receive and one may send at a time."""

    def __init__(self, raw_socket: socket.socket) -> None:
        self._socket = raw_socket
        self._closed = False

    @classmethod
    async def connect(cls, path: str) -> UnixStream:
        """Raises OSError."""
        raw_socket = socket.socket(socket.AF_UNIX)
        raw_socket.setblocking(False)
        try:
            while True:
                try:
                    raw_socket.connect(path)
                except BlockingIOError:
                    await anyio.sleep(FULL_QUEUE_S)
                else:
                    return cls(raw_socket)
        except BaseException:
            raw_socket.close()
            raise

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await checkpoint()
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except OSError as error:
                raise self._failure() from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        await checkpoint()
        rest = memoryview(item)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise self._failure() from error

    async def send_eof(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failure() from error

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._socket)
            self._socket.close()
        await checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {
            SocketAttribute.family: lambda: self._socket.family,
            SocketAttribute.raw_socket: lambda: self._socket,
        }

    def _failure(self) -> Exception:
        return anyio.ClosedResourceError() if self._closed else anyio.BrokenResourceError()


class UnixNetworkStream(httpcore.AsyncNetworkStream):
    """The same as httpcore wants it: with its errors, and a limit of time, in seconds, for each call."""

    def __init__(self, stream: UnixStream) -> None:
        self._stream = stream

    @classmethod
    async def connect(cls, path: str, timeout: float | None) -> UnixNetworkStream:
        try:
            with anyio.fail_after(timeout):
                return cls(await UnixStream.connect(path))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(error) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with anyio.fail_after(timeout):
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            with anyio.fail_after(timeout):
                await self._stream.send(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise NotImplementedError  # Nobody speaks TLS over a Unix socket.

    def get_extra_info(self, info: str) -> Any:
        raw_socket = self._stream.extra(SocketAttribute.raw_socket)
        if info == "socket":
            return raw_socket
        if info == "is_readable":  # Or ended, or closed here: what a connection that lies idle is not to be.
            poll = select.poll()
            if raw_socket.fileno() < 0:
                return True
            poll.register(raw_socket, select.POLLIN)
            return bool(poll.poll(0))
        return None
