"""Processes of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import answers
from ..request import Call, Request, checked_argv, given, milliseconds, segment
from .sandboxes import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...types import ProcessInfo, Terminal

SILENCE_S = 60.0
"""A daemon sends a sign of life every 15 seconds with output: one silent for so long is gone."""


def program(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
    stdin: bool = False,
    terminal: Terminal | None = None,
    background: bool = False,
    buffer_bytes: int | None = None,
) -> dict[str, object]:
    """What to start, in the daemon's terms. timeout: seconds."""
    size = None if terminal is None else {"rows": terminal.rows, "columns": terminal.columns}
    options: dict[str, object | None] = {
        "argv": checked_argv(argv),
        "env": None if env is None else dict(env),
        "cwd": cwd,
        "user": user,
        "timeout_ms": milliseconds(timeout),
        "stdin": stdin,
        "terminal": size,
        "background": background,
        "buffer_bytes": buffer_bytes,
    }
    return given(options)


def start_attached(sandbox_id: str, what: Mapping[str, object]) -> Request:
    """Starts a program; the answer is its output as a stream."""
    return Request("POST", path_of(sandbox_id, "/processes"), {"attach": True}, json=what, silence_s=SILENCE_S)


def start(sandbox_id: str, what: Mapping[str, object]) -> Call[ProcessInfo]:
    return Call(Request("POST", path_of(sandbox_id, "/processes"), json=what), answers.process_info)


def list_all(sandbox_id: str) -> Call[list[ProcessInfo]]:
    request = Request("GET", path_of(sandbox_id, "/processes"))
    return Call(request, answers.listed("processes", answers.process_info))


def get(sandbox_id: str, process_id: str) -> Call[ProcessInfo]:
    return Call(Request("GET", process_path(sandbox_id, process_id)), answers.process_info)


def output(sandbox_id: str, process_id: str, *, stdout: int, stderr: int, follow: bool) -> Request:
    """Output as a stream, from these offsets on."""
    query = {"stdout": stdout, "stderr": stderr, "follow": follow}
    return Request("GET", process_path(sandbox_id, process_id, "/output"), query, silence_s=SILENCE_S)


def write_stdin(sandbox_id: str, process_id: str, *, end: bool) -> Call[None]:
    """The body is what is written."""
    query = {"end": True} if end else {}
    return Call(Request("POST", process_path(sandbox_id, process_id, "/stdin"), query), answers.nothing)


def signal(sandbox_id: str, process_id: str, name: str) -> Call[None]:
    request = Request("POST", process_path(sandbox_id, process_id, "/signal"), json={"signal": name})
    return Call(request, answers.nothing)


def resize(sandbox_id: str, process_id: str, rows: int, columns: int) -> Call[None]:
    json = {"rows": rows, "columns": columns}
    return Call(Request("POST", process_path(sandbox_id, process_id, "/resize"), json=json), answers.nothing)


def kill(sandbox_id: str, process_id: str) -> Call[None]:
    return Call(Request("DELETE", process_path(sandbox_id, process_id)), answers.nothing)


def process_path(sandbox_id: str, process_id: str, rest: str = "") -> str:
    return path_of(sandbox_id, f"/processes/{segment(process_id)}{rest}")
