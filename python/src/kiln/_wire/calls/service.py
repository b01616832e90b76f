"""The daemon itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import answers
from ..request import Call, Request

if TYPE_CHECKING:
    from ...types import Health, Info


def health() -> Call[Health]:
    return Call(Request("GET", "/healthz"), answers.health)


def info() -> Call[Info]:
    return Call(Request("GET", "/v1/info"), answers.info)


def metrics() -> Request:
    return Request("GET", "/metrics")


def openapi() -> Call[Any]:
    return Call(Request("GET", "/openapi.json"), answers.anything)
