"""Values of a stream of JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Longest line a daemon sends."""


class LineDecoder:
    """Finds values in a stream that comes in pieces. A last line without its newline was cut off: it is no value."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[object]:
        """Values that are whole with these bytes. Raises InternalError for what is no such stream."""
        *whole, rest = data.split(b"\n")
        for end in whole:
            line = bytes(self._pending + end)
            self._pending.clear()
            if line.strip():
                yield _parse(line)
        self._pending += rest
        if len(self._pending) > MAX_LINE_BYTES:
            raise InternalError(f"a line of more than {MAX_LINE_BYTES} bytes")


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        raise InternalError(f"not a line of JSON: {line[:100]!r}") from None
