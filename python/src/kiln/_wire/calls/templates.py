"""Templates, and the builds that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import answers
from ..request import Call, Request, given, segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...types import Build, EngineChoice, Template


def list_templates() -> Call[list[Template]]:
    return Call(Request("GET", "/v1/templates"), answers.listed("templates", answers.template))


def get_template(name: str) -> Call[Template]:
    return Call(Request("GET", f"/v1/templates/{segment(name)}"), answers.template)


def remove_template(name: str) -> Call[None]:
    return Call(Request("DELETE", f"/v1/templates/{segment(name)}"), answers.nothing)


def start_build(
    template: str | Mapping[str, Any],
    vcpu: int | None,
    memory_mib: int | None,
    engine: EngineChoice | None,
    step_timeout: int | None,
) -> Call[Build]:
    what: dict[str, object] = {"template": template} if isinstance(template, str) else {"spec": dict(template)}
    how = {"vcpu": vcpu, "memory_mib": memory_mib, "engine": engine, "step_timeout_s": step_timeout}
    json = {**what, **given(how)}
    return Call(Request("POST", "/v1/builds", json=json), answers.build)


def list_builds() -> Call[list[Build]]:
    return Call(Request("GET", "/v1/builds"), answers.listed("builds", answers.build))


def get_build(build_id: str) -> Call[Build]:
    return Call(Request("GET", f"/v1/builds/{segment(build_id)}"), answers.build)


def build_events(build_id: str) -> Request:
    return Request("GET", f"/v1/builds/{segment(build_id)}/events")


def cancel_build(build_id: str) -> Call[None]:
    return Call(Request("DELETE", f"/v1/builds/{segment(build_id)}"), answers.nothing)
