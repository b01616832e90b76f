"""A port of this machine that leads to one of a sandbox."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Callable

from .._wire.listening import cannot_listen

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

PIECE_BYTES = 64 * 1024


class PortForward:
    """Takes connections until it is closed; leaving its ``with`` block closes it.

    connect: opens a connection to the sandbox.
    on_error: told of connections that the sandbox did not take, in their thread.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        *,
        host: str,
        local_port: int,
        on_error: Callable[[Exception], None] | None,
    ) -> None:
        self._connect = connect
        self._on_error = on_error
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, local_port), family=family)
        except OSError as error:
            raise cannot_listen(host, local_port, error) from error
        self.host: str = self._listener.getsockname()[0]
        self.port: int = self._listener.getsockname()[1]
        """Port of this machine."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="kiln-forward", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening and ends the connections."""
        with self._lock:
            self._closed = True
            connections = list(self._open)
        self._wake.close()
        for connection in connections:
            _shut(connection, socket.SHUT_RDWR)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        with self._listener, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    return
                with suppress(OSError):  # Whoever called has gone again.
                    connection, _ = self._listener.accept()
                    threading.Thread(target=self._serve, args=(connection,), name="kiln-forward", daemon=True).start()

    def _serve(self, local: socket.socket) -> None:
        with local:
            if not self._keep(local):
                return
            try:
                remote = self._connect()
            except Exception as error:  # noqa: BLE001 - one connection that fails does not end the others.
                if self._on_error is not None:
                    self._on_error(error)
                return
            finally:
                self._drop(local)
            with remote:
                if self._keep(local) and self._keep(remote):
                    _join(local, remote)
                self._drop(local)
                self._drop(remote)

    def _keep(self, connection: socket.socket) -> bool:
        """Has a connection ended when this is closed; returns whether it is still open."""
        with self._lock:
            if not self._closed:
                self._open.add(connection)
            return not self._closed

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Passes bytes both ways, ends of one way included, until both are done or one breaks."""
    back = threading.Thread(target=_pass_on, args=(other, one), name="kiln-forward", daemon=True)
    back.start()
    _pass_on(one, other)
    back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while True:
            data = source.recv(PIECE_BYTES)
            if not data:
                break
            target.sendall(data)
    except OSError:
        _shut(source, socket.SHUT_RDWR)
        _shut(target, socket.SHUT_RDWR)
    else:
        if not isinstance(target, ssl.SSLSocket):  # TLS cannot end one way only.
            _shut(target, socket.SHUT_WR)


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):  # It has ended already.
        connection.shutdown(how)
