"""Sandboxes: made, held, looked up, listed, changed and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from kiln import (
    BuildEvent,
    BuildStage,
    CapacityError,
    Client,
    ConflictError,
    ConnectionLostError,
    InternalError,
    KilnError,
    PushedSandbox,
    SandboxNotFoundError,
)
from tests.support import wire
from tests.support.blocking import sandbox_of

if TYPE_CHECKING:
    from tests.support.server import Exchange, Server

SOURCE = Path(__file__).parents[2] / "src"


class Daemon:
    """A daemon with one sandbox that is held."""

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.holds = 0
        self.let_go = threading.Event()
        self.killed = threading.Event()
        self.cuts = 0
        self.hold_error: str | None = None

    def __call__(self, exchange: Exchange) -> None:
        if exchange.target.endswith("/hold"):
            self._hold(exchange)
        elif exchange.method == "DELETE":
            self.killed.set()
            exchange.reply(None, 204)
        elif exchange.method == "POST":
            self.created = exchange.data
            exchange.reply(wire.sandbox(held=exchange.data["held"]), 201)
        else:
            exchange.reply(wire.sandbox())

    def _hold(self, exchange: Exchange) -> None:
        self.holds += 1
        if self.hold_error is not None:
            exchange.reply(wire.error(self.hold_error), 404)
            return
        exchange.begin()
        exchange.lines({"type": "sandbox", "sandbox": wire.sandbox(held=True, state="paused")})
        if self.cuts > 0:
            self.cuts -= 1
            exchange.cut()
            return
        exchange.wait_for_end()
        self.let_go.set()


def test_leaving_the_block_kills_it_and_lets_go(serve: Callable[..., Server], client: Client) -> None:
    daemon = Daemon()
    serve(daemon)
    with client.sandbox(image="python") as sandbox:
        assert sandbox.id == "s1"
        assert daemon.holds == 1, "it is held when it is there"
        assert sandbox.info.state == "paused", "changes are told"
        assert not daemon.killed.is_set()
    assert daemon.killed.is_set()
    assert daemon.let_go.wait(10)
    assert daemon.created == {"template": "python", "held": True}


def test_all_options_are_sent(serve: Callable[..., Server], client: Client) -> None:
    daemon = Daemon()
    serve(daemon)
    client.sandbox(
        "python",
        vcpu=1,
        memory_mib=256,
        env={"A": "b"},
        metadata={"c": "d"},
        timeout=1.5,
        on_timeout="pause",
        network={"allow": ["example.com"]},
        max_disk_mib=64,
        max_processes=50,
        held=False,
    )
    assert daemon.holds == 0
    assert daemon.created == {
        "template": "python",
        "vcpu": 1,
        "memory_mib": 256,
        "env": {"A": "b"},
        "metadata": {"c": "d"},
        "timeout_s": 1.5,
        "on_timeout": "pause",
        "network": {"allow": ["example.com"]},
        "max_disk_mib": 64,
        "max_processes": 50,
        "held": False,
    }


def test_a_sandbox_is_handed_over_and_taken_up(serve: Callable[..., Server], client: Client) -> None:
    asked: list[tuple[str, str]] = []

    def daemon(exchange: Exchange) -> None:
        asked.append((exchange.method, exchange.target))
        if exchange.target.endswith("/push"):
            exchange.reply({"id": "s1", "digest": "sha256:ab", "sent_bytes": 5, "reused_bytes": 7})
        elif exchange.target.endswith("/s2/pull"):
            exchange.reply(wire.error("CONFLICT"), 409)
        else:
            exchange.reply(wire.sandbox(state="paused"))

    serve(daemon)
    sandbox = client.get("s1")
    assert sandbox.push() == PushedSandbox(id="s1", digest="sha256:ab", sent_bytes=5, reused_bytes=7)
    assert client.pull_sandbox("s1").info.state == "paused"
    with pytest.raises(ConflictError):
        client.pull_sandbox("s2")
    assert asked[1:] == [("POST", f"/v1/sandboxes/{path}") for path in ("s1/push", "s1/pull", "s2/pull")]


def test_a_hold_that_is_cut_is_taken_again(
    serve: Callable[..., Server], client: Client, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    daemon = Daemon()
    daemon.cuts = 3
    serve(daemon)
    sandbox = client.sandbox(image="python")
    eventually(lambda: daemon.holds == 4)
    assert not daemon.let_go.is_set()
    client.close()
    assert daemon.let_go.wait(10), "what a client holds ends with it"
    assert not daemon.killed.is_set(), "that is the daemon's business"
    assert sandbox.id == "s1"


def test_a_hold_waits_for_a_daemon_that_is_restarted(
    serve: Callable[..., Server], client: Client, tmp_path: Path, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    daemon = Daemon()
    first = serve(daemon)
    client.sandbox(image="python")
    (tmp_path / "kiln.sock").unlink()
    first.close()
    time.sleep(0.3)
    serve(daemon)
    eventually(lambda: daemon.holds == 2)


def test_what_cannot_be_held_is_not_kept(serve: Callable[..., Server], client: Client) -> None:
    daemon = Daemon()
    daemon.hold_error = "SANDBOX_NOT_FOUND"
    serve(daemon)
    with pytest.raises(SandboxNotFoundError):
        client.sandbox(image="python")
    assert daemon.killed.is_set()


def test_a_hold_ends_with_its_sandbox(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.target.endswith("/hold"):
            exchange.begin()
            exchange.lines({"type": "sandbox", "sandbox": wire.sandbox(held=True)})
            exchange.lines({"type": "killed"})
            exchange.end()
        else:
            exchange.reply(wire.sandbox(held=True), 201)

    server = serve(handle)
    client.sandbox(image="python")
    time.sleep(0.5)
    assert server.requests == ["POST /v1/sandboxes", "GET /v1/sandboxes/s1/hold"]


@pytest.mark.parametrize("program", ["threads", "event loop"])
def test_a_process_that_is_killed_holds_nothing(serve: Callable[..., Server], tmp_path: Path, program: str) -> None:
    daemon = Daemon()
    serve(daemon)
    programs = {
        "threads": """
            from kiln import Client
            client = Client()
            with client.sandbox(image="python"):
                print("held", flush=True)
                time.sleep(60)
        """,
        "event loop": """
            from kiln import AsyncClient
            async def main():
                async with AsyncClient() as client, client.sandbox(image="python"):
                    print("held", flush=True)
                    time.sleep(60)
            asyncio.run(main())
        """,
    }
    script = "import asyncio, textwrap, time\nexec(textwrap.dedent('''" + programs[program] + "'''))"
    environ = {**os.environ, "KILN_HOME": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert not daemon.let_go.is_set()
        child.send_signal(signal.SIGKILL)
        assert daemon.let_go.wait(10), "the daemon sees the connection end"
    assert not daemon.killed.is_set()


def test_a_failure_in_the_block_is_what_is_told(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.method == "POST":
            exchange.reply(wire.sandbox(), 201)
        else:
            exchange.reply(wire.error("INTERNAL"), 500)

    serve(handle)
    with pytest.raises(LookupError), client.sandbox(image="python"):
        raise LookupError
    with pytest.raises(InternalError), client.sandbox(image="python"):
        pass


def test_one_that_was_looked_up_is_left_alone(serve: Callable[..., Server], client: Client) -> None:
    server = serve(lambda exchange: exchange.reply(wire.sandbox(held=True)))
    with client.get("s1") as sandbox:
        assert sandbox.info.held
    assert server.requests == ["GET /v1/sandboxes/s1"]


def test_killing_one_that_is_gone_is_no_error(serve: Callable[..., Server], client: Client) -> None:
    serve(lambda exchange: exchange.reply(wire.error("SANDBOX_NOT_FOUND"), 404))
    sandbox_of(client).kill()
    with pytest.raises(SandboxNotFoundError):
        sandbox_of(client).refresh()


def test_progress_of_a_build_on_the_way_is_told(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            exchange.reply(None, 204)
            return
        assert exchange.fields["accept"] == "application/x-ndjson"
        exchange.begin()
        exchange.lines({"type": "stage", "stage": "image", "status": "started"}, {"type": "new kind"})
        exchange.lines({"type": "sandbox", "sandbox": wire.sandbox()})
        exchange.end()

    serve(handle)
    told: list[BuildEvent] = []
    with client.sandbox(image="python", on_progress=told.append) as sandbox:
        assert sandbox.id == "s1"
    assert told == [BuildStage("image", "started")]


@pytest.mark.parametrize(
    ("last", "kind"),
    [({"type": "error", "error": wire.error("CAPACITY")}, CapacityError), (None, ConnectionLostError)],
)
def test_a_creation_that_fails_on_the_way_is_told(
    serve: Callable[..., Server], client: Client, last: dict[str, Any] | None, kind: type[KilnError]
) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.lines({"type": "stage", "stage": "image", "status": "started"})
        if last is None:
            exchange.cut()
        else:
            exchange.lines(last)
            exchange.end()

    server = serve(handle)
    with pytest.raises(kind) as caught:
        client.sandbox(image="python", on_progress=lambda _: None)
    assert caught.value.request == "POST /v1/sandboxes"
    assert server.requests == ["POST /v1/sandboxes"]


def test_lists_page_by_page(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if "cursor" in exchange.target:
            exchange.reply({"sandboxes": [wire.sandbox(id="s3")]})
        else:
            exchange.reply({"sandboxes": [wire.sandbox(), wire.sandbox(id="s2")], "next_cursor": "a.b&c"})

    server = serve(handle)
    found = client.list(state=["running", "paused"], image="python", metadata={"my job": "4=2"}, page_size=2)
    assert server.requests == [], "nothing is asked before it is iterated"
    assert [sandbox.id for sandbox in found] == ["s1", "s2", "s3"]
    filters = "metadata.my%20job=4%3D2&state=running%2Cpaused&template=python&limit=2"
    assert server.requests == [f"GET /v1/sandboxes?{filters}", f"GET /v1/sandboxes?{filters}&cursor=a.b%26c"]
    next(iter(client.list(state="dead")))
    assert server.requests[-1] == "GET /v1/sandboxes?state=dead"


def test_calls_that_change_it(serve: Callable[..., Server], client: Client) -> None:
    seen: list[tuple[str, object]] = []

    def handle(exchange: Exchange) -> None:
        seen.append((f"{exchange.method} {exchange.target}", exchange.data if exchange.body else None))
        answers: dict[str, Any] = {
            "pause": wire.sandbox(state="paused"),
            "fork": {"sandboxes": [wire.sandbox(id="f1", parent="s1"), wire.sandbox(id="f2", parent="s1")]},
            "snapshot": {"name": "mine", "source": "snapshot", "built": True},
            "stats": {
                "cpu_ms": 1.5,
                "memory_bytes": 1,
                "disk_bytes": 2,
                "processes": 3,
                "guest_memory_total_bytes": 4,
                "guest_memory_available_bytes": 5,
            },
        }
        exchange.reply(answers.get(exchange.target.rsplit("/", 1)[1], wire.sandbox()))

    serve(handle)
    sandbox = sandbox_of(client)
    assert sandbox.pause() is sandbox.info
    assert "s1 python paused" in repr(sandbox)
    assert sandbox.resume(timeout=None).state == "running"
    sandbox.resume()
    assert [(fork.id, fork.info.parent) for fork in sandbox.fork(2)] == [("f1", "s1"), ("f2", "s1")]
    assert sandbox.snapshot("mine").source == "snapshot"
    sandbox.update(on_timeout="pause", metadata={"a": "b"})
    sandbox.extend_timeout(None)
    assert sandbox.stats().cpu_ms == 1.5
    path = "/v1/sandboxes/s1"
    assert seen == [
        (f"POST {path}/pause", {}),
        (f"POST {path}/resume", {"timeout_s": None}),
        (f"POST {path}/resume", {}),
        (f"POST {path}/fork", {"count": 2}),
        (f"POST {path}/snapshot", {"name": "mine"}),
        (f"PATCH {path}", {"on_timeout": "pause", "metadata": {"a": "b"}}),
        (f"PATCH {path}", {"timeout_s": None}),
        (f"GET {path}/stats", None),
    ]


def test_forks_of_a_held_sandbox_are_held(
    serve: Callable[..., Server], client: Client, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.target.endswith("/hold"):
            exchange.begin()
            exchange.lines({"type": "sandbox", "sandbox": wire.sandbox(id="f1", held=True)})
            exchange.wait_for_end()
        else:
            exchange.reply({"sandboxes": [wire.sandbox(id="f1", held=True)]}, 201)

    server = serve(handle)
    sandbox_of(client).fork()
    assert server.requests == ["POST /v1/sandboxes/s1/fork", "GET /v1/sandboxes/f1/hold"]
