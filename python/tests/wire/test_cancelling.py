"""Calls that are given up in the middle: what they started is killed, what they opened is closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import anyio
import anyio.lowlevel
import pytest

from kiln import AsyncClient, AsyncSandbox, KilnTimeoutError
from kiln._wire import answers
from tests.support import wire
from tests.support.wire import EXIT, STARTED, frame

if TYPE_CHECKING:
    from tests.support.server import Exchange, Server

SOURCE = Path(__file__).parents[2] / "src"
PROCESSES = "/v1/sandboxes/s1/processes"

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    if request.param == "trio":
        pytest.importorskip("trio", reason="Trio is not installed")
    return str(request.param)


class Daemon:
    """Starts programs that never end, and sees connections end."""

    def __init__(self) -> None:
        self.gone = threading.Semaphore(0)
        self.held = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            exchange.reply(None, 204)
        elif exchange.method == "POST" and exchange.target == "/v1/sandboxes":
            exchange.reply(wire.sandbox(held=exchange.data["held"]), 201)
        elif exchange.target.endswith("/slow"):
            self._wait(exchange)
        elif exchange.target.endswith("/hold"):
            exchange.begin()
            exchange.lines({"type": "sandbox", "sandbox": wire.sandbox(held=True)})
            self.held.set()
            self._wait(exchange)
        else:
            exchange.begin()
            exchange.piece(STARTED + frame(1, b"some"))
            self._wait(exchange)

    def _wait(self, exchange: Exchange) -> None:
        exchange.wait_for_end()
        self.gone.release()


@pytest.fixture
def daemon(serve: Callable[..., Server]) -> Daemon:
    daemon = Daemon()
    daemon.server = serve(daemon)  # type: ignore[attr-defined]
    return daemon


def requests_of(daemon: Daemon) -> list[str]:
    return daemon.server.requests  # type: ignore[attr-defined,no-any-return]


def sandbox_of(client: AsyncClient) -> AsyncSandbox:
    return AsyncSandbox(client._transport, answers.sandbox_info(wire.sandbox()), owned=False)


async def test_a_cancelled_exec_kills_what_it_started(daemon: Daemon, tmp_path: Path) -> None:
    async with AsyncClient(home=tmp_path) as client:
        with anyio.move_on_after(0.3) as scope:
            await sandbox_of(client).exec(["sleep", "60"], input="x" * 100)
        assert scope.cancelled_caught
        assert daemon.gone.acquire(timeout=10)
    assert requests_of(daemon)[-1] == f"DELETE {PROCESSES}/p1"


async def test_a_cancelled_block_kills_its_process_and_its_sandbox(daemon: Daemon, tmp_path: Path) -> None:
    async with AsyncClient(home=tmp_path) as client:
        with anyio.move_on_after(0.5) as scope:
            async with client.sandbox(image="python") as sandbox, sandbox.start(["x"]) as process:
                assert [data async for data in process.stdout] == []
        assert scope.cancelled_caught
    assert requests_of(daemon)[-2:] == [f"DELETE {PROCESSES}/p1", "DELETE /v1/sandboxes/s1"]
    for _ in range(2):
        assert daemon.gone.acquire(timeout=10)


async def test_leaving_the_client_ends_what_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    async with AsyncClient(home=tmp_path) as client:
        sandbox = await client.sandbox(image="python")
        assert await anyio.to_thread.run_sync(lambda: daemon.held.wait(timeout=10))
        process = await sandbox.start(["x"])
        assert not daemon.gone.acquire(blocking=False)
    assert process.info.state == "running"
    for _ in range(2):
        assert await anyio.to_thread.run_sync(lambda: daemon.gone.acquire(timeout=10))


async def test_a_failure_in_a_block_is_told_as_it_is(daemon: Daemon, tmp_path: Path) -> None:
    """Not as a group of failures, as of a block with tasks in it."""
    async with AsyncClient(home=tmp_path) as client:
        with pytest.raises(LookupError):
            async with client.sandbox(image="python") as sandbox, sandbox.start(["x"]), sandbox.forward(80):
                raise LookupError
    assert requests_of(daemon)[-1] == "DELETE /v1/sandboxes/s1"


async def test_calls_at_once_do_not_wait_for_each_other(serve: Callable[..., Server], tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=10)

    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.piece(STARTED)
        both.wait()
        exchange.piece(EXIT)
        exchange.end()

    serve(handle)
    codes: list[int] = []

    async def run(client: AsyncClient) -> None:
        codes.append((await sandbox_of(client).exec(["x"])).exit_code)

    async with AsyncClient(home=tmp_path) as client, anyio.create_task_group() as group:
        group.start_soon(run, client)
        group.start_soon(run, client)
    assert codes == [7, 7]


async def test_content_of_an_event_loop_is_sent(serve: Callable[..., Server], tmp_path: Path) -> None:
    received: list[bytes] = []

    def handle(exchange: Exchange) -> None:
        received.append(exchange.body)
        exchange.reply(wire.file())

    serve(handle)
    (tmp_path / "file").write_bytes(b"of a file" * 100_000)

    async def pieces() -> Any:
        yield b"one "
        await anyio.lowlevel.checkpoint()
        yield b"two"

    async with AsyncClient(home=tmp_path) as client:
        files = sandbox_of(client).files
        await files.write("a", pieces())
        async with await anyio.open_file(tmp_path / "file", "rb") as file:
            await files.write("a", file)
    assert received == [b"one two", b"of a file" * 100_000]


async def test_an_opening_that_is_awaited_is_not_closed(daemon: Daemon, tmp_path: Path) -> None:
    async with AsyncClient(home=tmp_path) as client:
        sandbox = await client.sandbox(image="python", held=False)
        assert requests_of(daemon) == ["POST /v1/sandboxes"]
        client.sandbox(image="python")  # Nobody asked for it yet.
        assert len(requests_of(daemon)) == 1
        with pytest.raises(KilnTimeoutError):
            await (await sandbox.start(["x"])).wait(timeout=0.1)


def test_an_interrupted_exec_kills_what_it_started(daemon: Daemon, tmp_path: Path) -> None:
    # A shell's background job ignores interrupts, and so does what it starts.
    script = """
import signal
from kiln import Client
signal.signal(signal.SIGINT, signal.default_int_handler)
client = Client()
sandbox = client.sandbox(image="python", held=False)
print("made", flush=True)
try:
    sandbox.exec(["sleep", "60"])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    environ = {**os.environ, "KILN_HOME": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"made\n"
        while len(requests_of(daemon)) < 2:
            anyio.run(anyio.sleep, 0.02)
        anyio.run(anyio.sleep, 0.3)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"interrupted\n"
    assert daemon.gone.acquire(timeout=10)
    assert requests_of(daemon)[-1] == f"DELETE {PROCESSES}/p1"
