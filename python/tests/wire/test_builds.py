"""Builds and templates, the service itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from kiln import (
    BuildEnd,
    BuildEvent,
    BuildFailedError,
    BuildMessage,
    BuildNotFoundError,
    BuildStage,
    BuildTimeoutError,
    Client,
    KilnCancelledError,
    KilnError,
    KilnTimeoutError,
)
from tests.support import wire

if TYPE_CHECKING:
    from tests.support.server import Exchange, Server

EVENTS: list[dict[str, Any]] = [
    {"type": "stage", "stage": "image", "status": "started"},
    {"type": "from the future"},
    {"type": "message", "stage": "image", "message": "m", "fraction": 0.5},
    {"type": "stage", "stage": "image", "status": "done", "elapsed_ms": 5},
]


def end(**changes: Any) -> dict[str, Any]:
    return {"type": "end", "build": wire.build(**changes)}


def test_events_go_on_after_cuts_and_none_is_told_twice(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        count = len(server.requests)
        exchange.begin()
        if count == 1:
            exchange.lines(*EVENTS[:3])
            exchange.piece(b'{"type": "sta')
            exchange.cut()
        elif count == 2:
            exchange.end()  # A daemon that ends.
        elif count == 3:
            exchange.lines(*EVENTS)
            exchange.cut()
        else:
            exchange.lines(*EVENTS, end(state="done"))
            exchange.end()

    server = serve(handle)
    told = list(client.builds.events("b1"))
    assert told[:-1] == [
        BuildStage("image", "started"),
        BuildMessage("image", "m", 0.5),
        BuildStage("image", "done", 5),
    ]
    assert isinstance(told[-1], BuildEnd)
    assert server.requests == ["GET /v1/builds/b1/events"] * 4


def test_build_waits_for_the_end_and_tells_of_progress(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.method == "POST":
            assert exchange.data == {
                "spec": {"name": "mine"},
                "vcpu": 1,
                "memory_mib": 256,
                "step_timeout_s": 90,
            }
            exchange.reply(wire.build(), 202)
        else:
            exchange.begin()
            exchange.lines(*EVENTS, end(state="done"))
            exchange.end()

    serve(handle)
    told: list[BuildEvent] = []
    build = client.build({"name": "mine"}, vcpu=1, memory_mib=256, step_timeout=90, on_progress=told.append)
    assert build.state == "done"
    assert len(told) == 4


@pytest.mark.parametrize(
    ("last", "kind", "code"),
    [
        ({"state": "failed", "error": wire.error("BUILD_FAILED", hint="h")}, BuildFailedError, "BUILD_FAILED"),
        ({"state": "failed", "error": wire.error("NEW_ONE")}, KilnError, "NEW_ONE"),
        ({"state": "cancelled", "error": wire.error("CANCELLED")}, KilnCancelledError, "CANCELLED"),
        ({"state": "failed", "error": wire.error("BUILD_TIMEOUT")}, BuildTimeoutError, "BUILD_TIMEOUT"),
        ({"state": "cancelled"}, BuildFailedError, "BUILD_FAILED"),
    ],
)
def test_what_made_a_build_fail_is_raised(
    serve: Callable[..., Server], client: Client, last: dict[str, Any], kind: type[KilnError], code: str
) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.lines(end(**last))
        exchange.end()

    serve(handle)
    with pytest.raises(kind) as caught:
        client.builds.wait("b1")
    assert caught.value.code == code
    assert caught.value.details["build"] == "b1"


def test_a_build_that_is_not_there_is_told_at_once(serve: Callable[..., Server], client: Client) -> None:
    server = serve(lambda exchange: exchange.reply(wire.error("BUILD_NOT_FOUND"), 404))
    with pytest.raises(BuildNotFoundError):
        list(client.builds.events("b 9"))
    assert server.requests == ["GET /v1/builds/b%209/events"]


def test_waiting_for_a_build_has_a_limit(serve: Callable[..., Server], client: Client) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.begin()
        exchange.lines(EVENTS[0])
        exchange.wait_for_end()

    serve(handle)
    started = time.monotonic()
    with pytest.raises(KilnTimeoutError):
        client.builds.wait("b1", request_timeout=0.4)
    assert time.monotonic() - started < 3


def test_calls_of_builds_templates_and_the_service(serve: Callable[..., Server], client: Client) -> None:
    template = {"name": "mine", "source": "user", "built": False, "spec": {"name": "mine", "apt_packages": []}}
    answers: dict[str, Any] = {
        "GET /v1/builds": {"builds": [wire.build(), wire.build(id="b2", state="done", finished_at=wire.TIME)]},
        "GET /v1/builds/b1": wire.build(),
        "GET /v1/templates": {"templates": [template]},
        "GET /v1/templates/mine": template,
        "GET /metrics": b"# HELP x\n",
        "GET /openapi.json": {"openapi": "3.1.0"},
        "GET /v1/info": {
            "version": "1",
            "api_version": 1,
            "engine": "qemu 7.2",
            "home": "/h",
            "limits": {"max_sandboxes": 1, "max_memory_mib": 2, "min_free_disk_mib": 3},
            "usage": {"sandboxes": 4, "memory_mib": 5, "free_disk_mib": 6},
        },
    }

    def handle(exchange: Exchange) -> None:
        answer = answers.get(f"{exchange.method} {exchange.target}")
        exchange.reply(answer, 204 if answer is None else 200)

    server = serve(handle)
    assert [build.id for build in client.builds.list()] == ["b1", "b2"]
    assert client.builds.get("b1").finished_at is None
    client.builds.cancel("b1")
    assert client.templates.list()[0].spec == {"name": "mine", "apt_packages": []}
    assert client.templates.get("mine").source == "user"
    client.templates.remove("mine")
    assert client.metrics().startswith("# HELP")
    assert client.openapi() == {"openapi": "3.1.0"}
    info = client.info()
    assert (info.engine, info.accelerator, info.limits.max_memory_mib, info.usage.free_disk_mib) == (
        "qemu 7.2",
        None,
        2,
        6,
    )
    assert server.requests[2] == "DELETE /v1/builds/b1"
    assert server.requests[5] == "DELETE /v1/templates/mine"
