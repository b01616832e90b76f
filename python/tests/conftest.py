"""What all tests share: a server that is told what to do, and both clients with one face."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Callable

import pytest
from anyio.from_thread import start_blocking_portal

from kiln import Client
from tests.support.blocking import blocking_client
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Handler


@pytest.fixture(autouse=True)
def _no_daemon_of_the_machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test talks to a daemon that runs here, but the live ones."""
    if "live" in request.keywords:
        return
    for name in ("KILN_URL", "KILN_TOKEN", "KILN_HOME", "KILN_BIN", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(tmp_path: Path, stack: ExitStack) -> Iterator[Callable[..., Server]]:
    """Serves what a test says, on the socket of a daemon's folder or on TCP; what goes wrong there fails the test."""
    servers: list[Server] = []

    def serve(handler: Handler, *, tcp: bool = False) -> Server:
        server = Server(handler, None if tcp else tmp_path / "kiln.sock")
        stack.callback(server.close)
        servers.append(server)
        return server

    yield serve
    assert [failure for server in servers for failure in server.failures] == []


@pytest.fixture(params=["threads", "asyncio", "trio"])
def make_client(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> Callable[..., Client]:
    """Makes a client of the daemon in the test's folder: Client, and AsyncClient on both event loops."""

    def make(**options: Any) -> Client:
        options = {"home": None if "url" in options else tmp_path, "autostart": False, **options}
        if request.param == "threads":
            return stack.enter_context(Client(**options))
        if request.param == "trio":
            pytest.importorskip("trio", reason="Trio is not installed")
        portal = stack.enter_context(start_blocking_portal(request.param))
        return stack.enter_context(blocking_client(portal, **options))

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds, at most ten seconds."""

    def eventually(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "it did not come about"
            threading.Event().wait(0.01)

    return eventually
