"""Sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union
from urllib.parse import quote

from .. import answers
from ..request import NDJSON, Call, Request, Scalar, given, segment
from ..unset import Maybe, set_only

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...types import (
        EngineChoice,
        Network,
        OnTimeout,
        PushedSandbox,
        SandboxInfo,
        SandboxState,
        Stats,
        Template,
    )

HOLD_SILENCE_S = 60.0
"""A daemon sends a line every 15 seconds to who holds a sandbox: one silent for so long is gone."""

_SENT_AS_IT_IS = "%/?:@!$&'()*+,;=[]~"
"""Of a path somebody has made for a server in a sandbox; what is not here, and no letter or digit, is escaped."""

States = Union["SandboxState", "Sequence[SandboxState]"]


def path_of(sandbox_id: str, rest: str = "") -> str:
    return f"/v1/sandboxes/{segment(sandbox_id)}{rest}"


def create(
    *,
    image: str,
    vcpu: int | None,
    memory_mib: int | None,
    engine: EngineChoice | None,
    env: Mapping[str, str] | None,
    metadata: Mapping[str, str] | None,
    timeout: float | None,
    on_timeout: OnTimeout | None,
    network: Network | None,
    max_disk_mib: int | None,
    max_processes: int | None,
    held: bool,
) -> Call[SandboxInfo]:
    options: dict[str, object | None] = {
        "template": image,
        "vcpu": vcpu,
        "memory_mib": memory_mib,
        "engine": engine,
        "env": None if env is None else dict(env),
        "metadata": None if metadata is None else dict(metadata),
        "timeout_s": timeout,
        "on_timeout": on_timeout,
        "network": network,
        "max_disk_mib": max_disk_mib,
        "max_processes": max_processes,
        "held": held,
    }
    return Call(Request("POST", "/v1/sandboxes", json=given(options)), answers.sandbox_info)


def told_of_progress(request: Request) -> Request:
    """The same, answered by lines: events of the build, then the sandbox or an error."""
    return Request(request.method, request.path, json=request.json, headers={"Accept": NDJSON})


def get(sandbox_id: str) -> Call[SandboxInfo]:
    return Call(Request("GET", path_of(sandbox_id)), answers.sandbox_info)


def page(
    state: States | None,
    image: str | None,
    metadata: Mapping[str, str] | None,
    page_size: int | None,
    cursor: str | None,
) -> Call[tuple[list[SandboxInfo], str | None]]:
    query: dict[str, Scalar] = {f"metadata.{key}": value for key, value in (metadata or {}).items()}
    if state is not None:
        query["state"] = state if isinstance(state, str) else ",".join(state)
    query.update({"template": image, "limit": page_size, "cursor": cursor})
    return Call(Request("GET", "/v1/sandboxes", query), answers.sandbox_page)


def update(
    sandbox_id: str,
    timeout: Maybe[float | None],
    on_timeout: Maybe[OnTimeout],
    metadata: Maybe[Mapping[str, str]],
) -> Call[SandboxInfo]:
    options: dict[str, Maybe[object]] = {"timeout_s": timeout, "on_timeout": on_timeout, "metadata": metadata}
    return Call(Request("PATCH", path_of(sandbox_id), json=set_only(options)), answers.sandbox_info)


def kill(sandbox_id: str) -> Call[None]:
    return Call(Request("DELETE", path_of(sandbox_id)), answers.nothing)


def pause(sandbox_id: str) -> Call[SandboxInfo]:
    return Call(Request("POST", path_of(sandbox_id, "/pause"), json={}), answers.sandbox_info)


def resume(sandbox_id: str, timeout: Maybe[float | None]) -> Call[SandboxInfo]:
    json = set_only({"timeout_s": timeout})
    return Call(Request("POST", path_of(sandbox_id, "/resume"), json=json), answers.sandbox_info)


def push(sandbox_id: str) -> Call[PushedSandbox]:
    return Call(Request("POST", path_of(sandbox_id, "/push"), json={}), answers.pushed_sandbox)


def pull(sandbox_id: str) -> Call[SandboxInfo]:
    return Call(Request("POST", path_of(sandbox_id, "/pull"), json={}), answers.sandbox_info)


def fork(sandbox_id: str, count: int) -> Call[list[SandboxInfo]]:
    request = Request("POST", path_of(sandbox_id, "/fork"), json={"count": count})
    return Call(request, answers.listed("sandboxes", answers.sandbox_info))


def snapshot(sandbox_id: str, name: str) -> Call[Template]:
    return Call(Request("POST", path_of(sandbox_id, "/snapshot"), json={"name": name}), answers.template)


def stats(sandbox_id: str) -> Call[Stats]:
    return Call(Request("GET", path_of(sandbox_id, "/stats")), answers.stats)


def hold(sandbox_id: str) -> Request:
    return Request("GET", path_of(sandbox_id, "/hold"), silence_s=HOLD_SILENCE_S)


def port(sandbox_id: str, number: int, path: str, method: str, headers: Mapping[str, str] | None) -> Request:
    """HTTP to a server in the sandbox; path with a query, or none."""
    rest = quote(path[1:] if path.startswith("/") else path, safe=_SENT_AS_IT_IS)
    target = path_of(sandbox_id, f"/ports/{number}/{rest}")
    return Request(method.upper(), target, headers=headers or {}, any_status=True, for_port=True)


def connect(sandbox_id: str, number: int) -> Request:
    return Request("GET", path_of(sandbox_id, f"/ports/{number}"), for_port=True)
