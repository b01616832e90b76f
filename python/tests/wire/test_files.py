"""Files: whole and as streams, with flat memory, and never less than there is without a word."""

from __future__ import annotations

import io
import threading
import tracemalloc
from typing import TYPE_CHECKING, Callable

import pytest

from kiln import Client, ConnectionLostError, InternalError, TooLargeError, UsageError, WatchEvent
from tests.support import wire
from tests.support.blocking import Blocking, sandbox_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Exchange, Server

FILES = "/v1/sandboxes/s1/files"
PIECE = bytes(range(256)) * 1024
PIECES = 256


def test_reads_a_file_or_a_part_of_it(serve: Callable[..., Server], client: Client) -> None:
    server = serve(lambda exchange: exchange.reply("grüß".encode()))
    files = sandbox_of(client).files
    assert files.read("/a b", offset=0, length=9) == "grüß".encode()
    assert files.read_text("a") == "grüß"
    assert server.requests == [f"GET {FILES}?path=%2Fa%20b&offset=0&length=9", f"GET {FILES}?path=a"]


def send_pieces(exchange: Exchange) -> None:
    exchange.begin()
    for _ in range(PIECES):
        exchange.piece(PIECE)
    exchange.end()


def test_streams_down_with_flat_memory(serve: Callable[..., Server], client: Client) -> None:
    serve(send_pieces)
    files = sandbox_of(client).files
    tracemalloc.start()
    try:
        with files.stream("/big") as stream:
            size = sum(len(chunk) for chunk in stream)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == len(PIECE) * PIECES
    assert most < 8 * 1024 * 1024


def test_writes_a_stream_to_a_file(serve: Callable[..., Server], client: Client, tmp_path: Path) -> None:
    serve(send_pieces)
    with sandbox_of(client).files.stream("/big") as stream, open(tmp_path / "big", "wb") as file:
        assert stream.write_to(file) == len(PIECE) * PIECES
    assert (tmp_path / "big").read_bytes() == PIECE * PIECES


