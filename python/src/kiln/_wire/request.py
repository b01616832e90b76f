"""A request to the daemon as data: what is asked, apart from how it is sent."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Generic, TypeVar, Union
from urllib.parse import quote

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T_co = TypeVar("T_co", covariant=True)

Scalar = Union[str, int, bool, None]

NDJSON = "application/x-ndjson"
BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, Scalar] = field(default_factory=dict)
    """Entries that are None are left out."""
    json: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_s: float | None = None
    """An answer that is silent for so long, in seconds, is given up as cut."""
    any_status: bool = False
    """Takes an answer of whatever status as it is."""
    for_port: bool = False
    """Meant for a server in a sandbox: Authorization is left to that server."""

    @property
    def name(self) -> str:
        """Method and route, for errors."""
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        words = [f"{quote(key, safe='')}={quote(_word(value), safe='')}" for key, value in given(self.query).items()]
        return f"{self.path}?{'&'.join(words)}" if words else self.path


@dataclass(frozen=True)
class Call(Generic[T_co]):
    """A request whose answer is JSON, and how that is read."""

    request: Request
    parse: Callable[[object], T_co]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


T = TypeVar("T")


def given(options: Mapping[str, T | None]) -> dict[str, T]:
    """Options without those that are None, which means that the daemon's default holds."""
    return {name: value for name, value in options.items() if value is not None}


def encode_json(value: object) -> bytes:
    """JSON in UTF-8. Raises UsageError for what has none: NaN, bytes that are no text, objects of unknown classes."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"the request has no form in JSON: {error}") from error


def milliseconds(seconds: float | None) -> int | None:
    """A number of seconds for a field that ends in ``_ms``, rounded up."""
    if seconds is None:
        return None
    if not math.isfinite(seconds):
        raise UsageError(f"a time limit must be a number of seconds or None: current value is {seconds}")
    return math.ceil(seconds * 1000)


def checked_argv(argv: Sequence[str]) -> list[str]:
    """A program and its arguments. One text is refused: no shell takes it apart."""
    if isinstance(argv, (str, bytes)):
        raise UsageError(
            f"argv must be a list of a program and its arguments: current value is {argv!r:.80}",
            hint='["sh", "-c", "..."] runs a line in a shell',
        )
    return list(argv)


def segment(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")
