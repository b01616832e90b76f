"""What is sent again, what is not, and what is told when it fails. Each test tries both clients."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Callable

import pytest

from kiln import (
    Client,
    ConnectionLostError,
    InternalError,
    KilnError,
    KilnTimeoutError,
    SandboxNotFoundError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
)
from tests.support import wire
from tests.support.blocking import sandbox_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Exchange, Server

HEALTH = {"status": "ok", "version": "1", "pid": 1, "uptime_s": 1}


def test_a_get_that_was_cut_is_sent_again_and_never_anything_else(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.method == "GET" and len(server.requests) > 2:
            exchange.reply(wire.sandbox())
        else:
            exchange.cut()

    server = serve(handle)
    assert client.get("s1").id == "s1"
    assert server.requests == ["GET /v1/sandboxes/s1"] * 3
    server.requests.clear()
    with pytest.raises(ConnectionLostError) as caught:
        client.sandbox(image="python", held=False)
    assert caught.value.request == "POST /v1/sandboxes"
    with pytest.raises(ConnectionLostError):
        client.builds.cancel("b1")
    assert server.requests == ["POST /v1/sandboxes", "DELETE /v1/builds/b1"]


@pytest.mark.parametrize("length", [0, 1, 20, 60, -1])
def test_an_answer_that_breaks_off_is_no_answer(serve: Callable[..., Server], client: Client, length: int) -> None:
    content = b'{"id": "s1"}'
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Padding: %s\r\n\r\n%s" % (len(content), b"x" * 40, content)

    def handle(exchange: Exchange) -> None:
        exchange.connection.sendall(whole[:length])
        exchange.cut()

    serve(handle)
    with pytest.raises(ConnectionLostError):
        client.builds.start("python")


def test_what_could_not_be_sent_is_sent_when_the_daemon_is_there_bodies_in_pieces_included(
    serve: Callable[..., Server], client: Client
) -> None:
    bodies: list[bytes] = []

    def handle(exchange: Exchange) -> None:
        bodies.append(exchange.body)
        exchange.reply(wire.file() if exchange.method == "PUT" else wire.build())

    late = threading.Timer(0.3, serve, [handle])
    late.start()

    def content() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    sandbox = threading.Thread(target=client.builds.start, args=["python"])
    sandbox.start()
    sandbox_of(client).files.write("/a", content())
    sandbox.join()
    late.join()
    assert sorted(bodies) == [b"one two", b'{"template":"python"}']


def test_says_which_request_found_nobody(client: Client) -> None:
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"^POST /v1/builds: .*kiln\.sock.*No such file") as caught:
        client.builds.start("python")
    assert caught.value.request == "POST /v1/builds"
    assert caught.value.hint is not None
    assert time.monotonic() - started < 20


def test_starts_the_daemon_once_for_requests_at_once(make_client: Callable[..., Client], tmp_path: Path) -> None:
    starter = tmp_path / "kiln"
    starter.write_text(f"""#!/bin/sh
echo "$@ $KILN_HOME" >>{tmp_path}/log
{{ python3 - <<'END' & }} >/dev/null </dev/null
import http.server, os, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"builds": []}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self): return ""
    def log_message(self, *_): pass