def test_what_is_too_large_is_not_read_in_one_piece(
    serve: Callable[..., Server], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(lambda exchange: exchange.reply(b"12345"))
    with pytest.raises(TooLargeError) as caught:
        sandbox_of(client).files.stream("/a").read_all(limit=4)
    assert caught.value.hint is not None
    assert sandbox_of(client).files.stream("/a").read_all(limit=5) == b"12345"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_that_breaks_off_is_never_taken_for_whole(
    serve: Callable[..., Server], client: Client, chunked: bool
) -> None:
    def handle(exchange: Exchange) -> None:
        if chunked:
            exchange.begin()
            exchange.piece(b"some")
        else:
            exchange.head(200, {"Content-Length": "100"})
            exchange.connection.sendall(b"some")
        exchange.cut()

    server = serve(handle)
    files = sandbox_of(client).files
    with pytest.raises(ConnectionLostError) as caught:
        files.read("/a")
    assert caught.value.request == f"GET {FILES}"
    seen = io.BytesIO()
    with files.stream("/a") as stream, pytest.raises(ConnectionLostError):
        stream.write_to(seen)
    assert seen.getvalue() == b"some"
    assert len(server.requests) == 2, "what has begun is not begun anew"


def test_leaving_a_stream_early_tells_the_daemon(serve: Callable[..., Server], client: Client) -> None:
    gone = threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.piece(b"first")
        exchange.wait_for_end()
        gone.set()

    serve(handle)
    with sandbox_of(client).files.stream("/endless") as stream:
        for chunk in stream:
            assert chunk == b"first"
            break
    assert gone.wait(10)


def test_writes_text_bytes_files_and_iterables(serve: Callable[..., Server], client: Client, tmp_path: Path) -> None:
    received: list[bytes] = []

    def handle(exchange: Exchange) -> None:
        assert exchange.fields["content-type"] == "application/octet-stream"
        received.append(exchange.body)
        exchange.reply(wire.file(size_bytes=len(exchange.body)))

    server = serve(handle)
    files = sandbox_of(client).files
    assert files.write("a", "grüß", mode="600", parents=True, user="me").size_bytes == 6
    files.write("a", b"bytes")
    files.write("a", bytearray(b"array"))
    files.write("a", b"")
    files.write("a", io.BytesIO(b"file"))
    files.write("a", iter([b"one", b"", b"two"]))
    (tmp_path / "file").write_bytes(PIECE * 3)
    with open(tmp_path / "file", "rb") as file:
        file.seek(1)
        files.write("a", file)
    assert received == ["grüß".encode(), b"bytes", b"array", b"", b"file", b"onetwo", (PIECE * 3)[1:]]
    assert server.requests[0] == f"PUT {FILES}?path=a&mode=600&parents=true&user=me"
    assert server.requests[1] == f"PUT {FILES}?path=a"


def test_streams_up_with_flat_memory(serve: Callable[..., Server], client: Client) -> None:
    size = 0

    def handle(exchange: Exchange) -> None:
        nonlocal size
        for piece in exchange.pieces():
            size += len(piece)
        exchange.reply(wire.file())

    serve(handle)

    def content() -> Iterator[bytes]:
        for _ in range(PIECES):
            yield PIECE

    files = sandbox_of(client).files
    tracemalloc.start()
    try:
        files.write("/big", content())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == len(PIECE) * PIECES
    assert most < 16 * 1024 * 1024


def test_a_file_that_is_open_for_text_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with open(tmp_path / "text") as file, pytest.raises(UsageError, match="open for text"):
        sandbox_of(client).files.write("a", file)  # type: ignore[arg-type]


def test_calls_of_files(serve: Callable[..., Server], client: Client) -> None:
    seen: list[tuple[str, bytes]] = []

    def handle(exchange: Exchange) -> None:
        seen.append((f"{exchange.method} {exchange.target.removeprefix(FILES)}", exchange.body))
        if "stat" in exchange.target:
            if "missing" in exchange.target:
                exchange.reply(wire.error("FILE_NOT_FOUND"), 404)
            else:
                exchange.reply(wire.file(type="symlink", target="/b"))
        elif "list" in exchange.target:
            exchange.reply({"entries": [wire.file(), wire.file(name="b", type="directory")]})
        else:
            exchange.reply(None, 204)

    serve(handle)
    files = sandbox_of(client).files
    assert files.stat("/a", follow=False).target == "/b"
    files.stat("/a")
    assert (files.exists("/a"), files.exists("/missing")) == (True, False)
    assert [(entry.name, entry.type) for entry in files.list("/d")] == [("a", "file"), ("b", "directory")]
    files.mkdir("/d", mode="700", parents=True)
    files.rename("/a", "/b")
    files.remove("/d", recursive=True)
    files.remove("/a")
    assert seen == [
        ("GET /stat?path=%2Fa&follow=false", b""),
        ("GET /stat?path=%2Fa&follow=true", b""),
        ("GET /stat?path=%2Fa&follow=false", b""),
        ("GET /stat?path=%2Fmissing&follow=false", b""),
        ("GET /list?path=%2Fd", b""),
        ("POST /mkdir", b'{"path":"/d","mode":"700","parents":true}'),
        ("POST /rename", b'{"from":"/a","to":"/b"}'),
        ("DELETE ?path=%2Fd&recursive=true", b""),
        ("DELETE ?path=%2Fa", b""),
    ]


def test_what_tar_gives_goes_into_untar(serve: Callable[..., Server], client: Client) -> None:
    received = bytearray()

    def handle(exchange: Exchange) -> None:
        if exchange.method == "GET":
            send_pieces(exchange)
        else:
            for piece in exchange.pieces():
                received.extend(piece)
            exchange.reply(None, 204)

    server = serve(handle)
    files = sandbox_of(client).files
    archive = files.tar("/from")
    # In one loop a stream goes straight into the other.
    files.untar("/to", archive.__dict__["_target"] if isinstance(archive, Blocking) else archive)
    assert received == PIECE * PIECES
    assert server.requests == [f"GET {FILES}/tar?path=%2Ffrom", f"PUT {FILES}/tar?path=%2Fto"]


READY = {"type": "ready"}
CHANGE = {"type": "renamed", "path": "/d/a", "to": "/d/b"}


def test_watches(serve: Callable[..., Server], client: Client) -> None:
    gone = threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.lines(READY, CHANGE)
        exchange.lines({"type": "overflow"})
        exchange.wait_for_end()
        gone.set()

    server = serve(handle)
    with sandbox_of(client).files.watch("/d", recursive=True) as changes:
        iterator = iter(changes)
        assert next(iterator) == WatchEvent("renamed", "/d/a", "/d/b")
        assert next(iterator) == WatchEvent("overflow", "/d"), "an overflow concerns all that is watched"
    assert gone.wait(10)
    assert server.requests == [f"GET {FILES}/watch?path=%2Fd&recursive=true"]


def test_a_watch_that_breaks_off_is_told_and_one_that_is_closed_ends(
    serve: Callable[..., Server], client: Client
) -> None:
    breaks = threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.lines(READY)
        if breaks.wait(0.3):
            exchange.cut()
        else:
            exchange.wait_for_end()

    serve(handle)
    files = sandbox_of(client).files
    breaks.set()
    with files.watch("/d") as changes, pytest.raises(ConnectionLostError):
        list(changes)
    breaks.clear()
    changes = files.watch("/d")
    threading.Timer(0.6, changes.close).start()
    assert list(changes) == []


@pytest.mark.parametrize("first", [CHANGE, None])
def test_a_watch_that_does_not_say_that_it_watches_is_none(
    serve: Callable[..., Server], client: Client, first: dict[str, str] | None
) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.begin()
        if first is not None:
            exchange.lines(first)
        exchange.end()

    serve(handle)
    with pytest.raises(ConnectionLostError if first is None else InternalError):
        sandbox_of(client).files.watch("/d")
