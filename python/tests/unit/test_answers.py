"""Every answer is checked at the edge: what is missing or wrong is named, what is new is left alone."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Callable, cast

import pytest

from kiln import AllowList, BuildEnd, BuildMessage, BuildStage, InternalError
from kiln._wire import answers
from tests.support import wire

STATS = {
    "cpu_ms": 12.5,
    "memory_bytes": 1,
    "disk_bytes": 2,
    "processes": 3,
    "guest_memory_total_bytes": 4,
    "guest_memory_available_bytes": 5,
}
PUSHED = {"id": "s1", "digest": f"sha256:{'a' * 64}", "sent_bytes": 1, "reused_bytes": 2}
TEMPLATE = {"name": "python", "source": "built-in", "built": True}
INFO = {
    "version": "1",
    "api_version": 1,
    "home": "/h",
    "limits": {"max_sandboxes": 1, "max_memory_mib": 2, "min_free_disk_mib": 3},
    "usage": {"sandboxes": 1, "memory_mib": 2, "free_disk_mib": 3},
}
HEALTH = {"status": "ok", "version": "1", "pid": 1, "uptime_s": 0.5}
CHANGE = {"type": "renamed", "path": "a", "to": "b"}

WHOLE: list[tuple[Callable[[object], object], dict[str, Any], set[str]]] = [
    (answers.sandbox_info, wire.sandbox(), {"expires_at", "max_processes"}),
    (answers.process_info, wire.process(), set()),
    (answers.file_info, wire.file(), set()),
    (answers.build, wire.build(state="queued", queue_position=2), {"queue_position"}),
    (answers.stats, STATS, set()),
    (answers.pushed_sandbox, PUSHED, set()),
    (answers.template, TEMPLATE, set()),
    (answers.info, INFO, set()),
    (answers.health, HEALTH, set()),
    (answers.watch_event, CHANGE, {"to"}),
]


@pytest.mark.parametrize(("parse", "whole", "optional"), WHOLE)
def test_a_field_that_is_missing_or_wrong_is_named(
    parse: Callable[[object], object], whole: dict[str, Any], optional: set[str]
) -> None:
    parse({**whole, "from_the_future": {"a": [1]}})
    for name in whole:
        broken = {key: value for key, value in whole.items() if key != name}
        if name in optional:
            parse(broken)
        else:
            with pytest.raises(InternalError, match=rf"\b{name}\b"):
                parse(broken)
        with pytest.raises(InternalError, match=rf"\b{name}\b"):
            parse({**whole, name: b"of no kind in JSON"})
    for value in cast("tuple[object, ...]", (None, [], "text", 5)):
        with pytest.raises(InternalError):
            parse(value)


def test_a_sandbox_has_its_parts() -> None:
    info = answers.sandbox_info(
        wire.sandbox(
            network={"allow": ["a.example"]}, expires_at="2026-02-01T00:00:00.25Z", metadata={"k": "v"}, reason="why"
        )
    )
    assert info.network == AllowList(allow=["a.example"])
    assert info.created_at == datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    assert info.expires_at == datetime(2026, 2, 1, 0, 0, 0, 250_000, tzinfo=timezone.utc)
    assert (info.metadata, info.reason, info.parent) == ({"k": "v"}, "why", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "melted"},
        {"vcpu": True},
        {"vcpu": 1.5},
        {"vcpu": "2"},
        {"held": 1},
        {"created_at": "yesterday"},
        {"created_at": "2026-13-01T00:00:00Z"},
        {"created_at": "2026-01-31T12:00:00+01:00"},
        {"metadata": {"a": 1}},
        {"network": "some"},
        {"network": {"allow": [1]}},
    ],
)
def test_a_sandbox_of_another_kind_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InternalError, match=next(iter(wrong))):
        answers.sandbox_info(wire.sandbox(**wrong))


def test_events_of_a_build() -> None:
    stage = answers.build_event({"type": "stage", "stage": "image", "status": "done", "elapsed_ms": 3})
    assert stage == BuildStage("image", "done", 3)
    message = answers.build_event({"type": "message", "stage": "image", "message": "m", "fraction": 0.5})
    assert message == BuildMessage("image", "m", 0.5)
    end = answers.build_event(
        {"type": "end", "build": wire.build(state="failed", error={"code": "NEW", "message": "m"})}
    )
    assert isinstance(end, BuildEnd)
    assert end.build.error is not None
    assert end.build.error.code == "NEW"
    assert answers.build_event({"type": "from the future"}) is None
    for broken in ({"type": "stage"}, {"type": "end"}, {}, {"type": 5}):
        with pytest.raises(InternalError):
            answers.build_event(broken)
