"""Servers in a sandbox: HTTP to them, raw connections, a port of this machine."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from kiln import (
    Client,
    ConnectionLostError,
    InternalError,
    KilnTimeoutError,
    PortUnreachableError,
    UsageError,
)
from tests.support import wire
from tests.support.blocking import Blocking, sandbox_of

if TYPE_CHECKING:
    from tests.support.server import Exchange, Server

PORT = "/v1/sandboxes/s1/ports/8000"
HEALTH = {"status": "ok", "version": "1", "pid": 1, "uptime_s": 1}
GRANTED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def test_asks_a_server_in_the_sandbox(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        assert exchange.fields["host"] == "localhost"
        assert exchange.fields["x-mine"] == "yes"
        assert not {"accept-encoding", "user-agent", "cookie"} & set(exchange.fields)
        content = {"method": exchange.method, "body": exchange.body.decode()}
        exchange.reply(content, 418, {"Set-Cookie": "a=b", "X-Theirs": "1"})

    server = serve(handle)
    sandbox = sandbox_of(client)
    for _ in range(2):
        with sandbox.request(
            8000, "/a/../b?c=%20d", method="post", headers={"X-Mine": "yes"}, content="text"
        ) as response:
            assert (response.status, response.headers["x-theirs"]) == (418, "1")
            assert response.json() == {"method": "POST", "body": "text"}
    assert server.requests == [f"POST {PORT}/a/../b?c=%20d"] * 2
    assert sandbox.request(8000, headers={"X-Mine": "yes"}).text() == '{"method": "GET", "body": ""}'


def test_a_server_in_the_sandbox_may_answer_while_it_reads(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.begin()
        size = 0
        for piece in exchange.pieces():
            size += len(piece)
            exchange.piece(b".")
        exchange.piece(b"%d" % size)
        exchange.end()

    serve(handle)
    with sandbox_of(client).request(8000, method="PUT", content=iter([bytes(64 * 1024)] * 100)) as response:
        assert response.text() == "." * 100 + str(100 * 64 * 1024)


def test_the_token_leaves_authorization_to_the_server_in_the_sandbox(
    serve: Callable[..., Server], make_client: Callable[..., Client]
) -> None:
    def handle(exchange: Exchange) -> None:
        assert exchange.fields["x-kiln-token"] == "secret"
        exchange.reply(exchange.fields.get("authorization", "none").encode())

    server = serve(handle, tcp=True)
    sandbox = sandbox_of(make_client(url=server.url, token="secret"))
    assert sandbox.request(8000).text() == "none"
    assert sandbox.request(8000, headers={"Authorization": "Basic abc"}).text() == "Basic abc"
    with sandbox.request(8000, headers={"host": "mine.example", "x-kiln-token": "secret"}) as response:
        assert response.status == 200


def test_a_server_has_an_address_where_the_daemon_has_one(make_client: Callable[..., Client]) -> None:
    with pytest.raises(UsageError) as caught:
        sandbox_of(make_client()).url(8000)
    assert "forward" in (caught.value.hint or "")
    remote = sandbox_of(make_client(url="https://server.example:7070/base/"))
    assert remote.url(8000) == f"https://server.example:7070/base{PORT}/"


class Raw:
    """One connection, whichever client made it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._is_async = isinstance(connection, Blocking)

    def send(self, data: bytes) -> None:
        self._connection.send(data) if self._is_async else self._connection.sendall(data)

    def end(self) -> None:
        self._connection.send_eof() if self._is_async else self._connection.shutdown(socket.SHUT_WR)

    def all(self) -> bytes:
        """What comes until the end; then it is closed."""
        with self._connection:
            if self._is_async:
                return b"".join(self._connection)
            with self._connection.makefile("rb") as file:
                return bytes(file.read())


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("pieces", [[GRANTED + b"early "], [GRANTED, b"early "], None])
def test_a_raw_connection_has_every_byte(
    serve: Callable[..., Server], make_client: Callable[..., Client], tcp: bool, pieces: list[bytes] | None
) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.target.endswith("/healthz"):
            exchange.reply(HEALTH)
            return
        assert exchange.fields["upgrade"] == "tcp"
        assert exchange.fields.get("x-kiln-token") == ("secret" if tcp else None)
        whole = GRANTED + b"early "
        for piece in [whole[at : at + 1] for at in range(len(whole))] if pieces is None else pieces:
            exchange.connection.sendall(piece)
            time.sleep(0.001)
        received = b""
        while data := exchange.connection.recv(100):
            received += data
        exchange.connection.sendall(b"got " + received)
        exchange.cut()

    server = serve(handle, tcp=tcp)
    client = make_client(url=f"{server.url}/base", token="secret") if tcp else make_client()
    connection = Raw(sandbox_of(client).connect(8000))
    connection.send(b"hello")
    connection.end()
    assert connection.all() == b"early got hello"
    assert server.requests[1] == f"GET {'/base' if tcp else ''}{PORT}"


