"""The rules of following a process over connections that are cut, without any connection."""

from __future__ import annotations

from typing import Any

import pytest

from kiln import (
    ConnectionLostError,
    InternalError,
    KilnError,
    OutputData,
    OutputDropped,
    ProcessNotFoundError,
    ShuttingDownError,
    UnreachableError,
    VmFailedError,
)
from kiln._wire import patience
from kiln._wire.calls import processes
from kiln._wire.output_session import OutputSession, Started, StreamEvent
from tests.support.wire import EXIT, PING, STARTED, dropped, error, frame

FIRST = processes.start_attached("s1", {"argv": ["x"]})


def session() -> OutputSession:
    made = OutputSession("s1", FIRST)
    made.begin()
    return made


def take(of: OutputSession, data: bytes) -> list[StreamEvent]:
    return list(of.feed(data))


def test_tells_a_stream_wherever_it_is_split() -> None:
    whole = STARTED + frame(1, b"out") + PING + frame(2, b"err") + dropped("stdout", 9) + EXIT
    for at in range(len(whole) + 1):
        made = session()
        events = take(made, whole[:at]) + take(made, whole[at:])
        assert isinstance(events[0], Started)
        assert events[1:] == [OutputData("stdout", b"out"), OutputData("stderr", b"err"), OutputDropped("stdout", 9)]
        assert made.ended is not None
        assert made.ended.exit_code == 7


def test_goes_on_from_where_it_was_after_a_cut_at_every_byte() -> None:
    out, err = frame(1, b"0123456789"), frame(2, b"abc")
    whole = STARTED + out + dropped("stdout", 5) + err
    for at in range(len(STARTED), len(whole) + 1):
        made = session()
        take(made, whole[:at])
        assert made.cut(ConnectionLostError("cut")) == patience.PAUSE_S
        stdout = 10 * (at >= len(STARTED + out)) + 5 * (at >= len(whole) - len(err))
        assert made.request().target == (
            f"/v1/sandboxes/s1/processes/p1/output?stdout={stdout}&stderr={3 * (at == len(whole))}&follow=true"
        )
        made.begin()
        assert take(made, STARTED) == [], "it has begun once"


def test_what_was_not_heard_to_begin_is_not_sent_again() -> None:
    made = session()
    assert made.request() is FIRST
    with pytest.raises(ConnectionLostError) as caught:
        made.cut(None)
    assert caught.value.hint == "it may have been started"
    with pytest.raises(UnreachableError):
        session().cut(UnreachableError("nobody"))


def test_only_a_cut_is_helped_by_another_connection() -> None:
    for failure in (ConnectionLostError("x"), UnreachableError("x"), ShuttingDownError("x"), None):
        made = session()
        take(made, STARTED)
        assert made.cut(failure) > 0
    for other in (ProcessNotFoundError("x"), InternalError("x"), KilnError("x", code="NEW")):
        made = session()
        take(made, STARTED)
        with pytest.raises(KilnError) as caught:
            made.cut(other)
        assert caught.value is other


def test_patience_ends_unless_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    made = session()
    take(made, STARTED)
    made.cut(None)
    now += patience.PATIENCE_S - 1
    made.cut(None)
    take(made, PING)
    now += 2
    made.cut(None)
    now += patience.PATIENCE_S + 1
    with pytest.raises(ConnectionLostError, match="was lost") as caught:
        made.cut(UnreachableError("nobody"))
    assert isinstance(caught.value.__cause__, UnreachableError)


def test_an_error_of_the_daemon_is_raised() -> None:
    made = session()
    with pytest.raises(VmFailedError):
        take(made, STARTED + frame(0, {"type": "error", "error": error("VM_FAILED")}))


@pytest.mark.parametrize(
    "wrong",
    [
        frame(3, b"x"),
        frame(0, b"no json"),
        frame(0, b"[]"),
        frame(0, {"type": "started", "process": {}}),
        frame(0, {"type": "dropped", "channel": "stdin", "bytes": 1}),
    ],
)
def test_what_is_no_output_stream_is_refused(wrong: bytes) -> None:
    with pytest.raises(InternalError):
        take(session(), wrong)


def test_what_a_later_daemon_may_tell_is_passed_over() -> None:
    more: dict[str, Any] = {"type": "from the future", "x": 1}
    assert take(session(), frame(0, more)) == []