server = socketserver.ThreadingUnixStreamServer("{tmp_path}/kiln.sock", Handler)
open("{tmp_path}/pid", "w").write(str(os.getpid()))
server.serve_forever()
END
until [ -s {tmp_path}/pid ]; do sleep 0.02; done
""")
    starter.chmod(0o755)
    client = make_client(autostart=True, command=[str(starter)])
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(client.builds.list())) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert answers == [[], [], []]
    assert (tmp_path / "log").read_text() == f"serve --background {tmp_path}\n"


def test_tells_why_the_daemon_does_not_start(make_client: Callable[..., Client], tmp_path: Path) -> None:
    starter = tmp_path / "kiln"
    starter.write_text("#!/bin/sh\necho 'no room' >&2\nexit 4\n")
    starter.chmod(0o755)
    with pytest.raises(UnreachableError, match="could not be started: no room") as caught:
        make_client(autostart=True, command=[str(starter)]).health()
    assert caught.value.hint == f"{starter} serve shows why"
    with pytest.raises(UnreachableError, match="No such file"):
        make_client(autostart=True, command=[str(tmp_path / "nothing")]).health()


def test_an_error_has_what_the_daemon_says(serve: Callable[..., Server], client: Client) -> None:
    serve(lambda exchange: exchange.reply(wire.error("SANDBOX_NOT_FOUND", hint="look", details={"a": 1}), status=404))
    with pytest.raises(SandboxNotFoundError) as caught:
        client.get("s1")
    error = caught.value
    assert (error.message, error.hint, error.details) == ("it is SANDBOX_NOT_FOUND", "look", {"a": 1})
    assert (error.status, error.request) == (404, "GET /v1/sandboxes/s1")


def test_a_code_of_a_later_daemon_survives(serve: Callable[..., Server], client: Client) -> None:
    serve(lambda exchange: exchange.reply(wire.error("NEW_ONE"), status=418))
    with pytest.raises(KilnError) as caught:
        client.info()
    assert (type(caught.value), caught.value.code, caught.value.status) == (KilnError, "NEW_ONE", 418)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"status": "ill"}', b""])
def test_an_answer_that_is_none_of_a_daemon_is_told(
    serve: Callable[..., Server], client: Client, content: bytes
) -> None:
    serve(lambda exchange: exchange.reply(content))
    with pytest.raises(InternalError) as caught:
        client.health()
    assert caught.value.request == "GET /healthz"


def test_uses_a_connection_again_and_sends_the_token_over_tcp(
    serve: Callable[..., Server], make_client: Callable[..., Client]
) -> None:
    seen: list[tuple[str, str | None]] = []

    def handle(exchange: Exchange) -> None:
        seen.append((exchange.target, exchange.fields.get("authorization")))
        if exchange.fields.get("authorization") == "Bearer secret":
            exchange.reply(HEALTH)
        else:
            exchange.reply(wire.error("UNAUTHORIZED"), status=401)

    server = serve(handle, tcp=True)
    client = make_client(url=f"{server.url}/base/", token="secret")
    for _ in range(3):
        assert client.health().pid == 1
    assert server.connections == 1
    assert seen == [("/base/healthz", "Bearer secret")] * 3
    with pytest.raises(UnauthorizedError):
        make_client(url=server.url).health()


def test_no_proxy_no_cookie_and_no_redirect_comes_between(
    serve: Callable[..., Server], make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    cookies = []

    def handle(exchange: Exchange) -> None:
        cookies.append(exchange.fields.get("cookie"))
        exchange.reply(None, 302, {"Location": "/elsewhere", "Set-Cookie": "a=b; Path=/"})

    server = serve(handle, tcp=True)
    client = make_client(url=server.url)
    for _ in range(2):
        with pytest.raises(InternalError, match="302"):
            client.health()
    assert (server.requests, cookies) == (["GET /healthz"] * 2, [None] * 2)


def test_a_call_that_takes_too_long_is_given_up_and_the_daemon_sees_it(
    serve: Callable[..., Server], client: Client, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    gone = threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.target == "/healthz":
            exchange.reply(HEALTH)
            return
        exchange.wait_for_end()
        gone.set()

    serve(handle)
    started = time.monotonic()
    with pytest.raises(KilnTimeoutError) as caught:
        client.sandbox(image="python", request_timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 3
    assert caught.value.request == "POST /v1/sandboxes"
    eventually(gone.is_set)
    assert client.health().status == "ok", "others go on"


def test_the_time_limit_holds_over_attempts_and_within_an_answer(serve: Callable[..., Server], client: Client) -> None:
    with pytest.raises(KilnTimeoutError):
        client.health(request_timeout=0.2)

    def trickle(exchange: Exchange) -> None:
        exchange.begin()
        for _ in range(100):
            exchange.piece(b" ")
            time.sleep(0.05)

    serve(trickle)
    started = time.monotonic()
    with pytest.raises(KilnTimeoutError):
        client.health(request_timeout=0.3)
    assert time.monotonic() - started < 2


def test_a_failure_of_whoever_makes_the_body_is_told_as_it_is(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.reply(wire.file()) if exchange.body else None

    serve(handle)

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        sandbox_of(client).files.write("/a", broken())


@pytest.mark.parametrize("wrong", [["text"], 5, {"a": 1}])
def test_content_that_has_no_bytes_is_refused(serve: Callable[..., Server], client: Client, wrong: object) -> None:
    serve(lambda exchange: exchange.reply(wire.file()) if exchange.body else None)
    with pytest.raises(UsageError, match="content must"):
        sandbox_of(client).files.write("/a", wrong)  # type: ignore[arg-type]


def test_an_error_is_told_although_the_body_was_not_read(serve: Callable[..., Server], client: Client) -> None:
    over = threading.Event()

    def handle(exchange: Exchange) -> None:
        """Like the daemon: says what is wrong, and reads no more for as long as the connection is there."""
        exchange.reply(wire.error("FILE_NOT_FOUND"), status=404)
        exchange.keeps_open = False
        over.wait(20)

    serve(handle)

    def endless(size: int, pause_s: float) -> Iterator[bytes]:
        while True:
            yield bytes(size)
            time.sleep(pause_s)

    started = time.monotonic()
    try:
        for content in (endless(64 * 1024, 0), endless(1, 0.01), bytes(50_000_000)):
            with pytest.raises(FileNotFoundError) as caught:
                sandbox_of(client).files.write("/a", content)
            assert isinstance(caught.value, KilnError)
            assert (caught.value.status, caught.value.request) == (404, "PUT /v1/sandboxes/s1/files")
    finally:
        over.set()
    assert time.monotonic() - started < 15


def test_an_error_is_told_although_the_connection_is_closed_on_it(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.reply(wire.error("FILE_NOT_FOUND"), status=404)
        exchange.connection.shutdown(socket.SHUT_RDWR)
        exchange.keeps_open = False

    serve(handle)
    with pytest.raises(FileNotFoundError):
        sandbox_of(client).files.write("/a", iter([bytes(64 * 1024)] * 1000))


def test_a_request_that_is_none_in_http_is_the_callers_mistake(serve: Callable[..., Server], client: Client) -> None:
    server = serve(lambda exchange: exchange.reply(wire.sandbox()))
    sandbox = client.get("s1")
    with pytest.raises(UsageError):
        sandbox.request(80, "/", headers={"X-Evil": "a\r\nX-More: b"})
    assert server.requests == ["GET /v1/sandboxes/s1"]


def test_the_time_limit_holds_while_an_answer_is_silent_and_no_longer_than_it_is_meant(
    serve: Callable[..., Server], client: Client
) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.piece(b" ")
        time.sleep(1)
        exchange.piece(b"x")
        exchange.end()

    serve(handle)
    started = time.monotonic()
    with pytest.raises(KilnTimeoutError):
        client.health(request_timeout=0.4)
    assert time.monotonic() - started < 0.9
    with sandbox_of(client).files.stream("/a", request_timeout=0.4) as stream:
        assert stream.read_all() == b" x", "the limit was for its beginning"
