"""Connections on which an answer is seen while a body is still being sent.

The daemon may refuse an upload long before its end, and then reads no more of it: whoever only sends would wait until
the daemon closes the connection, and may find the answer gone with it.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    from collections.abc import Iterable

PIECE_BYTES = 64 * 1024
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stream(httpcore.NetworkStream):
    """A socket. What comes while it writes is kept for whoever reads.

    early_bytes: writing ends with an error, which has httpcore read the answer, when more than this has come meanwhile.
    """

    def __init__(self, connection: socket.socket, early_bytes: int) -> None:
        self._socket = connection
        self._early_bytes = early_bytes
        self._early = bytearray()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._early:
            data = bytes(self._early[:max_bytes])
            del self._early[:max_bytes]
            return data
        try:
            self._socket.settimeout(timeout)
            return self._socket.recv(max_bytes)
        except socket.timeout as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = memoryview(buffer)
        try:
            self._socket.settimeout(0)
            while left:
                readable, writable = self._wait(timeout)
                if readable:
                    self._keep_early()
                if writable:
                    left = left[self._send(left[:PIECE_BYTES]) :]
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(timeout)
            return Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._early_bytes)
        except socket.timeout as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        if info == "socket":
            return self._socket
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        if info == "is_readable":
            return self._socket.fileno() < 0 or bool(self._poll(select.POLLIN, 0))
        return None

    def _wait(self, timeout: float | None) -> tuple[bool, bool]:
        """Waits until something can be read or written; returns which."""
        happened = self._poll(select.POLLIN | select.POLLOUT, timeout)
        if not happened:
            raise httpcore.WriteTimeout(f"nothing was taken for {timeout} s")
        writable = bool(happened & ~select.POLLIN)  # An error shows when it is written to.
        return bool(happened & (select.POLLIN | select.POLLHUP)), writable

    def _poll(self, events: int, timeout: float | None) -> int:
        poll = select.poll()
        try:
            poll.register(self._socket, events)
        except ValueError as error:  # Another thread has closed it.
            raise OSError(errno.EBADF, "the connection was closed") from error
        found = poll.poll(None if timeout is None else timeout * 1000)
        return found[0][1] if found else 0

    def _send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except _NOT_NOW:
            return 0

    def _keep_early(self) -> None:
        try:
            data = self._socket.recv(PIECE_BYTES)
        except _NOT_NOW:  # Of TLS, not of what it carries.
            return
        self._early += data
        if not data or len(self._early) > self._early_bytes:
            raise httpcore.WriteError("the answer came before all was sent")


class Backend(httpcore.NetworkBackend):
    """Makes connections.

    early_bytes: of their Stream.
    """

    def __init__(self, early_bytes: int) -> None:
        self._early_bytes = early_bytes

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - of the interface.
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        return Stream(open_tcp(host, port, timeout), self._early_bytes)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        return Stream(open_unix(path, timeout), self._early_bytes)


def open_tcp(host: str, port: int, timeout: float | None) -> socket.socket:
    """Raises httpcore.ConnectError, httpcore.ConnectTimeout."""
    try:
        connection = socket.create_connection((host, port), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except socket.timeout as error:
        raise httpcore.ConnectTimeout(f"no connection in {timeout} s") from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return connection


def open_unix(path: str, timeout: float | None) -> socket.socket:
    """Raises httpcore.ConnectError, httpcore.ConnectTimeout."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except socket.timeout as error:
        connection.close()
        raise httpcore.ConnectTimeout(f"no connection in {timeout} s") from error
    except OSError as error:
        connection.close()
        raise httpcore.ConnectError(str(error)) from error
    return connection
