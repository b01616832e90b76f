"""A small HTTP/1.1 server that does exactly what a test tells it to, byte by byte, over a Unix socket or TCP."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Callable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, connection: socket.socket, reader: BinaryIO, first: bytes, fields: dict[str, str]) -> None:
        self.connection = connection
        self.method, self.target, _ = first.decode().split(" ")
        self.fields = fields
        self.keeps_open = fields.get("connection") != "close"
        self._reader = reader
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """All of the request's body."""
        if self._body is None:
            self._body = b"".join(self.pieces())
        return self._body

    @property
    def data(self) -> dict[str, object]:
        """The body as JSON."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        if self.fields.get("transfer-encoding") == "chunked":
            while True:
                line = self._reader.readline()
                if not line:
                    raise ConnectionError("the body broke off")
                size = int(line, 16)
                piece = self._reader.read(size)
                self._reader.readline()
                if size == 0:
                    self._body = b""
                    return
                yield piece
        else:
            yield self._reader.read(int(self.fields.get("content-length", "0")))

    def reply(self, value: object = None, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        """Answers with bytes, or with JSON for everything else; with nothing for None."""
        content = b"" if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
        self.head(status, {"Content-Length": str(len(content)), **(fields or {})})
        self.connection.sendall(content)

    def head(self, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in (fields or {}).items())]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def begin(self, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        """Begins an answer in pieces."""
        self.head(status, {"Transfer-Encoding": "chunked", **(fields or {})})

    def piece(self, data: bytes) -> None:
        self.connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.connection.sendall(b"0\r\n\r\n")

    def lines(self, *values: object) -> None:
        """A piece of JSON lines."""
        self.piece(b"".join(json.dumps(value).encode() + b"\n" for value in values))

    def cut(self) -> None:
        """Breaks the connection."""
        self.keeps_open = False
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for_end(self) -> None:
        """Returns when the client has gone away."""
        self.keeps_open = False
        with suppress(OSError):
            while self.connection.recv(65536):
                pass


Handler = Callable[[Exchange], None]


class Server:
    """Serves until it is closed, each connection in a thread of its own.

    address: path of a Unix socket; TCP on a free port of 127.0.0.1 when None.
    """

    def __init__(self, handler: Handler, address: Path | None = None) -> None:
        self.handler = handler
        self.requests: list[str] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        if address is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(address))
            self._listener.listen()
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        """Of one on TCP."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._closed = True
        for connection in [self._listener, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader, suppress(OSError, ValueError):
            while True:
                exchange = self._read(connection, reader)
                if exchange is None:
                    break
                self.requests.append(f"{exchange.method} {exchange.target}")
                try:
                    self.handler(exchange)
                    _ = exchange.body  # What is left of it stands before the next request.
                except OSError:
                    break
                except BaseException as error:  # noqa: BLE001 - the test is told.
                    self.failures.append(error)
                    break
                if not exchange.keeps_open:
                    break
        self._open.discard(connection)

    def _read(self, connection: socket.socket, reader: BinaryIO) -> Exchange | None:
        first = reader.readline().strip()
        if not first:
            return None
        fields = {}
        while True:
            line = reader.readline().strip()
            if not line:
                break
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        return Exchange(connection, reader, first, fields)