def test_a_connection_that_is_not_granted_is_told(serve: Callable[..., Server], client: Client) -> None:
    answers: list[Callable[[Exchange], None]] = [
        lambda exchange: exchange.reply(wire.error("PORT_UNREACHABLE"), 502),
        lambda exchange: exchange.reply(b"fine"),
        lambda exchange: exchange.connection.sendall(b"SSH-2.0\r\n\r\n"),
        lambda exchange: exchange.connection.sendall(b"x" * 100_000),
        lambda exchange: exchange.cut(),
        lambda exchange: exchange.connection.sendall(GRANTED[:30]) or exchange.cut(),  # type: ignore[func-returns-value]
    ]

    def handle(exchange: Exchange) -> None:
        if exchange.target == "/healthz":
            exchange.reply(HEALTH)
        else:
            answers.pop(0)(exchange)
            exchange.keeps_open = False

    serve(handle)
    sandbox = sandbox_of(client)
    with pytest.raises(PortUnreachableError) as caught:
        sandbox.connect(8000)
    assert (caught.value.status, caught.value.request) == (502, f"GET {PORT}")
    for _ in range(3):
        with pytest.raises(InternalError):
            sandbox.connect(8000)
    for _ in range(2):
        with pytest.raises(ConnectionLostError):
            sandbox.connect(8000)


def test_a_connection_that_takes_too_long_is_given_up(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.target == "/healthz":
            exchange.reply(HEALTH)
        else:
            exchange.wait_for_end()

    serve(handle)
    with pytest.raises(KilnTimeoutError):
        sandbox_of(client).connect(8000, request_timeout=0.3)


def send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def test_a_port_of_this_machine_leads_to_one_of_the_sandbox(serve: Callable[..., Server], client: Client) -> None:
    refuse = threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.target == "/healthz":
            exchange.reply(HEALTH)
        elif refuse.is_set():
            exchange.reply(wire.error("PORT_UNREACHABLE"), 502)
        else:
            exchange.connection.sendall(GRANTED)
            received = b""
            while data := exchange.connection.recv(65536):
                received += data
            exchange.connection.sendall(received.upper())
            exchange.cut()

    serve(handle)
    failures: list[Exception] = []
    with sandbox_of(client).forward(8000, on_error=failures.append) as forward:
        assert forward.host == "127.0.0.1"
        for text in (b"hello", b"x" * 1_000_000):
            with socket.create_connection((forward.host, forward.port)) as connection:
                threading.Thread(target=send_all, args=(connection, text)).start()
                with connection.makefile("rb") as file:
                    assert file.read() == text.upper()
        refuse.set()
        with socket.create_connection((forward.host, forward.port)) as connection:
            assert connection.recv(10) == b""
        assert [type(failure) for failure in failures] == [PortUnreachableError]
        with pytest.raises(UsageError, match="cannot listen"):
            sandbox_of(client).forward(8000, local_port=forward.port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((forward.host, forward.port))


def test_closing_a_forward_ends_its_connections(serve: Callable[..., Server], client: Client) -> None:
    gone = threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.target == "/healthz":
            exchange.reply(HEALTH)
            return
        exchange.connection.sendall(GRANTED + b"x")
        exchange.wait_for_end()
        gone.set()

    serve(handle)
    with sandbox_of(client).forward(8000) as forward:
        connection = socket.create_connection((forward.host, forward.port))
        assert connection.recv(1) == b"x"
    assert gone.wait(10)
    assert connection.recv(1) == b""
    connection.close()
